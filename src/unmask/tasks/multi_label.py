"""Any number of labels for each text or pair of texts: topics, kinds of hate speech.

| column | what it holds | unless named |
| --- | --- | --- |
| text | the text, or the first of a pair | the first there is of sentence, text, sentence1, document, review |
| text pair | the second of a pair | none |
| label | labels between commas (`--label-separator`), or a JSON list; empty for none | labels, label, tags or topics |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import DataError
from unmask.logits import sigmoid
from unmask.metrics.multilabel import multilabel_metrics, multilabel_report
from unmask.metrics.paired import SummedScore, label_scores, mean_score
from unmask.tasks.labels import HasLabels, Labels
from unmask.tasks.texts import TextAnswer, TextExample, TextTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from unmask.data import Table
    from unmask.ragged import Ragged
    from unmask.tasks.finetuning import TaskBatch
    from unmask.tasks.options import Reading, TaskOptions
    from unmask.tasks.task import Samples

__all__ = ["LabelSet", "MultiLabel", "parse_labels"]


@dataclass(frozen=True, kw_only=True)
class LabelSet(TextAnswer):
    """The labels of a text.

    Args:
        text: the text.
        text_pair: its second text, or None.
        labels: those of probability 0.5 and more, in the order of their ids.
        probabilities: of every label, each in [0, 1] by itself.
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "labels": list(self.labels)}

    def to_cells(self) -> dict[str, str]:
        shown = (f"{label} {self.probabilities[label]:.3f}" for label in self.labels)
        return {"labels": ", ".join(shown) or "none", **self.text_cell()}


class MultiLabel(HasLabels, TextTask):
    """Binary cross-entropy of each label by itself, as Hugging Face's `multi_label_classification`.

    Args:
        labels: values and names.
        options: what it was told.
    """

    name = "multi-label"
    problem_type = "multi_label_classification"
    pipeline_options = ", top_k=None"  # else it gives one label alone
    metrics = ("loss", "micro_f1", "macro_f1", "exact_match", "hamming_accuracy")
    metric_for_best = "micro_f1"
    label_columns = ("labels", "label", "tags", "topics")
    option_names = (*TextTask.option_names, "labels", "label_separator")
    example_keys = ("text", "text_pair", "labels")

    def __init__(self, labels: Labels, options: TaskOptions) -> None:
        super().__init__(options)
        self.labels = labels

    @classmethod
    def label_texts(cls, table: Table, field: str) -> list[str]:
        """Lists stand as JSON, and None, for no label, as an empty string."""
        values = table.columns.get(field, [])
        if not any(value is None or isinstance(value, list) for value in values):
            return table.column(field)
        plain = [
            "" if value is None else json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
            for value in values
        ]
        return type(table)(table.source, {field: plain}, table.lines).column(field)

    @classmethod
    def check_labels(cls, examples: Sequence[TextExample], field: str, reading: Reading) -> None:
        for example in examples:
            parse_labels(example, reading.options, field)

    @classmethod
    def for_training(cls, examples: Sequence[TextExample], options: TaskOptions) -> MultiLabel:
        cls.check_options(options)
        return cls(
            Labels.find(examples, [parse_labels(e, options) for e in examples], options.labels, least=1), options
        )

    @classmethod
    def for_model(cls, id2label: Mapping[int, str], options: TaskOptions) -> MultiLabel:
        return cls(Labels.of_model(id2label, options.labels), options)

    def summary(self, *, pairs: bool) -> str:
        names = self.labels.names
        return f"Gives each text {'pair ' if pairs else ''}any of {len(names)} labels: {', '.join(names)}."

    def targets_of(self, examples: Sequence[TextExample]) -> NDArray[np.float32]:
        targets = np.zeros((len(examples), len(self.labels.names)), np.float32)
        for row, example in zip(targets, examples, strict=True):
            for label in parse_labels(example, self.options):
                row[self.labels.id_of(label, example)] = 1
        return targets

    def describe_targets(self, samples: Samples) -> dict[str, Any]:
        assert samples.targets is not None
        counts, shares = samples.targets.values.sum(0), samples.targets.values.mean(0, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropies = [np.nan_to_num(-share * np.log(share)) for share in (shares, 1 - shares)]
        return {
            "labels": dict(zip(self.labels.names, counts.astype(int).tolist(), strict=True)),
            "no_skill_loss": float(np.mean(entropies[0] + entropies[1])),
        }

    def compute_loss(self, logits: Tensor, batch: TaskBatch) -> Tensor:
        import torch.nn.functional as F

        return F.binary_cross_entropy_with_logits(logits, batch.targets, reduction="sum")

    def score(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> dict[str, float]:
        assert samples.targets is not None
        return self._of_its_own(multilabel_metrics(samples.targets.values, logits.values >= 0))

    def report(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> dict[str, Any]:
        assert samples.targets is not None
        report = multilabel_report(samples.targets.values, logits.values >= 0, label_names=self.labels.names)
        return {"kind": self.name, **report.to_dict(), "metrics": self._of_its_own(report.metrics)}

    def _of_its_own(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Leave out precision and recall of all labels together: each label's stand in the report."""
        return {name: metrics[name] for name in self.metrics if name in metrics}

    def predict(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> list[LabelSet]:
        names = self.labels.names
        rows = zip(examples, (logits.values >= 0).tolist(), sigmoid(logits.values).tolist(), strict=True)
        return [
            LabelSet(
                text=example.text,
                text_pair=example.text_pair,
                labels=tuple(name for name, is_given in zip(names, given, strict=True) if is_given),
                probabilities=dict(zip(names, probabilities, strict=True)),
            )
            for example, given, probabilities in rows
        ]

    def judge(self, example: TextExample, prediction: LabelSet) -> dict[str, Any]:
        ids = sorted({self.labels.id_of(label, example) for label in parse_labels(example, self.options)})
        line = prediction.to_dict()
        predicted = line.pop("labels")
        return line | {"labels": [self.labels.names[label_id] for label_id in ids], "predicted": predicted}

    @classmethod
    def line_scores(cls, lines: Sequence[Mapping[str, Any]]) -> dict[str, SummedScore]:
        labels = list(dict.fromkeys(label for line in lines for label in line["probabilities"]))
        scores = label_scores(lambda line: (line["labels"], line["predicted"]), labels)
        return {
            "exact_match": mean_score(lambda line: set(line["predicted"]) == set(line["labels"])),
            "hamming_accuracy": mean_score(
                lambda line: 1 - len(set(line["predicted"]) ^ set(line["labels"])) / len(line["probabilities"])
            ),
            **{name: scores[name] for name in ("micro_f1", "macro_f1")},
        }


def parse_labels(example: TextExample, options: TaskOptions, field: str | None = None) -> list[str]:
    """Take the labels of an example apart.

    Raises:
        DataError: a JSON list holds something else than words, or an empty label stands between two separators.
    """
    text = example.label or ""
    if text.startswith("["):
        try:
            labels = json.loads(text)
        except ValueError as error:
            raise DataError(
                f"the labels start like a JSON list and are none ({error}): close its brackets and quotes",
                path=example.source,
                line=example.line,
                field=field,
            ) from error
        labels = [str(label).strip() if isinstance(label, str | int) else "" for label in labels]
    else:
        labels = [label.strip() for label in text.split(options.label_separator)] if text else []
    if not all(labels):
        raise DataError(
            f"one of the labels {text!r} is empty, or no word: write each once, with "
            f"{options.label_separator!r} between them, or as a JSON list of words",
            path=example.source,
            line=example.line,
            field=field,
        )
    return labels
