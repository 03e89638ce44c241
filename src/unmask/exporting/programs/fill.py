"""The words behind the masks of texts, each written [MASK] or <mask>."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.exporting.programs.shared import Model, main, softmax

if TYPE_CHECKING:
    from collections.abc import Iterator

_GUESSES = 5


def answer(model: Model, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """For each mask the most probable words, each guessed as if it were the only one."""
    mask_id = model.token_id("mask")
    if mask_id is None:
        raise SystemExit("the tokenizer has no mask token")
    mask = model.tokenizer.id_to_token(mask_id)
    sequences = []
    for given in inputs:
        typed = next((usual for usual in (mask, "[MASK]", "<mask>") if usual in given["text"]), mask)
        ids = model.tokenizer.encode(given["text"].replace(typed, mask)).ids
        if mask_id not in ids:
            raise SystemExit(f"the text {given['text']!r} has no {mask}: put it where a word is to be guessed")
        if len(ids) > model.max_length:
            raise SystemExit(f"the text has {len(ids)} tokens, and the model reads {model.max_length}: shorten it")
        sequences.append((ids, [0] * len(ids)))
    num_words = model.tokenizer.get_vocab_size()  # the model may have rows for more
    for given, (ids, _), logits in zip(inputs, sequences, model.run(sequences), strict=True):
        masks = []
        for place in (place for place, token_id in enumerate(ids) if token_id == mask_id):
            probabilities = softmax(logits[place])[:num_words]
            best = (-probabilities).argsort()[:_GUESSES].tolist()
            masks.append(
                [
                    {
                        "token": model.tokenizer.id_to_token(token_id),
                        "token_id": token_id,
                        "probability": float(probabilities[token_id]),
                        "word": model.tokenizer.decode([token_id], skip_special_tokens=False).strip(),
                    }
                    for token_id in best
                ]
            )
        yield {"text": given["text"], "masks": masks}


if __name__ == "__main__":
    main(answer)
