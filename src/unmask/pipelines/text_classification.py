"""Labels of texts and pairs of texts: one of several, any of several, or a score.

`{"label", "score"}` as transformers gives it. Probabilities are those of `unmask predict`: where a temperature was
fitted, the logits are divided by it first, which transformers does not do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unmask.logits import sigmoid, softmax
from unmask.pipelines.base import Pipeline, PipelineOptions, check_option, tell_cut
from unmask.pipelines.encoding import too_long
from unmask.pipelines.inputs import InputRow, parse_text
from unmask.tasks import Classification, TextExample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unmask.pipelines.opening import OpenModel
    from unmask.ragged import Ragged
    from unmask.runtimes import Steps
    from unmask.tasks import Samples

__all__ = ["ClassificationOptions", "LabelScore", "TextClassification", "rank_labels"]

LabelScore = dict[str, Any]

Function = Literal["softmax", "sigmoid", "none"]
_FUNCTIONS: tuple[Function, ...] = ("softmax", "sigmoid", "none")


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(PipelineOptions):
    """What a call may be told.

    Args:
        top_k: how many labels to give of each text, in a list, the highest score first; None gives all. "best" gives
            the best alone, not in a list.
        function_to_apply: what makes scores of logits: "softmax", "sigmoid" or "none". None leaves it to the model:
            none for a regression, the sigmoid where a text may have any number of labels or there is but one, else the
            softmax.
        truncation: whether a text that is too long is cut, where the model was taught to cut; False refuses it. None
            cuts for models fine-tuned by unmask, which learnt with texts cut so, and refuses for others.
    """

    top_k: int | Literal["best"] | None = "best"
    function_to_apply: Function | None = None
    truncation: bool | None = None

    def __post_init__(self) -> None:
        top_k, function = self.top_k, self.function_to_apply
        is_number = isinstance(top_k, int) and not isinstance(top_k, bool) and top_k >= 1
        check_option("top_k", top_k, "1 or more, or None", is_met=top_k in (None, "best") or is_number)
        check_option(
            "function_to_apply", function, f"one of {', '.join(_FUNCTIONS)}", is_met=function in (None, *_FUNCTIONS)
        )


class TextClassification(Pipeline[TextExample, LabelScore | list[LabelScore], ClassificationOptions]):
    """Asks a classifier, or a regression, for labels.

    An input is a text, or a pair: `{"text": ..., "text_pair": ...}`, or two texts in a list.
    """

    task = "text-classification"
    head = "sequence-classification"
    Options = ClassificationOptions

    def __init__(self, model: OpenModel, **options: Any) -> None:
        super().__init__(model, **options)
        self._of_task = model.task

    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> TextExample:
        given = parse_text(raw, source=source, line=line, pair="may")
        return TextExample(text=given.text, text_pair=given.text_pair, label=None, source=source, line=line)

    def steps(
        self, inputs: Sequence[TextExample], options: ClassificationOptions
    ) -> Steps[list[LabelScore | list[LabelScore]]]:
        results: dict[int, LabelScore | list[LabelScore]] = {}
        for is_pair in (False, True):  # a batch of a task holds one kind
            places = [place for place, one in enumerate(inputs) if (one.text_pair is not None) == is_pair]
            if not places:
                continue
            samples = self._encode([inputs[place] for place in places], options)
            outputs: Ragged = yield samples
            scores = self._scores(self._of_task.gather(outputs, samples).values, options.function_to_apply)
            results |= zip(places, rank_labels(scores, self.model.labels, options.top_k), strict=True)
        return [results[place] for place in range(len(inputs))]

    def alone(self, result: LabelScore | list[LabelScore], raw: Any, given: Mapping[str, Any]) -> Any:
        """The best label of one text stands in a list, that of an object by itself, as transformers gives them."""
        value = raw.value if isinstance(raw, InputRow) else raw
        return result if "top_k" in given or isinstance(value, Mapping) else [result]

    def _encode(self, inputs: Sequence[TextExample], options: ClassificationOptions) -> Samples:
        task, max_length = self._of_task, self.model.max_trained_length
        samples = task.encode(inputs, self.tokenizer, max_seq_length=max_length, with_targets=False)
        if samples.num_truncated_texts:
            if not (options.truncation if options.truncation is not None else self.model.memory):
                self._refuse_long(inputs)
            tell_cut(self.task, samples.num_truncated_texts, max_length)
        return samples

    def _refuse_long(self, inputs: Sequence[TextExample]) -> None:
        """Find the first text that was cut, and say how long it is."""
        max_length = self.model.max_trained_length
        for one in inputs:
            num_tokens = len(self.tokenizer.encode(one.text, one.text_pair))
            if num_tokens > max_length:
                raise too_long(num_tokens, max_length, source=one.source, line=one.line)

    def _scores(self, logits: NDArray[np.float32], function: Function | None) -> NDArray[np.floating]:
        """Scores of each label, (B, labels)."""
        if function is None:
            problem = self.model.config.get("problem_type")
            is_one_of_several = len(self.model.labels) > 1 and problem != "multi_label_classification"
            function = "none" if problem == "regression" else "softmax" if is_one_of_several else "sigmoid"
            if function == "softmax" and isinstance(self._of_task, Classification):
                return softmax(logits, temperature=self._of_task.temperature)
        if function == "softmax":
            return softmax(logits)
        return sigmoid(logits) if function == "sigmoid" else logits


def rank_labels(
    scores: NDArray[np.floating], labels: Sequence[str], top_k: int | Literal["best"] | None
) -> list[LabelScore | list[LabelScore]]:
    """Give the labels of each text with their scores (B, labels), the highest first; see `ClassificationOptions`."""
    if top_k == "best":
        best = scores.argmax(axis=1)
        chosen = np.take_along_axis(scores, best[:, None], axis=1)[:, 0]
        return [
            {"label": labels[label], "score": score}
            for label, score in zip(best.tolist(), chosen.tolist(), strict=True)
        ]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    sorted_scores = np.take_along_axis(scores, order, axis=1)
    return [
        [{"label": labels[label], "score": score} for label, score in zip(own, own_scores, strict=True)]
        for own, own_scores in zip(order.tolist(), sorted_scores.tolist(), strict=True)
    ]
