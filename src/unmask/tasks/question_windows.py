"""Questions and their texts as sequences: [CLS] question [SEP] a window of the text [SEP], as many as the text takes.

Devlin et al. 2019 (arXiv:1810.04805), section 4.2, and `run_squad.py`. Everything after the tokenizer is arithmetic on
offsets: a text that many questions ask of is tokenized once, and no window is made by itself.

Axes: Q questions, W windows, C different texts, N tokens of these.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unmask.data.windows import plan_windows
from unmask.errors import DataError, SettingsError
from unmask.ragged import Ragged, offsets_of, ranges
from unmask.tasks.task import IGNORED, Samples
from unmask.tokenization.template import SequenceTemplate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from unmask.data.questions import Answer, QuestionExample
    from unmask.tokenization import Tokenizer

__all__ = ["QuestionSamples", "encode_questions"]

_TEXTS_AT_ONCE = 512  # of one call of the tokenizer: its lists are large, the arrays made of them are not


@dataclass(frozen=True, kw_only=True)
class QuestionSamples(Samples):
    """Encoded questions, each with the windows of its text, and where their tokens stand in it.

    The targets of a question are a start and an end for each window, as positions in the window: int64, 2 a window. A
    window that does not hold the whole answer points at its first token, [CLS], with both; so do all windows of a
    question without an answer.

    Args:
        contexts: which of the different texts a question asks of, int64, (Q,).
        context_offsets: where each text's tokens begin among those of all texts, and N last, int64, (C + 1,).
        spans: each token's half-open range of characters in its text, without the blanks at its ends, with the marks
            after it that no token has, int32, (N, 2).
        may_start: whether an answer may start at this token, bool, (N,): it brings a character that is not blank and
            that no token before it brought. (Byte-level tokens may share a character.)
        may_end: whether one may end at it, bool, (N,): no token after it has its first character.
        first_rows: of each window the position of its first token of the text, int64, (W,).
        first_tokens: which token of the text that is, int64, (W,).
        num_context_tokens: how many of the text's tokens a window holds, int64, (W,).
        num_cut_questions: questions that were cut to their first tokens.
        num_lost_answers: questions whose answer is made of characters the tokenizer drops; they teach nothing.
    """

    contexts: NDArray[np.int64]
    context_offsets: NDArray[np.int64]
    spans: NDArray[np.int32]
    may_start: NDArray[np.bool_]
    may_end: NDArray[np.bool_]
    first_rows: NDArray[np.int64]
    first_tokens: NDArray[np.int64]
    num_context_tokens: NDArray[np.int64]
    num_cut_questions: int
    num_lost_answers: int


def encode_questions(
    examples: Sequence[QuestionExample],
    tokenizer: Tokenizer,
    *,
    max_seq_length: int,
    max_query_length: int,
    doc_stride: int,
    with_targets: bool,
) -> QuestionSamples:
    """Encode questions.

    A window of a text starts `doc_stride` tokens after the one before it, and holds what `max_seq_length` leaves beside
    the question (`unmask.data.windows.plan_windows`); where that is less than `doc_stride`, it starts where the one
    before it ends. The first of several answers is the target.

    Args:
        examples: the questions.
        tokenizer: of the model.
        max_seq_length: tokens of a sequence, special tokens included.
        max_query_length: tokens of a question, of which the first are kept; never more than half of the room there is.
        doc_stride: tokens from the start of one window to the start of the next.
        with_targets: whether the answers are known.

    Raises:
        DataError: nothing of a question or its text is left by the tokenizer.
        SettingsError: max_seq_length has no room for both.
    """
    template = SequenceTemplate.of(tokenizer)
    num_special = template.num_special(pair=True)
    room_of_both = max_seq_length - num_special
    if room_of_both < 2:
        raise SettingsError(
            f"max_seq_length is {max_seq_length}: a question, its text and the special tokens around them need "
            f"{num_special + 2} tokens at least"
        )
    contexts, context_of = _different([example.context for example in examples])
    questions, question_of = _different([example.question for example in examples])
    context_ids, offsets = _tokenize(contexts, tokenizer)
    question_ids, _ = _tokenize(questions, tokenizer)
    for what, lengths in (("question", question_ids.lengths[question_of]), ("text", context_ids.lengths[context_of])):
        if not lengths.all():
            example = examples[int(lengths.argmin())]
            raise DataError(
                f"nothing of the {what} is left by the tokenizer: write another, or leave it out",
                path=example.source,
                line=example.line,
                field=example.place,
            )

    # The windows of each question.
    query_lengths = np.minimum(question_ids.lengths[question_of], min(max_query_length, room_of_both // 2))
    plan = plan_windows(context_ids.lengths[context_of], room_of_both - query_lengths, doc_stride)
    windows, first_tokens, num_context_tokens = plan.offsets, plan.values[:, 0], np.diff(plan.values)[:, 0]
    owner = np.repeat(np.arange(len(examples)), plan.lengths)  # of each window its question
    input_ids, token_type_ids, (_, first_rows) = template.pairs(
        _cut_out(question_ids, question_of[owner], np.zeros_like(owner), query_lengths[owner]),
        _cut_out(context_ids, context_of[owner], first_tokens, num_context_tokens),
    )

    # Where the answers are.
    text = _CharactersOfTokens.of(contexts, context_ids.lengths, offsets)
    targets, num_lost_answers = None, 0
    if with_targets:
        has_answer = np.array([bool(example.answers) for example in examples])
        first, last = text.find([example.answers[0] if example.answers else None for example in examples], context_of)
        is_lost = has_answer & (first > last)
        num_lost_answers = int(is_lost.sum())
        first, last = first[owner] - first_tokens, last[owner] - first_tokens
        is_inside = has_answer[owner] & (first >= 0) & (last < num_context_tokens)
        both = np.where(is_inside, first_rows + np.stack((first, last)), 0)  # (2, W)
        both[:, is_lost[owner]] = IGNORED
        targets = Ragged(both.T.reshape(-1), 2 * windows)
    return QuestionSamples(
        input_ids=input_ids,
        token_type_ids=token_type_ids,
        windows=windows,
        targets=targets,
        contexts=context_of,
        context_offsets=context_ids.offsets,
        spans=text.spans,
        may_start=text.may_start,
        may_end=text.may_end,
        first_rows=first_rows,
        first_tokens=first_tokens,
        num_context_tokens=num_context_tokens,
        num_cut_questions=int((question_ids.lengths[question_of] > query_lengths).sum()),
        num_lost_answers=num_lost_answers,
    )


def _cut_out(texts: Ragged, which: NDArray[np.int64], firsts: NDArray[np.int64], counts: NDArray[np.int64]) -> Ragged:
    """Take so many values, from the first on, of these texts: all (W,)."""
    return Ragged(texts.values[ranges(texts.offsets[which] + firsts, counts)], offsets_of(counts))


def _different(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Give the different texts in the order of their first use, and which of them each text is."""
    numbers: dict[str, int] = {}
    indices = [numbers.setdefault(text, len(numbers)) for text in texts]
    return list(numbers), np.array(indices, np.int64)


