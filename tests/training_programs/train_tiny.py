"""A model and an objective that train in milliseconds, and a program that trains them, alone or under torchrun.

    python tests/training_programs/train_tiny.py FOLDER [--resume] [--signal-at BATCH SIGNAL] [--slow]

Exits with the code of the error it ends in, as the command line does; the final weights are FOLDER/final.safetensors.
Ranks above 0 fail if they write anything in FOLDER.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor, nn

from unmask.errors import UnmaskError
from unmask.training import TrainingResult, TrainingSettings, is_main_process, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NUM_SAMPLES = 49  # six batches of 8, and a last one of a single sample: with two processes, one has none
VOCAB_SIZE, HIDDEN_SIZE, INTERMEDIATE_SIZE, NUM_LABELS = 31, 7, 13, 3

SETTINGS = TrainingSettings(
    seed=5,
    epochs=3,
    global_batch_size=8,
    learning_rate=0.02,
    max_grad_norm=0.5,
    warmup_steps=4,
    eval_steps=5,
    save_steps=3,
    metric_for_best="accuracy",
    log_steps=2,
    device="cpu",
)


class TinyModel(nn.Module):
    """Classifies bags of words."""

    def __init__(self, *, dropout_p: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(VOCAB_SIZE, HIDDEN_SIZE)
        self.dense = nn.Linear(HIDDEN_SIZE, INTERMEDIATE_SIZE)
        self.norm = nn.LayerNorm(INTERMEDIATE_SIZE)
        self.dropout = nn.Dropout(dropout_p)
        self.classifier = nn.Linear(INTERMEDIATE_SIZE, NUM_LABELS)

    def forward(self, input_ids: Tensor, offsets: Tensor, noise: Tensor | None = None) -> Tensor:
        hidden = self.norm(F.gelu(self.dense(self.embedding(input_ids, offsets))))
        logits: Tensor = self.classifier(self.dropout(hidden if noise is None else hidden * noise))
        return logits


def new_model(*, dropout_p: float = 0.0) -> TinyModel:
    torch.manual_seed(3)
    return TinyModel(dropout_p=dropout_p)


@dataclass(frozen=True)
class TinyBatch:
    input_ids: Tensor
    offsets: Tensor
    labels: Tensor
    noise: Tensor

    @property
    def num_targets(self) -> tuple[int]:
        return (int((self.labels >= 0).sum()),)

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)

    def to(self, device: torch.device) -> TinyBatch:
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


@dataclass
class TinyObjective:
    """Learns a hidden rule; every fourth label is ignored, and each sample of each epoch has noise of its own.

    Args:
        on_batch: called with the number of batches made so far, for tests that interfere.
        scores: what `evaluate` gives, call by call, in place of true scores.
    """

    num_samples: int = NUM_SAMPLES
    seed: int = 11
    on_batch: Callable[[int], None] = lambda _count: None
    scores: list[dict[str, float]] = field(default_factory=list)
    num_batches: int = 0
    loss_terms: tuple[str, ...] = ("loss",)
    shows_examples: bool = False

    def collate(self, sample_indices: Sequence[int], *, epoch: int) -> TinyBatch:
        self.num_batches += 1
        self.on_batch(self.num_batches)
        texts, labels, noise = [], [], []
        for index in sample_indices:
            rng = np.random.default_rng([self.seed, index])
            texts.append(rng.integers(VOCAB_SIZE, size=1 + index % 5))
            labels.append(-100 if index % 4 == 3 else int(texts[-1].sum()) % NUM_LABELS)
            noise.append(1 + 0.5 * np.random.default_rng([self.seed, epoch, index]).standard_normal(INTERMEDIATE_SIZE))
        return TinyBatch(
            torch.from_numpy(np.concatenate(texts)),
            torch.from_numpy(np.cumsum([0, *map(len, texts[:-1])])),
            torch.tensor(labels),
            torch.from_numpy(np.stack(noise)).float(),
        )

    def compute_loss(self, model: nn.Module, batch: Any) -> Tensor:
        logits = model(batch.input_ids, batch.offsets, batch.noise)
        return F.cross_entropy(logits, batch.labels, reduction="sum")[None]

    def examples(self, model: nn.Module) -> list[dict[str, Any]]:
        return [{"prompt": "a _ c", "guess": "b"}] if self.shows_examples else []

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        assert torch.is_inference_mode_enabled()
        if self.scores:
            return self.scores.pop(0)
        batch = replace(self, on_batch=lambda _count: None).collate(range(100, 137), epoch=0)
        logits, is_labelled = model(batch.input_ids, batch.offsets), batch.labels >= 0
        return {
            "loss": float(F.cross_entropy(logits, batch.labels)),
            "accuracy": float((logits.argmax(-1) == batch.labels)[is_labelled].float().mean()),
        }


def run(
    folder: Path,
    objective: TinyObjective | None = None,
    *,
    model: TinyModel | None = None,
    resume: bool = False,
    **changes: Any,
) -> tuple[TinyModel, TrainingResult]:
    """Train quietly with `SETTINGS`, some of them changed."""
    model = model or new_model()
    console = Console(quiet=True)
    settings = replace(SETTINGS, **changes)
    return model, train(
        model, objective or TinyObjective(), settings, run_folder=folder, resume=resume, console=console
    )


def train_and_save(folder: Path, objective: TinyObjective | None = None, *, resume: bool = False) -> None:
    """Train and keep the final weights.

    One process has a dropout that draws from torch's own generator. Several have none, so that they can end in the
    weights of one, and micro-batches of 3.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        model, _result = run(folder, objective, model=new_model(dropout_p=0.1), resume=resume)
    else:
        model, _result = run(folder, objective, resume=resume, micro_batch_size=3)
    if is_main_process():
        save_file(model.state_dict(), folder / "final.safetensors")


def forbid_writing(folder: Path) -> None:
    """Fail on whatever this process would change in a folder."""

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _mode, flags = arguments
            changes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            path, changes = (arguments or [None])[0], event in ("os.mkdir", "os.rename", "os.remove", "os.truncate")
        if changes and isinstance(path, str | Path) and str(folder) in str(path):
            raise RuntimeError(f"{event} {path}: only rank 0 may write")

    sys.addaudithook(check)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--signal-at", type=int, nargs=2, default=(-1, 0), help="rank 1's batch, and what it is sent")
    parser.add_argument("--slow", action="store_true", help="take 0.2 seconds a batch")
    arguments = parser.parse_args()
    signal_batch, signal_number = arguments.signal_at

    def interfere(count: int) -> None:
        if count == signal_batch and not is_main_process():
            os.kill(os.getpid(), signal_number)
        if arguments.slow:
            time.sleep(0.2)

    if not is_main_process():
        forbid_writing(arguments.folder)
    try:
        train_and_save(arguments.folder, TinyObjective(on_batch=interfere), resume=arguments.resume)
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
