"""Label texts with a fine-tuned model.

unmask predict runs/mine "They drank the pub."
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from unmask.tasks import Columns, TextExample, encode_texts, predict_logits
from unmask.tasks.classification import Classification
from unmask.workflows.evaluate import read_for_run, run_settings
from unmask.workflows.loading import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Prediction", "predict", "predict_examples", "read_texts"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A label for a text.

    Args:
        text: the text.
        text_pair: its second text, or None.
        label: the most probable label.
        probability: its probability, in [0, 1].
        probabilities: of every label.
    """

    text: str
    text_pair: str | None
    label: str
    probability: float
    probabilities: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


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
    return predict_examples(
        model,
        [
            TextExample(text=text, text_pair=pair, label=None, source="texts", line=number)
            for number, (text, pair) in enumerate(zip(texts, pairs, strict=True), start=1)
        ],
    )


def read_texts(
    model: str | Path,
    *,
    data: str,
    split: str | None = None,
    data_dir: Path | None = None,
    column_names: Sequence[str] | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
) -> list[TextExample]:
    """Read the texts of a file, without labels, by the columns its run had where none are named."""
    return read_for_run(
        run_settings(model),
        data,
        split=split,
        data_dir=data_dir,
        column_names=column_names,
        columns=Columns(text=text_column, text_pair=text_pair_column),
        with_labels=False,
    )


def predict_examples(model: str | Path, examples: Sequence[TextExample]) -> list[Prediction]:
    """Label examples; an error names their file and line."""
    pretrained = load(model, head=Classification.head)
    if not examples:
        return []
    limit = run_settings(model).get("max_seq_length") or pretrained.max_seq_length
    samples = encode_texts(examples, pretrained.tokenizer, max_seq_length=min(limit, pretrained.max_seq_length))
    names = list(pretrained.config.id2label.values())
    probabilities = torch.from_numpy(predict_logits(pretrained.model, samples)).softmax(1).tolist()
    return [
        Prediction(
            text=example.text,
            text_pair=example.text_pair,
            label=names[row.index(max(row))],
            probability=max(row),
            probabilities=dict(zip(names, row, strict=True)),
        )
        for example, row in zip(examples, probabilities, strict=True)
    ]
