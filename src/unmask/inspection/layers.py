"""How far each layer's output lies from its input. Axes: T packed tokens, D hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from unmask.models.registry import encoder_of
from unmask.packing import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

__all__ = ["LayerChange", "LayerChanges", "measure_layers"]

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


def measure_layers(model: nn.Module, ids: Sequence[Sequence[int]]) -> list[LayerChange]:
    """Average distance, cosine and angle over all tokens, for each step through the blocks.

    Lan et al. 2020 (arXiv:1909.11942), section 3.1 and figure 1.

    Args:
        model: of any family, in eval mode.
        ids: token ids of each text, none of them empty.
    """
    encoder = encoder_of(model)
    rows: list[Tensor] = []

    def take(block: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        before, after = inputs[0].double(), output.double()  # (T, D)
        cosine = F.cosine_similarity(before, after, dim=-1)
        degrees = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))
        rows.append(torch.stack([(after - before).norm(dim=-1), cosine, degrees]).sum(-1))

    sums = torch.zeros(len(encoder.order), 3, dtype=torch.float64)
    # Hooks see a block's own output: the hidden states a GPT-2 gives end in those behind its final norm.
    hooks = [block.register_forward_hook(take) for block in encoder.blocks]
    try:
        for start in range(0, len(ids), _TEXTS_AT_ONCE):
            rows.clear()
            with torch.inference_mode():
                encoder(pack(ids[start : start + _TEXTS_AT_ONCE]))
            sums += torch.stack(rows).cpu()
    finally:
        for hook in hooks:
            hook.remove()
    return [
        LayerChange(layer=layer, l2_distance=distance, cosine=cosine, degrees=degrees)
        for layer, (distance, cosine, degrees) in enumerate((sums / sum(map(len, ids))).tolist(), start=1)
    ]
