"""Does pretraining on Korean pay? Four Korean tasks, from a model pretrained here and from random weights.

    .venv/bin/python experiments/korean.py --data-dir ../shared/data --pretrained runs/korean --output-dir runs/ko-tasks

Every seed has random weights of its own, in the sizes and with the tokenizer of the pretrained model. The recipe is the
same on both sides, and the last epoch is judged. Texts that are longer than the model are cut; sentences with names are
read in windows.

- nsmc: film reviews, good or bad; --train-examples of the 150,000 to train on and 2,000 others for dev, drawn at
  random; judged by the 50,000 of its test file. The few reviews without a word are left out.
- hate: comments on news, hateful, offensive or neither; judged by its dev file, the test file has no labels.
- korsts: how alike two sentences are; judged by its test file.
- klue-ner: names and numbers, by characters; its dev file's 5,000 sentences, drawn at random: 3,500 to train on, 500
  for dev, 1,000 to judge by.

Files that are parted stand in OUTPUT_DIR/data. A run that is complete is not run again. With --limit all of it takes a
minute, and the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from every_task import (
    SPLIT_SEED,
    Experiment,
    add_options,
    read_lines,
    run_once,
    run_ours,
    shown,
    span_tags,
    spread,
    with_files,
)
from unmask.files import write_text
from unmask.models.registry import build_model, read_model_config, saved_head
from unmask.training.order import sample_order
from unmask.workflows.loading import find_model, load_tokenizer, save_pretrained

if TYPE_CHECKING:
    from collections.abc import Sequence

STARTS = ("random", "pretrained")
TASKS = ("nsmc", "hate", "korsts", "klue-ner")
NSMC_DEV = 2000  # examples
KLUE_PARTS = {"train": 3500, "dev": 500, "test": 1000}  # sentences


def make_experiments(num_train: int) -> dict[str, Experiment]:
    """What is learnt; `num_train` examples of NSMC."""
    return {
        "nsmc": Experiment(
            title="NSMC",
            metrics=("accuracy",),
            told={
                "train": f"nsmc-{num_train}-train.tsv",
                "dev": (f"nsmc-{num_train}-dev.tsv",),
                "test": ("nsmc-test.tsv",),
            },
            judged="test",
            part=partial(part_nsmc, num_train=num_train),
        ),
        "hate": Experiment(
            title="hate speech",
            metrics=("f1", "accuracy"),
            told={
                "train": "korean_hate_speech/train.tsv",
                "dev": ("korean_hate_speech/dev.tsv",),
                "text_column": "comments",
                "label_column": "hate",
            },
        ),
        "korsts": Experiment(
            title="KorSTS",
            metrics=("pearson", "spearman"),
            told={
                "task": "regression",
                "train": "kornlu/KorSTS/sts-train.tsv",
                "dev": ("kornlu/KorSTS/sts-dev.tsv",),
                "test": ("kornlu/KorSTS/sts-test.tsv",),
                "text_column": "sentence1",
                "text_pair_column": "sentence2",
            },
            judged="test",
        ),
        "klue-ner": Experiment(
            title="KLUE-NER, dev parted",
            metrics=("f1",),
            told={
                "task": "tagging",
                "train": "klue-ner-train.conll",
                "dev": ("klue-ner-dev.conll",),
                "test": ("klue-ner-test.conll",),
                "labels": span_tags("DT", "LC", "OG", "PS", "QT", "TI"),
            },
            judged="test",
            part=part_klue,
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--pretrained", type=Path, required=True, help="a run of unmask pretrain on Korean")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--train-examples", type=int, default=20_000, help="of NSMC")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    options = parser.parse_args()
    experiments = make_experiments(options.train_examples)
    rows = []
    if not options.json:
        print(f"{'':<22}{'':<11}" + "".join(f"{start:>16}" for start in options.starts) + f"{'gain':>9}", flush=True)
    for name in options.tasks:
        row = measure(name, experiments[name], options)
        rows.append(row)
        if not options.json:
            print(as_text(row), flush=True)
    if options.json:
        print(json.dumps({"rows": rows}))


# What is derived from the data as they come.


def part_nsmc(data_dir: Path, folder: Path, *, num_train: int) -> None:
    """Write nsmc-N-train.tsv and nsmc-N-dev.tsv, drawn from the train file, and nsmc-test.tsv, all of that file."""
    head, *rows = have_text(read_lines(data_dir / "nsmc" / "ratings_train.txt.gz"))
    if num_train + NSMC_DEV > len(rows):
        raise SystemExit(f"NSMC has {len(rows)} reviews, of which {NSMC_DEV} are for dev: take fewer to train on")
    drawn = draw(rows)
    parts = {
        f"{num_train}-train": drawn[:num_train],
        f"{num_train}-dev": drawn[num_train : num_train + NSMC_DEV],
        "test": have_text(read_lines(data_dir / "nsmc" / "ratings_test.txt"))[1:],
    }
    for part, own in parts.items():
        write_text(folder / f"nsmc-{part}.tsv", "".join(f"{row}\n" for row in [head, *own]))


def have_text(rows: Sequence[str]) -> list[str]:
    """Those rows whose second column, the review, has more than blanks."""
    return [row for row in rows if row.split("\t")[1].strip()]


def part_klue(data_dir: Path, folder: Path) -> None:
    """Write klue-ner-train.conll, -dev and -test, drawn from the sentences of KLUE's dev file."""
    mark = "\n## klue-ner-"  # begins the line before a sentence, which tells its id
    _, *sentences = "\n".join(read_lines(data_dir / "klue" / "klue-ner-v1.1_dev.tsv")).split(mark)
    if len(sentences) != sum(KLUE_PARTS.values()):
        raise SystemExit(f"KLUE's file has {len(sentences)} sentences, not {sum(KLUE_PARTS.values())}")
    drawn, start = draw(sentences), 0
    for part, count in KLUE_PARTS.items():
        own = (f"{mark.lstrip()}{sentence.rstrip()}\n" for sentence in drawn[start : start + count])
        write_text(folder / f"klue-ner-{part}.conll", "\n".join(own))
        start += count


