"""Which tokens of texts are not the writer's: ELECTRA's verdict on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.exporting.programs.shared import Model, main, sigmoid

if TYPE_CHECKING:
    from collections.abc import Iterator


def answer(model: Model, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each token where it stands and how probable it is that it was put in place of another."""
    encodings = [model.tokenizer.encode(given["text"]) for given in inputs]
    for encoding in encodings:
        if len(encoding) > model.max_length:
            raise SystemExit(f"the text has {len(encoding)} tokens, and the model reads {model.max_length}: shorten it")
    outputs = model.run([(encoding.ids, encoding.type_ids) for encoding in encodings])
    for given, encoding, logits in zip(inputs, encodings, outputs, strict=True):
        kept = zip(encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True)
        yield {
            "text": given["text"],
            "tokens": [
                {"token": token, "start": start, "end": end, "probability": share, "is_replaced": share >= 0.5}
                for (token, (start, end), special), share in zip(
                    kept, sigmoid(logits).reshape(-1).tolist(), strict=True
                )
                if not special
            ],
        }


if __name__ == "__main__":
    main(answer)
