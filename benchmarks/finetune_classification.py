"""Fine-tuning speed on CoLA: unmask beside transformers, the same weights, batches and machine, in one process.

Every contender takes whole training steps on random batches of 32 sentences: forward, backward, clipping, AdamW,
dropout active. In each round the slow ones take the first of the batches that the fast ones take. They differ in what
they compute on:

- padded_128: transformers, every sentence padded to 128 tokens, as the tutorials' loop does;
- padded_64: transformers, padded to 64;
- dynamic: transformers, padded to the longest of the batch;
- unmask: packed, no padding.

Rounds alternate, so that a slow minute of the machine is everybody's. Run nothing else beside it:

    .venv/bin/python benchmarks/finetune_classification.py --data-dir ../shared/data
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from unmask import load
from unmask.models.embeddings import WordEmbedding
from unmask.tasks import Classification, FineTuning, Labels, Reading, Samples
from unmask.training import Optimizer, TrainingSettings, parameter_groups
from unmask.training.machine import matrix_product_rate

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH_SIZE, LEARNING_RATE, MAX_GRAD_NORM, WEIGHT_DECAY = 32, 2e-5, 1.0, 0.01
PADDED_LENGTH = {"padded_128": 128, "padded_64": 64, "dynamic": None}
TASK = Classification(Labels(values=("0", "1"), names=("unacceptable", "acceptable")))
STEPS_PER_ROUND = {"padded_128": 1, "padded_64": 2, "dynamic": 4, "unmask": 8}  # about equal time each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("UNMASK_DATA_DIR") or Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=12, help="alternations, the first of which is not counted")
    parser.add_argument("--fused-peers", action="store_true", help="give transformers the fused AdamW kernel too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()

    samples = read_cola(options.data_dir)
    order = np.random.default_rng(0).permutation(len(samples))
    contenders = {name: make_peer(samples, length, options.fused_peers) for name, length in PADDED_LENGTH.items()}
    contenders["unmask"], encoder_parameters = make_unmask(samples)
    difference = compare_logits(samples, order[:BATCH_SIZE])

    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    product_rates = []
    for number in range(options.rounds):
        for name, step in contenders.items():
            batches = [batch_of(order, number * 8 + k) for k in range(STEPS_PER_ROUND[name])]
            start = time.perf_counter()
            for batch in batches:
                step(batch)
            seconds[name].append((time.perf_counter() - start) / len(batches))
        product_rates.append(matrix_product_rate(rounds=1))
        if not options.json:
            print(f"round {number + 1} of {options.rounds}", end="\r", file=sys.stderr)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    rounds = range(1, options.rounds)
    ratios = {
        name: statistics.median(seconds[name][r] / seconds["unmask"][r] for r in rounds) for name in PADDED_LENGTH
    }
    tokens = samples.lengths[order[: options.rounds * 8 * BATCH_SIZE]].mean() * BATCH_SIZE
    products = 6 * encoder_parameters * tokens  # 2 a multiply-add, forward and twice backward
    result = {
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "sentences_per_second": {name: round(BATCH_SIZE / median, 1) for name, median in medians.items()},
        "real_tokens_per_second": {name: round(float(tokens / median)) for name, median in medians.items()},
        "share_of_matrix_product_rate": round(
            float(products / medians["unmask"] / statistics.median(product_rates[1:])), 3
        ),
        "matrix_product_gflops": round(statistics.median(product_rates[1:]) / 1e9, 1),
        "largest_logit_difference": difference,
        "peer_optimizer": "fused AdamW" if options.fused_peers else "torch.optim.AdamW as it comes",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    print(json.dumps(result) if options.json else as_text(result))


def read_cola(data_dir: Path) -> Samples:
    reading = Reading(column_names=["source", "label", "star", "sentence"], data_dir=data_dir)
    examples = TASK.read("cola/in_domain_train.tsv", reading)
    return TASK.encode(examples, load("minilm").tokenizer, max_seq_length=128)


def batch_of(order: np.ndarray, number: int) -> np.ndarray:
    first = number * BATCH_SIZE % (len(order) - BATCH_SIZE)
    return order[first : first + BATCH_SIZE]


def make_peer(samples: Samples, length: int | None, is_fused: bool) -> Callable[[np.ndarray], None]:
    """A training step of transformers, padded to a length or to the longest of the batch."""
    model = transformers_model().train()
    groups = parameter_groups(model, weight_decay=WEIGHT_DECAY)
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=is_fused or None)

    def step(batch: np.ndarray) -> None:
        inputs = pad_batch(samples, batch, length)
        loss = model(**inputs, labels=torch.from_numpy(samples.targets.values[batch])).loss  # type: ignore[union-attr]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()

    return step


def make_unmask(samples: Samples) -> tuple[Callable[[np.ndarray], None], int]:
    """The step of our training loop, and how many parameters its encoder's matrix products use."""
    model = unmask_model().train()
    for module in model.modules():
        if isinstance(module, WordEmbedding):
            module.restrict(torch.from_numpy(samples.input_ids.values))
    settings = TrainingSettings(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, max_grad_norm=MAX_GRAD_NORM)
    optimizer = Optimizer(model, settings)
    objective = FineTuning(TASK, samples, samples, seed=0)
    num_parameters = sum(p.numel() for p in model.encoder.blocks.parameters() if p.ndim == 2)

    def step(batch: np.ndarray) -> None:
        made = objective.collate(batch.tolist(), epoch=0)
        optimizer.zero_grad()
        loss = objective.compute_loss(model, made)[0] / made.num_targets[0]
        loss.backward()
        optimizer.update(learning_rate=LEARNING_RATE, loss=loss.detach(), grad_norm=optimizer.grad_norm())

    return step, num_parameters


