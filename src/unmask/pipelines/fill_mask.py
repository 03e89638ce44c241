"""Words behind [MASK], each mask by itself, in transformers' shape.

Words for several masks together, and words of several pieces, are looked for by `unmask.filling`, on the same steps.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.filling.questions import guess_pieces
from unmask.filling.texts import TextWithMasks
from unmask.pipelines.base import Pipeline, PipelineOptions, check_option
from unmask.pipelines.encoding import too_long
from unmask.pipelines.inputs import parse_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unmask.pipelines.opening import OpenModel
    from unmask.runtimes import Steps

__all__ = ["FillMask", "FillMaskOptions", "MaskGuess", "MaskedInput"]

MaskGuess = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FillMaskOptions(PipelineOptions):
    """What a call may be told.

    Args:
        top_k: guesses a mask, the likeliest first; with targets no more than there are of these.
        targets: a word, or words, to choose among in place of the whole vocabulary, each a piece of it; scores remain
            those among all pieces.
    """

    top_k: int = 5
    targets: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        is_number = isinstance(self.top_k, int) and not isinstance(self.top_k, bool)
        check_option("top_k", self.top_k, "1 or more", is_met=is_number and self.top_k >= 1)


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """A text with masks, encoded, and where it comes from."""

    text: TextWithMasks
    source: str
    line: int


class FillMask(Pipeline[MaskedInput, list[MaskGuess] | list[list[MaskGuess]], FillMaskOptions]):
    """Asks for the words behind the masks of a text.

    An input is a text with one mask or more, written as the tokenizer writes it, or as [MASK] or <mask>. The result for
    one mask is a list of `{"score", "token", "token_str", "sequence"}`, for several a list of such lists. As in
    transformers, `sequence` is what the tokens decode to (without case, where the model has none), and with several
    masks shows the special tokens and the masks that are left.
    """

    task = "fill-mask"
    head = "masked-lm"
    Options = FillMaskOptions

    def __init__(self, model: OpenModel, **options: Any) -> None:
        super().__init__(model, **options)
        if self.tokenizer.mask_token is None:
            raise CheckpointError(f"{model.name}: its tokenizer has no mask token, so there is nothing to fill")

    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> MaskedInput:
        given = parse_text(raw, source=source, line=line)
        try:
            text = TextWithMasks.of(self.tokenizer, given.text)
        except DataError as error:
            raise DataError(error.problem, path=source, line=line) from error
        return MaskedInput(text, source, line)

    def steps(
        self, inputs: Sequence[MaskedInput], options: FillMaskOptions
    ) -> Steps[list[list[MaskGuess] | list[list[MaskGuess]]]]:
        max_length = self.runtime.max_seq_length
        for one in inputs:
            if len(one.text.input_ids) > max_length:
                raise too_long(len(one.text.input_ids), max_length, source=one.source, line=one.line, advice="")
        among = None if options.targets is None else self._target_ids(options.targets)
        texts = [one.text for one in inputs]
        guessed = yield from guess_pieces(texts, self.tokenizer, top_k=options.top_k, among=among)
        return [self._result(one.text, masks) for one, masks in zip(inputs, guessed, strict=True)]

    def _result(
        self, text: TextWithMasks, masks: Sequence[Sequence[tuple[int, float]]]
    ) -> list[MaskGuess] | list[list[MaskGuess]]:
        results = []
        for position, guesses in zip(text.positions, masks, strict=True):
            rows = []
            for token, score in guesses:
                ids = [*text.input_ids[:position], token, *text.input_ids[position + 1 :]]
                sequence = self.tokenizer.decode(ids, skip_special_tokens=len(masks) == 1)
                token_str = self.tokenizer.decode([token], skip_special_tokens=False)
                rows.append({"score": score, "token": token, "token_str": token_str, "sequence": sequence})
            results.append(rows)
        return results[0] if len(results) == 1 else results

    def _target_ids(self, targets: str | Sequence[str]) -> NDArray[np.int64]:
        """Look up the pieces of a list, each once.

        Raises:
            SettingsError: there is none, or one is more than a piece.
        """
        ids = []
        for target in [targets] if isinstance(targets, str) else targets:
            token_id = self.tokenizer.token_to_id(target)
            if token_id is None:
                spellings = (target, f" {target}")
                encodings = self.tokenizer.encode_batch(spellings, add_special_tokens=False).encodings
                found = [encoding.input_ids[0] for encoding in encodings if len(encoding) == 1]
                found = [one for one in found if one != self.tokenizer.unk_token_id]
                if not found:
                    raise SettingsError(
                        f"targets has {reprlib.repr(target)}, which is no piece of the vocabulary: leave it out, or "
                        "have words of several pieces compared with unmask fill"
                    )
                token_id = found[-1]
            ids.append(token_id)
        if not ids:
            raise SettingsError("targets is empty: give a word or more, or leave it out")
        return np.array(list(dict.fromkeys(ids)), np.int64)
