"""Ask a fine-tuned model what it says of texts.

unmask predict runs/mine "They drank the pub."
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.tasks import predict_logits
from unmask.workflows.trained import Trained, load_trained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["predict", "predict_examples"]


def predict(model: str | Path, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> list[Any]:
    """Ask for the answers to texts, or pairs of texts.

    Args:
        model: a run folder, a model folder or a hub id.
        texts: the texts, or the first of each pair.
        text_pairs: the second of each pair.

    Returns:
        One answer a text, of the kind its task gives (`unmask.tasks.Prediction` for a classifier), with `to_dict()`.

    Raises:
        UnmaskError: the model cannot be used, or a text is empty; the message says what to do.
        ValueError: texts and text_pairs differ in number.
    """
    trained = load_trained(model)
    pairs = [None] * len(texts) if text_pairs is None else text_pairs
    examples = [
        trained.task.from_text(text, pair, source="texts", line=number)
        for number, (text, pair) in enumerate(zip(texts, pairs, strict=True), start=1)
    ]
    return predict_examples(trained, examples)


def predict_examples(trained: Trained, examples: Sequence[Any]) -> list[Any]:
    """Answer examples; an error names their file and line."""
    if not examples:
        return []
    samples = trained.encode(examples, with_targets=False)
    logits = predict_logits(trained.pretrained.model, trained.task, samples)
    return list(trained.task.predict(examples, samples, logits))
