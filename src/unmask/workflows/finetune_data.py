"""What a fine-tuning run starts from: examples read and checked, encoded once, and a model that is ready to learn."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from unmask.data import split_indices
from unmask.data.findings import count_of
from unmask.errors import DataError, SettingsError
from unmask.tasks import TASKS, Samples, Task
from unmask.training import TuningReport, apply_tuning, is_main_process
from unmask.workflows.check import CheckSettings, check
from unmask.workflows.loading import Pretrained, load
from unmask.workflows.run_folder import as_json, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from unmask.workflows.settings import FinetuneSettings

__all__ = ["Prepared", "hold_back", "prepare", "prepare_examples", "read_examples", "tell_findings"]

ExampleT = TypeVar("ExampleT")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that a run of training needs; training changes the model in place.

    Args:
        settings: of the run.
        examples: of "train" and "dev", of each test file, and of each dev file where there are several.
        task: what is learnt.
        samples: the examples, encoded.
        pretrained: the model, with its head, its adapters if it has them, and what is not trained marked so.
        tuning: what of it is trained.
    """

    settings: FinetuneSettings
    examples: dict[str, list[Any]]
    task: Task[Any]
    samples: dict[str, Samples]
    pretrained: Pretrained
    tuning: TuningReport

    @property
    def described(self) -> dict[str, Any]:
        """The content of `data.json`."""
        batch_size = self.settings.global_batch_size
        return {name: describe(self.task, self.samples[name], batch_size) for name in ("train", "dev")}

    @property
    def config(self) -> dict[str, Any]:
        """The content of `config.json`: the settings as resolved, and how much of the model they train."""
        return as_json(self.settings) | {
            "labels": self.task.recorded_labels,
            "metric_for_best": self.settings.training.metric_for_best,
            "num_trainable": self.tuning.num_trainable,
            "num_total": self.tuning.num_total,
        }

    def for_run(self, settings: FinetuneSettings) -> Prepared:
        """The same data for another run: the model is loaded anew.

        Args:
            settings: of that run; what they say of the data and the task is what these say.
        """
        settings = settings.for_task(self.task)
        pretrained, tuning = _load(settings, self.task)
        return dataclasses.replace(self, settings=settings, pretrained=pretrained, tuning=tuning)


def prepare(settings: FinetuneSettings, *, console: Console, say: Callable[[str], None]) -> Prepared:
    """Read and check everything, and write nothing.

    Args:
        settings: of the run.
        console: where the table of a checkpoint that does not fit is drawn.
        say: prints a line.

    Raises:
        UnmaskError: data, checkpoint or settings that cannot be used; the message says what to do.
    """
    return prepare_examples(settings, read_examples(settings), console=console, say=say)


def prepare_examples(
    settings: FinetuneSettings, examples: dict[str, list[Any]], *, console: Console, say: Callable[[str], None]
) -> Prepared:
    """Make the task of examples, load and encode: what `prepare` does once they are read.

    Args:
        settings: of the run.
        examples: as `read_examples` gives them.
        console: where the table of a checkpoint that does not fit is drawn.
        say: prints a line.

    Raises:
        UnmaskError: as `prepare`.
    """
    known = examples["train"] if settings.dev else examples["train"] + examples["dev"]  # one file, parted at random
    task = TASKS[settings.task].for_training(known, settings.task_options)
    settings = settings.for_task(task)
    pretrained, tuning = _load(settings, task)
    say(pretrained.report.summary())
    if not pretrained.report.is_exact:
        console.print(pretrained.report.to_table())
    say(tuning.summary())
    samples = _encode(examples, task, pretrained, settings, say)
    return Prepared(
        settings=settings, examples=examples, task=task, samples=samples, pretrained=pretrained, tuning=tuning
    )


def _load(settings: FinetuneSettings, task: Task[Any]) -> tuple[Pretrained, TuningReport]:
    """Load the model with the task's head, and mark what of it is trained."""
    pretrained = load(
        settings.model,
        head=task.head,
        id2label=task.id2label,
        allow_new_head=True,
        seed=settings.seed,
    )
    report = pretrained.report
    new = [*report.missing, *(name for name, _, _ in report.misshaped)]
    return pretrained, apply_tuning(pretrained.model, settings.tuning, new=new, seed=settings.seed)


def tell_findings(settings: FinetuneSettings, say: Callable[[str], None]) -> None:
    """Look at the files before a run begins, as `unmask check` does, and tell what is odd; unless told not to."""
    if settings.check and not settings.resume and is_main_process():
        for line in check(CheckSettings.of(settings)).lines("error", "warning"):
            say(line)


def read_examples(settings: FinetuneSettings) -> dict[str, list[Any]]:
    """Read the examples of "train" and "dev", and of each test file, and each dev file where there are several.

    Raises:
        DataError: a file is missing or broken, or an example cannot be used.
        SettingsError: two sets of data would go by one name.
    """

    def read(source: str, split: str) -> list[Any]:
        return TASKS[settings.task].read(source, settings.reading(source, split))

    assert settings.train is not None
    if taken := {"train", "dev"} & {*settings.dev, *settings.test}:
        raise SettingsError(f"a set of data cannot be called {min(taken)!r} here: write ./{min(taken)}")
    names = [*(settings.dev if len(settings.dev) > 1 else ()), *settings.test]  # a lone dev file goes by "dev"
    if repeated := [name for place, name in enumerate(names) if name in names[:place]]:
        raise SettingsError(
            f"{repeated[0]!r} is named twice among dev and test, whose scores are told by name: name each once"
        )
    train_examples = read(settings.train, "train")
    dev_sets = {source: read(source, "validation") for source in settings.dev}
    if not dev_sets:
        train_examples, dev_sets["dev"] = hold_back(train_examples, settings)
    sets = {"train": train_examples, "dev": [example for examples in dev_sets.values() for example in examples]}
    if len(dev_sets) > 1:
        sets |= dev_sets
    return sets | {source: read(source, "test") for source in settings.test}


def hold_back(examples: list[ExampleT], settings: FinetuneSettings) -> tuple[list[ExampleT], list[ExampleT]]:
    """Part examples into those to learn from and those that are held back for dev.

    Raises:
        DataError: there are too few.
    """
    seed = settings.seed if settings.dev_seed is None else settings.dev_seed
    try:
        parts = split_indices(
            len(examples), dev_fraction=settings.dev_fraction, seed=seed, unit=TASKS[settings.task].unit
        )
    except DataError as error:
        raise DataError(error.problem, path=settings.train) from error
    kept, held_back = ([examples[i] for i in part] for part in parts)
    return kept, held_back


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
    unit = task.unit.removesuffix("s")
    for name, encoded in samples.items():
        cut = ""
        if encoded.num_truncated_texts:
            cut = (
                f"; {count_of(encoded.num_truncated_texts, unit)} "
                f"{'was' if encoded.num_truncated_texts == 1 else 'were'} cut to {max_seq_length} tokens, "
                f"{count_of(encoded.num_truncated_tokens, 'token')} in all"
            )
        counted = count_of(len(encoded), unit)
        if len(encoded.input_ids) > len(encoded):
            counted += f" in {len(encoded.input_ids):,} windows"
        say(f"{name}: {counted}, {encoded.lengths.sum():,} tokens{cut}")
    return samples
