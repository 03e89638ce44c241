"""The data doctor: look at labelled files before a model learns from them.

unmask check classification --train train.tsv --dev dev.tsv --model minilm
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from unmask import hub
from unmask.checks import CHECKS, READERS, DataSet, Role, Subject, apply_labels, count_tokens, read_set
from unmask.checks.sieve import kind_of
from unmask.data import Finding
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.models.registry import empty_model, encoder_of, read_model_config
from unmask.tasks import TASKS, TaskOptions
from unmask.workflows.data_settings import DataSettings
from unmask.workflows.loading import load_tokenizer
from unmask.workflows.run_settings import with_types

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unmask.data.findings import Severity
    from unmask.tokenization import Tokenizer

__all__ = ["CheckReport", "CheckSettings", "CheckedSet", "check"]

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_SPLITS: dict[Role, str] = {"train": "train", "dev": "validation", "test": "test"}  # of a data set
_TOLD_BY_READERS = ("repaired_answer", "ambiguous_answer")  # in a line of the log, wherever they are read
_MOST_LABELS = 50  # that are listed of a set


@dataclass(frozen=True, kw_only=True)
class CheckSettings(TaskOptions, DataSettings):
    """Look at labelled files as a fine-tuning run would read them, and tell all that is odd about them.

    Args:
        model: whose tokenizer will read the texts: a folder, a hub id or "minilm"; None leaves tokens unchecked.

    Raises:
        SettingsError: there is no such task, or no file.
    """

    model: str | None = "minilm"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task not in READERS:
            raise SettingsError(f"task is {self.task!r}: it must be one of {', '.join(READERS)}")
        if not self.sources:
            raise SettingsError("there is no file to look at: name one, such as --train train.tsv")

    @classmethod
    def of(cls, settings: Any) -> Self:
        """Take what concerns the data from the settings of a fine-tuning run."""
        names = [field.name for field in dataclasses.fields(cls) if hasattr(settings, field.name)]
        return cls(**{name: getattr(settings, name) for name in names})

    @property
    def sources(self) -> list[tuple[Role, str]]:
        """Each file with what it is for."""
        train: list[tuple[Role, str]] = [] if self.train is None else [("train", self.train)]
        return [*train, *(("dev", source) for source in self.dev), *(("test", source) for source in self.test)]


@dataclass(frozen=True, kw_only=True)
class CheckedSet:
    """What a file holds, in numbers.

    Args:
        role: train, dev or test.
        data: the file, as it was named.
        num_examples: examples that could be read.
        num_refused: rows, sentences or questions that could not.
        labels: how often each label stands there, the most frequent first, 50 at most; of scores, none.
        num_labels: different labels.
        mean_tokens: of an input, special tokens included; None where tokens were not counted.
        max_tokens: of the longest.
        unknown_rate: share of the texts' tokens that the vocabulary does not know.
        num_long: inputs longer than the model reads at once.
    """

    role: Role
    data: str
    num_examples: int
    num_refused: int
    labels: dict[str, int]
    num_labels: int
    mean_tokens: float | None = None
    max_tokens: int | None = None
    unknown_rate: float | None = None
    num_long: int | None = None


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What the doctor found.

    Args:
        task: what is to be learnt.
        model: whose tokenizer read the texts; None if none did.
        max_seq_length: tokens it reads at once; None if no limit is known.
        sets: each file in numbers, train first.
        findings: errors first, then warnings, then notes; in each, findings of one kind stand together.
    """

    task: str
    model: str | None
    max_seq_length: int | None
    sets: tuple[CheckedSet, ...]
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[Severity, int]:
        """How many findings there are of each severity."""
        counts = Counter(finding.severity for finding in self.findings)
        return {severity: counts[severity] for severity in _SEVERITIES}

    @property
    def groups(self) -> list[list[Finding]]:
        """The findings, those of one kind, severity and advice together."""
        groups: dict[tuple[str, str, str], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((finding.severity, finding.kind, finding.advice), []).append(finding)
        return list(groups.values())

    def summary(self) -> str:
        """How many findings there are, in a line."""
        parts = [f"{count:,} {severity}{'' if count == 1 else 's'}" for severity, count in self.counts.items() if count]
        return ", ".join(parts) or "nothing was found"

    def lines(self, *severities: Severity) -> list[str]:
        """Each kind of finding in a line, its first and how many more: what a run says before it begins.

        What readers tell by themselves, such as answers that they repaired, the run has said already.

        Args:
            severities: those to tell; without any, warnings.
        """
        return [
            f"{group[0].severity}: {group[0]}" + (f" (and {len(group) - 1:,} more)" if len(group) > 1 else "")
            for group in self.groups
            if group[0].severity in (severities or ("warning",)) and group[0].kind not in _TOLD_BY_READERS
        ]

    def raise_for_errors(self) -> None:
        """Make an error of the first that was found.

        Raises:
            DataError: there was one.
        """
        errors = [finding for finding in self.findings if finding.severity == "error"]
        if errors:
            first = errors[0].as_error()
            more = f" (and {len(errors) - 1:,} more errors: unmask check tells them)" if len(errors) > 1 else ""
            raise DataError(f"{first.problem}{more}", path=first.path, line=first.line, field=first.field)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "task": self.task,
            "model": self.model,
            "max_seq_length": self.max_seq_length,
            "counts": self.counts,
            "data": [dataclasses.asdict(entry) for entry in self.sets],
            "findings": [
                {"severity": finding.severity, **finding.to_dict(), "advice": finding.advice}
                for finding in self.findings
            ],
        }


