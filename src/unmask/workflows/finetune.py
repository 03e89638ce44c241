"""Fine-tune a pretrained model on labelled examples: read, check, encode, train, evaluate, report.

unmask finetune classification --model minilm --train train.tsv --output-dir runs/mine
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from unmask.data import names_a_file, split_indices
from unmask.errors import DataError, SettingsError
from unmask.files import write_json, write_text
from unmask.models.embeddings import WordEmbedding
from unmask.reporting import RunRecord, write_report
from unmask.tasks import TASKS, FineTuning, Reading, Samples, Task, predict_logits
from unmask.training import is_main_process, train, training_device
from unmask.workflows.evaluate import make_entry
from unmask.workflows.loading import Pretrained, load, save_pretrained
from unmask.workflows.model_card import model_card
from unmask.workflows.run_folder import (
    as_json,
    describe,
    is_complete,
    open_run_folder,
    refuse_changed_data,
    remove_checkpoints,
)
from unmask.workflows.run_settings import resolve_settings, with_types
from unmask.workflows.settings import FinetuneSettings
from unmask.workflows.trained import remember_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FinetuneResult", "finetune"]


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
    settings = _resolve(dataclasses.replace(settings or FinetuneSettings(), **with_types(FinetuneSettings, changes)))
    output_dir = settings.output_dir
    assert output_dir is not None
    console = console or Console(stderr=True, quiet=not is_main_process())
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    if settings.resume and is_complete(output_dir):
        say(f"{output_dir} is complete: there is nothing to resume")
        return _result(output_dir) if is_main_process() else None

    # Everything is read and checked before anything is written.
    training_device(settings)
    examples = _read(settings)
    known = examples["train"] if settings.dev else examples["train"] + examples["dev"]  # one file, parted at random
    task = TASKS[settings.task].for_training(known, settings.task_options)
    pretrained = load(
        settings.model,
        head=task.head,
        id2label=task.id2label,
        allow_new_head=True,
        seed=settings.seed,
    )
    say(pretrained.report.summary())
    if not pretrained.report.is_exact:
        console.print(pretrained.report.to_table())
    samples = _encode(examples, task, pretrained, settings, say)
    if is_main_process():
        described = {name: describe(task, samples[name], settings.global_batch_size) for name in ("train", "dev")}
        refuse_changed_data(output_dir, described, resume=settings.resume)
        config = as_json(settings) | {
            "labels": task.recorded_labels,
            "metric_for_best": settings.training.metric_for_best,
        }
        open_run_folder(output_dir, config, resume=settings.resume)
        write_json(output_dir / "data.json", described)

    # Words that the training texts do not have need no gradients.
    model = pretrained.model
    words = [module for module in model.modules() if isinstance(module, WordEmbedding)]
    for word in words:
        num_words = len(word.weight)
        word.restrict(torch.from_numpy(samples["train"].input_ids.values))
        say(f"the training texts use {len(word.weight):,} of {num_words:,} word embeddings")
    objective = FineTuning(task, samples["train"], samples["dev"], dev_examples=examples["dev"], seed=settings.seed)
    train(model, objective, settings.training, run_folder=output_dir, resume=settings.resume, console=console)
    if not is_main_process():
        return None
    for word in words:
        word.release()

    # The best weights are in the model: score them, save them, report.
    logits = predict_logits(model, task, samples["dev"])
    task = task.tuned(examples["dev"], samples["dev"], logits)
    pairs = zip(examples["dev"], task.predict(examples["dev"], samples["dev"], logits), strict=True)
    lines = (json.dumps(task.judge(example, prediction), ensure_ascii=False) for example, prediction in pairs)
    write_text(output_dir / "predictions_dev.jsonl", "".join(f"{line}\n" for line in lines))
    dev = make_entry(task, examples["dev"], samples["dev"], logits, name="dev")
    write_json(output_dir / "evaluation_dev.json", dev)
    entries = [
        make_entry(task, examples[name], samples[name], predict_logits(model, task, samples[name]), name=name)
        for name in samples
        if name not in ("train", "dev")
    ]
    write_json(output_dir / "evaluation.json", entries)
    remember_task(model, task)
    card = model_card(settings, pretrained, task, [dev, *entries], num_examples=len(examples["train"]))
    save_pretrained(model.cpu(), pretrained.tokenizer, output_dir / "model", model_card=card, replace=True)
    write_report(output_dir)
    remove_checkpoints(output_dir)
    return _result(output_dir)


def _resolve(settings: FinetuneSettings) -> FinetuneSettings:
    """Ask for what must be given; a run that is resumed keeps the settings it has."""
    settings = resolve_settings(settings)
    if settings.train is None and settings.resume:
        raise DataError("there is no run here to resume: name the folder of one", path=settings.output_dir)
    if settings.train is None:
        raise SettingsError("train is missing: name the labelled file to learn from, such as --train train.tsv")
    return settings


def _read(settings: FinetuneSettings) -> dict[str, list[Any]]:
    """Read the examples of "train" and "dev", and of each test file, and each dev file where there are several."""

    def read(source: str, split: str) -> list[Any]:
        reading = Reading(
            columns=settings.columns,
            column_names=settings.column_names,
            split=None if names_a_file(source) else split,
            data_dir=settings.data_dir,
            options=settings.task_options,
        )
        return TASKS[settings.task].read(source, reading)

    assert settings.train is not None
    if taken := {"train", "dev"} & {*settings.dev, *settings.test}:
        raise SettingsError(f"a set of data cannot be called {min(taken)!r} here: write ./{min(taken)}")
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
    examples: dict[str, list[Any]],
    task: Task[Any],
    pretrained: Pretrained,
    settings: FinetuneSettings,
    say: Callable[[str], None],
) -> dict[str, Samples]:
    """Encode each set, and say what was cut."""
    max_seq_length = min(settings.max_seq_length or pretrained.max_seq_length, pretrained.max_seq_length)
    samples = {
        name: task.encode(members, pretrained.tokenizer, max_seq_length=max_seq_length)
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


def _result(output_dir: Path) -> FinetuneResult:
    """Read back what a complete run came to."""
    record = RunRecord.read(output_dir)
    assert record.dev is not None
    return FinetuneResult(
        output_dir=output_dir,
        model=output_dir / "model",
        report=output_dir / "report.html",
        dev=record.dev["metrics"],
        evaluations=record.evaluations,
    )
