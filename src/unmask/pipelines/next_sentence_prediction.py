"""Does the second text follow the first? BERT's other objective, and ALBERT's: are the two in order?

Devlin et al. 2019 (arXiv:1810.04805), section 3.1, task 2; Lan et al. 2020 (arXiv:1909.11942), section 3.1. There is no
such pipeline in transformers; results have the shape of text-classification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unmask.logits import softmax
from unmask.pipelines.base import Pipeline, PipelineOptions, check_option
from unmask.pipelines.encoding import encode_inputs, samples_of
from unmask.pipelines.inputs import TextInput, parse_text
from unmask.pipelines.text_classification import LabelScore, rank_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.runtimes import Steps

__all__ = ["NextSentenceOptions", "NextSentencePrediction"]

_OF_NEXT, _OF_ORDER = ("IsNext", "NotNext"), ("InOrder", "Swapped")  # label 0 first, as Google's checkpoints have it


@dataclass(frozen=True, kw_only=True)
class NextSentenceOptions(PipelineOptions):
    """What a call may be told.

    Args:
        top_k: how many of the two labels to give, in a list, the likelier first; None gives both. "best" gives the
            likelier alone, not in a list.
        truncation: cut pairs that are too long, the longer text first, in place of refusing them.
    """

    top_k: int | Literal["best"] | None = "best"
    truncation: bool = False

    def __post_init__(self) -> None:
        check_option("top_k", self.top_k, "1, 2 or None", is_met=self.top_k in (None, "best", 1, 2))


class NextSentencePrediction(Pipeline[TextInput, LabelScore | list[LabelScore], NextSentenceOptions]):
    """Asks of pairs whether one follows the other: IsNext or NotNext; of ALBERT InOrder or Swapped.

    An input is a pair: `{"text": ..., "text_pair": ...}`, or two texts in a list.
    """

    task = "next-sentence-prediction"
    head = "next-sentence"
    Options = NextSentenceOptions

    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> TextInput:
        return parse_text(raw, source=source, line=line, pair="must")

    def steps(
        self, inputs: Sequence[TextInput], options: NextSentenceOptions
    ) -> Steps[list[LabelScore | list[LabelScore]]]:
        encodings = encode_inputs(
            inputs, self.tokenizer, max_length=self.runtime.max_seq_length, is_cut=options.truncation, task=self.task
        )
        outputs = yield samples_of(encodings)
        labels = _OF_ORDER if self.model.config.get("model_type") == "albert" else _OF_NEXT
        return rank_labels(softmax(np.asarray(outputs.values)), labels, options.top_k)
