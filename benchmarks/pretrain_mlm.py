"""Masked language modelling speed: unmask beside transformers, the same weights, masked batches and machine.

BERT-mini (4 layers, 256 hidden, 30,522 words), 16 sequences a step. Every contender takes whole training steps:
forward, backward, clipping, AdamW, dropout active, on batches that were masked beforehand. The texts differ:

- full_length: sequences of exactly 128 tokens, cut from the encyclopaedia; nothing is padded by anyone;
- natural_length: one text a line, half of each batch WikiText-2 lines and half lines of film reviews; transformers pads
  each batch to its longest, as its collator does; unmask packs. Also each kind of line by itself: wikitext_lines,
  film_review_lines.

transformers is `BertForMaskedLM` with labels (-100 where nothing is to be guessed), attention "sdpa", and
`torch.optim.AdamW` as it comes (`--fused-peers`: its fused kernel). Steps alternate, so that a slow minute of the
machine is everybody's. Peak memory is measured in a process of its own for each. Run nothing else beside it:

    .venv/bin/python benchmarks/pretrain_mlm.py --data-dir ../shared/data
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from unmask.counted import keys
from unmask.models.bert import BertConfig
from unmask.models.registry import build_model, export_weights
from unmask.pretraining.masking import Masking
from unmask.pretraining.objectives import MaskedLanguageModelling
from unmask.pretraining.sequences import PretrainingBatch, SequenceRun
from unmask.pretraining.vocabulary import Vocabulary
from unmask.training import Optimizer, TrainingSettings, parameter_groups
from unmask.training.machine import keep_freed_memory
from unmask.workflows.loading import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

BATCH_SIZE, LEARNING_RATE, MAX_GRAD_NORM, WEIGHT_DECAY, FULL_LENGTH, MAX_LENGTH = 16, 1e-4, 1.0, 0.01, 128, 512
MINI = BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)
KINDS = ("full_length", "natural_length", "wikitext_lines", "film_review_lines")


@dataclass(frozen=True)
class Line:
    """A text with its special tokens, as `SequenceRun` takes it."""

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    is_special: np.ndarray
    pair_label: int | None = None

    @classmethod
    def of(cls, ids: list[int]) -> Line:
        is_special = np.zeros(len(ids), np.bool_)
        is_special[[0, -1]] = True
        return cls(np.array(ids, np.int64), np.zeros(len(ids), np.int64), is_special)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("UNMASK_DATA_DIR") or Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=16, help="steps of each contender, the first two not counted")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--fused-peers", action="store_true", help="give transformers the fused AdamW kernel too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--memory-of", nargs=2, metavar=("CONTENDER", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    objective = MaskedLanguageModelling(Masking(), Vocabulary.of(load_tokenizer("minilm")))
    lines = read_lines(options.data_dir)
    makers: dict[str, Callable[[nn.Module], Callable[[PretrainingBatch], float]]] = {
        "transformers": lambda model: transformers_step(model, options.fused_peers),
        "unmask": unmask_step,
    }
    if options.memory_of:
        contender, kind = options.memory_of
        step = makers[contender](build_model(MINI, "masked-lm", seed=0))
        for number in range(3):
            step(make_batch(objective, lines, kind, number))
        # Not ru_maxrss: a child starts with its parent's.
        status = Path("/proc/self/status").read_text(encoding="utf-8").split()
        print(status[status.index("VmHWM:") + 1])
        return

    loss_difference = compare_losses(makers, make_batch(objective, lines, options.kinds[-1], 0))
    result: dict[str, Any] = {"ratios": {}, "real_tokens_per_second": {}, "padding": {}, "peak_memory_mib": {}}
    for kind in options.kinds:
        steps = {name: make(build_model(MINI, "masked-lm", seed=0)) for name, make in makers.items()}
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        real_tokens, padded_tokens = [], []
        for number in range(options.rounds):
            batch = make_batch(objective, lines, kind, number)
            for name, step in steps.items():
                start = time.perf_counter()
                step(batch)
                seconds[name].append(time.perf_counter() - start)
            real_tokens.append(batch.num_tokens)
            padded_tokens.append(batch.inputs.max_seqlen * batch.inputs.num_sequences)
            if not options.json:
                print(f"{kind}: round {number + 1} of {options.rounds}   ", end="\r", file=sys.stderr)
        counted = slice(2, None)
        # Steps of one batch are compared with one another; the whole is their total, not their mean.
        result["ratios"][kind] = round(sum(seconds["transformers"][counted]) / sum(seconds["unmask"][counted]), 2)
        result["real_tokens_per_second"][kind] = {
            name: round(sum(real_tokens[counted]) / sum(times[counted])) for name, times in seconds.items()
        }
        result["padding"][kind] = round(1 - sum(real_tokens) / sum(padded_tokens), 3)
        del steps
        result["peak_memory_mib"][kind] = {name: peak_memory(name, kind, options) for name in makers}
    result |= {
        "loss_difference": loss_difference,
        "peer_optimizer": "fused AdamW" if options.fused_peers else "torch.optim.AdamW as it comes",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    print(json.dumps(result) if options.json else as_text(result))


def read_lines(data_dir: Path) -> dict[str, list[Line]]:
    """Encode the texts of each kind."""
    tokenizer = load_tokenizer("minilm")
    folder = Path(data_dir)
    wikitext = (folder / "text_en/wikitext-2/test.txt").read_text(encoding="utf-8").splitlines()
    with zipfile.ZipFile(folder / "movie_reviews/movie_reviews.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt") and "/pos/" in name)[:200]
        reviews = [line for name in names for line in io.TextIOWrapper(archive.open(name), encoding="utf-8")]
    with gzip.open(folder / "text_en/wiki_en.txt.gz", "rt", encoding="utf-8") as text:
        encyclopaedia = text.read(2_000_000)
    run = tokenizer.encode(encyclopaedia, add_special_tokens=False).input_ids
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert cls is not None
    assert sep is not None
    width = FULL_LENGTH - 2
    lines = {
        "full_length": [Line.of([cls, *run[at : at + width], sep]) for at in range(0, len(run) - width, width)],
        **{
            kind: [
                Line.of(list(ids))
                for ids in tokenizer.encode_batch(
                    [line.strip() for line in texts if line.strip()], max_length=MAX_LENGTH
                ).input_ids
            ]
            for kind, texts in (("wikitext_lines", wikitext), ("film_review_lines", reviews))
        },
    }
    rng = np.random.default_rng(0)
    return {kind: [texts[i] for i in rng.permutation(len(texts))] for kind, texts in lines.items()}


def make_batch(
    objective: MaskedLanguageModelling, lines: dict[str, list[Line]], kind: str, number: int
) -> PretrainingBatch:
    """Mask one batch; equal for every contender."""
    if kind == "natural_length":
        half, first = BATCH_SIZE // 2, number * BATCH_SIZE // 2
        chosen = lines["wikitext_lines"][first : first + half] + lines["film_review_lines"][first : first + half]
    else:
        chosen = lines[kind][number * BATCH_SIZE : (number + 1) * BATCH_SIZE]
    sequence_keys = keys(0, number, np.arange(len(chosen)))
    run = SequenceRun.of(chosen, sequence_keys)  # type: ignore[arg-type]
    guesses = objective.prepare(run, sequence_keys)
    return PretrainingBatch.of(
        run,
        input_ids=guesses.input_ids,
        positions=guesses.positions,
        labels=guesses.labels,
        draws=np.zeros(len(guesses.labels)),
        num_targets=objective.count_targets(run, guesses),
        dropout_seeds=(sequence_keys >> np.uint64(1)).astype(np.int64),
    )


def unmask_step(model: nn.Module) -> Callable[[PretrainingBatch], float]:
    """A step of our training loop."""
    keep_freed_memory()  # as the loop does; it is the process's, so transformers' steps have it too
    settings = TrainingSettings(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, max_grad_norm=MAX_GRAD_NORM)
    objective = MaskedLanguageModelling(Masking(), Vocabulary.of(load_tokenizer("minilm")))
    optimizer = Optimizer(model.train(), settings)

    def step(batch: PretrainingBatch) -> float:
        optimizer.zero_grad()
        losses, _ = objective.compute_losses(model, batch)
        loss = losses[0] / batch.num_targets[0]
        loss.backward()
        optimizer.update(learning_rate=LEARNING_RATE, loss=loss.detach(), grad_norm=optimizer.grad_norm())
        return loss.item()

    return step


def transformers_step(ours: nn.Module, is_fused: bool) -> Callable[[PretrainingBatch], float]:
    """A step of transformers as its Trainer takes it: full logits, labels of -100, clipping, AdamW."""
    values, weights = export_weights(ours)
    model = transformers.BertForMaskedLM(transformers.BertConfig(**values))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    model.tie_weights()
    assert not unexpected
    assert all("decoder" in name for name in missing), missing
    model.train(ours.training)
    optimizer = torch.optim.AdamW(
        parameter_groups(model, weight_decay=WEIGHT_DECAY), lr=LEARNING_RATE, fused=is_fused or None
    )

    def step(batch: PretrainingBatch) -> float:
        ids, mask, labels = pad_batch(batch)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    model.train()
    return step


def pad_batch(batch: PretrainingBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    lengths = batch.inputs.cu_seqlens.diff()
    mask = torch.arange(batch.inputs.max_seqlen) < lengths[:, None]
    ids, labels = torch.zeros(mask.shape, dtype=torch.int64), torch.full(mask.shape, -100)
    packed_labels = torch.full_like(batch.inputs.input_ids, -100)
    packed_labels[batch.positions] = batch.labels
    ids[mask], labels[mask] = batch.inputs.input_ids, packed_labels
    return ids, mask.long(), labels


def compare_losses(makers: dict[str, Any], batch: PretrainingBatch) -> float:
    """The same weights and masked batch, dropout off: how far the losses lie apart."""
    values = dict(vars(MINI)) | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    losses = [make(build_model(BertConfig(**values), "masked-lm", seed=0))(batch) for make in makers.values()]
    return abs(losses[0] - losses[1])


def peak_memory(contender: str, kind: str, options: argparse.Namespace) -> int:
    """Take three steps in a process of its own: the most memory it ever had, MiB."""
    command = [sys.executable, __file__, "--data-dir", str(options.data_dir), "--memory-of", contender, kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) // 1024


def as_text(result: dict[str, Any]) -> str:
    lines = [f"{'':<20}{'transformers':>14}{'unmask':>10}{'unmask is':>12}{'padding':>10}{'peak memory, MiB':>22}"]
    for kind, ratio in result["ratios"].items():
        rates, memory = result["real_tokens_per_second"][kind], result["peak_memory_mib"][kind]
        lines.append(
            f"{kind:<20}{rates['transformers']:>14,}{rates['unmask']:>10,}{ratio:>11.2f}x"
            f"{result['padding'][kind]:>10.0%}{memory['transformers']:>12,} / {memory['unmask']:,}"
        )
    lines += [
        "real tokens a second; padding is what transformers computes on that is no token",
        f"losses agree to {result['loss_difference']:.1e}; the peer uses {result['peer_optimizer']}",
        f"{result['threads']} threads, torch {result['torch']}, transformers {result['transformers']}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
