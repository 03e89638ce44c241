"""Texts as sequences of tokens: cut where that is wanted, refused where it is not."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING

import numpy as np

from unmask.pipelines.base import TooLongError, tell_cut
from unmask.ragged import Ragged
from unmask.tasks import Samples
from unmask.tokenization.encoding import truncate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unmask.pipelines.inputs import TextInput
    from unmask.tokenization import Tokenizer
    from unmask.tokenization.encoding import Encoding

__all__ = ["encode_inputs", "samples_of", "too_long"]


def encode_inputs(
    inputs: Sequence[TextInput], tokenizer: Tokenizer, *, max_length: int, is_cut: bool, task: str
) -> list[Encoding]:
    """Encode texts, or pairs of texts.

    Args:
        inputs: all of them texts alone, or all of them pairs.
        tokenizer: of the model.
        max_length: tokens the model reads, special ones included.
        is_cut: whether longer texts are cut, in place of being refused.
        task: what is done, for a warning.

    Raises:
        DataError: the tokenizer leaves nothing of a text.
        TooLongError: a text is too long.
    """
    pairs = [one.text_pair for one in inputs if one.text_pair is not None]
    encodings = tokenizer.encode_batch([one.text for one in inputs], pairs or None).encodings
    num_cut = 0
    for number, (one, encoding) in enumerate(zip(inputs, encodings, strict=True)):
        if all(encoding.special_tokens_mask):
            raise one.error(f"the tokenizer leaves nothing of the text {reprlib.repr(one.text)}: write another")
        if len(encoding) > max_length:
            if not is_cut:
                raise too_long(len(encoding), max_length, source=one.source, line=one.line)
            encodings[number] = truncate(encoding, max_length, "longest_first", name="the text")
            num_cut += 1
    tell_cut(task, num_cut, max_length)
    return encodings


def too_long(
    num_tokens: int,
    max_length: int,
    *,
    source: str,
    line: int,
    what: str = "the text",
    advice: str = "say truncation=True to have it cut",
) -> TooLongError:
    """Make the error for a text that is not to be cut.

    Args:
        num_tokens: those it has.
        max_length: those the model reads.
        source: where it comes from.
        line: which it is there.
        what: it is called.
        advice: what to do but to shorten it.
    """
    return TooLongError(
        f"{what} has {num_tokens} tokens, and the model reads {max_length}: shorten it"
        + (f", or {advice}" if advice else ""),
        path=source,
        line=line,
    )


def samples_of(encodings: Sequence[Encoding], rows: Sequence[Sequence[int]] | None = None) -> Samples:
    """Make samples of encodings, one sequence each.

    Args:
        encodings: one at least.
        rows: the tokens asked for of each, as positions; None leaves it to the model's head.
    """
    return Samples(
        input_ids=Ragged.of((encoding.input_ids for encoding in encodings), np.int64),
        token_type_ids=Ragged.of((encoding.token_type_ids for encoding in encodings), np.int64),
        rows=None if rows is None else Ragged.of(rows, np.int64),
    )
