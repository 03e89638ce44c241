"""Every task on real data, beside transformers: MiniLM, the same recipe on both sides, several seeds each.

    .venv/bin/python experiments/every_task.py --data-dir ../shared/data --output-dir runs/tasks
    .venv/bin/python experiments/every_task.py --data-dir ../shared/data --output-dir runs/tasks \
        --tasks rte mrpc --seeds 5

3 epochs, learning rate 5e-5 with 6 % of the steps of warm-up, batches of 32 examples (questions: 16), texts and
sentences whole, windows of 384 tokens for questions. Both sides are judged after the last epoch, and nothing is chosen
on dev but the null threshold of SQuAD 2.0. Seconds are those of the training loop alone; where they matter run nothing
else beside this. `peers.py` tells what transformers is given.

Files that are parted or shortened stand in OUTPUT_DIR/data, for anyone to use; they come out the same every time:

- sst-2: a tenth of its train file, drawn at random, a fifth of that to judge by. (Its rows are phrases of sentences: a
  phrase of one that was learnt may be judged.)
- rte: a fifth of its train file to judge by.
- squad-2.0: 35 articles sorted by title: 25 to train on, 3 to tune on, 7 to judge by; squad-1.1: 36, 4, 8.

A run that is complete is not run again: OUTPUT_DIR/SIDE/TASK-SEED/results.json keeps what it came to. With --limit
all of it takes a minute or two, and the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from objectives import COLA
from unmask import FinetuneSettings, finetune
from unmask.data import split_indices
from unmask.data.sources import numbered_lines
from unmask.files import sha256_of, write_json, write_text
from unmask.hub import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NEVER = 10**9  # steps between evaluations: the last step alone is evaluated, and its weights are the result
SPLIT_SEED = 0
SIDES = ("ours", "theirs")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One line of the table, or a line for each of its scores.

    Args:
        title: of the line.
        metrics: the scores to tell.
        told: what `unmask.finetune` is told; its files are relative to the data folder, or those that `part` makes.
        judged: the set the scores are of.
        part: makes files for `told` out of the data folder, in the folder it is given second.
    """

    title: str
    metrics: tuple[str, ...]
    told: dict[str, Any]
    judged: str = "dev"
    part: Callable[[Path, Path], None] | None = None


# What is derived from the data as they come.


def part_sst2(data_dir: Path, folder: Path) -> None:
    head, *rows = read_lines(data_dir / "glue/SST-2/train.tsv")
    tenth = split_indices(len(rows), dev_fraction=0.1, seed=SPLIT_SEED)[1]
    part_rows(head, [rows[i] for i in tenth], folder, "sst-2")


def part_rte(data_dir: Path, folder: Path) -> None:
    head, *rows = read_lines(data_dir / "glue/RTE/train.tsv")
    part_rows(head, rows, folder, "rte")


def part_rows(head: str, rows: Sequence[str], folder: Path, name: str) -> None:
    """Write NAME-train.tsv and NAME-dev.tsv, which has a fifth of the rows, drawn at random."""
    for part, indices in zip(
        ("train", "dev"), split_indices(len(rows), dev_fraction=0.2, seed=SPLIT_SEED), strict=True
    ):
        write_text(folder / f"{name}-{part}.tsv", "".join(f"{row}\n" for row in [head, *(rows[i] for i in indices)]))


def part_squad(file: str, name: str, counts: Sequence[int]) -> Callable[[Path, Path], None]:
    """Part a file of SQuAD by whole articles, sorted by title: so many of them to train, tune and judge by."""

    def part(data_dir: Path, folder: Path) -> None:
        document = json.loads((data_dir / file).read_text(encoding="utf-8"))
        articles = sorted(document["data"], key=lambda article: article["title"])
        if len(articles) != sum(counts):
            raise ValueError(f"{file} has {len(articles)} articles, not {sum(counts)}")
        for part, count in zip(("train", "dev", "test"), counts, strict=True):
            own, articles = articles[:count], articles[count:]
            write_json(folder / f"{name}-{part}.json", {"version": document.get("version"), "data": own})

    return part


