"""One label for each text (CoLA, sentiment) or pair of texts. Devlin et al. 2019 (arXiv:1810.04805), figure 4 a and b.

| column | what it holds | unless named |
| --- | --- | --- |
| text | the text, or the first of a pair | the first there is of sentence, text, sentence1, document, review |
| text pair | the second of a pair | none |
| label | any word or number; its values become the labels | the first there is of label, labels, class |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import SettingsError
from unmask.logits import softmax
from unmask.metrics import classification_metrics, classification_report
from unmask.metrics.paired import SummedScore, label_scores
from unmask.tasks.calibration import calibration_entry, fit_on_dev
from unmask.tasks.labels import HasLabels, Labels
from unmask.tasks.options import TaskOptions
from unmask.tasks.texts import TextAnswer, TextExample, TextTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from unmask.ragged import Ragged
    from unmask.tasks.finetuning import TaskBatch
    from unmask.tasks.task import Samples

__all__ = ["Classification", "Prediction"]


@dataclass(frozen=True, kw_only=True)
class Prediction(TextAnswer):
    """A label for a text.

    Args:
        text: the text.
        text_pair: its second text, or None.
        label: the most probable label; None where the classifier abstains.
        probability: that of the most probable label, in [0, 1].
        probabilities: of every label.
    """

    label: str | None
    probability: float
    probabilities: dict[str, float]

    def abstaining(self, below: float) -> Prediction:
        """The same without a label, if that is less probable than `below`."""
        return replace(self, label=None) if self.probability < below else self

    def to_cells(self) -> dict[str, str]:
        label = "abstained" if self.label is None else self.label
        return {"label": label, "probability": f"{self.probability:.3f}", **self.text_cell()}


class Classification(HasLabels, TextTask):
    """Cross-entropy over the labels; accuracy, Matthews correlation and F1.

    Labels may weigh differently (`class_weights`), and targets be smoothed (`label_smoothing`; Szegedy et al. 2016,
    arXiv:1512.00567, section 7). The loss is then the sum of the texts' weighted losses over the number of texts, as
    scikit-learn has it: "balanced" weights leave its scale as it is.

    Probabilities are those of the logits over the `temperature`, which is fitted on the dev set (see
    `unmask.tasks.calibration`); loss, answers and the other scores are not touched by it. It does not undo class
    weights: a label that weighed more is still thought more probable than it is.

    Args:
        labels: values and names.
        options: what it was told; class weights as `label=number` or numbers, not "balanced".
    """

    name = "classification"
    metrics = ("loss", "accuracy", "mcc", "f1")
    metric_for_best = "mcc"
    label_columns = ("label", "labels", "class")
    option_names = (*TextTask.option_names, "labels", "class_weights", "label_smoothing", "temperature")

    def __init__(self, labels: Labels, options: TaskOptions | None = None) -> None:
        super().__init__(options or TaskOptions())
        self.labels = labels
        self._cross_fitted: dict[tuple[str, int], float] = {}  # of each dev text, by its file and line
        self._weights = None
        if self.options.class_weights is not None:
            self._weights = np.array(_parse_weights(self.options.class_weights, labels), np.float32)

    @classmethod
    def for_training(cls, examples: Sequence[TextExample], options: TaskOptions) -> Classification:
        cls.check_options(options)
        labels = Labels.find(examples, [[example.label or ""] for example in examples], options.labels, least=2)
        if options.class_weights == ("balanced",):
            counts = np.bincount(labels.ids_of(examples), minlength=len(labels.values))
            if not counts.all():
                raise SettingsError(
                    f"class_weights is balanced, and no training text has the label "
                    f"{labels.names[int(counts.argmin())]!r}: give a number for each label, or leave it out"
                )
            weights = len(examples) / (len(counts) * counts)
            options = replace(options, class_weights=tuple(map(repr, weights.tolist())))
        return cls(labels, options)

    @classmethod
    def for_model(cls, id2label: Mapping[int, str], options: TaskOptions) -> Classification:
        return cls(Labels.of_model(id2label, options.labels), options)

    def summary(self, *, pairs: bool) -> str:
        names = self.labels.names
        said = f"Gives each text {'pair ' if pairs else ''}one of {len(names)} labels: {', '.join(names)}."
        if self.temperature != 1:
            said += (
                f" Its probabilities are those of the logits divided by {self.temperature:.4g}, its temperature on the "
                "dev set: `unmask predict` divides, a pipeline of transformers does not."
            )
        return said

    @property
    def temperature(self) -> float:
        """What logits are divided by before they become probabilities: 1 where nobody fitted it."""
        return 1.0 if self.options.temperature is None else self.options.temperature

    def targets_of(self, examples: Sequence[TextExample]) -> NDArray[np.int64]:
        return np.asarray(self.labels.ids_of(examples), np.int64)

    def describe_targets(self, samples: Samples) -> dict[str, Any]:
        assert samples.targets is not None
        counts = np.bincount(samples.targets.values, minlength=len(self.labels.names))
        described: dict[str, Any] = {"labels": dict(zip(self.labels.names, counts.tolist(), strict=True))}
        if self._weights is not None or self.options.label_smoothing:  # else it is the entropy of the labels
            smoothing = self.options.label_smoothing
            shares = (1 - smoothing) * counts + smoothing * counts.sum() / len(counts)
            if self._weights is not None:
                shares = shares * self._weights
            shares = shares[shares > 0]
            described["no_skill_loss"] = float(-(shares * np.log(shares / shares.sum())).sum() / counts.sum())
        return described

    def compute_loss(self, logits: Tensor, batch: TaskBatch) -> Tensor:
        import torch
        import torch.nn.functional as F

        weights = None if self._weights is None else torch.from_numpy(self._weights).to(logits.device)
        return F.cross_entropy(
            logits, batch.targets, weight=weights, reduction="sum", label_smoothing=self.options.label_smoothing
        )

    def tuned(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> Classification:
        """Fit the temperature, unless it was given."""
        if self.options.temperature is not None:
            return self
        assert samples.targets is not None
        fit = fit_on_dev(logits.values, samples.targets.values)
        task = type(self)(self.labels, replace(self.options, temperature=fit.temperature))
        task._cross_fitted = {
            (example.source, example.line): temperature
            for example, temperature in zip(examples, fit.cross_fitted.tolist(), strict=True)
        }
        return task

    def score(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> dict[str, float]:
        assert samples.targets is not None
        predictions = logits.values.argmax(axis=1).tolist()
        return classification_metrics(samples.targets.values.tolist(), predictions, num_labels=len(self.labels.names))

    def report(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> dict[str, Any]:
        assert samples.targets is not None
        predictions = logits.values.argmax(axis=1).tolist()
        report = classification_report(samples.targets.values.tolist(), predictions, label_names=self.labels.names)
        cross_fitted = [self._cross_fitted.get((example.source, example.line)) for example in examples]
        calibration = calibration_entry(
            logits.values,
            samples.targets.values,
            temperature=self.temperature,
            cross_fitted=None if None in cross_fitted else np.array(cross_fitted, np.float64),
        )
        return {"kind": self.name, **report.to_dict(), "calibration": calibration}

    def predict(self, examples: Sequence[TextExample], samples: Samples, logits: Ragged) -> list[Prediction]:
        names = self.labels.names
        best = logits.values.argmax(axis=1).tolist()
        rows = softmax(logits.values, temperature=self.temperature).tolist()
        return [
            Prediction(
                text=example.text,
                text_pair=example.text_pair,
                label=names[label_id],
                probability=row[label_id],
                probabilities=dict(zip(names, row, strict=True)),
            )
            for example, label_id, row in zip(examples, best, rows, strict=True)
        ]

    def judge(self, example: TextExample, prediction: Prediction) -> dict[str, Any]:
        [label_id] = self.labels.ids_of([example])
        return prediction.to_dict() | {"label": self.labels.names[label_id], "predicted": prediction.label}

    @classmethod
    def line_scores(cls, lines: Sequence[Mapping[str, Any]]) -> dict[str, SummedScore]:
        labels = list(dict.fromkeys(label for line in lines for label in line["probabilities"]))
        scores = label_scores(lambda line: ([line["label"]], [line["predicted"]]), labels)
        return super().line_scores(lines) | {name: scores[name] for name in ("mcc", "f1")}


def _parse_weights(given: Sequence[str], labels: Labels) -> list[float]:
    """Read a number for each label, in the order of ids, or `label=number` for some."""
    weights = dict.fromkeys(labels.names, 1.0)
    is_named = [part.rpartition("=")[1] == "=" for part in given]
    try:
        if all(is_named):
            for part in given:
                name, _, number = part.rpartition("=")
                weights[labels.names[labels.ids[name]]] = float(number)
        elif any(is_named) or len(given) != len(weights):
            raise ValueError
        else:
            weights = dict(zip(weights, map(float, given), strict=True))
    except (KeyError, ValueError):
        raise SettingsError(
            f"class_weights is {' '.join(given)}: give balanced, or a number for each of the labels "
            f"{', '.join(labels.names)} in this order, or label=number"
        ) from None
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()) or not any(weights.values()):
        raise SettingsError(f"class_weights is {' '.join(given)}: weights are 0 or more, and one at least is not 0")
    return list(weights.values())
