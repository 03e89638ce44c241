"""A tag for each word, or each character: parts of speech, named entities. Devlin et al. 2019, section 5.3, figure 4 d.

Files are read by `unmask.data.read_tagged`: CoNLL columns, CoNLL-U, JSON lines, and files of characters such as KLUE's.

| column | what it holds | unless named |
| --- | --- | --- |
| text | the words: a column's number from 1, or a key | the first column, `tokens` |
| label | the tags: a number, a key, or a name that CoNLL-U has | the last column, `tags` or `ner_tags`, `upos` |

Where tags mark spans (B-PER, I-PER, O), the model learns them in one scheme, whatever the files are written in, and is
judged by the spans it finds. Any other tags are plain ones, such as parts of speech, and are judged word by word.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, pairwise
from operator import eq
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unmask.data import TaggedSentence, find_broken_spans, names_a_file, read_tagged
from unmask.data.tagged_sentence import is_character
from unmask.errors import DataError, SettingsError
from unmask.logits import softmax
from unmask.metrics.paired import SummedScore, ratio_score
from unmask.metrics.tag_schemes import (
    LETTERS,
    convert_tags,
    detect_scheme,
    read_spans,
    scheme_beside,
    scheme_of_tags,
    type_of_tag,
    write_tag,
)
from unmask.metrics.tagging import tagging_metrics, tagging_report
from unmask.ragged import Ragged, offsets_of
from unmask.tasks.labels import HasLabels, Labels, say_labels, say_unknown
from unmask.tasks.plain_tags import refuse_half_a_scheme
from unmask.tasks.tagging_pieces import TaggingSamples, encode_sentences
from unmask.tasks.task import Task
from unmask.tasks.texts import TextExample
from unmask.tasks.words import split_characters, split_words, untagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from unmask.metrics.tag_schemes import TagScheme
    from unmask.tasks.finetuning import TaskBatch
    from unmask.tasks.options import Reading, TaskOptions
    from unmask.tasks.task import Samples
    from unmask.tokenization import Tokenizer

__all__ = ["Entity", "TaggedText", "Tagging"]

_PLAIN_METRICS = ("loss", "accuracy", "macro_f1")


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A span that was found.

    Args:
        type: what it is, such as PER.
        text: what it says.
        start: where it begins in the text, in characters.
        end: where it ends.
        score: mean probability of the tags of its words, in [0, 1].
    """

    type: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True)
class TaggedText:
    """The tags of a text.

    Args:
        text: the text.
        words: its words, or its characters for a model of these.
        offsets: where each is in the text, half-open ranges of characters.
        tags: one for each word.
        scores: probability of each tag, in [0, 1].
        entities: the spans that the tags mark, in order; None if they are tags that mark none.
    """

    text: str
    words: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]
    entities: tuple[Entity, ...] | None

    def to_dict(self) -> dict[str, Any]:
        content: dict[str, Any] = {"text": self.text, "words": list(self.words)}
        content |= {"offsets": list(map(list, self.offsets)), "tags": list(self.tags), "scores": list(self.scores)}
        return content if self.entities is None else content | {"entities": [asdict(span) for span in self.entities]}

    def to_cells(self) -> dict[str, str]:
        if self.entities is None:
            return {"tags": " ".join(f"{word}/{tag}" for word, tag in zip(self.words, self.tags, strict=True))}
        found = (f"{entity.text} ({entity.type} {entity.score:.3f})" for entity in self.entities)
        return {"entities": ", ".join(found) or "none", "text": self.text}


