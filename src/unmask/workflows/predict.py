"""Label texts with a fine-tuned model.

unmask predict runs/mine "They drank the pub."
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.tasks import Prediction, TextExample, predict_logits
from unmask.workflows.trained import Trained, load_trained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["predict", "predict_examples"]


def predict(model: str | Path, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> list[Prediction]:
    """Label texts, or pairs of texts.

    Args:
        model: a run folder, a model folder or a hub id.
        texts: the texts, or the first of each pair.
        text_pairs: the second of each pair.

    Raises:
        UnmaskError: the model cannot be used, or a text is empty; the message says what to do.
        ValueError: texts and text_pairs differ in number.
    """
    pairs = [None] * len(texts) if text_pairs is None else text_pairs
    examples = [
        TextExample(text=text, text_pair=pair, label=None, source="texts", line=number)
        for number, (text, pair) in enumerate(zip(texts, pairs, strict=True), start=1)
    ]
    return predict_examples(load_trained(model), examples)


def predict_examples(trained: Trained, examples: Sequence[TextExample]) -> list[Prediction]:
    """Label examples; an error names their file and line."""
    if not examples:
        return []
    samples = trained.encode(examples, with_targets=False)
    return trained.task.predict(examples, predict_logits(trained.pretrained.model, samples))