def check(settings: CheckSettings | None = None, /, **changes: Any) -> CheckReport:
    """Look at files: `check(task="tagging", train="train.conllu", dev="dev.conllu")`, with the fields of CheckSettings.

    Every error is found, not the first alone; what is sound of a file is read by the readers of training and looked at
    further.

    Args:
        settings: all settings; the defaults if None.
        changes: fields to set over settings.

    Returns:
        The findings, and each file in numbers. `raise_for_errors` makes an error of them.

    Raises:
        SettingsError: there is no file, or a setting is outside its range.
    """
    values = {} if settings is None else {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    settings = CheckSettings(**values | with_types(CheckSettings, changes))
    options = settings.task_options
    findings: list[Finding] = []
    read: list[DataSet] = []
    for role, source in settings.sources:
        data, found = read_set(settings.task, role, source, settings.reading(source, _SPLITS[role]))
        read.append(data)
        findings += found
    labels, sets = apply_labels(settings.task, read, options)
    tokenizer, max_seq_length = None, settings.max_seq_length
    if settings.model is not None:
        try:
            tokenizer = load_tokenizer(settings.model)
            max_seq_length = _find_limit(settings.model, tokenizer, settings.max_seq_length)
        except CheckpointError as error:
            findings.append(Finding("no_tokenizer", f"tokens were not looked at: {error}", settings.model))
    if tokenizer is not None:
        sets = tuple(
            dataclasses.replace(data, counts=count_tokens(data.items, tokenizer, max_seq_length)) for data in sets
        )
    subject = Subject(
        task=settings.task,
        options=options,
        sets=sets,
        labels=labels,
        model=settings.model or "",
        tokenizer=tokenizer,
        max_seq_length=max_seq_length,
    )
    for look in CHECKS:
        if settings.task in look.tasks:
            findings += look.find(subject)
    findings += _ask_task(subject, findings)
    return CheckReport(
        task=settings.task,
        model=None if tokenizer is None else settings.model,
        max_seq_length=max_seq_length,
        sets=tuple(_describe(data, settings.task) for data in sets),
        findings=tuple(_sorted(findings)),
    )


def _ask_task(subject: Subject, findings: list[Finding]) -> Iterator[Finding]:
    """What the task itself has to say against the training file, if all else found no error in it."""
    train = subject.train
    if train is None or not train.items or any(f.severity == "error" and f.path == train.path for f in findings):
        return
    try:
        TASKS[subject.task].for_training([item.example for item in train.items], subject.options)
    except DataError as error:
        yield Finding(kind_of(error), error.problem, train.path, error.line, error.field, severity="error")


def _find_limit(model: str, tokenizer: Tokenizer, asked: int | None) -> int | None:
    """Tokens of the longest input: what is asked for, what the tokenizer says, what positions there are."""
    limits = [limit for limit in (asked, tokenizer.model_max_length) if limit is not None]
    try:
        config = read_model_config(hub.resolve(model, with_weights=False))
        limits.append(encoder_of(empty_model(config, "encoder")).embeddings.max_seq_length)
    except CheckpointError:  # a tokenizer without a model
        pass
    return min(limits, default=None)


def _describe(data: DataSet, task: str) -> CheckedSet:
    labels = data.label_counts if task != "regression" else Counter[str]()
    known = CheckedSet(
        role=data.role,
        data=data.source,
        num_examples=len(data.items),
        num_refused=data.num_refused,
        labels=dict(labels.most_common(_MOST_LABELS)),
        num_labels=len(labels),
    )
    if data.counts is None or not data.items:
        return known
    counts = data.counts
    return dataclasses.replace(
        known,
        mean_tokens=float(counts.lengths.mean()),
        max_tokens=int(counts.lengths.max()),
        unknown_rate=int(counts.unknown.sum()) / max(1, int(counts.texts.sum())),
        num_long=int((counts.lost > 0).sum()),
    )


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    """By severity; else in the order in which they were made, but kinds together."""
    kinds: dict[str, int] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, len(kinds))
    return sorted(findings, key=lambda finding: (_SEVERITIES.index(finding.severity), kinds[finding.kind]))
