"""ALBERT's tokenizer, built from its spiece.model: a reader of the few fields of that file that matter.

The file is a protocol buffer: fields, each with a number and a wire type in its key, nested as bytes. Field 1,
repeated, is a piece (1 its text, 2 its score, 3 its type); field 3 is the normalizer (2 its table of replacements).
See sentencepiece_model.proto in google/sentencepiece.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers

from unmask.errors import CheckpointError
from unmask.tokenization.families import FAMILIES, add_special_tokens, set_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["SentencePieceModel", "build_albert", "metaspace", "quote_steps"]


@dataclass(frozen=True)
class SentencePieceModel:
    """What a spiece.model says.

    Attributes:
        pieces: each with its score, a log-probability; their order gives the ids.
        replacements: SentencePiece's own table for normalizing, as it stands in the file; may be empty.
    """

    pieces: list[tuple[str, float]]
    replacements: bytes

    @classmethod
    def read(cls, path: Path) -> SentencePieceModel:
        """Read the file.

        Raises:
            CheckpointError: the file is missing, cut short, or something else.
        """
        try:
            content = path.read_bytes()
            pieces: list[tuple[str, float]] = []
            replacements = b""
            for number, value in _fields(content):
                if number == 1:
                    piece = dict(_fields(value))
                    pieces.append((piece[1].decode(), struct.unpack("<f", piece.get(2, bytes(4)))[0]))
                elif number == 3:
                    replacements = dict(_fields(value)).get(2, b"")
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, IndexError, KeyError, AttributeError, TypeError, struct.error) as error:
            raise CheckpointError(f"{path}: not a SentencePiece model, or cut short; copy it again") from error
        if not pieces:
            raise CheckpointError(f"{path}: a SentencePiece model without pieces; copy it again")
        return cls(pieces, replacements)


def build_albert(path: Path, config: Mapping[str, Any]) -> tuple[Backend, dict[str, str]]:
    """Build ALBERT's tokenizer (Lan et al. 2020) from its spiece.model.

    Args:
        path: the file.
        config: what tokenizer_config.json says; of it `do_lower_case` (true) and `keep_accents` (false) matter here.

    Returns:
        The backend and its special tokens by name.

    Raises:
        CheckpointError: the file cannot be read, or is another family's.
    """
    model = SentencePieceModel.read(path)
    layout = FAMILIES["albert"]
    ids = {piece: index for index, (piece, _) in enumerate(model.pieces)}
    if missing := [token for token in dict.fromkeys(layout.special_tokens.values()) if token not in ids]:
        raise CheckpointError(
            f"{path}: the pieces lack {', '.join(missing)}, so this is not ALBERT's; of the families that use "
            "SentencePiece only ALBERT is known here"
        )
    backend = Backend(models.Unigram(model.pieces, unk_id=ids["<unk>"], byte_fallback=False))
    steps = quote_steps()
    if not config.get("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if config.get("do_lower_case", True):
        steps.append(normalizers.Lowercase())
    if model.replacements:
        steps.append(normalizers.Precompiled(model.replacements))
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer, backend.decoder = metaspace()
    set_template(backend, layout, is_byte_level=False)
    add_special_tokens(backend, layout.special_tokens, layout)
    return backend, dict(layout.special_tokens)


def quote_steps() -> list[normalizers.Normalizer]:
    """ALBERT writes the quotes of TeX and the Penn Treebank as one character."""
    return [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]


def metaspace() -> tuple[pre_tokenizers.PreTokenizer, decoders.Decoder]:
    """Words begin with ▁, the first of a text too; and the way back."""
    pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    return pre_tokenizer, decoders.Metaspace(replacement="▁", prepend_scheme="always")


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer message: number, and the value as an int or as bytes."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, place = _varint(content, place)
            yield number, value
            continue
        if wire_type == 2:
            length, place = _varint(content, place)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"no wire type {wire_type}")
        if place + length > len(content):
            raise ValueError("cut short")
        yield number, content[place : place + length]
        place += length


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