def draw(rows: Sequence[str]) -> list[str]:
    """All rows in a random order, which depends on their number alone."""
    return [rows[index] for index in sample_order(len(rows), seed=SPLIT_SEED, epoch=0)]


# The runs.


def measure(name: str, experiment: Experiment, options: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune from each start with each seed."""
    files = with_files(experiment, options)
    results: dict[str, list[dict[str, Any]]] = {start: [] for start in options.starts}
    for seed in range(options.seeds):
        for start in options.starts:
            model = find_model(options.pretrained) if start == "pretrained" else random_model(seed, options)
            told = {
                **files,
                "warmup_ratio": 0.06,
                "epochs": options.epochs,
                "learning_rate": options.learning_rate,
                "model": str(model),
                "device": options.device,
                "seed": seed,
            }
            folder = options.output_dir / start / f"{name}-{seed}"
            results[start].append(run_once(folder, told, run_ours, limit=options.limit))
    return {
        "task": name,
        "title": experiment.title,
        "judged": experiment.judged,
        "scores": {
            metric: {
                start: spread([result["scores"][experiment.judged][metric] for result in of_start])
                for start, of_start in results.items()
            }
            for metric in experiment.metrics
        },
    }


def random_model(seed: int, options: argparse.Namespace) -> Path:
    """Make, once, a model like the pretrained one that has learnt nothing."""
    folder: Path = options.output_dir / f"random-{seed}"
    if not folder.exists():
        pretrained = find_model(options.pretrained)
        config = read_model_config(pretrained)
        save_pretrained(build_model(config, saved_head(config), seed=seed), load_tokenizer(pretrained), folder)
    return folder


def as_text(row: dict[str, Any]) -> str:
    lines = []
    for number, (metric, scores) in enumerate(row["scores"].items()):
        cells = "".join(f"{shown(of_start):>16}" for of_start in scores.values())
        gain = f"{scores['pretrained']['mean'] - scores['random']['mean']:>+9.3f}" if len(scores) == len(STARTS) else ""
        lines.append(f"{row['title'] if number == 0 else '':<22}{metric:<11}{cells}{gain}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
