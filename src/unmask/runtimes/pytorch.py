"""Models on torch: packed, so that nothing is computed on padding."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unmask.packing import pack
from unmask.ragged import Ragged, offsets_of
from unmask.runtimes.runtime import SEQUENCE_HEADS, Runtime

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TorchRuntime"]

_OUTPUTS = {"encoder": "last_hidden_state", "pre-training": "prediction_logits"}  # of the others it is "logits"


class TorchRuntime(Runtime):
    """A model of ours, in float32.

    Args:
        model: an encoder, or one with a head, in eval mode; it stays where it is. Of a head for masked words and pairs
            the words are what is asked.
        max_seq_length: tokens of the longest sequence it takes.
    """

    def __init__(self, model: nn.Module, *, max_seq_length: int) -> None:
        self.model = model
        self.head = getattr(model, "head", "encoder")
        self.max_seq_length = max_seq_length
        self._takes_rows = "rows" in inspect.signature(model.forward).parameters

    def run(self, input_ids: Ragged, token_type_ids: Ragged, rows: Ragged | None = None) -> Ragged:
        device = self._device
        batch = pack(input_ids, token_type_ids).to(device)
        lengths = np.ones(len(input_ids), np.int64) if self.head in SEQUENCE_HEADS else input_ids.lengths
        flat = None
        if rows is not None:
            lengths = rows.lengths
            flat = torch.from_numpy(rows.values + np.repeat(input_ids.offsets[:-1], lengths)).to(device)
        with torch.inference_mode():
            output: Any = self.model(batch, rows=flat) if flat is not None and self._takes_rows else self.model(batch)
            values = getattr(output, _OUTPUTS.get(self.head, "logits"))
            if flat is not None and not self._takes_rows:
                values = values[flat]
            if values.dim() == 1:  # one number a token: was it replaced?
                values = values[:, None]
            return Ragged(values.float().cpu().numpy(), offsets_of(lengths))

    @property
    def num_threads(self) -> int:
        return torch.get_num_threads() if self._device.type == "cpu" else 1

    def set_num_threads(self, count: int) -> None:
        if self._device.type == "cpu":
            torch.set_num_threads(count)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device
