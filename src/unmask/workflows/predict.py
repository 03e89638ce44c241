"""Ask a fine-tuned model what it says of texts.

unmask predict runs/mine "They drank the pub."
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unmask.errors import SettingsError
from unmask.tasks import Classification
from unmask.tasks.calibration import Abstaining
from unmask.workflows.trained import Trained, load_trained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unmask.runtimes import RuntimeName

__all__ = ["predict", "predict_examples"]


def predict(
    model: str | Path,
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    abstain_below: float | None = None,
    mistake_cost: float | None = None,
    abstain_cost: float | None = None,
    device: str | None = None,
    runtime: RuntimeName = "torch",
) -> list[Any]:
    """Ask for the answers to texts, or pairs of texts.

    Args:
        model: a run folder, a model folder or a hub id; for "onnx" an exported folder.
        texts: the texts, or the first of each pair.
        text_pairs: the second of each pair; of a question the text it is asked of.
        abstain_below: have a classifier give no label where its probability is below this.
        mistake_cost: or where a label is expected to cost more than none: what a wrong one costs.
        abstain_cost: what none costs, in the same unit; None is 1.
        device: "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one.
        runtime: what computes the model: "torch", or "onnx", for which torch need not be installed.

    Returns:
        One answer a text, of the kind its task gives (`unmask.tasks.Prediction` for a classifier), with `to_dict()`.

    Raises:
        UnmaskError: the model cannot be used or cannot abstain, or a text is empty; the message says what to do.
        ValueError: texts and text_pairs differ in number.
    """
    abstaining = Abstaining(abstain_below=abstain_below, mistake_cost=mistake_cost, abstain_cost=abstain_cost)
    trained = load_trained(model, device=device, runtime=runtime)
    pairs = [None] * len(texts) if text_pairs is None else text_pairs
    examples = [
        trained.task.from_text(text, pair, source="texts", line=number)
        for number, (text, pair) in enumerate(zip(texts, pairs, strict=True), start=1)
    ]
    return predict_examples(trained, examples, abstaining=abstaining)


def predict_examples(trained: Trained, examples: Sequence[Any], *, abstaining: Abstaining | None = None) -> list[Any]:
    """Answer examples, or abstain; an error names their file and line.

    Raises:
        SettingsError: the model's task has no use for a threshold.
    """
    threshold = None if abstaining is None else abstaining.threshold
    if threshold is not None and not isinstance(trained.task, Classification):
        raise SettingsError(
            f"this is a model of {trained.task.name}, whose answers have no one probability: a classifier alone can "
            "abstain; leave abstain_below and mistake_cost out"
        )
    if not examples:
        return []
    samples = trained.encode(examples, with_targets=False)
    answers: list[Any] = list(trained.task.predict(examples, samples, trained.predict_logits(samples)))
    return answers if threshold is None else [answer.abstaining(threshold) for answer in answers]