def _tokenize(texts: Sequence[str], tokenizer: Tokenizer) -> tuple[Ragged, NDArray[np.int64]]:
    """Give the ids of each text without special tokens, and the characters of each token in its text, (N, 2)."""
    ids, offsets = [], [np.zeros((0, 2), np.int64)]
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        some = tokenizer.encode_batch(list(texts[first : first + _TEXTS_AT_ONCE]), add_special_tokens=False).encodings
        ids += [np.array(encoding.input_ids, np.int64) for encoding in some]
        offsets += [np.array(encoding.offsets, np.int64).reshape(-1, 2) for encoding in some]
    return Ragged.of(ids, np.int64), np.concatenate(offsets)


@dataclass(frozen=True)
class _CharactersOfTokens:
    """Which characters the tokens of all texts stand for. The first three are those of `QuestionSamples`.

    Args:
        bounds: where each text begins among the characters of all, and their number last, (C + 1,).
        tokens: where its tokens begin, likewise.
        starts, ends: of each token the least first character there is from it on, and the greatest end up to it, among
            the characters of all texts, (N,): both rise.
        next_text, text_before: the first character from this one on that is not blank; the end of the last one before.
    """

    spans: NDArray[np.int32]
    may_start: NDArray[np.bool_]
    may_end: NDArray[np.bool_]
    bounds: NDArray[np.int64]
    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    next_text: NDArray[np.int64]
    text_before: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str], num_tokens: NDArray[np.int64], offsets: NDArray[np.int64]) -> _CharactersOfTokens:
        """Take the blanks off tokens, as byte-level and Unigram tokenizers count the one before a word to it.

        And give them the marks that follow and that no token has: BERT's tokenizer without case takes the accents off
        decomposed letters (NFD), and the word would lose that of its last.

        Args:
            texts: the different ones.
            num_tokens: of each, (C,).
            offsets: characters of each token in its text, (N, 2).
        """
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        bounds = offsets_of([len(text) for text in texts])
        total, places = len(codes), np.arange(len(codes))
        is_blank, is_mark = _each(codes, str.isspace), _each(codes, _is_mark)
        next_text = np.append(np.minimum.accumulate(np.where(is_blank, total, places)[::-1])[::-1], total)
        text_before = np.append(0, np.maximum.accumulate(np.where(is_blank, 0, places + 1)))
        after_marks = np.append(np.minimum.accumulate(np.where(is_mark, total, places)[::-1])[::-1], total)

        base = np.repeat(bounds[:-1], num_tokens)
        starts, ends = next_text[base + offsets[:, 0]], text_before[base + offsets[:, 1]]
        has_text = (starts < ends) & (offsets[:, 0] < offsets[:, 1])
        starts_to_come = np.minimum.accumulate(np.where(has_text, starts, total)[::-1])[::-1]
        next_starts = np.append(starts_to_come[1:], total)
        of_no_token = np.minimum(next_starts, np.repeat(bounds[1:], num_tokens))
        ends = np.where(has_text, np.maximum(ends, np.minimum(after_marks[ends], of_no_token)), ends)
        ends_so_far = np.maximum.accumulate(np.where(has_text, ends, 0))
        return cls(
            spans=np.stack((starts - base, ends - base), axis=1).astype(np.int32),
            may_start=has_text & (ends > np.append(0, ends_so_far[:-1])),
            may_end=has_text & (starts < next_starts),
            bounds=bounds,
            tokens=offsets_of(num_tokens),
            starts=starts_to_come,
            ends=ends_so_far,
            next_text=next_text,
            text_before=text_before,
        )

    def find(
        self, answers: Sequence[Answer | None], context_of: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find the first and the last token of each answer, counted in its text, (Q,) each.

        The first is the first to reach beyond the answer's start, the last the last to begin before its end; the first
        comes after the last where no token has a character of the answer, and where there is none.
        """
        base = self.bounds[context_of]
        start = self.next_text[base + np.array([0 if answer is None else answer.start for answer in answers], np.int64)]
        end = self.text_before[base + np.array([0 if answer is None else answer.end for answer in answers], np.int64)]
        first = np.searchsorted(self.ends, start, side="right") - self.tokens[context_of]
        last = np.searchsorted(self.starts, end, side="left") - 1 - self.tokens[context_of]
        return first, last


def _each(codes: NDArray[np.uint32], claim: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Tell of which characters a claim is true; those that are alike are asked once."""
    is_true = np.zeros(int(codes.max(initial=0)) + 1, np.bool_)
    for code in np.flatnonzero(np.bincount(codes)).tolist():
        is_true[code] = claim(chr(code))
    return is_true[codes]


def _is_mark(character: str) -> bool:
    """Whether a character belongs to the one before it: an accent, a vowel sign, or one of the two joiners."""
    return unicodedata.category(character).startswith("M") or character in "\u200c\u200d"
