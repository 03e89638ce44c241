"""What tasks are told: where the data are, and how to learn from them. Every task reads what concerns it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from unmask.errors import SettingsError
from unmask.metrics.question_answering import AnswerRules  # noqa: TC001 - the command line is made from annotations
from unmask.metrics.tag_schemes import TagScheme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Columns", "LongTexts", "Pooling", "Reading", "TagUnit", "TaskOptions", "Truncate"]

Truncate = Literal["head", "tail", "head-tail"]
LongTexts = Literal["cut", "windows"]
Pooling = Literal["mean", "max"]
TagUnit = Literal["word", "character"]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns hold what; None stands for the usual names, which each task has."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What a task is told beside its data. A task names those it has a use for (`Task.option_names`).

    Args:
        labels: the labels in the order of their ids, each `value` or `value=name`; None takes what
            the training file has, sorted.
        max_seq_length: tokens of the longest input, special tokens included; longer texts are cut. None is the model's
            own limit.
        skip_empty: leave out labelled rows whose text is empty, in place of refusing the file.
        truncate: which tokens are kept of a text that is cut: the first, the last, or a quarter from its head and the
            rest from its tail.
        long_texts: "windows" reads a long text whole, as windows of max_seq_length tokens, in place of cutting it.
        doc_stride: tokens of a text from the start of one window to the start of the next (Hugging Face's stride counts
            what two windows share), at most: never more than a window holds, and windows of texts lie evenly. None is
            128 for question-answering, half a window for tagging, and seven eighths of one for other texts.
        window_pooling: what a text's logits are of those of its windows, in training and after it.
        class_weights: how much each label's texts count in the loss: "balanced" makes all labels count alike, however
            rare; or a number for each label, in the order of ids; or `label=number`, 1 for those not named.
        label_smoothing: how much of the target is shared out evenly among all labels, in [0, 1).
        temperature: what logits are divided by before they become probabilities; None fits it on the dev set, 1 leaves
            them as they are.
        label_separator: what stands between the labels of a text that may have several; a field may be a JSON list too.
        score_range: the least and the greatest score there can be; others are mistakes in the file. None allows all.
        text_unit: what carries tags in the files, words or characters; None takes what the training file has.
        tag_scheme: how tags mark spans in the files; "plain" says that they mark none, as parts of speech. None finds
            out, file by file.
        label_scheme: how the model is to mark spans, whatever the files do; None is bio, or what `labels` are in.
        repair_spans: read tags that their scheme does not allow where they stand, such as an I- without its B-, as
            conlleval does, in place of refusing the file.
        max_query_length: tokens of a question that are read, its first; never over half of what there is room for.
        max_answer_length: tokens of the longest answer.
        n_best_size: how many answers are told of a question, the best first, beside that there is none.
        answer_rules: how answers are compared: as SQuAD 1.1 or 2.0 does, by words, or KorQuAD 1.0, by characters.
        null_score_diff_threshold: a question is answered with nothing where the score of that is above the best
            answer's by more than this. None tunes it on the dev set; where all questions there have answers, a model
            always answers.

    Raises:
        SettingsError: a value outside its range.
    """

    labels: tuple[str, ...] | None = None
    max_seq_length: int | None = None
    skip_empty: bool = False
    truncate: Truncate = "head"
    long_texts: LongTexts = "cut"
    doc_stride: int | None = None
    window_pooling: Pooling = "mean"
    class_weights: tuple[str, ...] | None = None
    label_smoothing: float = 0.0
    temperature: float | None = None
    label_separator: str = ","
    score_range: tuple[float, float] | None = None
    text_unit: TagUnit | None = None
    tag_scheme: TagScheme | Literal["plain"] | None = None
    label_scheme: TagScheme | None = None
    repair_spans: bool = False
    max_query_length: int = 64
    max_answer_length: int = 30
    n_best_size: int = 20
    answer_rules: AnswerRules = "squad2"
    null_score_diff_threshold: float | None = None

    def __post_init__(self) -> None:
        schemes = get_args(TagScheme)
        rules = {
            "max_seq_length": ("3 or more", self.max_seq_length is None or self.max_seq_length >= 3),
            "truncate": ("head, tail or head-tail", self.truncate in ("head", "tail", "head-tail")),
            "long_texts": ("cut or windows", self.long_texts in ("cut", "windows")),
            "doc_stride": ("1 or more", self.doc_stride is None or self.doc_stride >= 1),
            "window_pooling": ("mean or max", self.window_pooling in ("mean", "max")),
            "label_smoothing": ("in [0, 1)", 0 <= self.label_smoothing < 1),
            "temperature": ("positive and finite", self.temperature is None or 0 < self.temperature < math.inf),
            "label_separator": ("one character or more", bool(self.label_separator)),
            "score_range": ("two numbers, the smaller first", _is_range(self.score_range)),
            "text_unit": ("word or character", self.text_unit in (None, "word", "character")),
            "tag_scheme": (f"{', '.join(schemes)} or plain", self.tag_scheme in (None, *schemes, "plain")),
            "label_scheme": (f"one of {', '.join(schemes)}", self.label_scheme in (None, *schemes)),
            "max_query_length": ("1 or more", self.max_query_length >= 1),
            "max_answer_length": ("1 or more", self.max_answer_length >= 1),
            "n_best_size": ("1 or more", self.n_best_size >= 1),
            "answer_rules": ("squad1, squad2 or korquad", self.answer_rules in ("squad1", "squad2", "korquad")),
            "null_score_diff_threshold": (
                "finite",
                self.null_score_diff_threshold is None or math.isfinite(self.null_score_diff_threshold),
            ),
        }
        for name, (rule, is_met) in rules.items():
            if not is_met:
                raise SettingsError(f"{name} is {getattr(self, name)!r}: it must be {rule}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Take the options among settings, as JSON has them too; other names are passed over."""
        names = {option.name for option in dataclasses.fields(cls)} & values.keys()
        given: dict[str, Any] = {
            name: tuple(values[name]) if isinstance(values[name], list) else values[name] for name in names
        }
        return cls(**given)

    def changed(self) -> list[str]:
        """Name the options that are not as they come."""
        return [
            option.name for option in dataclasses.fields(TaskOptions) if getattr(self, option.name) != option.default
        ]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file or data set is read.

    Args:
        columns: which columns hold what.
        column_names: names for the columns of a file without a header.
        split: which part of a data set.
        data_dir: folder in which a relative path is also looked for; None is the variable UNMASK_DATA_DIR.
        options: of the task, those among them that tell how its files are written.
    """

    columns: Columns = Columns()
    column_names: Sequence[str] | None = None
    split: str | None = None
    data_dir: Path | None = None
    options: TaskOptions = field(default_factory=TaskOptions)


def _is_range(bounds: tuple[float, float] | None) -> bool:
    return bounds is None or (len(bounds) == 2 and all(map(math.isfinite, bounds)) and bounds[0] < bounds[1])
