"""Labels, or a score, of texts or pairs of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.exporting.programs.shared import Model, main, sigmoid, softmax

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = {"multi_label_classification": "multi-label", "regression": "regression"}


def answer(model: Model, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One label with its probability, all labels of probability 0.5 and more, or a score, as the model was trained."""
    windows = [model.encode(given["text"], given["text_pair"]) for given in inputs]
    outputs = iter(model.run([window for own in windows for window in own]))
    pool = np.max if model.task.get("window_pooling") == "max" else np.mean
    usual = "regression" if len(model.labels) == 1 else "classification"
    kind = model.task.get("task") or _KINDS.get(model.config.get("problem_type") or "", usual)
    for given, own in zip(inputs, windows, strict=True):
        logits = pool(np.stack([next(outputs) for _ in own]), axis=0)
        if kind == "regression":
            yield {**given, "score": float(logits[0])}
            continue
        temperature = np.float32(model.task.get("temperature") or 1)
        shares = sigmoid(logits) if kind == "multi-label" else softmax(logits / temperature)
        probabilities = dict(zip(model.labels, shares.tolist(), strict=True))
        if kind == "multi-label":
            labels = [label for label, logit in zip(model.labels, logits, strict=True) if logit >= 0]
            yield {**given, "labels": labels, "probabilities": probabilities}
        else:
            label = model.labels[int(logits.argmax())]
            yield {**given, "label": label, "probability": probabilities[label], "probabilities": probabilities}


if __name__ == "__main__":
    main(answer, ("text", "text_pair"))
