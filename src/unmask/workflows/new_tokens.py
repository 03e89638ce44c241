"""Words added to the vocabulary of a model: what it is to know better than as a row of pieces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from unmask.data.sources import numbered_lines
from unmask.errors import DataError
from unmask.models.registry import encoder_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from unmask.tokenization import Tokenizer

__all__ = ["add_tokens", "grow_vocabulary", "read_new_tokens"]


def read_new_tokens(new_tokens: Sequence[str]) -> tuple[str, ...]:
    """List the tokens that are named, or stand in the files that are named, one a line; each once.

    Raises:
        DataError: a file is missing or no text.
    """
    tokens: list[str] = []
    for name in new_tokens:
        path = Path(name)
        if path.is_file():
            tokens += [line.strip() for _, line in numbered_lines(path) if line.strip()]
        elif path.suffix == ".txt":
            raise DataError("there is no such file of new tokens", path=path)
        else:
            tokens.append(name)
    return tuple(dict.fromkeys(tokens))


def add_tokens(tokenizer: Tokenizer, new_tokens: Sequence[str]) -> Tokenizer:
    """Make a tokenizer that knows these words too.

    Raises:
        DataError: it knows one of them already, so there is nothing to add.
    """
    for token in new_tokens:
        if tokenizer.token_to_id(token) is not None:
            raise DataError(f"new_tokens: {token!r} is in the vocabulary already: leave it out")
    return tokenizer.with_added_tokens(new_tokens) if new_tokens else tokenizer


def grow_vocabulary(model: nn.Module, before: Tokenizer, after: Tokenizer) -> None:
    """Give a model rows for the tokens that were added to its tokenizer.

    A new row is the mean of the rows of the pieces that its word was cut into before, so that the model begins with
    what it knew of the word. The bias of a masked LM head grows likewise.

    Args:
        model: with one head, or a generator and a discriminator on the same embeddings.
        before: the tokenizer of its vocabulary.
        after: the same with new tokens at its end.
    """
    first, last = before.vocab_size, after.vocab_size
    if first == last:
        return
    words = [after.id_to_token(index) or "" for index in range(first, last)]
    pieces = [before.encode(word, add_special_tokens=False).input_ids for word in words]
    models = [getattr(model, name) for name in ("discriminator", "generator") if hasattr(model, name)] or [model]
    word = encoder_of(models[0]).embeddings.word
    word.weight = nn.Parameter(_grown(word.weight.detach(), pieces, first))
    for part in models:
        if (head := getattr(part, "masked_lm", None)) is not None:
            head.bias = nn.Parameter(_grown(head.bias.detach(), pieces, first))
        changed: Any = replace(part.config, vocab_size=len(word.weight))
        for module in part.modules():
            if getattr(module, "config", None) is part.config and module is not part:
                module.config = changed
        part.config = changed


def _grown(rows: Tensor, pieces: Sequence[Sequence[int]], first: int) -> Tensor:
    """Put the mean of each word's rows at its id; a model may have spare rows there already (V, ...)."""
    grown = rows.new_zeros((max(len(rows), first + len(pieces)), *rows.shape[1:]))
    grown[: len(rows)] = rows
    for index, ids in enumerate(pieces, start=first):
        grown[index] = rows[torch.tensor(list(ids))].mean(0) if ids else rows[:first].mean(0)
    return grown
