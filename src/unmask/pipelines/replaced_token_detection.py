"""Which words are not the writer's? ELECTRA's discriminator on each token of a text.

Clark et al. 2020 (arXiv:2003.10555), section 2. transformers has no such pipeline; the keys are those of its
token-classification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unmask.logits import sigmoid
from unmask.pipelines.base import Pipeline, PipelineOptions, check_option
from unmask.pipelines.encoding import encode_inputs, samples_of
from unmask.pipelines.inputs import TextInput, parse_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.runtimes import Steps

__all__ = ["ReplacedTokenDetection", "ReplacedTokenOptions", "TokenVerdict"]

TokenVerdict = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReplacedTokenOptions(PipelineOptions):
    """What a call may be told.

    Args:
        threshold: the probability from which a token counts as replaced, in [0, 1].
        only_replaced: leave out the tokens that do not.
        truncation: cut texts that are too long, in place of refusing them.
    """

    threshold: float = 0.5
    only_replaced: bool = False
    truncation: bool = False

    def __post_init__(self) -> None:
        is_number = isinstance(self.threshold, int | float)
        check_option("threshold", self.threshold, "from 0 to 1", is_met=is_number and 0 <= self.threshold <= 1)


class ReplacedTokenDetection(Pipeline[TextInput, list[TokenVerdict], ReplacedTokenOptions]):
    """Asks of each token of a text how likely it is that another stood there.

    The result of a text is a list of `{"word", "score", "is_replaced", "index", "start", "end"}`, one a token without
    the special ones: `word` as the vocabulary has it, `score` the probability that it was replaced, `index` its
    position among the tokens, `start` and `end` its characters in the text.
    """

    task = "replaced-token-detection"
    head = "replaced-token"
    Options = ReplacedTokenOptions

    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> TextInput:
        return parse_text(raw, source=source, line=line)

    def steps(self, inputs: Sequence[TextInput], options: ReplacedTokenOptions) -> Steps[list[list[TokenVerdict]]]:
        encodings = encode_inputs(
            inputs, self.tokenizer, max_length=self.runtime.max_seq_length, is_cut=options.truncation, task=self.task
        )
        outputs = yield samples_of(encodings)
        results = []
        for encoding, logits in zip(encodings, outputs, strict=True):
            scores = sigmoid(logits.reshape(-1)).tolist()
            columns = zip(encoding.tokens, scores, encoding.offsets, encoding.special_tokens_mask, strict=True)
            results.append(
                [
                    {
                        "word": token,
                        "score": score,
                        "is_replaced": score >= options.threshold,
                        "index": index,
                        "start": start,
                        "end": end,
                    }
                    for index, (token, score, (start, end), is_special) in enumerate(columns)
                    if not is_special and (score >= options.threshold or not options.only_replaced)
                ]
            )
        return results
