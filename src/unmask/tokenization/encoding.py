"""What a text becomes: lists of equal length, one entry per token; and how they are cut and padded.

Cutting and padding work on finished encodings, so that the tokenizer itself holds no state that calls could share.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    import tokenizers

__all__ = ["BatchEncoding", "Encoding", "Padding", "Truncation"]

Truncation = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Padding = Literal["longest", "max_length", "do_not_pad"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """The tokens of one text or pair.

    Attributes:
        input_ids: vocabulary ids.
        token_type_ids: 0 for the first text, 1 for the second, where the model tells them apart.
        attention_mask: 1 = attend, 0 = padding.
        special_tokens_mask: 1 for the tokens that no text brought: [CLS], [SEP], padding.
        tokens: the pieces as the vocabulary spells them.
        offsets: start and end of each token in its own text, in characters; (0, 0) for special tokens.
        word_ids: which word of its text a token belongs to, from 0; None for special tokens.
        sequence_ids: 0 for the first text, 1 for the second; None for special tokens.
        num_truncated_tokens: how many tokens were cut to fit `max_length`.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    attention_mask: list[int]
    special_tokens_mask: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]
    sequence_ids: list[int | None]
    num_truncated_tokens: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)

    @classmethod
    def from_backend(cls, encoding: tokenizers.Encoding) -> Encoding:
        """Copy what the `tokenizers` library made of a text."""
        return cls(
            input_ids=encoding.ids,
            token_type_ids=encoding.type_ids,
            attention_mask=encoding.attention_mask,
            special_tokens_mask=encoding.special_tokens_mask,
            tokens=encoding.tokens,
            offsets=encoding.offsets,
            word_ids=encoding.word_ids,
            sequence_ids=encoding.sequence_ids,
        )

    def columns(self) -> dict[str, list[Any]]:
        """Every list, by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "num_truncated_tokens"}


@dataclass(frozen=True, slots=True)
class BatchEncoding:
    """The encodings of a batch, in the order of its texts."""

    encodings: list[Encoding]

    def __len__(self) -> int:
        return len(self.encodings)

    @property
    def input_ids(self) -> list[list[int]]:
        """One list per text, as in its encoding; so are the two below."""
        return [encoding.input_ids for encoding in self.encodings]

    @property
    def token_type_ids(self) -> list[list[int]]:
        return [encoding.token_type_ids for encoding in self.encodings]

    @property
    def attention_mask(self) -> list[list[int]]:
        return [encoding.attention_mask for encoding in self.encodings]

    @property
    def num_truncated_texts(self) -> int:
        """How many texts (or pairs) lost tokens."""
        return sum(encoding.num_truncated_tokens > 0 for encoding in self.encodings)

    @property
    def num_truncated_tokens(self) -> int:
        """How many tokens the batch lost."""
        return sum(encoding.num_truncated_tokens for encoding in self.encodings)


def truncate(encoding: Encoding, max_length: int, strategy: Truncation, *, name: str) -> Encoding:
    """Cut tokens off the ends of the texts, until they fit together with their special tokens.

    Args:
        encoding: one text or pair; not modified.
        max_length: tokens to keep at most, special tokens included.
        strategy: `longest_first` cuts the longer text down to the shorter, then both alike; `only_first` and
            `only_second` cut that text alone.
        name: what to call the text in a message.

    Raises:
        DataError: the text to cut would have nothing left beside the other.
    """
    if strategy == "do_not_truncate" or len(encoding) <= max_length:
        return encoding
    lengths = encoding.sequence_ids.count(0), encoding.sequence_ids.count(1)
    kept = _kept_lengths(lengths, max_length - encoding.sequence_ids.count(None), strategy)
    if kept is None:
        raise DataError(
            f"{name}: {strategy} cannot cut a pair of {lengths[0]} and {lengths[1]} tokens to max_length {max_length} "
            "(special tokens included): use longest_first, or a larger max_length"
        )
    positions: list[int] = []
    num_seen = [0, 0]
    for position, sequence_id in enumerate(encoding.sequence_ids):
        if sequence_id is not None:
            num_seen[sequence_id] += 1
        if sequence_id is None or num_seen[sequence_id] <= kept[sequence_id]:
            positions.append(position)
    columns = {name: [values[position] for position in positions] for name, values in encoding.columns().items()}
    return Encoding(**columns, num_truncated_tokens=len(encoding) - len(positions))


def _kept_lengths(lengths: tuple[int, int], room: int, strategy: Truncation) -> tuple[int, int] | None:
    """Share `room` tokens, fewer than there are, between two texts; None if the strategy cannot."""
    first, second = lengths
    if strategy == "longest_first":
        shorter = min(first, second, room // 2)
        return (room - shorter, shorter) if first > second else (shorter, room - shorter)
    untouched = second if strategy == "only_first" else first
    if untouched and untouched >= room:
        return None
    return (room - second, second) if strategy == "only_first" else (first, room - first)


def pad(encoding: Encoding, length: int, pad_token: str, pad_token_id: int) -> Encoding:
    """Fill an encoding at its end to `length` tokens; a longer one stays as it is."""
    num_missing = max(0, length - len(encoding))
    filling: dict[str, Any] = {
        "input_ids": pad_token_id,
        "token_type_ids": 0,
        "attention_mask": 0,
        "special_tokens_mask": 1,
        "tokens": pad_token,
        "offsets": (0, 0),
        "word_ids": None,
        "sequence_ids": None,
    }
    columns = {name: values + [filling[name]] * num_missing for name, values in encoding.columns().items()}
    return Encoding(**columns, num_truncated_tokens=encoding.num_truncated_tokens)


def check_choice(name: str, value: str, choices: Any) -> None:
    """Refuse a value that the Literal type `choices` does not list.

    Raises:
        SettingsError: naming the value and the choices.
    """
    if value not in get_args(choices):
        raise SettingsError(f"{name} is {value!r}, but must be one of {', '.join(get_args(choices))}")
