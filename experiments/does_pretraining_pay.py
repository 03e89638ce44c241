"""Does pretraining pay? CoLA from random weights, from a model pretrained here, and from MiniLM, several seeds each.

    .venv/bin/python experiments/does_pretraining_pay.py --data-dir ../shared/data --pretrained runs/english \
        --output-dir runs/pays

The random model has the sizes and the tokenizer of the pretrained one. A run that is complete is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

from objectives import COLA
from unmask import finetune
from unmask.models.registry import build_model, read_model_config, saved_head
from unmask.workflows.loading import load_tokenizer, save_pretrained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("UNMASK_DATA_DIR") or Path("../shared/data"))
    parser.add_argument("--pretrained", type=Path, required=True, help="a run of unmask pretrain")
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=2e-4, help="for the small models; MiniLM takes 5e-5")
    parser.add_argument(
        "--starts", nargs="+", choices=("random", "pretrained", "minilm"), default=["random", "pretrained", "minilm"]
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    random = options.output_dir / "random"
    if not random.exists():
        config = read_model_config(options.pretrained / "model")
        model = build_model(config, saved_head(config), seed=0)
        save_pretrained(model, load_tokenizer(options.pretrained / "model"), random)
    models = {"random": random, "pretrained": options.pretrained / "model", "minilm": "minilm"}
    rows = {start: measure(start, str(models[start]), options) for start in options.starts}
    print(json.dumps({"rows": rows}) if options.json else as_text(rows))


def measure(start: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune with each seed."""
    results = []
    for seed in range(options.seeds):
        folder = options.output_dir / f"{start}-{seed}"
        result = finetune(
            **COLA,
            model=model,
            epochs=options.epochs,
            learning_rate=5e-5 if start == "minilm" else options.learning_rate,
            seed=seed,
            data_dir=options.data_dir,
            output_dir=folder,
            resume=folder.exists(),
        )
        assert result is not None
        results.append(result.dev)
    mcc = [scores["mcc"] for scores in results]
    return {
        "mcc": mcc,
        "mean": statistics.mean(mcc),
        "std": statistics.stdev(mcc) if len(mcc) > 1 else 0.0,
        "accuracy": statistics.mean(scores["accuracy"] for scores in results),
    }


def as_text(rows: dict[str, dict[str, Any]]) -> str:
    lines = [f"{'CoLA dev from':<16}{'MCC by seed':>28}{'mean':>9}{'std':>8}{'accuracy':>10}"]
    for start, row in rows.items():
        by_seed = ", ".join(f"{value:.3f}" for value in row["mcc"])
        lines.append(f"{start:<16}{by_seed:>28}{row['mean']:>9.3f}{row['std']:>8.3f}{row['accuracy']:>10.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
