"""The embedded default: a pretrained BERT learns to tell good English from bad, in a few minutes on a laptop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unmask.data import make_acceptability_set
from unmask.workflows.finetune import FinetuneResult, finetune
from unmask.workflows.predict import predict
from unmask.workflows.run_folder import refuse_used_folder
from unmask.workflows.settings import FinetuneSettings

if TYPE_CHECKING:
    from unmask.tasks import Prediction

__all__ = ["DemoResult", "demo"]

_SENTENCES = ("Why is the window open?", "Why the window is open?", "She admired himself in the mirror.")


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The run, and what its model says of three sentences it never saw."""

    run: FinetuneResult
    predictions: list[Prediction]


def demo(
    *,
    output_dir: Path = Path("runs/demo"),
    overwrite: bool = False,
    seed: int = 0,
) -> DemoResult:
    """Fine-tune MiniLM on the acceptability set that comes with unmask, and try it.

    Args:
        output_dir: the run folder; the data set is made beside it, in a folder of the same name and `-data`.
        overwrite: replace a run that is there.
        seed: of the data set and of training.

    Raises:
        UnmaskError: the folder is taken, or MiniLM is not installed; the message says what to do.
    """
    refuse_used_folder(output_dir, overwrite=overwrite, resume=False)
    files = make_acceptability_set(output_dir.with_name(f"{output_dir.name}-data"), seed=seed)
    settings = FinetuneSettings(
        train=str(files["train"]),
        dev=(str(files["dev"]),),
        test=(str(files["test"]),),
        labels=("unacceptable", "acceptable"),
        output_dir=output_dir,
        overwrite=overwrite,
        seed=seed,
        epochs=3,
        learning_rate=1e-4,
        warmup_ratio=0.06,
    )
    run = finetune(settings)
    assert run is not None
    return DemoResult(run=run, predictions=predict(run.model, _SENTENCES))