class Tagging(HasLabels, Task[TaggedSentence]):
    """Cross-entropy over the tags of words, each read off its word's first piece; accuracy, and F1 of spans.

    Args:
        labels: tags as files have them, and as the model does.
        options: what it was told; `label_scheme` and `text_unit` are known by now.
        scheme: how the training file marks spans; None where there is none, or no such thing in it.

    Attributes:
        label_scheme: how the model's tags mark spans; None where they mark none.
    """

    name = "tagging"
    head = "token-classification"
    pipeline_tag = "token-classification"
    unit = "sentences"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "precision", "recall", "f1", "macro_f1")
    metric_for_best = "f1"
    example_keys = ("text", "words", "tags")
    option_names = (
        *("max_seq_length", "doc_stride", "labels", "label_smoothing"),
        *("text_unit", "tag_scheme", "label_scheme", "repair_spans"),
    )

    def __init__(self, labels: Labels, options: TaskOptions, *, scheme: TagScheme | None = None) -> None:
        super().__init__(options)
        self.labels = labels
        self.label_scheme = options.label_scheme
        self.by_character = options.text_unit == "character"
        self._scheme = scheme
        self._names = dict(zip(labels.values, labels.names, strict=True))
        if self.label_scheme is None:  # now that the tags are known, so are the scores that make sense
            self.metrics = _PLAIN_METRICS  # type: ignore[misc]
            self.metric_for_best = "accuracy"  # type: ignore[misc]

    # Sentences.

    @classmethod
    def read(cls, source: str | Path, reading: Reading, *, with_labels: bool = True) -> list[TaggedSentence]:
        if reading.columns.text_pair is not None:
            raise SettingsError("tagging reads one text at a time: leave text_pair_column out")
        if reading.column_names:
            raise SettingsError("columns of tagged files are named by their numbers, from 1: leave column_names out")
        if reading.split is not None and names_a_file(source):
            raise SettingsError(f"split is {reading.split!r}, and a file of tags has no parts: leave it out")
        read = partial(
            read_tagged,
            source,
            word_column=reading.columns.text,
            tag_column=reading.columns.label,
            labelled=with_labels,
            data_dir=reading.data_dir,
        )
        sentences = read()
        is_by_row = not str(source).removesuffix(".gz").endswith((".conllu", ".jsonl", ".json"))
        unit, by_character = reading.options.text_unit, sentences[0].by_character
        if is_by_row and unit == "word" and by_character:
            return read(format="columns")
        if is_by_row and unit == "character" and all(is_character(word) for s in sentences for word in s.words):
            return sentences if by_character else read(format="characters")
        return sentences

    @classmethod
    def from_text(cls, text: str, text_pair: str | None = None, *, source: str, line: int) -> TaggedSentence:
        """Part a text into words; a model of characters parts it anew (`unmask.tasks.words`)."""
        if text_pair is not None:
            raise DataError("tagging reads one text at a time: leave the second one out", path=source, line=line)
        words = split_words(text)
        if not words:
            raise DataError("the text is empty, there is no word in it: fill it in", path=source, line=line)
        return untagged(text, words, by_character=False, source=source, line=line)

    # The task of some sentences.

    @classmethod
    def for_training(cls, examples: Sequence[TaggedSentence], options: TaskOptions) -> Tagging:
        places = _first_places(examples)
        labels = Labels.find(list(places.values()), [[tag] for tag in places], options.labels, least=2, kind="tag")
        names = dict(zip(labels.values, labels.names, strict=True))
        if options.tag_scheme is None:
            scheme = detect_scheme([_renamed(example.tags or (), names) for example in examples])
            if scheme is None:
                refuse_half_a_scheme({names[tag]: place for tag, place in places.items()})
        else:
            scheme = None if options.tag_scheme == "plain" else options.tag_scheme
        label_scheme = None
        if scheme is not None and options.labels is not None:
            found = _scheme_of_labels(labels.names)
            label_scheme = options.label_scheme or found
            if found is None or label_scheme is None or LETTERS[found] != LETTERS[label_scheme]:
                raise SettingsError(
                    f"labels are {' '.join(labels.names)}, which do not mark spans as {label_scheme or scheme} does: "
                    "correct one of the two"
                )
        elif scheme is not None:
            label_scheme = options.label_scheme or "bio"
            labels = _labels_of_spans([place for tag, place in places.items() if tag != "O"], label_scheme)
        text_unit = options.text_unit or ("character" if examples[0].by_character else "word")
        if text_unit == "character" and label_scheme not in (None, "bio"):
            raise SettingsError(
                f"a model of characters learns spans as bio, not as {label_scheme}: its pieces begin where a tag does, "
                "and need not end where one ends"
            )
        return cls(labels, replace(options, label_scheme=label_scheme, text_unit=text_unit), scheme=scheme)

    @classmethod
    def for_model(cls, id2label: Mapping[int, str], options: TaskOptions) -> Tagging:
        labels = Labels.of_model(id2label, options.labels)
        found = None if options.tag_scheme == "plain" else _scheme_of_labels(labels.names)
        return cls(labels, replace(options, label_scheme=found and (options.label_scheme or found)))

    def summary(self, *, pairs: bool) -> str:
        units = "character" if self.by_character else "word"
        if self.label_scheme is None:
            names = self.labels.names
            return f"Gives each {units} of a text one of {len(names)} tags: {say_labels(names)}."
        types = sorted({type_of_tag(name) for name in self.labels.names if name != "O"})
        return (
            f"Finds spans of {len(types)} {'type' if len(types) == 1 else 'types'} in a text: {', '.join(types)}. Each "
            f"{units} has a tag of the scheme {self.label_scheme}."
        )

    # From sentences to logits.

    def encode(
        self,
        examples: Sequence[TaggedSentence],
        tokenizer: Tokenizer,
        *,
        max_seq_length: int,
        with_targets: bool = True,
    ) -> TaggingSamples:
        """Encode [CLS] words [SEP]; sentences that are too long in windows. Targets are those of the rows."""
        sentences = [self._in_units(example, with_tags=with_targets) for example in examples]
        tag_ids = self._tag_ids(sentences) if with_targets else None  # before the rest: it finds mistakes
        samples = encode_sentences(
            sentences, tokenizer, max_seq_length=max_seq_length, doc_stride=self.options.doc_stride
        )
        if tag_ids is None:
            return samples
        targets = Ragged(tag_ids.values[samples.begins_row], offsets_of(self.num_logits(samples)))
        return replace(samples, tag_ids=tag_ids, targets=targets)

    def _in_units(self, example: TaggedSentence, *, with_tags: bool) -> TaggedSentence:
        """Part a sentence without tags into what the model tags; one with tags must be so parted."""
        if example.by_character == self.by_character:
            return example
        units = "characters" if self.by_character else "words"
        if with_tags:
            raise DataError(
                f"the model gives tags to {units}, and here {'words' if self.by_character else 'characters'} have "
                "them: give files of one kind",
                path=example.source,
                line=example.line,
            )
        split = split_characters if self.by_character else split_words
        text = example.shown_text
        return untagged(text, split(text), by_character=self.by_character, source=example.source, line=example.line)

    def _tag_ids(self, sentences: Sequence[TaggedSentence]) -> Ragged:
        """The ids of the tags of each sentence, in the model's scheme.

        Raises:
            DataError: a tag is not allowed where it stands, or is none the model knows.
        """
        tags = list(chain.from_iterable(self._converted(sentences)))
        ids = {name: label_id for label_id, name in enumerate(self.labels.names)}
        found = np.fromiter((ids.get(tag, -1) for tag in tags), np.int64, count=len(tags))
        offsets = offsets_of([len(sentence) for sentence in sentences])
        if len(unknown := np.flatnonzero(found < 0)):
            first = int(unknown[0])
            index = int(np.searchsorted(offsets, first, side="right")) - 1
            sentence, word = sentences[index], first - int(offsets[index])
            raise DataError(
                ": ".join(say_unknown("tag", tags[first], self.labels.names)),
                path=sentence.source,
                line=sentence.lines[word],
                field=sentence.label_column,
            )
        return Ragged(found, offsets)

    def _converted(self, sentences: Sequence[TaggedSentence], *, strict: bool = True) -> list[Sequence[str]]:
        """The tags of each sentence by the model's names and in its scheme."""
        if any(value != name for value, name in self._names.items()):
            sentences = [replace(s, tags=tuple(_renamed(s.tags or (), self._names))) for s in sentences]
        tags: list[Sequence[str]] = [sentence.tags or () for sentence in sentences]
        if self.label_scheme is None:
            return tags
        scheme = self._scheme_of(tags)
        findings = find_broken_spans(sentences, scheme=scheme)
        if findings and strict and not self.options.repair_spans:
            raise DataError(
                f"{findings[0].problem} (--tag-scheme); --repair-spans reads such tags as conlleval does",
                path=findings[0].path,
                line=findings[0].line,
                field=findings[0].field,
            )
        if scheme == self.label_scheme and not findings:
            return tags
        return [convert_tags(one, scheme, self.label_scheme) for one in tags]

    def _scheme_of(self, tags: Iterable[Sequence[str]]) -> TagScheme:
        """How the tags of some sentences mark spans."""
        assert self.label_scheme is not None
        given = self.options.tag_scheme
        if given is not None and given != "plain":
            return given
        return scheme_beside(detect_scheme(tags), self._scheme) or self.label_scheme

    def describe_targets(self, samples: Samples) -> dict[str, Any]:
        assert samples.targets is not None
        counts = np.bincount(samples.targets.values, minlength=len(self.labels.names))
        described: dict[str, Any] = {"labels": dict(zip(self.labels.names, counts.tolist(), strict=True))}
        if smoothing := self.options.label_smoothing:  # else it is the entropy of the tags
            shares = (1 - smoothing) * counts / counts.sum() + smoothing / len(counts)
            described["no_skill_loss"] = float(-(shares * np.log(shares)).sum())
        return described

    def compute_loss(self, logits: Tensor, batch: TaskBatch) -> Tensor:
        import torch.nn.functional as F

        return F.cross_entropy(logits, batch.targets, reduction="sum", label_smoothing=self.options.label_smoothing)

    # From logits to tags.

    def _decode(self, samples: TaggingSamples, logits: Ragged) -> list[tuple[str, ...]]:
        """The tag of each word, or of each character: a B- belongs to a piece's first alone."""
        names = np.array(self.labels.names, object)
        best = logits.values.argmax(axis=1)[samples.row_of_each_unit(logits)]
        tags = names[best]
        if self.by_character and self.label_scheme is not None:
            scheme = self.label_scheme
            inside = np.array([n if n == "O" else write_tag("I", type_of_tag(n), scheme) for n in names], object)
            tags = np.where(samples.begins_row, tags, inside[best])
        return _parted(tags.tolist(), samples)

    def _true_tags(self, samples: TaggingSamples) -> list[tuple[str, ...]]:
        assert samples.tag_ids is not None
        return _parted(np.array(self.labels.names, object)[samples.tag_ids.values].tolist(), samples)

    def score(self, examples: Sequence[TaggedSentence], samples: Samples, logits: Ragged) -> dict[str, float]:
        samples = _ours(samples)
        scores = tagging_metrics(self._true_tags(samples), self._decode(samples, logits), scheme=self.label_scheme)
        return {name: scores[name] for name in self.metrics if name in scores}

    def report(self, examples: Sequence[TaggedSentence], samples: Samples, logits: Ragged) -> dict[str, Any]:
        samples = _ours(samples)
        predicted = self._decode(samples, logits)
        more = sorted(set(chain.from_iterable(predicted)).difference(self.labels.names))
        report = tagging_report(
            self._true_tags(samples),
            predicted,
            scheme=self.label_scheme,
            tag_names=[*self.labels.names, *more],
        )
        scores = {name: report.metrics[name] for name in self.metrics if name in report.metrics}
        return {"kind": self.name, "num_examples": len(samples), **report.to_dict(), "metrics": scores}

    def predict(self, examples: Sequence[TaggedSentence], samples: Samples, logits: Ragged) -> list[TaggedText]:
        samples = _ours(samples)
        probabilities = softmax(logits.values).max(1)
        scores = _parted(probabilities[samples.row_of_each_unit(logits)].tolist(), samples)
        return [
            TaggedText(
                text=sentence.shown_text,
                words=sentence.words,
                offsets=sentence.offsets,
                tags=own_tags,
                scores=own_scores,
                entities=None if self.label_scheme is None else self._entities(sentence, own_tags, own_scores),
            )
            for sentence, own_tags, own_scores in zip(
                samples.sentences, self._decode(samples, logits), scores, strict=True
            )
        ]

    def _entities(self, sentence: TaggedSentence, tags: Sequence[str], scores: Sequence[float]) -> tuple[Entity, ...]:
        assert self.label_scheme is not None
        text, entities = sentence.shown_text, []
        for type_, first, stop in read_spans(tags, self.label_scheme):
            start, end = sentence.offsets[first][0], sentence.offsets[stop - 1][1]
            score = sum(scores[first:stop]) / (stop - first)
            entities.append(Entity(type=type_, text=text[start:end], start=start, end=end, score=score))
        return tuple(entities)

    def judge(self, example: TaggedSentence, prediction: TaggedText) -> dict[str, Any]:
        """Put the tags beside the true ones, and the spans beside the true ones, which have no score."""
        [tags] = self._converted([example], strict=False)
        line = prediction.to_dict()
        line |= {"tags": list(tags), "predicted": line["tags"]}
        if self.label_scheme is not None:
            true = [asdict(span) for span in self._entities(example, tags, [1.0] * len(tags))]
            line |= {"predicted_entities": line["entities"], "entities": true}
            for span in true:
                del span["score"]
        return line

    @classmethod
    def keys_of_example(cls, lines: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """The spans are right or not whatever scheme each run has learnt to write them in."""
        return ("text", "words", "entities") if _mark_spans(lines) else cls.example_keys

    @classmethod
    def line_scores(cls, lines: Sequence[Mapping[str, Any]]) -> dict[str, SummedScore]:
        """Accuracy and F1 of spans; no accuracy where runs differ in the tags they write of the same spans."""

        def words_right(line: Mapping[str, Any]) -> tuple[float, float]:
            return sum(map(eq, line["tags"], line["predicted"])), len(line["tags"])

        def spans_right(line: Mapping[str, Any]) -> tuple[float, float]:
            true, found = (
                {(span["type"], span["start"], span["end"]) for span in line[key]}
                for key in ("entities", "predicted_entities")
            )
            return 2 * len(true & found), len(true) + len(found)

        accuracy, f1 = {"accuracy": ratio_score(words_right)}, {"f1": ratio_score(spans_right)}
        if not _mark_spans(lines):
            return accuracy
        spans = [json.dumps([line["text"], line["words"], line["entities"]]) for line in lines]
        tags = {(own, *line["tags"]) for own, line in zip(spans, lines, strict=True)}
        return (accuracy if len(tags) == len(set(spans)) else {}) | f1

    @classmethod
    def decisions(cls, line: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        return list(zip(line["predicted"], line["tags"], strict=True))


def _mark_spans(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the tags of all these lines of `predictions_dev.jsonl` mark spans."""
    return all("entities" in line for line in lines)


def _first_places(sentences: Sequence[TaggedSentence]) -> dict[str, TextExample]:
    """For each tag that occurs, where it does so first: the word."""
    places: dict[str, TextExample] = {}
    for sentence in sentences:
        tags = sentence.tags or ()
        for tag in sorted(set(tags) - places.keys()):
            first = tags.index(tag)
            places[tag] = TextExample(
                text=sentence.words[first],
                text_pair=None,
                label=tag,
                source=sentence.source,
                line=sentence.lines[first],
                label_column=sentence.label_column,
            )
    return places


def _labels_of_spans(places: Sequence[TextExample], scheme: TagScheme) -> Labels:
    """All tags of the types that occur, whether each of them does or not: O, B-LOC, I-LOC, B-PER, ...

    Raises:
        DataError: two types differ in case or Unicode form only.
    """
    types = [replace(place, label=type_of_tag(place.label or "")) for place in places]
    found = Labels.find(types, [[place.label or ""] for place in types], None, least=1, kind="type")
    tags = ("O", *(write_tag(letter, type_, scheme) for type_ in found.values for letter in LETTERS[scheme]))
    return Labels(values=tags, names=tags)


def _scheme_of_labels(names: Sequence[str]) -> TagScheme | None:
    """The scheme of a model's tags; None where they mark no spans. Models of old learnt iob1, where B is rare."""
    scheme = scheme_of_tags(names)
    return "iob1" if scheme == "bio" and not any(name.startswith("B") for name in names) else scheme


def _renamed(tags: Sequence[str], names: Mapping[str, str]) -> Sequence[str]:
    return [names.get(tag, tag) for tag in tags]


def _parted(values: list[Any], samples: TaggingSamples) -> list[tuple[Any, ...]]:
    """What there is one of for each word, sentence by sentence."""
    return [tuple(values[start:stop]) for start, stop in pairwise(samples.unit_rows.offsets.tolist())]


def _ours(samples: Samples) -> TaggingSamples:
    assert isinstance(samples, TaggingSamples)
    return samples
