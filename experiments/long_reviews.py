"""Texts longer than the model: which part of a film review to read, or all of it in windows?

    .venv/bin/python experiments/long_reviews.py --data-dir ../shared/data --output-dir runs/reviews
    .venv/bin/python experiments/long_reviews.py --data-dir ../shared/data --output-dir runs/reviews-256 \
        --max-seq-length 256

MiniLM learns 2,000 reviews of Pang and Lee (2004, arXiv:cs/0409058) as good or bad, five ways. Sun et al. (2019,
arXiv:1905.05583, section 5.3) compare the same with BERT on IMDb, and find a text's head and tail together best.

- head: the first tokens. tail: the last. head-tail: a quarter from the head, the rest from the tail.
- windows-mean, windows-max: the whole text in windows whose logits are pooled, in training as after it.

The authors' ten folds, by the number in a file's name, are kept: 1 to 6 to train on (1,200 reviews), 7 for dev (200),
8 to 10 to judge by (600). Nothing is chosen on dev; the last epoch is judged. The files stand in OUTPUT_DIR/data. A run
that is complete is not run again. With --limit all of it takes a minute, and the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import zipfile
from typing import TYPE_CHECKING, Any

from every_task import add_options, run_once, run_ours, shown, spread
from unmask.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

METHODS: dict[str, dict[str, Any]] = {
    "head": {"truncate": "head"},
    "tail": {"truncate": "tail"},
    "head-tail": {"truncate": "head-tail"},
    "windows-mean": {"long_texts": "windows", "window_pooling": "mean"},
    "windows-max": {"long_texts": "windows", "window_pooling": "max"},
}
FOLDS = {"train": range(6), "dev": range(6, 7), "test": range(7, 10)}
REVIEW = re.compile(r"movie_reviews/(?P<label>neg|pos)/cv(?P<number>\d{3})_\d+\.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--model", default="minilm", help="a folder, or minilm")
    parser.add_argument("--max-seq-length", type=int, default=512, help="of a text that is cut, or of a window")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    options = parser.parse_args()
    folder = options.output_dir / "data"
    if options.limit is not None:
        folder /= f"first-{options.limit}"
    if not all((folder / f"{part}.jsonl").is_file() for part in FOLDS):
        part_reviews(options.data_dir / "movie_reviews" / "movie_reviews.zip", folder, limit=options.limit)
    rows = []
    if not options.json:
        print(f"{'':<14}{'accuracy':>16}{'tokens of a text':>18}{'texts cut':>11}{'seconds':>9}", flush=True)
    for method in options.methods:
        row = measure(method, folder, options)
        rows.append(row)
        if not options.json:
            print(as_text(row), flush=True)
    if options.json:
        print(json.dumps({"max_seq_length": options.max_seq_length, "rows": rows}))


def part_reviews(archive: Path, folder: Path, *, limit: int | None) -> None:
    """Write train.jsonl, dev.jsonl and test.jsonl, good and bad reviews in turn."""
    texts: dict[tuple[str, int], str] = {}  # by label and number
    with zipfile.ZipFile(archive) as reviews:
        for name in reviews.namelist():
            if match := REVIEW.fullmatch(name):
                texts[match["label"], int(match["number"])] = reviews.read(name).decode("utf-8").strip()
    for part, folds in FOLDS.items():
        lines = [
            json.dumps({"text": texts[label, number], "label": label}, ensure_ascii=False)
            for number in range(100 * folds.start, 100 * folds.stop)
            for label in ("neg", "pos")
        ]
        write_text(folder / f"{part}.jsonl", "".join(f"{line}\n" for line in lines[:limit]))


def measure(method: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune one way with each seed."""
    results = []
    for seed in range(options.seeds):
        told = {
            "train": "train.jsonl",
            "dev": ("dev.jsonl",),
            "test": ("test.jsonl",),
            **METHODS[method],
            "max_seq_length": options.max_seq_length,
            "global_batch_size": 16,
            "micro_batch_size": 4,  # texts; a long one has many windows, and all of them are learnt from together
            "warmup_ratio": 0.06,
            "epochs": options.epochs,
            "learning_rate": options.learning_rate,
            "model": options.model,
            "device": options.device,
            "data_dir": folder,
            "seed": seed,
        }
        run = options.output_dir / f"{method}-{seed}"
        results.append(run_once(run, told, run_ours, limit=options.limit))
    data = json.loads((run / "run" / "data.json").read_text(encoding="utf-8"))["train"]
    return {
        "method": method,
        "accuracy": spread([result["scores"]["test"]["accuracy"] for result in results]),
        "seconds": statistics.mean(result["seconds"] for result in results),
        "tokens": data["tokens"] / data["rows"],
        "share_cut": data["truncated_texts"] / data["rows"],
    }


def as_text(row: dict[str, Any]) -> str:
    return (
        f"{row['method']:<14}{shown(row['accuracy']):>16}{row['tokens']:>18.0f}{row['share_cut']:>11.0%}"
        f"{row['seconds']:>9.0f}"
    )


if __name__ == "__main__":
    main()
