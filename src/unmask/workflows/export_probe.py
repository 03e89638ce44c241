"""What is exported, and what it is asked at the gate: given texts, its run's dev set, or texts that are built in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unmask.errors import DataError, SettingsError
from unmask.exporting.probes import HeadProbe, Probe, TaskProbe
from unmask.exporting.texts import built_in_pairs, built_in_questions, built_in_texts
from unmask.pipelines import read_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unmask.runtimes import Runtime
    from unmask.tasks import Columns, Task
    from unmask.workflows.loading import Pretrained
    from unmask.workflows.trained import Trained

__all__ = ["Source", "find_probe"]

_DEV_TEXTS = 1000  # of a run's own dev set, where nobody gives texts


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is exported.

    Args:
        name: as it was asked for.
        pretrained: the model, and what belongs to it.
        runtime: that computes it.
        trained: its task too; None for a model without one of ours.
    """

    name: str
    pretrained: Pretrained
    runtime: Runtime
    trained: Trained | None

    @property
    def head(self) -> str:
        return self.runtime.head

    @property
    def reads_pairs(self) -> bool:
        """Whether its run says that it was trained on pairs of texts."""
        return self.trained is not None and bool(self.trained.run.get("text_pair_column"))

    @property
    def task(self) -> Task[Any] | None:
        return None if self.trained is None else self.trained.task


def find_probe(
    source: Source,
    *,
    data: str | None,
    texts: str | None,
    columns: Columns,
    column_names: Sequence[str] | None,
    split: str | None,
    data_dir: Path | None,
) -> Probe:
    """Find what both models are asked.

    Args:
        source: the model.
        data: a labelled file, or a data set's hub id.
        texts: a file of texts without labels; else the run's dev set is taken, or built-in texts.
        columns: which columns of the file hold what.
        column_names: names for the columns of a file without a header.
        split: which part of a data set.
        data_dir: folder in which a relative path is also looked for.

    Raises:
        DataError: the file cannot be used.
        SettingsError: it is labelled, and the model has no task of ours.
    """
    if source.trained is None:
        if data is not None:
            raise SettingsError(
                f"data has labels, and a model with the head {source.head} has no use for them: give texts"
            )
        given = built_in_texts() if texts is None else _read_texts(texts, columns, data_dir)
        lone = [text if isinstance(text, str) else text[0] for text in given]
        return HeadProbe(
            source.head,
            lone,
            source.pretrained.tokenizer,
            max_seq_length=source.runtime.max_seq_length,
            source=texts or "built-in texts",
        )
    trained = source.trained
    if data is not None:
        name = f"{data} ({split})" if split else data
        examples = trained.read(data, columns=columns, column_names=column_names, split=split, data_dir=data_dir)
        return _task_probe(trained, examples, name, is_labelled=True)
    if texts is not None:
        examples = _examples(trained, _read_texts(texts, columns, data_dir), texts)
        return _task_probe(trained, examples, texts, is_labelled=False)
    for dev in trained.run.get("dev") or []:
        try:
            examples = trained.read(dev, columns=columns, column_names=column_names, data_dir=data_dir)
        except DataError:  # it has gone, or changed since
            continue
        step = -(-len(examples) // _DEV_TEXTS)
        return _task_probe(trained, examples[::step], f"{dev}, the run's dev set", is_labelled=True)
    asked: Sequence[Any] = built_in_pairs() if source.reads_pairs else built_in_texts()
    if source.head == "question-answering":
        asked = built_in_questions()
    return _task_probe(trained, _examples(trained, asked, "built-in texts"), "built-in texts", is_labelled=False)


def _read_texts(path: str, columns: Columns, data_dir: Path | None) -> list[Any]:
    """Read texts, or pairs of texts: lines, or the columns that are named."""
    named = {name: column for name, column in (("text", columns.text), ("text_pair", columns.text_pair)) if column}
    rows = [row.value for row in read_inputs(path, data_dir=data_dir, **named)]
    if not rows:
        raise DataError("there is no text in it", path=path)
    return [(row["text"], row["text_pair"]) if isinstance(row, dict) else row for row in rows]


def _examples(trained: Trained, texts: Sequence[Any], source: str) -> list[Any]:
    """Make examples of texts, or pairs of texts."""
    made = []
    for line, given in enumerate(texts, start=1):
        text, pair = (given, None) if isinstance(given, str) else given
        made.append(trained.task.from_text(text, pair, source=source, line=line))
    return made


def _task_probe(trained: Trained, examples: Sequence[Any], source: str, *, is_labelled: bool) -> TaskProbe:
    samples = trained.encode(examples, with_targets=is_labelled)
    return TaskProbe(trained.task, examples, samples, source=source)
