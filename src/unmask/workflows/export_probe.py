"""What is exported, and what it is asked at the gate: given texts, its run's dev set, or texts that are built in."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.exporting.probes import HeadProbe, Probe, TaskProbe
from unmask.exporting.texts import built_in_pairs, built_in_questions, built_in_texts
from unmask.models.registry import HEADS, config_of, read_model_config, saved_head
from unmask.pipelines import open_model, read_inputs
from unmask.pipelines.inputs import parse_text
from unmask.runtimes.onnx import is_graph_alone
from unmask.runtimes.pytorch import TorchRuntime
from unmask.tasks.remembered import TASK_HEADS
from unmask.workflows.loading import find_model
from unmask.workflows.trained import load_trained, remember_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from unmask.pipelines.inputs import TextInput
    from unmask.pipelines.opening import SentenceVectors
    from unmask.runtimes import Runtime
    from unmask.tasks import Columns, Task
    from unmask.tokenization import Tokenizer
    from unmask.workflows.trained import Trained

__all__ = ["Source", "find_probe", "load_source"]

_BUILT_IN = "built-in texts"
_DEV_TEXTS = 2000  # of a run's own dev set, where nobody gives texts

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is exported.

    Args:
        name: as it was asked for.
        folder: where it was found.
        model: an encoder, or one with a head of one output, in eval mode, on the CPU.
        runtime: that computes it.
        tokenizer: the one it was trained with.
        trained: its task too; None for a model without one of ours.
        vectors: how it makes one vector of a text, if it is an encoder in sentence-transformers' layout.
    """

    name: str
    folder: Path
    model: nn.Module
    runtime: Runtime
    tokenizer: Tokenizer
    trained: Trained | None = None
    vectors: SentenceVectors | None = None

    @property
    def head(self) -> str:
        return self.runtime.head

    @property
    def model_type(self) -> str:
        """Its family, as config.json has it."""
        return config_of(self.model).model_type

    @property
    def reads_pairs(self) -> bool:
        """Whether its run says that it was trained on pairs of texts."""
        return self.trained is not None and bool(self.trained.run.get("text_pair_column"))

    @property
    def task(self) -> Task[Any] | None:
        return None if self.trained is None else self.trained.task


def load_source(model: str | Path, head: str | None) -> Source:
    """Load what is to be exported.

    Args:
        model: a run folder, a model folder, a hub id or "minilm".
        head: a key of `unmask.models.registry.HEADS`; None takes the one it was saved with, of a BERT that was
            pretrained on words and pairs the one for words.

    Raises:
        CheckpointError: nothing usable is found under that name, or it has no such head.
        SettingsError: there is no such head, or it gives two things at once.
    """
    if head is not None and (head not in HEADS or head == "pre-training"):
        known = ", ".join(name for name in HEADS if name != "pre-training")
        raise SettingsError(f"head is {head!r}: it must be one of {known}")
    folder = find_model(model)
    if is_graph_alone(folder):
        raise CheckpointError(f"{folder}: this is an exported model already: give the one it was made of")
    saved = saved_head(read_model_config(folder))
    if saved in TASK_HEADS and head in (None, saved):
        trained = load_trained(model, device="cpu")
        assert trained.pretrained is not None
        remember_task(trained.pretrained.model, trained.task)
        return Source(
            name=str(model),
            folder=folder,
            model=trained.pretrained.model,
            runtime=trained.runtime,
            tokenizer=trained.tokenizer,
            trained=trained,
        )
    opened = open_model(model, head=head, device="cpu", asked_for="--head")
    assert isinstance(opened.runtime, TorchRuntime)
    return Source(
        name=str(model),
        folder=opened.folder,
        model=opened.runtime.model,
        runtime=opened.runtime,
        tokenizer=opened.tokenizer,
        vectors=opened.sentence_vectors if opened.runtime.head == "encoder" else None,
    )


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
        return HeadProbe(
            source.head,
            built_in_texts() if texts is None else [one.text for one in _read_texts(texts, columns, data_dir)],
            source.tokenizer,
            max_seq_length=source.runtime.max_seq_length,
            source=texts or _BUILT_IN,
        )
    trained = source.trained
    if data is not None:
        name = f"{data} ({split})" if split else data
        examples = trained.read(data, columns=columns, column_names=column_names, split=split, data_dir=data_dir)
        return _task_probe(trained, examples, name, is_labelled=True)
    if texts is not None:
        return _task_probe(trained, _examples(trained, _read_texts(texts, columns, data_dir)), texts, is_labelled=False)
    if (probe := _dev_probe(trained, columns, column_names, data_dir)) is not None:
        return probe
    asked: Sequence[Any] = built_in_pairs() if source.reads_pairs else built_in_texts()
    if source.head == "question-answering":
        asked = built_in_questions()
    given = [parse_text(one, source=_BUILT_IN, line=line, pair="may") for line, one in enumerate(asked, start=1)]
    return _task_probe(trained, _examples(trained, given), _BUILT_IN, is_labelled=False)


def _dev_probe(
    trained: Trained, columns: Columns, column_names: Sequence[str] | None, data_dir: Path | None
) -> TaskProbe | None:
    """Ask what the run had for dev, all its files; None where it had nothing, or that has gone or changed since."""
    files = [str(file) for file in trained.run.get("dev") or []]
    try:
        examples = [
            example
            for file in files
            for example in trained.read(file, columns=columns, column_names=column_names, data_dir=data_dir)
        ]
    except DataError as error:
        _log.warning("the run's dev set cannot be asked, so built-in texts are: %s", error)
        return None
    if not examples:
        return None
    which = "the run's dev set"
    if len(examples) > _DEV_TEXTS:
        which = f"{_DEV_TEXTS:,} texts of {len(examples):,} of the run's dev set"
        examples = [examples[number * len(examples) // _DEV_TEXTS] for number in range(_DEV_TEXTS)]
    return _task_probe(trained, examples, f"{', '.join(files)}, {which}", is_labelled=True)


def _read_texts(path: str, columns: Columns, data_dir: Path | None) -> list[TextInput]:
    """Read texts, or pairs of texts: lines, or the columns that are named."""
    named = {name: column for name, column in (("text", columns.text), ("text_pair", columns.text_pair)) if column}
    rows = read_inputs(path, data_dir=data_dir, **named)
    given = [parse_text(row.value, source=row.source, line=row.line, pair="may") for row in rows]
    if not given:
        raise DataError("there is no text in it", path=path)
    return given


def _examples(trained: Trained, texts: Sequence[TextInput]) -> list[Any]:
    return [trained.task.from_text(one.text, one.text_pair, source=one.source, line=one.line) for one in texts]


def _task_probe(trained: Trained, examples: Sequence[Any], source: str, *, is_labelled: bool) -> TaskProbe:
    samples = trained.encode(examples, with_targets=is_labelled)
    return TaskProbe(trained.task, examples, samples, source=source)
