"""Fine-tune a pretrained model on labelled examples: read, check, encode, train, evaluate, report.

unmask finetune classification --model minilm --train train.tsv --output-dir runs/mine
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from unmask.errors import DataError, SettingsError
from unmask.files import write_json, write_text
from unmask.models.adapters import lora_layers, merge_lora, save_lora
from unmask.models.embeddings import WordEmbedding
from unmask.reporting import RunRecord, write_report
from unmask.reporting.classification import dev_report
from unmask.reporting.seeds import read_seeds
from unmask.tasks import FineTuning, predict_logits
from unmask.training import is_main_process, train, training_device
from unmask.workflows.evaluate import make_entry
from unmask.workflows.finetune_data import Prepared, prepare, tell_findings
from unmask.workflows.loading import save_pretrained
from unmask.workflows.model_card import model_card
from unmask.workflows.run_folder import is_complete, open_run_folder, refuse_changed_data, remove_checkpoints, spared
from unmask.workflows.run_settings import resolve_settings, with_types
from unmask.workflows.seeds import train_seeds
from unmask.workflows.settings import FinetuneSettings
from unmask.workflows.trained import remember_task

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FinetuneResult", "finetune", "train_one"]


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """What a run came to.

    Args:
        output_dir: the run folder.
        model: the folder of the best model, in Hugging Face's layout.
        report: the page to open.
        dev: scores of the best checkpoint on the dev set; of several seeds, those of the seed that was kept.
        evaluations: for each dev or test file its scores, as `evaluation.json` has them; likewise.
        seeds: of a run of several seeds each of them, and mean and spread, as `seeds.json` has them; else None.
    """

    output_dir: Path
    model: Path
    report: Path
    dev: dict[str, float]
    evaluations: list[dict[str, Any]]
    seeds: dict[str, Any] | None = None


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
    if settings.learning_rate is None and settings.tune != "all":
        say(f"learning rate {settings.peak_learning_rate:g}, unless told otherwise, as tune is {settings.tune}")
    prepared = prepare(settings, console=console, say=say)
    tell_findings(settings, say)
    if settings.seeds == 1:
        train_one(prepared, console=console, say=say)
    else:
        train_seeds(prepared, partial(train_one, console=console, say=say), say=say)
    return _result(output_dir) if is_main_process() else None


def train_one(
    prepared: Prepared,
    *,
    console: Console,
    say: Callable[[str], None],
    make_objective: Callable[..., FineTuning] = FineTuning,
    report: bool = True,
) -> None:
    """Train what was prepared, and leave a complete run in its output folder: the work of each process.

    Args:
        prepared: data and model; the model is changed in place.
        console: where progress is shown.
        say: prints a line.
        make_objective: makes what the loop learns, with the arguments of `FineTuning`.
        report: whether to write the report, whose plots take seconds.

    Raises:
        UnmaskError: as `finetune`.
    """
    settings, examples, task, samples = prepared.settings, prepared.examples, prepared.task, prepared.samples
    pretrained, output_dir = prepared.pretrained, settings.output_dir
    assert output_dir is not None
    if is_main_process():
        described = prepared.described
        refuse_changed_data(output_dir, described, resume=settings.resume)
        open_run_folder(output_dir, prepared.config, resume=settings.resume)
        write_json(output_dir / "data.json", described)

    # Words that the training texts do not have need no gradients; nor has any word where none is trained.
    model = pretrained.model
    words = [module for module in model.modules() if isinstance(module, WordEmbedding) and module.weight.requires_grad]
    for word in words:
        num_words = len(word.weight)
        word.restrict(torch.from_numpy(samples["train"].input_ids.values))
        say(f"the training texts use {len(word.weight):,} of {num_words:,} word embeddings")
    objective = make_objective(task, samples["train"], samples["dev"], dev_examples=examples["dev"], seed=settings.seed)
    train(
        model,
        objective,
        settings.training,
        run_folder=output_dir,
        lr_factors=prepared.tuning.lr_factors,
        resume=settings.resume,
        console=console,
    )
    if not is_main_process():
        return
    for word in words:
        word.release()
    if lora_layers(model):
        save_lora(model, output_dir / "adapter", base_model=_base_model(prepared), replace=True)
        merge_lora(model)

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
    card = model_card(
        settings,
        pretrained,
        task,
        [dev, *entries],
        num_examples=len(examples["train"]),
        pairs=getattr(examples["train"][0], "text_pair", None) is not None,
        tuning=prepared.tuning,
    )
    save_pretrained(model.cpu(), pretrained.tokenizer, output_dir / "model", model_card=card, replace=True)
    if report:
        with spared(output_dir, say):
            write_report(output_dir)
    remove_checkpoints(output_dir)


def _resolve(settings: FinetuneSettings) -> FinetuneSettings:
    """Ask for what must be given; a run that is resumed keeps the settings it has."""
    settings = resolve_settings(settings)
    if settings.train is None and settings.resume:
        raise DataError("there is no run here to resume: name the folder of one", path=settings.output_dir)
    if settings.train is None:
        raise SettingsError("train is missing: name the labelled file to learn from, such as --train train.tsv")
    return settings


def _base_model(prepared: Prepared) -> str:
    """What adapters belong to, for whoever loads them onto it: a hub id, or a folder where it is none."""
    model = prepared.settings.model
    return str(prepared.pretrained.folder) if model == "minilm" or Path(model).exists() else model


def _result(output_dir: Path) -> FinetuneResult:
    """Read back what a complete run came to.

    Raises:
        DataError: it left no scores on its dev set.
    """
    seeds = read_seeds(output_dir)
    record = RunRecord.read(output_dir if seeds is None else output_dir / f"seed-{seeds['best_seed']}")
    metrics = record.dev.get("metrics")
    if metrics is None and record.config.get("task") == "classification":  # of a version that kept the answers alone
        report = dev_report(record)
        metrics = report and report.metrics
    if metrics is None:
        raise DataError(
            "the run is complete and has a model, but no scores on its dev set: unmask evaluate scores its model",
            path=output_dir,
        )
    return FinetuneResult(
        output_dir=output_dir,
        model=output_dir / "model",
        report=output_dir / "report.html",
        dev=metrics,
        evaluations=record.evaluations,
        seeds=seeds,
    )
