"""Vectors of texts, of length 1: the mean of their last hidden states, or what the model was trained to give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.exporting.programs.shared import Model, main

if TYPE_CHECKING:
    from collections.abc import Iterator


def answer(model: Model, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A list of numbers each; the product of two such vectors is their cosine."""
    said = model.config.get("unmask_vectors") or {}
    model.max_length = min(said.get("max_seq_length") or model.max_length, model.max_length)
    pooling = said.get("pooling") or "mean"
    outputs = model.run([model.encode(given["text"])[0] for given in inputs])
    for given, hidden in zip(inputs, outputs, strict=True):
        vector = {"cls": hidden[0], "mean": hidden.mean(axis=0), "max": hidden.max(axis=0)}[pooling]
        yield {"text": given["text"], "embedding": (vector / max(float(np.linalg.norm(vector)), 1e-12)).tolist()}


if __name__ == "__main__":
    main(answer)
