"""Fine-tuning speed on CoLA: unmask beside transformers, the same weights, batches and machine, in one process.

Every contender takes whole training steps on random batches of 32 sentences: forward, backward, clipping, AdamW,
dropout active. In each round the slow ones take the first of the batches that the fast ones take. They differ in what
they compute on:

- padded_128: transformers, every sentence padded to 128 tokens, as the tutorials' loop does;
- padded_64: transformers, padded to 64;
- dynamic: transformers, padded to the longest of the batch;
- unmask: packed, no padding.

transformers is `BertForSequenceClassification` with attention "sdpa", as it comes, clipped with `clip_grad_norm_` and
updated by the AdamW its Trainer has unless told otherwise ("adamw_torch_fused" since torch 2.8). Rounds alternate, so
that a slow minute of the machine is everybody's. Run nothing else beside it:

    .venv/bin/python benchmarks/finetune_classification.py --data-dir ../shared/data
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from side_by_side import (
    add_common_arguments,
    alternate,
    bad_input_exits,
    load_quietly,
    pad_sequences,
    peer_optimizer,
    transformers_step,
    unmask_step,
    versions,
)
from unmask import load
from unmask.tasks import Classification, FineTuning, Labels, Reading
from unmask.training.machine import matrix_product_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from unmask.tasks import Samples

BATCH_SIZE = 32
PADDED_LENGTH = {"padded_128": 128, "padded_64": 64, "dynamic": None}
TASK = Classification(Labels(values=("0", "1"), names=("unacceptable", "acceptable")))
STEPS_PER_ROUND = {"padded_128": 1, "padded_64": 2, "dynamic": 4, "unmask": 8}  # about equal time each


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--model", default="minilm", help="a BERT: a folder, a hub id, or minilm")
    parser.add_argument("--rounds", type=int, default=11, help="alternations, after one that is not counted")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.threads or 1) < 1:
        parser.error("--rounds and --threads are 1 or more")
    if options.threads:
        torch.set_num_threads(options.threads)
    with bad_input_exits("finetune_classification.py"):
        samples = read_cola(options.data_dir, options.model)
        result = measure(samples, options)
    print(json.dumps(result) if options.json else as_text(result))


def measure(samples: Samples, options: argparse.Namespace) -> dict[str, Any]:
    """Let all train."""
    order = np.random.default_rng(0).permutation(len(samples))
    difference = compare_logits(samples, order[:BATCH_SIZE], options.model)
    model = unmask_model(options.model)
    encoder_parameters = sum(p.numel() for p in model.encoder.blocks.parameters() if p.ndim == 2)
    steps: dict[str, Callable[[np.ndarray], None]] = {
        name: transformers_step(transformers_model(options.model), partial(pad_batch, samples, length=length))
        for name, length in PADDED_LENGTH.items()
    }
    steps["unmask"] = unmask_step(model, FineTuning(TASK, samples, samples, seed=0), samples)
    product_rates = []

    def end_round(progress: str) -> None:
        product_rates.append(matrix_product_rate(rounds=1))
        if not options.json:
            print(progress, end="\r", file=sys.stderr)

    plan = [
        {name: [batch_of(order, number * 8 + k) for k in range(count)] for name, count in STEPS_PER_ROUND.items()}
        for number in range(options.rounds + 1)
    ]
    seconds = {
        name: [each / STEPS_PER_ROUND[name] for each in times]
        for name, times in alternate(steps, plan, say=end_round).items()
    }
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = {
        name: statistics.median(theirs / ours for theirs, ours in zip(seconds[name], seconds["unmask"], strict=True))
        for name in PADDED_LENGTH
    }
    tokens = float(np.mean([samples.lengths[batch].sum() for own in plan for batch in own["unmask"]]))
    products = 6 * encoder_parameters * tokens  # 2 a multiply-add, forward and twice backward
    product_rate = statistics.median(product_rates[1:])
    return {
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "sentences_per_second": {name: round(BATCH_SIZE / median, 1) for name, median in medians.items()},
        "real_tokens_per_second": {name: round(tokens / median) for name, median in medians.items()},
        "share_of_matrix_product_rate": round(products / medians["unmask"] / product_rate, 3),
        "matrix_product_gflops": round(product_rate / 1e9, 1),
        "largest_logit_difference": difference,
        "peer_optimizer": peer_optimizer(),
        **versions(),
    }


def read_cola(data_dir: Path, model: str) -> Samples:
    """Read and encode the sentences.

    Raises:
        UnmaskError: the data or the model is missing, or broken.
    """
    reading = Reading(column_names=["source", "label", "star", "sentence"], data_dir=data_dir)
    pretrained = load(model)
    examples = TASK.read("cola/in_domain_train.tsv", reading)
    return TASK.encode(examples, pretrained.tokenizer, max_seq_length=min(128, pretrained.max_seq_length))


def batch_of(order: np.ndarray, number: int) -> np.ndarray:
    first = number * BATCH_SIZE % max(1, len(order) - BATCH_SIZE)
    return order[first : first + BATCH_SIZE]


def pad_batch(samples: Samples, batch: np.ndarray, *, length: int | None) -> dict[str, Tensor]:
    """Sentences with their labels, padded to a length or to the longest of the batch."""
    assert samples.targets is not None
    labels = torch.from_numpy(samples.targets.take(batch).values)
    return pad_sequences(samples, batch, length=length) | {"labels": labels}


def transformers_model(model: str) -> Any:
    return load_quietly("BertForSequenceClassification", load(model).folder, num_labels=2)


def unmask_model(model: str) -> Any:
    return load(model, head=TASK.head, id2label=TASK.id2label, allow_new_head=True).model


def compare_logits(samples: Samples, batch: np.ndarray, model: str) -> float:
    """The same head on the same batch, dropout off: how far the logits lie apart."""
    theirs, ours = transformers_model(model).eval(), unmask_model(model).eval()
    ours.classifier.linear.load_state_dict(theirs.classifier.state_dict())
    objective = FineTuning(TASK, samples, samples, seed=0)
    with torch.no_grad():
        expected = theirs(**pad_batch(samples, batch, length=None)).logits
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
