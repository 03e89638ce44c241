"""Vectors of texts: the mean of their tokens' last hidden states, of length 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.exporting.programs.shared import Model, main

if TYPE_CHECKING:
    from collections.abc import Iterator


def answer(model: Model, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A list of numbers each; the product of two such vectors is their cosine."""
    outputs = model.run([model.encode(given["text"])[0] for given in inputs])
    for given, hidden in zip(inputs, outputs, strict=True):
        mean = hidden.mean(axis=0)
        yield {"text": given["text"], "embedding": (mean / max(float(np.linalg.norm(mean)), 1e-12)).tolist()}


if __name__ == "__main__":
    main(answer)
