"""Reference models: transformers' own, tiny and random, in memory; and their batches."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch

from unmask.models.noise import Noise
from unmask.models.registry import load_model
from unmask.packing import PackedBatch, PaddedBatch, pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor, nn

# Every size a different number, so that a swapped axis cannot pass.
TINY = {
    "vocab_size": 101,
    "hidden_size": 33,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 47,
    "max_position_embeddings": 71,
    "type_vocab_size": 2,
}

# What a family has otherwise, by the model_type of its config.
DIFFERENCES: dict[str, dict[str, object]] = {
    "roberta": {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
    "albert": {"embedding_size": 19},
    "electra": {"embedding_size": 17},
}


def hf_model(class_name: str, *, seed: int = 0, attention: str = "eager", **overrides: object) -> nn.Module:
    """Make a random transformers model whose biases and norms are random too, so that none can be left out.

    Args:
        class_name: of any family.
        seed: of its weights.
        attention: transformers' name of the implementation.
        overrides: of the sizes in `TINY` and `DIFFERENCES`.
    """
    import transformers

    model_class = getattr(transformers, class_name)
    config_class = model_class.config_class
    sizes = {**TINY, **DIFFERENCES.get(config_class.model_type, {}), **overrides}
    torch.manual_seed(seed)
    model = model_class(config_class(**sizes, attn_implementation=attention))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def ours_of(reference: nn.Module, folder: Path) -> nn.Module:
    """Load a transformers model through a folder, as a user would."""
    reference.save_pretrained(folder)
    model, report = load_model(folder)
    assert report.is_complete
    assert not report.unused
    return model.eval()


def ragged(
    lengths: list[int], *, seed: int = 0, vocab_size: int = 101, seeds: bool = False, lowest: int = 1
) -> PackedBatch:
    """Random sequences of these lengths, the second half of each of token type 1; no id is below lowest."""
    rng = np.random.default_rng(seed)
    return pack(
        [rng.integers(lowest, vocab_size, length) for length in lengths],
        [[0] * (length - length // 2) + [1] * (length // 2) for length in lengths],
        dropout_seeds=rng.integers(0, 2**62, len(lengths)) if seeds else None,
    )


def padded(batch: PackedBatch, *, length: int | None = None) -> PaddedBatch:
    """The same sequences as rows of a rectangle."""
    lengths = batch.cu_seqlens.diff()
    mask = torch.arange(length or batch.max_seqlen) < lengths[:, None]
    ids, types = torch.zeros(mask.shape, dtype=torch.int64), torch.zeros(mask.shape, dtype=torch.int64)
    ids[mask], types[mask] = batch.input_ids, batch.token_type_ids
    made = PaddedBatch.of(ids, mask.to(torch.int64), types)
    return PaddedBatch(**{**vars(made), "dropout_seeds": batch.dropout_seeds})


def one_by_one(batch: PackedBatch) -> Iterator[PackedBatch]:
    bounds = batch.cu_seqlens.tolist()
    for sequence, (start, stop) in enumerate(itertools.pairwise(bounds)):
        yield PackedBatch(
            input_ids=batch.input_ids[start:stop],
            token_type_ids=batch.token_type_ids[start:stop],
            position_ids=batch.position_ids[start:stop],
            cu_seqlens=torch.tensor([0, stop - start], dtype=torch.int32),
            max_seqlen=stop - start,
            dropout_seeds=None if batch.dropout_seeds is None else batch.dropout_seeds[sequence : sequence + 1],
        )


def hf_inputs(batch: PaddedBatch, reference: nn.Module | None = None) -> dict[str, Tensor]:
    """What transformers takes: token types only if the reference knows two, as it refuses those it does not know."""
    types = {"token_type_ids": batch.token_type_ids}
    return {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        **(types if reference is None or reference.config.type_vocab_size > 1 else {}),
    }


class CountedDropout:
    """Stands in for torch's dropout function, so that transformers drops just what we drop."""

    def __init__(self, batch: PaddedBatch) -> None:
        assert batch.dropout_seeds is not None
        shape = batch.input_ids.shape
        self._noise = Noise(batch.dropout_seeds[:, None].expand(shape), batch.position_ids.expand(shape))

    def __call__(self, values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return values
        if values.dim() == 4:  # attention probabilities, (B, N, S, S)
            factors = self._noise.attention(values.shape[1], values.shape[-1], p)
            return values * factors[..., : values.shape[-1]].transpose(1, 2)
        factors = self._noise.hidden(values.shape[-1], p)
        return values * (factors if values.dim() == 3 else factors[:, 0])
