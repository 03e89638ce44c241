"""What benchmarks of training share: a step of ours, a step of transformers, rounds that alternate, peak memory."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import transformers

from unmask.errors import UnmaskError
from unmask.models.embeddings import WordEmbedding
from unmask.training import Optimizer, TrainingSettings, parameter_groups
from unmask.training.machine import keep_freed_memory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from unmask.tasks import FineTuning, Samples

__all__ = [
    "add_common_arguments",
    "alternate",
    "bad_input_exits",
    "clear_peak_memory",
    "load_quietly",
    "pad_sequences",
    "peak_memory",
    "peak_memory_of",
    "peer_optimizer",
    "transformers_step",
    "unmask_step",
    "versions",
]

SETTINGS = TrainingSettings(learning_rate=2e-5, weight_decay=0.01, max_grad_norm=1.0)

BatchT = TypeVar("BatchT")


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    data_dir = os.environ.get("UNMASK_DATA_DIR") or Path("../shared/data")
    parser.add_argument("--data-dir", type=Path, default=data_dir, help="the folder of data sets")
    parser.add_argument("--threads", type=int, help="of torch; as many as there are cores unless given")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


@contextlib.contextmanager
def bad_input_exits(program: str) -> Iterator[None]:
    """Turn what is wrong with the data or the checkpoint into one line and the exit code that `unmask` gives it."""
    try:
        yield
    except UnmaskError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except FileNotFoundError as error:
        print(f"{program}: {error.filename}: there is no such file: is this the --data-dir?", file=sys.stderr)
        sys.exit(UnmaskError.exit_code)


def unmask_step(model: nn.Module, objective: FineTuning, samples: Samples) -> Callable[[np.ndarray], None]:
    """A step of our training loop, on the samples of these indices; the model is changed in place."""
    keep_freed_memory()  # as the loop does; it is the process's, so transformers' steps have it too
    for module in model.train().modules():
        if isinstance(module, WordEmbedding):
            module.restrict(torch.from_numpy(samples.input_ids.values))
    optimizer = Optimizer(model, SETTINGS)

    def step(indices: np.ndarray) -> None:
        batch = objective.collate(indices.tolist(), epoch=0)
        optimizer.zero_grad()
        loss = objective.compute_loss(model, batch)[0] / batch.num_targets[0]
        loss.backward()
        optimizer.update(learning_rate=SETTINGS.learning_rate, loss=loss.detach(), grad_norm=optimizer.grad_norm())

    return step


def transformers_step(model: nn.Module, collate: Callable[[BatchT], Mapping[str, Tensor]]) -> Callable[[BatchT], None]:
    """A step as transformers' Trainer takes it: loss of the model's own, clipping, the optimizer it has unless told."""
    groups = parameter_groups(model.train(), weight_decay=SETTINGS.weight_decay)
    is_fused = {"adamw_torch": None, "adamw_torch_fused": True}[peer_optimizer()]
    optimizer = torch.optim.AdamW(groups, SETTINGS.learning_rate, SETTINGS.betas, SETTINGS.eps, fused=is_fused)
    assert SETTINGS.max_grad_norm is not None
    max_grad_norm = SETTINGS.max_grad_norm

    def step(batch: BatchT) -> None:
        model(**collate(batch)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()

    return step


def pad_sequences(samples: Samples, sequences: np.ndarray, *, length: int | None = None) -> dict[str, Tensor]:
    """What transformers' models read of these sequences, each padded to the longest among them, or to a length."""
    ids, types = samples.input_ids.take(sequences), samples.token_type_ids.take(sequences)
    mask = torch.from_numpy(np.arange(max(length or 0, ids.lengths.max())) < ids.lengths[:, None])
    input_ids, token_type_ids = torch.zeros(2, *mask.shape, dtype=torch.int64)
    input_ids[mask], token_type_ids[mask] = torch.from_numpy(ids.values), torch.from_numpy(types.values)
    return {"input_ids": input_ids, "token_type_ids": token_type_ids, "attention_mask": mask.long()}


def load_quietly(peer: str, folder: Path, **how: Any) -> nn.Module:
    """Load a model of transformers by the name of its class."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model: nn.Module = getattr(transformers, peer).from_pretrained(folder, dtype=torch.float32, **how)
    return model


def peer_optimizer() -> str:
    """The optimizer that transformers' Trainer takes unless told otherwise, by its name there."""
    fields = {field.name: field.default for field in dataclasses.fields(transformers.TrainingArguments)}
    return str(getattr(fields["optim"], "value", fields["optim"]))


def alternate(
    steps: Mapping[str, Callable[[BatchT], None]],
    rounds: Sequence[Mapping[str, Sequence[BatchT]]],
    *,
    say: Callable[[str], None],
) -> dict[str, list[float]]:
    """Let contenders take turns, each going first in every other round.

    Args:
        steps: what each does with a batch.
        rounds: the batches of each in each round.
        say: is told how far it is.

    Returns:
        Seconds of each contender in each round but the first, which is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number, batches in enumerate(rounds):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            for batch in batches[name]:
                steps[name](batch)
            seconds[name].append(time.perf_counter() - start)
        say(f"round {number} of {len(rounds) - 1}")
    return {name: times[1:] for name, times in seconds.items()}


def clear_peak_memory() -> None:
    """Forget the memory that this process once had, as reading the data took it, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """The most memory this process has had, MiB; 0 where the system does not tell as Linux does.

    Not `ru_maxrss`: a child starts with its parent's.
    """
    status = Path("/proc/self/status")
    words = status.read_text(encoding="utf-8").split() if status.exists() else ["VmHWM:", "0"]
    return int(words[words.index("VmHWM:") + 1]) // 1024


def peak_memory_of(program: str, arguments: Sequence[str]) -> int:
    """Run a program in a process of its own; the last word it prints."""
    done = subprocess.run([sys.executable, program, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1])


def versions() -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
