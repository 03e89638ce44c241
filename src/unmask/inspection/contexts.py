"""One word in two sentences: how its vector changes from layer to layer, away from the static one and apart.

Ethayarajh 2019, "How Contextual are Contextualized Word Representations?" (arXiv:1909.00512), section 3: the cosine of
a word's vectors in different contexts tells how much context they took up. As all vectors of a layer may lie in a
narrow cone, that is to be read beside the cosine of words that have nothing in common (sections 3 and 4.1).

Axes: L layers, D hidden.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from unmask.errors import DataError
from unmask.models.registry import encoder_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.inspection.reading import ReadText
    from unmask.models.encoder import Encoder

__all__ = ["ContextLayer", "ContextualWord", "compare_contexts"]


@dataclass(frozen=True, kw_only=True)
class ContextLayer:
    """Cosines of one layer, each in [-1, 1].

    Args:
        layer: 0 is what enters the first block, embeddings with their positions; then each block's output.
        between: of the word's two vectors, one a sentence.
        first_to_static: of the first and the word's static embedding.
        second_to_static: of the second, likewise.
        other_words: of the other tokens of one sentence and those of the other, on average: what is usual here.
    """

    layer: int
    between: float
    first_to_static: float
    second_to_static: float
    other_words: float


@dataclass(frozen=True, kw_only=True)
class ContextualWord:
    """A word in two sentences.

    Args:
        word: as it was asked for.
        first: the first sentence.
        second: the second.
        first_tokens: the word's pieces there; where there are several, their mean was compared.
        second_tokens: in the second.
        layers: from the embeddings to the last.
    """

    word: str
    first: str
    second: str
    first_tokens: tuple[str, ...]
    second_tokens: tuple[str, ...]
    layers: tuple[ContextLayer, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return asdict(self)


def compare_contexts(model: nn.Module, word: str, first: ReadText, second: ReadText) -> ContextualWord:
    """Compare the vectors of a word in two sentences, layer by layer.

    Args:
        model: of any family, in eval mode. The static embedding is the row of the table, projected to the hidden size
            where the family does so (ALBERT, ELECTRA).
        word: its first occurrence in each sentence is taken.
        first: a sentence.
        second: another.

    Raises:
        DataError: the word does not occur in one of them, or a sentence has no other word.
    """
    encoder = encoder_of(model)
    places = [read.find(word) for read in (first, second)]
    states = [_states(encoder, read) for read in (first, second)]  # (L + 1, S, D) each
    ids = [read.encoding.input_ids for read in (first, second)]
    static = [_static(encoder, [of[at] for at in own]) for of, own in zip(ids, places, strict=True)]
    others = [_others(read, own) for read, own in zip((first, second), places, strict=True)]
    layers = []
    for layer, (one, two) in enumerate(zip(*states, strict=True)):
        vectors = [state[own].mean(0) for state, own in zip((one, two), places, strict=True)]
        usual = F.normalize(one[others[0]], dim=-1) @ F.normalize(two[others[1]], dim=-1).T
        layers.append(
            ContextLayer(
                layer=layer,
                between=_cosine(*vectors),
                first_to_static=_cosine(vectors[0], static[0]),
                second_to_static=_cosine(vectors[1], static[1]),
                other_words=float(usual.mean()),
            )
        )
    return ContextualWord(
        word=word,
        first=first.text,
        second=second.text,
        first_tokens=tuple(first.tokens[at] for at in places[0]),
        second_tokens=tuple(second.tokens[at] for at in places[1]),
        layers=tuple(layers),
    )


def _states(encoder: Encoder, read: ReadText) -> Tensor:
    """What enters the first block and what leaves each, float64, (L + 1, S, D)."""
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        encoded = encoder(read.to_batch().to(device), output_hidden_states=True)
    assert encoded.hidden_states is not None
    return torch.stack(encoded.hidden_states).double()


def _static(encoder: Encoder, ids: list[int]) -> Tensor:
    with torch.inference_mode():
        vector = encoder.embeddings.word.table[ids].mean(0)
        return (vector if encoder.projection is None else encoder.projection(vector)).double()


def _others(read: ReadText, own: list[int]) -> list[int]:
    """The positions of all words but this one.

    Raises:
        DataError: there is none.
    """
    others = [at for at, owner in enumerate(read.encoding.sequence_ids) if owner is not None and at not in own]
    if not others:
        raise DataError(f"{read.text!r} holds this word alone: give a sentence around it")
    return others


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one, other, dim=-1))
