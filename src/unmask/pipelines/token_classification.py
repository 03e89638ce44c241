"""Entities and tags in a text.

Whoever has a model of ours gets the entities that `unmask predict` gives and that its scores were counted on: words are
parted as they were in training, and each word's first piece answers for it (aggregation_strategy "words"). The
strategies of transformers' pipeline are here too, result for result: they know tokens alone, and make words of them by
rules of thumb.

A text of any length is read whole, through windows that overlap; each token is answered by the one that shows most of
what stands around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from unmask.data import TaggedSentence, choose_windows, plan_windows
from unmask.errors import DataError
from unmask.logits import softmax
from unmask.pipelines.base import Pipeline, PipelineOptions, check_option
from unmask.pipelines.inputs import TextInput, parse_text
from unmask.ragged import Ragged, offsets_of, ranges
from unmask.tasks import Samples, Tagging
from unmask.tokenization.template import SequenceTemplate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from unmask.runtimes import Steps
    from unmask.tokenization.encoding import Encoding

__all__ = ["Aggregation", "TokenClassification", "TokenClassificationOptions", "TokenLabel"]

Aggregation = Literal["words", "none", "simple", "first", "average", "max"]
TokenLabel = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TokenClassificationOptions(PipelineOptions):
    """What a call may be told.

    Args:
        aggregation_strategy: "words" as the model was trained; or one of transformers': "none" gives tokens as they
            are, "simple" joins neighbours of one type, "first", "average" and "max" also see to it that the pieces of
            a word have one label, that of the first, of the mean of their probabilities, or of the surest. None is
            "words" for models fine-tuned by unmask, "simple" for others.
        ignore_labels: labels, or types of entities, to leave out.
    """

    aggregation_strategy: Aggregation | None = None
    ignore_labels: Sequence[str] = ("O",)

    def __post_init__(self) -> None:
        names = get_args(Aggregation)
        given, ignored = self.aggregation_strategy, self.ignore_labels
        check_option("aggregation_strategy", given, f"one of {', '.join(names)}", is_met=given in (None, *names))
        check_option("ignore_labels", ignored, "a list of labels", is_met=not isinstance(ignored, str))


@dataclass(frozen=True)
class _Token:
    """A token of a text, as the strategies see it.

    Args:
        word: as the vocabulary has it; of an unknown one as the text does.
        scores: probability of each label, (labels,).
        index: its position among all tokens, special ones included.
        start, end: its characters in the text.
        goes_on: whether it continues the word before it.
    """

    word: str
    scores: NDArray[np.float64]
    index: int
    start: int
    end: int
    goes_on: bool


@dataclass(frozen=True)
class _Labelled:
    """A token, or a word of several, with its label."""

    label: str
    score: float
    word: str
    start: int
    end: int


class TokenClassification(Pipeline[TextInput, list[TokenLabel], TokenClassificationOptions]):
    """Asks for the entities of a text, or for the tags of its words.

    The result of a text is a list of `{"entity_group", "score", "word", "start", "end"}`; with "none" of `{"entity",
    "score", "index", "word", "start", "end"}`. With "words", `word` is what stands in the text.
    """

    task = "token-classification"
    head = "token-classification"
    Options = TokenClassificationOptions

    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> TextInput:
        return parse_text(raw, source=source, line=line)

    def steps(self, inputs: Sequence[TextInput], options: TokenClassificationOptions) -> Steps[list[list[TokenLabel]]]:
        strategy = options.aggregation_strategy or ("words" if self.model.memory else "simple")
        if strategy == "words":
            return (yield from self._by_words(inputs, options.ignore_labels))
        return (yield from self._by_tokens(inputs, strategy, options.ignore_labels))

    # As the model was trained.

    def _by_words(self, inputs: Sequence[TextInput], ignored: Sequence[str]) -> Steps[list[list[TokenLabel]]]:
        task = self.model.task
        assert isinstance(task, Tagging)
        sentences: list[TaggedSentence] = [task.from_text(one.text, source=one.source, line=one.line) for one in inputs]
        samples = task.encode(
            sentences, self.tokenizer, max_seq_length=self.model.max_trained_length, with_targets=False
        )
        outputs = yield samples
        results = []
        for tagged in task.predict(sentences, samples, task.gather(outputs, samples)):
            found = (
                [(span.type, span.score, span.text, span.start, span.end) for span in tagged.entities]
                if tagged.entities is not None
                else [
                    (tag, score, word, start, end)
                    for tag, score, word, (start, end) in zip(
                        tagged.tags, tagged.scores, tagged.words, tagged.offsets, strict=True
                    )
                ]
            )
            results.append(
                [
                    {"entity_group": type_, "score": score, "word": word, "start": start, "end": end}
                    for type_, score, word, start, end in found
                    if type_ not in ignored
                ]
            )
        return results

    # As transformers' pipeline.

    def _by_tokens(
        self, inputs: Sequence[TextInput], strategy: Aggregation, ignored: Sequence[str]
    ) -> Steps[list[list[TokenLabel]]]:
        encodings = self.tokenizer.encode_batch([one.text for one in inputs], add_special_tokens=False).encodings
        for one, encoding in zip(inputs, encodings, strict=True):
            if not len(encoding):
                raise DataError(
                    "the tokenizer leaves nothing of the text: write another", path=one.source, line=one.line
                )
        template = SequenceTemplate.of(self.tokenizer)
        samples = _in_windows(encodings, template, self.runtime.max_seq_length)
        outputs = yield samples
        probabilities = softmax(outputs.values)
        first_index = int(template.singles(Ragged.of([[0]], np.int64)).first_rows[0][0])
        bounds = offsets_of([len(encoding) for encoding in encodings])
        results = []
        for one, encoding, first, stop in zip(
            inputs, encodings, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True
        ):
            tokens = self._tokens(one.text, encoding, probabilities[first:stop], first_index)
            results.append(self._aggregated(tokens, strategy, ignored))
        return results

    def _tokens(
        self, text: str, encoding: Encoding, probabilities: NDArray[np.float64], first_index: int
    ) -> list[_Token]:
        marks_pieces = bool(getattr(self.tokenizer.backend.model, "continuing_subword_prefix", None))
        tokens = []
        for number, (word, token_id, (start, end)) in enumerate(
            zip(encoding.tokens, encoding.input_ids, encoding.offsets, strict=True)
        ):
            if token_id == self.tokenizer.unk_token_id:
                word, goes_on = text[start:end], False
            elif marks_pieces:
                goes_on = len(word) != end - start
            else:
                goes_on = start > 0 and " " not in text[start - 1 : start + 1]
            tokens.append(_Token(word, probabilities[number], first_index + number, start, end, goes_on))
        return tokens

    def _aggregated(self, tokens: Sequence[_Token], strategy: Aggregation, ignored: Sequence[str]) -> list[TokenLabel]:
        labels = self.model.labels
        if strategy == "none":
            best = [int(token.scores.argmax()) for token in tokens]
            return [
                {
                    "entity": labels[label],
                    "score": float(token.scores[label]),
                    "index": token.index,
                    "word": token.word,
                    "start": token.start,
                    "end": token.end,
                }
                for token, label in zip(tokens, best, strict=True)
                if labels[label] not in ignored
            ]
        words = [[token] for token in tokens]
        if strategy != "simple":
            words = []
            for token in tokens:
                if words and token.goes_on:
                    words[-1].append(token)
                else:
                    words.append([token])
        labelled = [self._label_word(word, strategy) for word in words]
        results = []
        for group in _neighbours_of_one_type(labelled):
            type_ = group[0].label.split("-", 1)[-1]
            if type_ not in ignored:
                results.append(
                    {
                        "entity_group": type_,
                        "score": float(np.mean([one.score for one in group])),
                        "word": self._joined([one.word for one in group]),
                        "start": group[0].start,
                        "end": group[-1].end,
                    }
                )
        return results

    def _label_word(self, word: Sequence[_Token], strategy: Aggregation) -> _Labelled:
        """Choose one label for the tokens of a word."""
        choose: dict[str, Callable[[], NDArray[np.float64]]] = {
            "simple": lambda: word[0].scores,
            "first": lambda: word[0].scores,
            "max": lambda: max(word, key=lambda token: token.scores.max()).scores,
            "average": lambda: np.mean([token.scores for token in word], axis=0),
        }
        scores = choose[strategy]()
        label = int(scores.argmax())
        text = word[0].word if strategy == "simple" else self._joined([token.word for token in word])
        return _Labelled(self.model.labels[label], float(scores[label]), text, word[0].start, word[-1].end)

    def _joined(self, tokens: Sequence[str]) -> str:
        decoder = self.tokenizer.backend.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(list(tokens)))


def _in_windows(encodings: Sequence[Encoding], template: SequenceTemplate, max_length: int) -> Samples:
    """Make sequences of texts, several windows of those that are too long; the rows of a text are its tokens."""
    num_special = template.num_special()
    room = max_length - num_special
    ids = Ragged.of((encoding.input_ids for encoding in encodings), np.int64)
    plan = plan_windows(ids.lengths, room, max(1, room // 2))
    starts = np.repeat(ids.offsets[:-1], plan.lengths) + plan.values[:, 0]
    counts = np.diff(plan.values)[:, 0]
    window_of_token = np.repeat(plan.offsets[:-1], ids.lengths)
    for index in np.flatnonzero(plan.lengths > 1).tolist():
        own = slice(ids.offsets[index], ids.offsets[index + 1])
        window_of_token[own] += choose_windows(int(ids.lengths[index]), plan[index])
    input_ids, token_type_ids, (first_rows,) = template.singles(
        Ragged(ids.values[ranges(starts, counts)], offsets_of(counts))
    )
    places = np.arange(len(ids.values)) - starts[window_of_token] + first_rows[window_of_token]
    rows = Ragged(places, offsets_of(np.bincount(window_of_token, minlength=len(counts))))
    return Samples(input_ids=input_ids, token_type_ids=token_type_ids, windows=plan.offsets, rows=rows)


def _neighbours_of_one_type(labelled: Sequence[_Labelled]) -> list[list[_Labelled]]:
    """Join neighbours whose labels are of one type, except where a B- begins anew."""
    numbers, number = [], 0
    for place, one in enumerate(labelled):
        begins, type_ = _letter_and_type(one.label)
        if place and (begins == "B" or type_ != _letter_and_type(labelled[place - 1].label)[1]):
            number += 1
        numbers.append(number)
    pairs = zip(numbers, labelled, strict=True)
    return [[one for _, one in group] for _, group in groupby(pairs, key=lambda pair: pair[0])]


def _letter_and_type(label: str) -> tuple[str, str]:
    """Part a label into B or I and its type; one without counts as inside its type."""
    return (label[0], label[2:]) if label.startswith(("B-", "I-")) else ("I", label)