def read_lines(path: Path) -> list[str]:
    return [line for _, line in numbered_lines(path)]


def shorten(path: Path, short: Path, limit: int) -> None:
    """Copy the first rows of a table, sentences of a tagged file or questions of SQuAD, at least as many as there are.

    The header of a table is not counted; where there is none, one row more is kept.
    """
    if path.name.endswith(".json"):
        document, kept = json.loads(path.read_text(encoding="utf-8")), 0
        for article in document["data"]:
            paragraphs, article["paragraphs"] = article["paragraphs"], []
            for paragraph in paragraphs:
                paragraph["qas"] = paragraph["qas"][: limit - kept]
                kept += len(paragraph["qas"])
                article["paragraphs"] += [paragraph] if paragraph["qas"] else []
        document["data"] = [article for article in document["data"] if article["paragraphs"]]
        write_json(short, document)
    elif path.name.endswith((".tsv", ".txt", ".txt.gz", ".jsonl")):
        write_text(short, "".join(f"{line}\n" for line in read_lines(path)[: limit + 1]))
    else:
        blocks = "\n".join(line if line.strip() else "" for line in read_lines(path)).split("\n\n")
        write_text(short, "\n\n".join(blocks[:limit]) + "\n\n")


# The experiments.


def span_tags(*types: str) -> tuple[str, ...]:
    """O, and B- and I- of each type: all of them, whatever the first rows of a file have."""
    return ("O", *(f"{letter}-{type_}" for type_ in types for letter in "BI"))


