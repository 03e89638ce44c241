"""Answers to questions, as spans of a text: a drop-in for the pipeline that transformers dropped in 5.3.

Its rules, result for result: a text that is too long is read through windows; in each, starts and ends have a softmax
of their own over the tokens of the text and [CLS]; a span's score is the product of both. Answers of equal wording are
one, with their scores together, which may so exceed 1 where windows overlap.

Two things differ. A model that unmask fine-tuned reads as it learnt to (length, stride, longest answer), and gives no
answer where the score of that is above the best span's by more than the threshold that was tuned on its dev set:
`{"score": ..., "start": 0, "end": 0, "answer": ""}`. And an answer is a span of text: never one that cannot be, and
without the blanks around it, which some tokenizers count to a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.data import plan_windows
from unmask.errors import DataError, SettingsError
from unmask.logits import find_largest, softmax
from unmask.pipelines.base import Pipeline, PipelineOptions, check_option
from unmask.pipelines.encoding import too_long
from unmask.pipelines.inputs import check_text, parse_record
from unmask.ragged import Ragged, offsets_of, ranges
from unmask.tasks import QuestionAnswering, Samples
from unmask.tokenization.template import SequenceTemplate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unmask.runtimes import Steps
    from unmask.tokenization.encoding import Encoding

__all__ = ["AnswerSpan", "QuestionAnsweringOptions", "QuestionAnsweringPipeline", "QuestionInput"]

AnswerSpan = dict[str, Any]

_MAX_SEQ_LEN, _DOC_STRIDE, _MAX_ANSWER_LEN = 384, 128, 15  # of transformers' pipeline


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringOptions(PipelineOptions):
    """What a call may be told, under the names of transformers' pipeline.

    Args:
        top_k: answers to a question, the best first; one is given by itself, several in a list.
        doc_stride: tokens of the text that two windows share. None is 128, half a window at most; or as a model of
            unmask was trained.
        max_answer_len: tokens of the longest answer. None is 15; or as a model of unmask was trained.
        max_seq_len: tokens of a window and the question together. None is 384, or what the model takes if that is
            less; or as a model of unmask was trained.
        max_question_len: tokens of a question that are read, its first; never more than half of what there is room for.
            None reads all; or as a model of unmask was trained.
        handle_impossible_answer: let no answer be one of the answers, by its score. None does not; but models of unmask
            then give no answer by the threshold that was tuned, if one was.
        align_to_words: widen an answer to whole words.
    """

    top_k: int = 1
    doc_stride: int | None = None
    max_answer_len: int | None = None
    max_seq_len: int | None = None
    max_question_len: int | None = None
    handle_impossible_answer: bool | None = None
    align_to_words: bool = True

    def __post_init__(self) -> None:
        for name, least in (
            *(("top_k", 1), ("doc_stride", 0), ("max_answer_len", 1), ("max_seq_len", 5), ("max_question_len", 1)),
        ):
            value = getattr(self, name)
            is_number = isinstance(value, int) and not isinstance(value, bool) and value >= least
            check_option(name, value, f"{least} or more", is_met=is_number or (value is None and name != "top_k"))


@dataclass(frozen=True, slots=True)
class QuestionInput:
    """A question, the text it is asked of, and where they come from."""

    question: str
    context: str
    source: str
    line: int


@dataclass(frozen=True)
class _Reading:
    """How texts are read, and answers found.

    Args:
        max_seq_len: tokens of a sequence, special ones included.
        max_question_len: tokens of a question, at most; None reads all.
        stride: tokens from one window's start to the next.
        shared: tokens that two windows share, in the place of stride; None leaves it to that.
        max_answer_len: tokens of the longest answer.
        null_threshold: no answer is given where its score is above the best span's by more; None never gives it so.
        null_is_candidate: whether no answer is one of the answers.
    """

    max_seq_len: int
    max_question_len: int | None
    stride: int
    shared: int | None
    max_answer_len: int
    null_threshold: float | None
    null_is_candidate: bool


@dataclass(frozen=True)
class _Encoded:
    """Questions as sequences.

    Args:
        samples: the windows of each question.
        contexts: the encoding of each text, without special tokens.
        windows: of each question its windows, as ranges of the text's tokens.
        first_rows: of each window the position of its first token of the text, int64.
    """

    samples: Samples
    contexts: list[Encoding]
    windows: Ragged
    first_rows: NDArray[np.int64]


class QuestionAnsweringPipeline(Pipeline[QuestionInput, AnswerSpan | list[AnswerSpan], QuestionAnsweringOptions]):
    """Asks where in a text the answer to a question is.

    An input is `{"question": ..., "context": ...}`; or both are given by name, each one or a list. The result is
    `{"score", "start", "end", "answer"}`, with `start` and `end` in characters of the text.
    """

    task = "question-answering"
    head = "question-answering"
    Options = QuestionAnsweringOptions
    needless = (*Pipeline.needless, "padding")

    def __call__(
        self,
        inputs: Any = None,
        context: str | Sequence[str] | None = None,
        *,
        question: str | Sequence[str] | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Any:
        """Answer one question, or any number; of a list of one the answer stands in no list, as in transformers.

        Args:
            inputs: objects with question and context, as `Pipeline.__call__` takes its inputs; or a question.
            context: the text, or one for each question; one text serves all questions.
            question: a question or several, in the place of inputs.
            progress: as in `Pipeline.__call__`.
            options: see `QuestionAnsweringOptions`.

        Raises:
            DataError: a question or text is missing, empty or no text.
            SettingsError: an option is none, or has a wrong value.
        """
        if inputs is not None and question is not None:
            raise SettingsError("questions are given twice: leave inputs out, or question=")
        if question is None and context is not None:
            inputs, question = None, inputs
        if question is not None:
            inputs = _pair_up(question, context)
        elif inputs is None:
            raise DataError("nothing is asked: give question= and context=")
        results = super().__call__(inputs, progress=progress, **options)
        return results[0] if isinstance(inputs, list | tuple) and len(inputs) == 1 else results

    def parse(self, raw: Any, *, source: str = "inputs", line: int = 1) -> QuestionInput:
        given = parse_record(raw, needed=("question", "context"), source=source, line=line)
        question = check_text(given["question"], "the question", source=source, line=line)
        context = check_text(given["context"], "the context", source=source, line=line)
        return QuestionInput(question, context, source, line)

    def steps(
        self, inputs: Sequence[QuestionInput], options: QuestionAnsweringOptions
    ) -> Steps[list[AnswerSpan | list[AnswerSpan]]]:
        reading = self._reading(options)
        encoded = self._encode(inputs, reading)
        outputs = yield encoded.samples
        assert encoded.samples.windows is not None
        results: list[AnswerSpan | list[AnswerSpan]] = []
        for number, (first, stop) in enumerate(pairwise(encoded.samples.windows.tolist())):
            logits = [outputs[window] for window in range(first, stop)]
            found = self._answers(
                inputs[number].context,
                encoded.contexts[number],
                encoded.windows[number],
                encoded.first_rows[first:stop],
                logits,
                reading,
                options,
            )
            results.append(found[0] if len(found) == 1 else found)
        return results

    def _reading(self, options: QuestionAnsweringOptions) -> _Reading:
        limit, trained = self.runtime.max_seq_length, None
        if self.model.memory:
            task = self.model.task
            assert isinstance(task, QuestionAnswering)
            trained = task.options
        usual_length = min(limit, _MAX_SEQ_LEN) if trained is None else self.model.max_trained_length
        max_seq_len = options.max_seq_len or usual_length
        if max_seq_len > limit:
            raise SettingsError(f"max_seq_len is {max_seq_len}, and the model takes {limit} tokens: choose fewer")
        shared = options.doc_stride
        if shared is None and trained is None:
            shared = min(max_seq_len // 2, _DOC_STRIDE)
        is_told = options.handle_impossible_answer is not None
        return _Reading(
            max_seq_len=max_seq_len,
            max_question_len=options.max_question_len or (trained.max_query_length if trained else None),
            stride=(trained.doc_stride if trained else None) or _DOC_STRIDE,
            shared=shared,
            max_answer_len=options.max_answer_len or (trained.max_answer_length if trained else _MAX_ANSWER_LEN),
            null_threshold=None if is_told or trained is None else trained.null_score_diff_threshold,
            null_is_candidate=bool(options.handle_impossible_answer),
        )

    def _encode(self, inputs: Sequence[QuestionInput], reading: _Reading) -> _Encoded:
        template = SequenceTemplate.of(self.tokenizer)
        room = reading.max_seq_len - template.num_special(pair=True)
        contexts = self._tokenize([one.context for one in inputs])
        most = None if reading.max_question_len is None else max(1, min(reading.max_question_len, room // 2))
        questions = [encoding.input_ids[:most] for encoding in self._tokenize([one.question for one in inputs])]
        for one, context, asked in zip(inputs, contexts, questions, strict=True):
            for what, tokens in (("question", asked), ("context", context.input_ids)):
                if not tokens:
                    raise DataError(
                        f"the tokenizer leaves nothing of the {what}: write another", path=one.source, line=one.line
                    )
            if len(asked) >= room:
                problem = {"what": "the question", "advice": "say max_question_len to have it cut"}
                raise too_long(len(asked), room - 1, source=one.source, line=one.line, **problem)
        question_ids, context_ids = (
            Ragged.of(ids, np.int64) for ids in (questions, [context.input_ids for context in contexts])
        )
        rooms = room - question_ids.lengths
        strides = np.full_like(rooms, reading.stride)
        if reading.shared is not None:
            strides = np.maximum(1, rooms - reading.shared)
        plan = plan_windows(context_ids.lengths, rooms, strides)
        owner = np.repeat(np.arange(len(inputs)), plan.lengths)
        starts, counts = context_ids.offsets[owner] + plan.values[:, 0], np.diff(plan.values)[:, 0]
        input_ids, token_type_ids, (_, first_rows) = template.pairs(
            question_ids.take(owner), Ragged(context_ids.values[ranges(starts, counts)], offsets_of(counts))
        )
        samples = Samples(input_ids=input_ids, token_type_ids=token_type_ids, windows=plan.offsets)
        return _Encoded(samples, contexts, plan, first_rows)

    def _tokenize(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts without special tokens, each different one once."""
        distinct = list(dict.fromkeys(texts))
        encodings = self.tokenizer.encode_batch(distinct, add_special_tokens=False).encodings
        found = dict(zip(distinct, encodings, strict=True))
        return [found[text] for text in texts]

    def _answers(
        self,
        text: str,
        encoding: Encoding,
        windows: NDArray[np.int64],
        first_rows: NDArray[np.int64],
        logits: Sequence[NDArray[np.float32]],
        reading: _Reading,
        options: QuestionAnsweringOptions,
    ) -> list[AnswerSpan]:
        """Find the best answers to one question in all its windows."""
        num_wanted = options.top_k * 2 + 10 if options.align_to_words else options.top_k
        answers: dict[str, AnswerSpan] = {}
        null_score, null_logit, best_logit = np.inf, np.inf, -np.inf
        for (start, stop), first_row, window_logits in zip(windows.tolist(), first_rows.tolist(), logits, strict=True):
            own = window_logits[first_row : first_row + stop - start]
            null = window_logits[:1] if self.tokenizer.cls_token_id is not None else np.full((1, 2), -np.inf)
            probabilities = softmax(np.concatenate((null, own)).T).T  # (tokens + 1, 2): starts and ends
            null_score = min(null_score, float(probabilities[0].prod()))
            null_logit = min(null_logit, float(null[0].sum()))
            for first, last, score in _best_spans(probabilities[1:], num_wanted, reading.max_answer_len):
                best_logit = max(best_logit, float(own[first, 0]) + float(own[last, 1]))
                begin, end = _characters(encoding, start, stop, start + first, start + last, options.align_to_words)
                begin += len(text[begin:end]) - len(text[begin:end].lstrip())
                answer = text[begin:end].rstrip()
                if not answer:
                    continue
                end = begin + len(answer)
                known = answers.setdefault(answer.lower(), {"score": 0.0, "start": begin, "end": end, "answer": answer})
                known["score"] += score
        null_answer: AnswerSpan = {"score": null_score, "start": 0, "end": 0, "answer": ""}
        found = [*answers.values(), *([null_answer] if reading.null_is_candidate else [])]
        found.sort(key=lambda answer: -answer["score"])
        if not found or (reading.null_threshold is not None and null_logit - best_logit > reading.null_threshold):
            found.insert(0, null_answer)
        return found[: options.top_k]


