"""Whether the second text follows the first; of an ALBERT, whether the two are in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.exporting.programs.shared import Model, main, softmax

if TYPE_CHECKING:
    from collections.abc import Iterator


def answer(model: Model, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The probability that it does: label 0, as in Google's checkpoints."""
    if any(given["text_pair"] is None for given in inputs):
        raise SystemExit("this model reads pairs: give the second text with --pair, or as text_pair in JSON")
    outputs = model.run([model.encode(given["text"], given["text_pair"])[0] for given in inputs])
    for given, logits in zip(inputs, outputs, strict=True):
        probability = float(softmax(logits)[0])
        yield {**given, "is_next": probability >= 0.5, "probability": probability}


if __name__ == "__main__":
    main(answer, ("text", "text_pair"))