PARTS_OF_SPEECH = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
QUESTIONS: dict[str, Any] = {
    "task": "question-answering",
    "global_batch_size": 16,
    "max_seq_length": 384,
    "doc_stride": 128,
}
EXPERIMENTS: dict[str, Experiment] = {
    "cola": Experiment(title="CoLA", metrics=("mcc",), told=COLA),
    "sst-2": Experiment(
        title="SST-2, a tenth",
        metrics=("accuracy",),
        told={"train": "sst-2-train.tsv", "dev": ("sst-2-dev.tsv",)},
        part=part_sst2,
    ),
    "mrpc": Experiment(
        title="MRPC",
        metrics=("accuracy", "f1"),
        told={
            "train": "glue/MRPC/train.tsv",
            "dev": ("glue/MRPC/dev.tsv",),
            "text_column": "#1 String",
            "text_pair_column": "#2 String",
            "label_column": "Quality",
        },
    ),
    "sts-b": Experiment(
        title="STS-B",
        metrics=("pearson", "spearman"),
        told={
            "task": "regression",
            "train": "glue/STS-B/train.tsv",
            "dev": ("glue/STS-B/dev.tsv",),
            "text_column": "sentence1",
            "text_pair_column": "sentence2",
        },
    ),
    "rte": Experiment(
        title="RTE",
        metrics=("accuracy",),
        told={
            "train": "rte-train.tsv",
            "dev": ("rte-dev.tsv",),
            "text_column": "sentence1",
            "text_pair_column": "sentence2",
        },
        part=part_rte,
    ),
    "ud-english": Experiment(
        title="UD English tags",
        metrics=("accuracy",),
        told={
            "task": "tagging",
            "train": "ud_english_ewt/en_ewt-ud-train.conllu.gz",
            "dev": ("ud_english_ewt/en_ewt-ud-dev.conllu",),
            "test": ("ud_english_ewt/en_ewt-ud-test.conllu",),
            "labels": tuple(PARTS_OF_SPEECH.split()),
        },
        judged="test",
    ),
    "wnut-17": Experiment(
        title="WNUT-17 entities",
        metrics=("f1",),
        told={
            "task": "tagging",
            "train": "wnut17/wnut17train.conll",
            "dev": ("wnut17/emerging.dev.conll",),
            "test": ("wnut17/emerging.test.annotated",),
            "labels": span_tags("corporation", "creative-work", "group", "location", "person", "product"),
        },
        judged="test",
    ),
    "squad-2.0": Experiment(
        title="SQuAD 2.0 dev, 25/3/7",
        metrics=("exact_match", "f1"),
        told={
            **QUESTIONS,
            "train": "squad-2.0-train.json",
            "dev": ("squad-2.0-dev.json",),
            "test": ("squad-2.0-test.json",),
        },
        judged="test",
        part=part_squad("squad/dev-v2.0.rebuilt.json", "squad-2.0", (25, 3, 7)),
    ),
    "squad-1.1": Experiment(
        title="SQuAD 1.1 dev, 36/4/8",
        metrics=("exact_match", "f1"),
        told={
            **QUESTIONS,
            "answer_rules": "squad1",
            "train": "squad-1.1-train.json",
            "dev": ("squad-1.1-dev.json",),
            "test": ("squad-1.1-test.json",),
        },
        judged="test",
        part=part_squad("squad/dev-v1.1.rebuilt.json", "squad-1.1", (36, 4, 8)),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--tasks", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--model", default="minilm", help="what both sides start from: a folder, or minilm")
    parser.add_argument("--side", choices=(*SIDES, "both"), default="both")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    options = parser.parse_args()
    sides = SIDES if options.side == "both" else (options.side,)
    rows = []
    if not options.json:
        print(f"{'':<24}{'':<13}{'unmask':>16}{'transformers':>16}{'seconds':>10}{'their seconds':>15}", flush=True)
    for name in options.tasks:
        experiment = EXPERIMENTS[name]
        told = {
            "warmup_ratio": 0.06,
            **with_files(experiment, options),
            "model": options.model,
            "epochs": options.epochs,
            "learning_rate": options.learning_rate,
            "device": options.device,
        }
        for seed in range(options.seeds):  # side by side, so that a slow hour of the machine is everybody's
            for side in sides:
                folder = options.output_dir / side / f"{name}-{seed}"
                run = run_ours if side == "ours" else run_theirs
                run_once(folder, told | {"seed": seed}, run, limit=options.limit)
        row = row_of(name, options)
        rows.append(row)
        if not options.json:
            print(as_text(row), flush=True)
    if options.json:
        print(json.dumps({"rows": rows}))


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the scripts of fine-tuning have in common."""
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("UNMASK_DATA_DIR") or Path("../shared/data"))
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each side, from seed 0 on")
    parser.add_argument("--limit", type=int, help="examples of each file: to try the script, not to learn anything")
    parser.add_argument("--device", help="where to train; without, CUDA where there is one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def with_files(experiment: Experiment, options: argparse.Namespace) -> dict[str, Any]:
    """What `finetune` is told, its files where they are: made first if they are derived or shortened."""
    told, folder = dict(experiment.told), options.output_dir / "data"
    told["data_dir"] = options.data_dir
    names = [told["train"], *told["dev"], *told.get("test", ())]
    if experiment.part is not None:
        told["data_dir"] = folder
        if not all((folder / name).is_file() for name in names):
            experiment.part(options.data_dir, folder)
    if options.limit is not None:
        short = folder / f"first-{options.limit}"
        for name in names:
            shorten(told["data_dir"] / name, short / name.removesuffix(".gz"), options.limit)
        told["data_dir"] = short
        told |= {"train": told["train"].removesuffix(".gz")}
    return told


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run came to.

    Args:
        scores: of "dev", and of "test" where there are such files.
        seconds: of the training loop.
        num_steps: updates.
        more: what else is to be kept of it.
    """

    scores: dict[str, dict[str, float]]
    seconds: float
    num_steps: int
    more: dict[str, Any] = field(default_factory=dict)


def run_once(
    folder: Path, told: dict[str, Any], run: Callable[[dict[str, Any], Path], Result], *, limit: int | None
) -> dict[str, Any]:
    """Run what `told` says unless that was done, and keep what it came to in results.json.

    Args:
        folder: of this run alone.
        told: what `unmask.finetune` is told.
        run: does it.
        limit: how many examples of each file there are, if not all.

    Raises:
        SystemExit: what was done is not what `told` says.
    """
    kept = {name: value for name, value in told.items() if name not in ("data_dir", "model")}
    files = sorted(path for path in resolve(told["model"]).iterdir() if path.suffix in (".safetensors", ".bin"))
    recipe = json.loads(json.dumps(kept | {"limit": limit, "weights": [sha256_of(path) for path in files]}))
    done = read_results(folder)
    if done is None:
        load = os.getloadavg()[0]
        result = run(told, folder)
        done = {
            "recipe": recipe,
            "scores": result.scores,
            "seconds": result.seconds,
            "num_steps": result.num_steps,
            **result.more,
            "load_before": load,  # of the machine: how many others were at work
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        write_json(folder / "results.json", done)
    if done["recipe"] != recipe:
        raise SystemExit(
            f"{folder} holds a run with {done['recipe']}, and now {recipe} is asked for: choose another --output-dir"
        )
    return done


def read_results(folder: Path) -> dict[str, Any] | None:
    """What the run of a folder came to; None where it has not."""
    path = folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def run_ours(told: dict[str, Any], folder: Path) -> Result:
    """Fine-tune with unmask, in FOLDER/run; a run that was stopped goes on."""
    run = folder / "run"
    result = finetune(**told, eval_steps=NEVER, save_steps=500, output_dir=run, resume=run.exists())
    assert result is not None
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    tests = told.get("test", ())
    by_file = {entry["data"]: entry["metrics"] for entry in result.evaluations}
    return Result(
        scores={"dev": result.dev} | ({"test": by_file[tests[0]]} if tests else {}),
        seconds=sum(step["seconds"] for step in steps),
        num_steps=len(steps),
    )


def run_theirs(told: dict[str, Any], folder: Path) -> Result:
    """Fine-tune with transformers; nothing but the scores is kept."""
    import transformers

    from peers import finetune_peer

    result = finetune_peer(FinetuneSettings(**told), resolve(told["model"]))
    return Result(
        scores=result.scores,
        seconds=result.seconds,
        num_steps=result.num_steps,
        more={"transformers": transformers.__version__},
    )


def row_of(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Gather a task's scores, of the seeds that are done."""
    experiment = EXPERIMENTS[name]
    row: dict[str, Any] = {"task": name, "title": experiment.title, "judged": experiment.judged}
    for side in SIDES:
        folders = [options.output_dir / side / f"{name}-{seed}" for seed in range(options.seeds)]
        done = [result for result in map(read_results, folders) if result is not None]
        row[side] = {
            metric: spread([result["scores"][experiment.judged][metric] for result in done])
            for metric in experiment.metrics
        } | {"seconds": [result["seconds"] for result in done], "num_seeds": len(done)}
    pairs = list(zip(row["theirs"]["seconds"], row["ours"]["seconds"], strict=False))
    row["seconds_ratio"] = statistics.median(theirs / ours for theirs, ours in pairs) if pairs else None
    return row


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation over seeds; None where there are too few for it."""
    return {
        "by_seed": list(values),
        "mean": statistics.mean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
    }


def as_text(row: dict[str, Any]) -> str:
    """The row, a line for each score; seconds are those of our runs' mean, then theirs as a multiple of ours."""
    lines = []
    metrics = EXPERIMENTS[row["task"]].metrics
    for number, metric in enumerate(metrics):
        cells = "".join(f"{shown(row[side][metric]):>16}" for side in SIDES)
        times = ""
        if number == 0:
            seconds = row["ours"]["seconds"]
            times = f"{statistics.mean(seconds):>10.0f}" if seconds else f"{'':>10}"
            times += f"{row['seconds_ratio']:>14.2f}x" if row["seconds_ratio"] else ""
        lines.append(f"{row['title'] if number == 0 else '':<24}{metric:<13}{cells}{times}")
    return "\n".join(lines)


def shown(scores: dict[str, Any]) -> str:
    if scores["mean"] is None:
        return "-"
    return f"{scores['mean']:.3f}" + ("" if scores["std"] is None else f" ± {scores['std']:.3f}")


if __name__ == "__main__":
    main()
