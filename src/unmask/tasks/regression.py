"""One number for each text or pair of texts: how alike two sentences are (STS-B). Devlin et al. 2019, section 4.1.

| column | what it holds | unless named |
| --- | --- | --- |
| text | the text, or the first of a pair | the first there is of sentence, text, sentence1, document, review |
| text pair | the second of a pair | none |
| label | a number | the first there is of score, label, labels, similarity |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.data.scores import read_score
from unmask.errors import DataError
from unmask.metrics.paired import SummedScore, correlation_score, mean_score
from unmask.metrics.regression import regression_metrics, regression_report
from unmask.tasks.texts import TextAnswer, TextExample, TextTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from unmask.ragged import Ragged
    from unmask.tasks.finetuning import TaskBatch
    from unmask.tasks.options import Reading, TaskOptions
    from unmask.tasks.task import Samples

__all__ = ["Regression", "Score"]

_LARGEST = 1e15  # the squares of larger scores would soon be too large for float32


@dataclass(frozen=True, kw_only=True)
class Score(TextAnswer):
    """A number for a text.

    Args:
        text: the text.
        text_pair: its second text, or None.
        score: the number, on the scale of the training file.
    """

    score: float

    def to_cells(self) -> dict[str, str]:
        return {"score": f"{self.score:.3f}", **self.text_cell()}


class Regression(TextTask):
    """Mean squared error on the scores as the file has them, as Hugging Face's classes compute it for one label."""

    name = "regression"
    problem_type = "regression"
    metrics = ("loss", "pearson", "spearman")
    metric_for_best = "pearson"
    label_columns = ("score", "label", "labels", "similarity")
    option_names = (*TextTask.option_names, "score_range")
    example_keys = ("text", "text_pair", "score")

    @classmethod
    def check_labels(cls, examples: Sequence[TextExample], field: str, reading: Reading) -> None:
        lowest, highest = reading.options.score_range or (-math.inf, math.inf)
        for example in examples:
            number = read_score(example.label, example.source, example.line, field, lowest=lowest, highest=highest)
            if abs(number) > _LARGEST:
                raise DataError(
                    f"the score {number:g} is too large to compute with: give all scores in a larger unit",
                    path=example.source,
                    line=example.line,
                    field=field,
                )

    @classmethod
    def for_training(cls, examples: Sequence[TextExample], options: TaskOptions) -> Regression:
        cls.check_options(options)
        scores = {float(example.label or "nan") for example in examples}
        if len(scores) < 2:
            raise DataError(
                f"every score is {next(iter(scores)):g}: nothing is to be learnt: give examples of two scores or more",
                path=examples[0].source,
            )
        return cls(options)

    @classmethod
    def for_model(cls, id2label: Mapping[int, str], options: TaskOptions) -> Regression:
        return cls(options)

    @property
    def id2label(self) -> dict[int, str]:
        return {0: "score"}

    def summary(self, *, pairs: bool) -> str:
        return f"Gives each text {'pair ' if pairs else ''}a number, on the scale of the training file."

    def targets_of(self, examples: Sequence[TextExample]) -> NDArray[np.float32]:
        return np.array([example.label for example in examples], np.float64).astype(np.float32)

    def describe_targets(self, samples: Samples) -> dict[str, Any]:
        assert samples.targets is not None
        scores = samples.targets.values.astype(np.float64)
        return {
            "scores": {"mean": scores.mean(), "std": scores.std(), "min": scores.min(), "max": scores.max()},
            "no_skill_loss": float(scores.var()),
        }

    def compute_loss(self, logits: Tensor, batch: TaskBatch) -> Tensor:
        import torch.nn.functional as F

        return F.mse_loss(logits[:, 0], batch.targets, reduction="sum")

    def score(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> dict[str, float]:
        names = ("pearson", "spearman", "mae")
        if not np.isfinite(logits.values).all():  # of a run that diverges, as its loss will say
            return dict.fromkeys(names, math.nan)
        assert samples.targets is not None
        metrics = regression_metrics(samples.targets.values, logits.values[:, 0])
        return {name: metrics[name] for name in names}

    def report(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> dict[str, Any]:
        assert samples.targets is not None
        return {"kind": self.name, **regression_report(samples.targets.values, logits.values[:, 0]).to_dict()}

    def predict(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> list[Score]:
        return [
            Score(text=example.text, text_pair=example.text_pair, score=score)
            for example, score in zip(examples, logits.values[:, 0].tolist(), strict=True)
        ]

    def judge(self, example: TextExample, prediction: Score) -> dict[str, Any]:
        line = prediction.to_dict()
        predicted = line.pop("score")
        return line | {"score": float(example.label or "nan"), "predicted": predicted}

    @classmethod
    def line_scores(cls, lines: Sequence[Mapping[str, Any]]) -> dict[str, SummedScore]:
        return {
            "mae": mean_score(lambda line: abs(line["predicted"] - line["score"]), greater_is_better=False),
            "mse": mean_score(lambda line: (line["predicted"] - line["score"]) ** 2, greater_is_better=False),
            "pearson": correlation_score(lambda line: (line["score"], line["predicted"])),
        }
