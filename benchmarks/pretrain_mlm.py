"""Masked language modelling speed: unmask beside transformers, the same weights, masked batches and machine.

BERT-mini (4 layers, 256 hidden, 30,522 words), 16 sequences a step. Every contender takes whole training steps:
forward, backward, clipping, AdamW, dropout active, on batches that were masked beforehand. The texts differ:

- full_length: sequences of exactly 128 tokens, cut from the encyclopaedia; nothing is padded by anyone;
- natural_length: one text a line, half of each batch WikiText-2 lines and half lines of film reviews; transformers pads
  each batch to its longest, as its collator does; unmask packs. Also each kind of line by itself: wikitext_lines,
  film_review_lines.

transformers is `BertForMaskedLM` with labels (-100 where nothing is to be guessed), attention "sdpa", and the AdamW its
Trainer has unless told otherwise ("adamw_torch_fused" since torch 2.8). Steps alternate, so that a slow minute of the
machine is everybody's. Peak memory is measured in a process of its own for each. Run nothing else beside it:

    .venv/bin/python benchmarks/pretrain_mlm.py --data-dir ../shared/data
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
import zipfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from side_by_side import (
    SETTINGS,
    add_common_arguments,
    alternate,
    bad_input_exits,
    clear_peak_memory,
    peak_memory,
    peak_memory_of,
    peer_optimizer,
    transformers_step,
    versions,
)
from unmask.counted import keys
from unmask.models.bert import BertConfig
from unmask.models.registry import build_model, export_weights
from unmask.pretraining.masking import Masking
from unmask.pretraining.objectives import MaskedLanguageModelling
from unmask.pretraining.sequences import PretrainingBatch, SequenceRun
from unmask.pretraining.vocabulary import Vocabulary
from unmask.training import Optimizer
from unmask.training.machine import keep_freed_memory
from unmask.workflows.loading import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

BATCH_SIZE, FULL_LENGTH, MAX_LENGTH = 16, 128, 512
CONTENDERS = ("transformers", "unmask")
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--rounds", type=int, default=14, help="steps of each contender, after one that is not counted")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--memory-of", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if min(options.rounds, options.threads or 1) < 1:
        parser.error("--rounds and --threads are 1 or more")
    if options.threads:
        torch.set_num_threads(options.threads)
    with bad_input_exits("pretrain_mlm.py"):
        objective = MaskedLanguageModelling(Masking(), Vocabulary.of(load_tokenizer("minilm")))
        make = partial(make_batch, objective, read_lines(options.data_dir))
        if options.memory_of:
            step = make_step(options.memory_of, new_models()[options.memory_of], objective)
            clear_peak_memory()
            for number in range(3):
                step(make(options.kinds[0], number))
            print(peak_memory())
            return
        loss_difference = compare_losses(objective, make(options.kinds[-1], 0))
        measured = {kind: measure(kind, make, objective, options) for kind in options.kinds}
    columns = next(iter(measured.values()))
    result: dict[str, Any] = {column: {kind: row[column] for kind, row in measured.items()} for column in columns}
    result |= {"loss_difference": loss_difference, "peer_optimizer": peer_optimizer(), **versions()}
    print(json.dumps(result) if options.json else as_text(result))


def measure(
    kind: str,
    make: Callable[[str, int], PretrainingBatch],
    objective: MaskedLanguageModelling,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Let both train on texts of a kind."""

    def say(progress: str) -> None:
        if not options.json:
            print(f"{kind}: {progress}   ", end="\r", file=sys.stderr)

    steps = {name: make_step(name, model, objective) for name, model in new_models().items()}
    batches = [make(kind, number) for number in range(options.rounds + 1)]
    seconds = alternate(steps, [{name: [batch] for name in CONTENDERS} for batch in batches], say=say)
    totals = {name: sum(times) for name, times in seconds.items()}
    real_tokens = sum(batch.num_tokens for batch in batches[1:])
    padded_tokens = sum(batch.inputs.max_seqlen * batch.inputs.num_sequences for batch in batches[1:])
    del steps
    arguments = ["--data-dir", str(options.data_dir), "--kinds", kind]
    arguments += ["--threads", str(options.threads)] if options.threads else []
    return {
        # Steps of one batch are compared with one another; the whole is their total, not their mean.
        "ratios": round(totals["transformers"] / totals["unmask"], 2),
        "real_tokens_per_second": {name: round(real_tokens / total) for name, total in totals.items()},
        "padding": round(1 - real_tokens / padded_tokens, 3),
        "peak_memory_mib": {name: peak_memory_of(__file__, [*arguments, "--memory-of", name]) for name in CONTENDERS},
    }


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


def new_models(**changes: Any) -> dict[str, nn.Module]:
    """Make the model twice, with the same weights."""
    ours = build_model(replace(MINI, **changes), "masked-lm", seed=0)
    values, weights = export_weights(ours)
    theirs = transformers.BertForMaskedLM(transformers.BertConfig(**values))
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    theirs.tie_weights()
    assert not unexpected
    assert all("decoder" in name for name in missing), missing
    return {"transformers": theirs, "unmask": ours}


def make_step(
    contender: str, model: nn.Module, objective: MaskedLanguageModelling
) -> Callable[[PretrainingBatch], None]:
    """A step of transformers as its Trainer takes it, or of our training loop."""
    if contender == "transformers":
        return transformers_step(model, pad_batch)
    keep_freed_memory()  # as the loop does; it is the process's, so transformers' steps have it too
    optimizer = Optimizer(model.train(), SETTINGS)

    def step(batch: PretrainingBatch) -> None:
        optimizer.zero_grad()
        loss = objective.compute_losses(model, batch)[0][0] / batch.num_targets[0]
        loss.backward()
        optimizer.update(learning_rate=SETTINGS.learning_rate, loss=loss.detach(), grad_norm=optimizer.grad_norm())

    return step


def pad_batch(batch: PretrainingBatch) -> dict[str, Tensor]:
    """What transformers' model takes: full rows, with labels of -100 where nothing is to be guessed."""
    lengths = batch.inputs.cu_seqlens.diff()
    mask = torch.arange(batch.inputs.max_seqlen) < lengths[:, None]
    ids, labels = torch.zeros(mask.shape, dtype=torch.int64), torch.full(mask.shape, -100)
    packed_labels = torch.full_like(batch.inputs.input_ids, -100)
    packed_labels[batch.positions] = batch.labels
    ids[mask], labels[mask] = batch.inputs.input_ids, packed_labels
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


def compare_losses(objective: MaskedLanguageModelling, batch: PretrainingBatch) -> float:
    """The same weights and masked batch, dropout off: how far the losses lie apart."""
    models = new_models(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    ours = objective.compute_losses(models["unmask"].train(), batch)[0][0] / batch.num_targets[0]
    theirs = models["transformers"].train()(**pad_batch(batch)).loss
    return abs(ours.item() - theirs.item())


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
