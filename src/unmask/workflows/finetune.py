"""Fine-tune a pretrained model on labelled texts: read, check, encode, train, evaluate, report.

unmask finetune classification --model minilm --train train.tsv --output-dir runs/mine
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from rich.console import Console

from unmask.data import read_table, split_indices
from unmask.errors import DataError, SettingsError
from unmask.files import write_json, write_text
from unmask.models.embeddings import WordEmbedding
from unmask.reporting import RunRecord, write_report
from unmask.tasks import TASKS, Columns, FineTuning, Labels, Samples, TextExample, encode_texts, read_examples
from unmask.training import TrainingSettings, is_main_process, train
from unmask.workflows.evaluate import evaluate_entry, prediction_lines
from unmask.workflows.loading import Pretrained, load, save_pretrained
from unmask.workflows.model_card import model_card
from unmask.workflows.run_folder import as_json, describe, open_run_folder, refuse_used_folder

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FinetuneResult", "FinetuneSettings", "finetune"]


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(TrainingSettings):
    """Fine-tune a pretrained model on labelled texts, evaluate it, and leave a model folder and a report.

    Args:
        task: what to learn; "classification" gives each text, or pair of texts, one label.
        model: a folder, a hub id, or "minilm", the pretrained BERT that comes as a pip package.
        train: the labelled file to learn from: TSV, CSV, JSON lines or Parquet, or a data set's hub id.
        dev: files to choose the best checkpoint by, scored together and each alone; without any, a part of train.
        dev_fraction: how much of train is held back where there is no dev file, a fraction in (0, 1).
        test: files that no choice is made on, scored once by the best checkpoint.
        output_dir: the run folder.
        overwrite: replace a run that is in the output folder.
        resume: go on with the run in the output folder, with its own settings, from its newest checkpoint.
        column_names: names for the columns of files without a header.
        text_column: the column of the text; None takes sentence, text, ... whichever there is.
        text_pair_column: the column of the second text of a pair; None where texts stand alone.
        label_column: the column of the label; None takes label, labels or class.
        labels: the labels in the order of their ids, each `value` or `value=name`; None takes what
            the training file has, sorted.
        data_dir: folder in which relative paths of data are also looked for; None is the variable UNMASK_DATA_DIR.
        max_seq_length: tokens of the longest input, special tokens included; longer texts are cut. None is the model's
            own limit.

    Raises:
        SettingsError: a value outside its range, or two that contradict one another.
    """

    task: Literal["classification"] = "classification"
    model: str = "minilm"
    train: str | None = None
    dev: tuple[str, ...] = ()
    dev_fraction: float = 0.1
    test: tuple[str, ...] = ()
    output_dir: Path | None = None
    overwrite: bool = False
    resume: bool = False
    column_names: tuple[str, ...] | None = None
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str | None = None
    labels: tuple[str, ...] | None = None
    data_dir: Path | None = None
    max_seq_length: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("dev_fraction", "in (0, 1)", 0 < self.dev_fraction < 1)
        self._require("max_seq_length", "3 or more", self.max_seq_length is None or self.max_seq_length >= 3)
        self._require("task", f"one of {', '.join(TASKS)}", self.task in TASKS)
        metrics = TASKS[self.task].metrics
        self._require("metric_for_best", f"one of {', '.join(metrics)}", self.metric_for_best in metrics)
        if self.overwrite and self.resume:
            raise SettingsError("overwrite and resume contradict one another: give one of the two")

    @property
    def training(self) -> TrainingSettings:
        """What the training loop is told of these settings."""
        names = [field.name for field in dataclasses.fields(TrainingSettings)]
        return TrainingSettings(**{name: getattr(self, name) for name in names})

    @property
    def columns(self) -> Columns:
        return Columns(text=self.text_column, text_pair=self.text_pair_column, label=self.label_column)


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """What a run came to.

    Args:
        output_dir: the run folder.
        model: the folder of the best model, in Hugging Face's layout.
        report: the page to open.
        dev: scores of the best checkpoint on the dev set.
        evaluations: for each dev or test file its scores, as `evaluation.json` has them.
    """

    output_dir: Path
    model: Path
    report: Path
    dev: dict[str, float]
    evaluations: list[dict[str, Any]]


def finetune(
    settings: FinetuneSettings | None = None, /, *, console: Console | None = None, **changes: Any
) -> FinetuneResult | None:
    """Fine-tune: `finetune(train="train.tsv", output_dir="runs/mine")`, with the fields of `FinetuneSettings`.

    Args:
        settings: all settings; the defaults if None.
        console: where progress is shown; stderr if None.
        changes: fields to set over settings.

    Returns:
        The result; None on all but the first process of several.

    Raises:
        UnmaskError: data, checkpoint or settings that cannot be used; the message says what to do.
    """
    settings = _resolve(dataclasses.replace(settings or FinetuneSettings(), **_with_types(changes)))
    output_dir = settings.output_dir
    assert output_dir is not None
    console = console or Console(stderr=True, quiet=not is_main_process())
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    if settings.resume and _is_complete(output_dir):
        say(f"{output_dir} is complete: there is nothing to resume")
        return _result(output_dir)

    # Everything is read and checked before anything is written.
    examples = _read(settings)
    labels = Labels.find(examples["train"], settings.labels)
    task = TASKS[settings.task]()
    pretrained = load(
        settings.model,
        head=task.head,
        id2label=dict(enumerate(labels.names)),
        allow_new_head=True,
        seed=settings.seed,
    )
    say(pretrained.report.summary())
    if not pretrained.report.is_exact:
        console.print(pretrained.report.to_table())
    samples = _encode(examples, labels, pretrained, settings, say)
    if is_main_process():
        given = [value if value == name else f"{value}={name}" for value, name in labels.items()]
        open_run_folder(output_dir, as_json(settings) | {"labels": given}, resume=settings.resume)
        batch_size = settings.global_batch_size
        described = {name: describe(samples[name], labels.names, batch_size=batch_size) for name in ("train", "dev")}
        write_json(output_dir / "data.json", described)

    # Words that the training texts do not have need no gradients.
    model = pretrained.model
    words = [module for module in model.modules() if isinstance(module, WordEmbedding)]
    for word in words:
        num_words = len(word.weight)
        word.restrict(torch.from_numpy(np.concatenate(samples["train"].input_ids)))
        say(f"the training texts use {len(word.weight):,} of {num_words:,} word embeddings")
    objective = FineTuning(task, samples["train"], samples["dev"], seed=settings.seed)
    train(model, objective, settings.training, run_folder=output_dir, resume=settings.resume, console=console)
    if not is_main_process():
        return None
    for word in words:
        word.release()

    # The best weights are in the model: score them, save them, report.
    entries = []
    for name in [name for name in samples if name != "train"]:
        logits, entry = evaluate_entry(model, task, samples[name], labels.names, name=name)
        if name == "dev":
            lines = prediction_lines(examples["dev"], logits, labels)
            write_text(output_dir / "predictions_dev.jsonl", "".join(lines))
        entries.append(entry)
    write_json(output_dir / "evaluation.json", [entry for entry in entries if entry["data"] != "dev"])
    card = model_card(settings, pretrained, labels, entries, num_examples=len(examples["train"]))
    save_pretrained(model.cpu(), pretrained.tokenizer, output_dir / "model", model_card=card, replace=True)
    write_report(output_dir)
    # Last, because until then the run can be resumed; in one step, because half of them would be damaged checkpoints.
    shutil.rmtree((output_dir / "checkpoints").rename(output_dir / ".checkpoints.partial"))
    return _result(output_dir)


def _resolve(settings: FinetuneSettings) -> FinetuneSettings:
    """Ask for what must be given; a run that is resumed keeps the settings it has."""
    if settings.output_dir is None:
        raise SettingsError("output_dir is missing: name the run folder, such as --output-dir runs/mine")
    if is_main_process():  # the others may find what the first has just opened
        refuse_used_folder(settings.output_dir, overwrite=settings.overwrite, resume=settings.resume)
    config_file = settings.output_dir / "config.json"
    if settings.resume and config_file.is_file():
        recorded = _recorded(config_file)
        may_differ = {"resume", "overwrite", "output_dir", "device"}
        for field in dataclasses.fields(settings):
            given, before = getattr(settings, field.name), getattr(recorded, field.name)
            if field.name not in may_differ and given not in (before, field.default):
                raise SettingsError(
                    f"{field.name} is {given!r}, but the run in {settings.output_dir} has {before!r}: "
                    "leave it out to resume, or start another run"
                )
        settings = dataclasses.replace(
            recorded, resume=True, overwrite=False, output_dir=settings.output_dir, device=settings.device
        )
    if settings.train is None:
        raise SettingsError("train is missing: name the labelled file to learn from, such as --train train.tsv")
    return settings


def _recorded(config_file: Path) -> FinetuneSettings:
    """Read the settings of a run."""
    try:
        return FinetuneSettings(**_with_types(json.loads(config_file.read_bytes())))
    except (TypeError, ValueError) as error:
        raise DataError(f"no settings that this version can resume ({error}): start again", path=config_file) from error


def _read(settings: FinetuneSettings) -> dict[str, list[TextExample]]:
    """Read the examples of "train" and "dev", and of each test file, and each dev file where there are several."""

    def read(source: str, split: str) -> list[TextExample]:
        is_data_set = not Path(source).suffix
        table = read_table(
            source,
            column_names=settings.column_names,
            data_dir=settings.data_dir,
            split=split if is_data_set else None,
        )
        return read_examples(table, settings.columns)

    assert settings.train is not None
    train_examples = read(settings.train, "train")
    dev_sets = {source: read(source, "validation") for source in settings.dev}
    if not dev_sets:
        kept, held_back = split_indices(len(train_examples), dev_fraction=settings.dev_fraction, seed=settings.seed)
        dev_sets = {"dev": [train_examples[i] for i in held_back]}
        train_examples = [train_examples[i] for i in kept]
    sets = {"train": train_examples, "dev": [example for examples in dev_sets.values() for example in examples]}
    if len(dev_sets) > 1:
        sets |= dev_sets
    return sets | {source: read(source, "test") for source in settings.test}


def _encode(
    examples: dict[str, list[TextExample]],
    labels: Labels,
    pretrained: Pretrained,
    settings: FinetuneSettings,
    say: Callable[[str], None],
) -> dict[str, Samples]:
    """Encode each set, and say what was cut."""
    max_seq_length = min(settings.max_seq_length or pretrained.max_seq_length, pretrained.max_seq_length)
    samples = {
        name: encode_texts(members, pretrained.tokenizer, max_seq_length=max_seq_length, targets=labels.ids_of(members))
        for name, members in examples.items()
    }
    for name, encoded in samples.items():
        cut = ""
        if encoded.num_truncated_texts:
            cut = (
                f"; {encoded.num_truncated_texts:,} texts were cut to {max_seq_length} tokens, "
                f"{encoded.num_truncated_tokens:,} tokens in all"
            )
        say(f"{name}: {len(encoded):,} texts, {encoded.lengths.sum():,} tokens{cut}")
    return samples


def _is_complete(output_dir: Path) -> bool:
    return (output_dir / "model").is_dir() and not (output_dir / "checkpoints").exists()


def _result(output_dir: Path) -> FinetuneResult:
    """Read back what a complete run came to."""
    record = RunRecord.read(output_dir)
    assert record.dev_report is not None
    return FinetuneResult(
        output_dir=output_dir,
        model=output_dir / "model",
        report=output_dir / "report.html",
        dev=record.dev_report.metrics,
        evaluations=record.evaluations,
    )


def _with_types(values: dict[str, Any]) -> dict[str, Any]:
    """Give values, as JSON, recipes and people write them, the types of the fields; one file is a list of one."""
    given = {name: value for name, value in values.items() if value is not None}
    paths = {name: Path(given[name]) for name in ("output_dir", "data_dir") if name in given}
    names = {name: str(given[name]) for name in ("model", "train") if name in given}
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    name_lists = {
        name: (str(given[name]),) if isinstance(given[name], str | Path) else tuple(map(str, given[name]))
        for name in ("dev", "test", "labels", "column_names")
        if name in given
    }
    return values | paths | names | lists | name_lists