def transformers_model() -> Any:
    folder = load("minilm").folder
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers.BertForSequenceClassification.from_pretrained(folder, num_labels=2)


def unmask_model() -> Any:
    labels = {0: "unacceptable", 1: "acceptable"}
    return load("minilm", head="sequence-classification", id2label=labels, allow_new_head=True).model


def pad_batch(samples: Samples, batch: np.ndarray, length: int | None) -> dict[str, torch.Tensor]:
    length = length or int(samples.lengths[batch].max())
    ids = torch.zeros(len(batch), length, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, index in enumerate(batch):
        sequence = torch.from_numpy(samples.input_ids[index])[:length]
        ids[row, : len(sequence)], mask[row, : len(sequence)] = sequence, 1
    return {"input_ids": ids, "attention_mask": mask}


def compare_logits(samples: Samples, batch: np.ndarray) -> float:
    """The same head on the same batch, dropout off: how far the logits lie apart."""
    theirs, ours = transformers_model().eval(), unmask_model().eval()
    ours.classifier.linear.load_state_dict(theirs.classifier.state_dict())
    objective = FineTuning(TASK, samples, samples, seed=0)
    with torch.no_grad():
        expected = theirs(**pad_batch(samples, batch, None)).logits
        return float((ours(objective.collate(batch.tolist(), epoch=0).inputs).logits - expected).abs().max())


def as_text(result: dict[str, Any]) -> str:
    lines = [f"{'':<12}{'sentences/s':>12}{'real tokens/s':>15}{'unmask is':>12}"]
    for name, rate in result["sentences_per_second"].items():
        ratio = f"{result['ratios'][name]:.2f}x" if name in result["ratios"] else ""
        lines.append(f"{name:<12}{rate:>12.1f}{result['real_tokens_per_second'][name]:>15,}{ratio:>12}")
    lines += [
        f"the encoder's matrix products reach {result['share_of_matrix_product_rate']:.0%} of this machine's own rate "
        f"({result['matrix_product_gflops']:.0f} GFLOP/s at 2048 x 2048)",
        f"logits agree to {result['largest_logit_difference']:.1e}; peers use {result['peer_optimizer']}",
        f"{result['threads']} threads, torch {result['torch']}, transformers {result['transformers']}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