def _pair_up(question: Any, context: Any) -> Any:
    """Make one input of a question and its text, or one of each of several."""
    if isinstance(question, str):
        return {"question": question} | ({} if context is None else {"context": context})
    if not isinstance(question, Iterable) or isinstance(question, Mapping):
        raise DataError("question= must be a text, or a list of texts")
    questions = list(question)
    contexts = [context] * len(questions) if isinstance(context, str) or context is None else list(context)
    if len(questions) != len(contexts):
        raise DataError(f"{len(questions)} questions, and {len(contexts)} contexts: give one for all, or each its own")
    return [{"question": one, "context": its} for one, its in zip(questions, contexts, strict=True)]


def _best_spans(probabilities: NDArray[np.float64], count: int, max_answer_len: int) -> list[tuple[int, int, float]]:
    """Find the likeliest spans of a window: first token, last token and score, of those with any, the best first.

    Args:
        probabilities: of a start and of an end at each token, (tokens, 2).
        count: how many to find.
        max_answer_len: tokens of the longest.
    """
    num_tokens = len(probabilities)
    lengths = np.arange(min(max_answer_len, num_tokens))
    ends = np.concatenate((probabilities[:, 1], np.zeros(len(lengths))))
    scores = probabilities[:, :1] * ends[np.arange(num_tokens)[:, None] + lengths]  # (tokens, lengths)
    flat = scores.reshape(-1)
    best = find_largest(flat, count)
    first, more = np.divmod(best[flat[best] > 0], len(lengths))
    return list(zip(first.tolist(), (first + more).tolist(), flat[best].tolist(), strict=False))


def _characters(
    encoding: Encoding, start: int, stop: int, first: int, last: int, align_to_words: bool
) -> tuple[int, int]:
    """Give the characters from one token to another, or of their words as far as the window [start, stop) shows."""
    words = encoding.word_ids
    if align_to_words and words[first] is not None and words[last] is not None:
        while first > start and words[first - 1] == words[first]:
            first -= 1
        while last + 1 < stop and words[last + 1] == words[last]:
            last += 1
    return encoding.offsets[first][0], encoding.offsets[last][1]
