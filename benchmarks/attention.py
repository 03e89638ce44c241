"""Attention on CPU over sequences of different lengths: rows of slots beside the other ways to do it.

Forward and backward of one layer's attention (12 heads of 32, counted dropout), the tokens packed before and after:

- padded: a row a sequence, every row as long as the longest;
- one_by_one: a loop over the sequences;
- unmask: `RowPlan`, several sequences to a row.

Rounds alternate in one process. Run nothing else beside it: .venv/bin/python benchmarks/attention.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from unmask.models.layouts import PackedLayout, PaddedLayout
from unmask.packing import PackedBatch, PaddedBatch, pack, pad

if TYPE_CHECKING:
    from torch import Tensor

NUM_HEADS, HIDDEN_SIZE, DROPOUT, ROUNDS = 12, 384, 0.1, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    batches = {
        "32 sentences of CoLA's lengths": np.clip(rng.lognormal(2.33, 0.42, 32), 4, 45).astype(int),
        "16 texts of 8 to 512 tokens": rng.integers(8, 513, 16),
        "16 texts of 128 tokens": np.full(16, 128),
    }
    ratios = {name: compare(lengths) for name, lengths in batches.items()}
    if options.json:
        print(json.dumps({"ratios": ratios}))
        return
    for name, found in ratios.items():
        print(f"{name}: unmask is {found['padded']:.2f}x padded, {found['one_by_one']:.2f}x one by one")


def compare(lengths: np.ndarray) -> dict[str, float]:
    """How many times longer the other ways take on sequences of these lengths."""
    batch = pack([np.ones(length, np.int64) for length in lengths], dropout_seeds=np.arange(len(lengths)))
    hidden = torch.randn(batch.total_tokens, HIDDEN_SIZE)
    ways = {"padded": attend_padded, "one_by_one": attend_one_by_one, "unmask": attend_packed}
    results = {name: attend(batch, hidden) for name, attend in ways.items()}
    for name in ("padded", "one_by_one"):
        torch.testing.assert_close(results[name], results["unmask"], rtol=1e-5, atol=1e-5)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, attend in ways.items():
            start = time.perf_counter()
            leaf = hidden.clone().requires_grad_()
            attend(batch, leaf).sum().backward()
            seconds[name].append(time.perf_counter() - start)
    ours = seconds["unmask"][1:]
    return {
        name: round(statistics.median(theirs / own for theirs, own in zip(seconds[name][1:], ours, strict=True)), 2)
        for name in ("padded", "one_by_one")
    }


def attend_packed(batch: PackedBatch, hidden: Tensor) -> Tensor:
    layout = PackedLayout(batch, batch.dropout_seeds)
    return layout.attend(hidden, hidden, hidden, num_heads=NUM_HEADS, dropout_p=DROPOUT, is_causal=False)


def attend_padded(batch: PackedBatch, hidden: Tensor) -> Tensor:
    mask = torch.arange(batch.max_seqlen) < batch.cu_seqlens.diff()[:, None]
    rectangle = PaddedBatch.of(torch.zeros(mask.shape, dtype=torch.int64), mask)
    boxed = pad(hidden, batch.cu_seqlens)
    layout = PaddedLayout(rectangle, batch.dropout_seeds)
    return layout.attend(boxed, boxed, boxed, num_heads=NUM_HEADS, dropout_p=DROPOUT, is_causal=False)[mask]


def attend_one_by_one(batch: PackedBatch, hidden: Tensor) -> Tensor:
    assert batch.dropout_seeds is not None
    contexts = []
    states = hidden.split(batch.cu_seqlens.diff().tolist())
    for own, seed in zip(states, batch.dropout_seeds.tolist(), strict=True):
        alone = pack([np.ones(len(own), np.int64)], dropout_seeds=[seed])
        contexts.append(attend_packed(alone, own))
    return torch.cat(contexts)


if __name__ == "__main__":
    main()
