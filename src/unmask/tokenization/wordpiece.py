"""BERT's own tokenizer, built from nothing but its list of pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from unmask.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build_wordpiece", "read_vocab"]


def build_wordpiece(vocab_file: Path, special_tokens: dict[str, str]) -> Backend:
    """Build the uncased BERT tokenizer around a vocabulary.

    Args:
        vocab_file: see `read_vocab`.
        special_tokens: the tokens named cls_token, sep_token, pad_token, unk_token and mask_token.

    Raises:
        CheckpointError: the vocabulary cannot be read, or lacks a special token.
    """
    vocab = read_vocab(vocab_file)
    if missing := [token for token in special_tokens.values() if token not in vocab]:
        raise CheckpointError(
            f"{vocab_file}: the vocabulary lacks {', '.join(missing)}, so it is not a BERT vocabulary"
        )
    cls_token, sep_token = special_tokens["cls_token"], special_tokens["sep_token"]
    backend = Backend(models.WordPiece(vocab, unk_token=special_tokens["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls_token}:0 $A:0 {sep_token}:0",
        pair=f"{cls_token}:0 $A:0 {sep_token}:0 $B:1 {sep_token}:1",
        special_tokens=[(token, vocab[token]) for token in (cls_token, sep_token)],
    )
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(sorted(special_tokens.values(), key=vocab.__getitem__))
    return backend


def read_vocab(vocab_file: Path) -> dict[str, int]:
    """Read one piece per line; the line, counted from 0, is its id.

    Raises:
        CheckpointError: the file is missing, empty or not UTF-8, or a line is empty or repeats another.
    """
    try:
        content = vocab_file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{vocab_file}: cannot be read as a vocabulary ({error})") from error
    if not content:
        raise CheckpointError(f"{vocab_file}: the vocabulary is empty")
    vocab: dict[str, int] = {}
    for index, piece in enumerate(content.removesuffix("\n").split("\n")):  # not splitlines: U+2028 is a piece
        if not piece:
            raise CheckpointError(f"{vocab_file}, line {index + 1}: an empty line, where each line must hold one piece")
        if piece in vocab:
            raise CheckpointError(f"{vocab_file}, line {index + 1}: {piece!r} repeats line {vocab[piece] + 1}")
        vocab[piece] = index
    return vocab
