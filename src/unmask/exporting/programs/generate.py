"""What follows texts: the most probable token, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.exporting.programs.shared import Model, main

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW_TOKENS = 30


def answer(model: Model, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The text with what follows it, up to the end that the model gives it. The whole is computed for each token."""
    end = model.token_id("eos")
    for given in inputs:
        [(ids, types), *_] = model.encode(given["text"])
        num_read = len(ids)
        while len(ids) < min(model.max_length, num_read + _NEW_TOKENS):
            [logits] = model.run([(ids, types)])
            token_id = int(logits[-1, : model.tokenizer.get_vocab_size()].argmax())
            if token_id == end:
                break
            ids, types = [*ids, token_id], [*types, 0]
        yield {
            "text": given["text"],
            "generated_text": given["text"]
            + model.tokenizer.decode(ids)[len(model.tokenizer.decode(ids[:num_read])) :],
        }


if __name__ == "__main__":
    main(answer)
