"""Look into models: what each layer does to what it is given.

unmask inspect bert-base-uncased albert-base-v2 --layers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from unmask.errors import SettingsError
from unmask.models.registry import encoder_of
from unmask.packing import pack
from unmask.workflows.loading import Pretrained, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from unmask.models.encoder import Encoder

__all__ = ["LayerChange", "LayerChanges", "inspect_layers"]

_TEXTS = (
    "The old lighthouse had not been lit for thirty years, and the fishermen had learnt to do without it.",
    "Which of the two reports that you sent me yesterday should I read first?",
    "Water boils at a lower temperature in the mountains, because the air presses less on its surface.",
    "She put the letter back into its envelope, unread, and asked him to take it away.",
    "In 1969 the committee met eleven times, agreed on nothing, and was then dissolved by its chairman.",
    "To install the program, copy the folder to your computer and run the first file in it.",
    "Nobody believed the boy when he said that the river had changed its colour overnight.",
    "The price of bread rose by a fifth within a month; by the end of the winter it had doubled.",
)
_TEXTS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class LayerChange:
    """How far a layer's output lies from its input, on average over tokens.

    Args:
        layer: its number, from 1.
        l2_distance: length of the difference of the two vectors.
        cosine: of the angle between them, in [-1, 1].
        degrees: the angle itself, in [0, 180].
    """

    layer: int
    l2_distance: float
    cosine: float
    degrees: float


@dataclass(frozen=True, kw_only=True)
class LayerChanges:
    """The layers of one model.

    Args:
        model: the name it was asked for by.
        model_type: its family, as config.json names it.
        num_texts: texts it read.
        num_tokens: their tokens, special ones included: what the averages are over.
        layers: from the one next to the embeddings to the last.
    """

    model: str
    model_type: str
    num_texts: int
    num_tokens: int
    layers: tuple[LayerChange, ...]


def inspect_layers(*models: str | Path, texts: Sequence[str] | None = None) -> list[LayerChanges]:
    """Measure how far each layer's output lies from its input: L2 distance and cosine, averaged over tokens.

    Lan et al. 2020 (arXiv:1909.11942), section 3.1 and figure 1: where layers share their parameters (ALBERT) the
    distances change smoothly from layer to layer, where they do not (BERT) they oscillate.

    Args:
        models: folders, hub ids or "minilm".
        texts: what the models read, each cut where its positions end; None takes eight English sentences.

    Raises:
        CheckpointError: nothing usable is found under a name.
        SettingsError: there is no model, or no text.
    """
    if not models:
        raise SettingsError("no model: name one or more, such as bert-base-uncased albert-base-v2")
    texts = _TEXTS if texts is None else tuple(texts)
    if not any(text.strip() for text in texts):
        raise SettingsError("no text: give one or more, or leave texts out for those built in")
    return [_inspect(model, texts) for model in models]


def _inspect(model: str | Path, texts: Sequence[str]) -> LayerChanges:
    pretrained = load(model)
    encoder = encoder_of(pretrained.model)
    ids = _encode(pretrained, texts)
    sums = torch.zeros(len(encoder.order), 3, dtype=torch.float64)
    for start in range(0, len(ids), _TEXTS_AT_ONCE):
        sums += _measure(encoder, ids[start : start + _TEXTS_AT_ONCE])
    num_tokens = sum(map(len, ids))
    return LayerChanges(
        model=str(model),
        model_type=pretrained.config.model_type,
        num_texts=len(ids),
        num_tokens=num_tokens,
        layers=tuple(
            LayerChange(layer=layer, l2_distance=distance, cosine=cosine, degrees=degrees)
            for layer, (distance, cosine, degrees) in enumerate((sums / num_tokens).tolist(), start=1)
        ),
    )


def _encode(pretrained: Pretrained, texts: Sequence[str]) -> list[list[int]]:
    encodings = pretrained.tokenizer.encode_batch(texts, max_length=pretrained.max_seq_length).encodings
    return [list(encoding.input_ids) for encoding in encodings if encoding.input_ids]


def _measure(encoder: Encoder, ids: Sequence[Sequence[int]]) -> Tensor:
    """Sum distance, cosine and angle over tokens, for each step through the blocks, float64, (steps, 3)."""
    rows: list[Tensor] = []

    def take(block: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        before, after = inputs[0].double(), output.double()  # (T, D)
        cosine = F.cosine_similarity(before, after, dim=-1)
        degrees = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))
        rows.append(torch.stack([(after - before).norm(dim=-1), cosine, degrees]).sum(-1))

    # Hooks see a block's own output: the hidden states a GPT-2 gives end in those behind its final norm.
    hooks = [block.register_forward_hook(take) for block in encoder.blocks]
    try:
        with torch.inference_mode():
            encoder(pack(ids))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(rows)
