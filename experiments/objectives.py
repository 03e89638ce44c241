"""Objectives compared: the same text, model size and arithmetic; what is learnt, and what CoLA makes of it.

Each contender is pretrained for the same number of floating-point operations (`unmask.models.flops`, three forward
passes a step; ELECTRA pays for its generator too), then scored on the same held-out sequences with the same masks, and
fine-tuned on CoLA with several seeds:

- mlm, mlm+nsp, mlm+sop, rtd: on all of the text;
- dynamic, static: masked language modelling on a small part of it, so that every text is met many times, with new
  masks every epoch, or always the same.

    .venv/bin/python experiments/objectives.py --data-dir ../shared/data --tokenizer TOK --output-dir runs/objectives

A contender whose run is complete is not run again. Run nothing else beside it where its time matters.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import torch

from unmask import finetune, pretrain
from unmask.models.flops import forward_flops
from unmask.models.registry import load_model
from unmask.pretraining.formats import make_source, split_documents
from unmask.pretraining.masking import Masking
from unmask.pretraining.objective import Pretraining
from unmask.pretraining.objectives import MaskedLanguageModelling
from unmask.pretraining.store import TokenStore
from unmask.pretraining.vocabulary import Vocabulary
from unmask.workflows.loading import load_tokenizer
from unmask.workflows.pretrain_model import generator_config, new_config
from unmask.workflows.pretrain_settings import PretrainSettings

SIZES: dict[str, Any] = {
    "num_hidden_layers": 3,
    "hidden_size": 192,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "max_seq_length": 32,  # places are learnt sooner where there are fewer
    "mlm_probability": 0.3,  # more to learn from in each token (Wettig et al. 2023, arXiv:2202.08005)
    "hidden_dropout_prob": 0.0,  # less than an epoch of text cannot be learnt by heart
    "attention_probs_dropout_prob": 0.0,
    "batch_tokens": 1024,
    "micro_batch_tokens": 1024,
    "learning_rate": 1e-3,
    "initializer_range": 0.05,  # 0.02 suits wide models
    "warmup_ratio": 0.06,
}
CONTENDERS: dict[str, dict[str, Any]] = {
    "mlm": {"family": "bert", "objective": ("mlm",)},
    "mlm+nsp": {"family": "bert", "objective": ("mlm", "nsp")},
    "mlm+sop": {"family": "bert", "objective": ("mlm", "sop")},
    # An ELECTRA whose embeddings are as wide as its hidden states is a BERT.
    "rtd": {"family": "electra", "objective": ("rtd",), "embedding_size": 192, "generator_size": 0.5},
    "dynamic": {"family": "bert", "objective": ("mlm",)},
    "static": {"family": "bert", "objective": ("mlm",), "static_copies": 1},
}
CORPUS = (
    *(f"text_en/books_part_0{part}.txt.gz" for part in range(1, 6)),
    "text_en/wiki_en.txt.gz",
    "text_en/docs_en.txt.gz",
)
SMALL_CORPUS = ("text_en/tinyshakespeare.txt",)
COLA: dict[str, Any] = {
    "train": "cola/in_domain_train.tsv",
    "dev": ("cola/in_domain_dev.tsv", "cola/out_of_domain_dev.tsv"),
    "column_names": ("source", "label", "star", "sentence"),
    "labels": ("0=unacceptable", "1=acceptable"),
    "metric_for_best": "mcc",
    "warmup_ratio": 0.06,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("UNMASK_DATA_DIR") or Path("../shared/data"))
    parser.add_argument("--tokenizer", required=True, help="a folder that `unmask tokenizer train` made")
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--flops", type=float, default=2.4e13, help="operations of each pretraining")
    parser.add_argument("--seeds", type=int, default=3, help="of fine-tuning")
    parser.add_argument("--epochs", type=int, default=4, help="of fine-tuning")
    parser.add_argument("--learning-rate", type=float, default=2e-4, help="of fine-tuning")
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    rows = {name: measure(name, options) for name in options.contenders}
    print(json.dumps({"flops": options.flops, "rows": rows}) if options.json else as_text(rows, options))


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Pretrain one contender, score it, fine-tune it."""
    is_small = name in ("dynamic", "static")
    store = options.output_dir / ("store-small" if is_small else "store")
    told: dict[str, Any] = {
        **SIZES,
        **CONTENDERS[name],
        "tokenizer": options.tokenizer,
        "corpus": SMALL_CORPUS if is_small else CORPUS,
        "store": store,
        "data_dir": options.data_dir,
        "seed": 0,
    }
    max_steps = round(options.flops / flops_per_step(PretrainSettings(**told)))
    folder = options.output_dir / name
    pretrain(**told, max_steps=max_steps, output_dir=folder, resume=folder.exists())
    scores = held_out(folder, store, options.tokenizer)
    mcc = []
    for seed in range(options.seeds):
        run = options.output_dir / f"{name}-cola-{seed}"
        result = finetune(
            **COLA,
            model=str(folder / "model"),
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            seed=seed,
            data_dir=options.data_dir,
            output_dir=run,
            resume=run.exists(),
        )
        assert result is not None
        mcc.append(result.dev["mcc"])
    seen = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "steps": max_steps,
        "tokens": sum(row["num_tokens"] for row in seen if row["kind"] == "step"),
        "epochs": round([row["epoch"] for row in seen if row["kind"] == "epoch"][-1], 2),
        **scores,
        "cola_mcc": mcc,
        "cola_mcc_mean": statistics.mean(mcc),
        "cola_mcc_std": statistics.stdev(mcc) if len(mcc) > 1 else 0.0,
    }


def flops_per_step(settings: PretrainSettings) -> float:
    """Count the operations of one update: forward, and twice that backward."""
    family = settings.family
    assert family is not None
    assert settings.batch_tokens is not None
    config = new_config(settings, family, load_tokenizer(str(settings.tokenizer)))
    heads = {"rtd": "replaced-token"}.get(
        settings.token_objective, "pre-training" if settings.pair_objective else "masked-lm"
    )
    parts = [(config, heads)]
    if settings.token_objective == "rtd":
        parts.append((generator_config(config, settings.generator_size), "masked-lm"))
    length = settings.max_seq_length
    per_sequence = sum(
        forward_flops(config, head).computed([length], num_predictions=settings.mlm_probability * length)
        for config, head in parts
    )
    return 3 * per_sequence / length * settings.batch_tokens


def held_out(folder: Path, store_folder: Path, tokenizer_name: str) -> dict[str, float]:
    """Guess the same masked words of the same held-out sequences; rtd by its generator, the part that guesses."""
    tokenizer = load_tokenizer(tokenizer_name)
    store = TokenStore.open(store_folder, tokenizer=tokenizer)
    _, dev = split_documents(store, dev_fraction=0.01, seed=0)
    source = make_source("full-sentences", store, dev, tokenizer, max_seq_length=SIZES["max_seq_length"], seed=0)
    guesser = folder / "generator" if (folder / "generator").is_dir() else folder / "model"
    model, _ = load_model(guesser, "masked-lm")
    objective = Pretraining(MaskedLanguageModelling(Masking(), Vocabulary.of(tokenizer)), None, source, source, seed=0)
    with torch.inference_mode():
        scores = objective.evaluate(model.eval())
    return {"held_out_loss": scores["mlm_loss"], "held_out_masked_accuracy": scores["masked_accuracy"]}


def as_text(rows: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        f"{options.flops:.1e} operations each; CoLA: {options.seeds} seeds, {options.epochs} epochs, "
        f"learning rate {options.learning_rate:g}",
        f"{'':<10}{'steps':>8}{'tokens':>12}{'epochs':>8}{'held-out loss':>15}{'masked accuracy':>17}{'CoLA MCC':>20}",
    ]
    for name, row in rows.items():
        lines.append(
            f"{name:<10}{row['steps']:>8,}{row['tokens']:>12,}{row['epochs']:>8}{row['held_out_loss']:>15.3f}"
            f"{row['held_out_masked_accuracy']:>17.3f}{row['cola_mcc_mean']:>12.3f} ± {row['cola_mcc_std']:.3f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
