"""Question answering: windows, targets, loss, best spans and null threshold, by hand, by force and by reference.

Run: pytest tests/test_tasks_question_answering.py
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reference import hf_model, ours_of
from tiny import NOUNS, SIZES, SPECIAL, VERBS, VOCABULARY
from unmask.data.questions import Answer, QuestionExample
from unmask.data.windows import plan_windows
from unmask.errors import DataError, SettingsError
from unmask.metrics import question_answering
from unmask.models.bert import BertConfig
from unmask.models.registry import build_model, named_parameters
from unmask.packing import pad
from unmask.ragged import Ragged, offsets_of
from unmask.tasks import (
    IGNORED,
    Columns,
    FineTuning,
    QuestionAnswering,
    QuestionSamples,
    Reading,
    TaskOptions,
    answer_spans,
    evaluate_samples,
    make_batch,
    mean_loss,
    predict_logits,
)
from unmask.tokenization import Tokenizer
from unmask.tokenization.training import train_on_texts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

KOREAN = "세종대왕은 1443년에 훈민정음을 만들었다. 한글은 그렇게 태어났고, 그 뒤로 널리 쓰인다."
ENGLISH = "  The Broncos beat Carolina 24-10  in Santa Clara, 7 Feb. 2016 (“Super Bowl 50”)\t— 😀 a café's naïve joke. "
KINDS: list[tuple[str, str]] = [("bert", "wordpiece"), ("roberta", "bpe"), ("albert", "unigram"), ("gpt", "bpe")]
UNCASED = ("bert", "uncased")


def question(context: str, *answers: str, text: str = "dog", number: int = 1) -> QuestionExample:
    """A question whose answers stand where they first occur; none is impossible."""
    return QuestionExample(
        id=f"q{number}",
        question=text,
        context=context,
        answers=tuple(Answer(answer, context.index(answer)) for answer in answers),
        is_impossible=not answers,
        title=None,
        source="squad.json",
        line=None,
        place=f"data[0].paragraphs[0].qas[{number}]",
        paragraph=0,
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    vocab_file = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    vocab_file.write_text("".join(f"{word}\n" for word in VOCABULARY))
    return Tokenizer.from_vocab(vocab_file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Tokenizer]:
    """A tokenizer of each kind that knows little, so that words and characters fall apart."""
    texts = [ENGLISH, KOREAN, "when who where 언제 누가 " * 3, *(" ".join(NOUNS + VERBS),) * 4]
    tokenizers = {
        (family, kind): train_on_texts(texts, kind=kind, family=family, vocab_size=330, min_frequency=1)  # type: ignore[arg-type]
        for family, kind in KINDS
    }
    letters = [chr(code) for code in range(33, 127)]
    vocab_file = tmp_path_factory.mktemp("letters") / "vocab.txt"
    vocab_file.write_text("\n".join([*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]))
    return tokenizers | {UNCASED: Tokenizer.from_vocab(vocab_file)}


def encode(
    tokenizer: Tokenizer, examples: Sequence[QuestionExample], length: int = 40, *, targets: bool = True, **options: Any
) -> QuestionSamples:
    task = QuestionAnswering(TaskOptions(**options))
    return task.encode(examples, tokenizer, max_seq_length=length, with_targets=targets)


def random_examples(rng: np.random.Generator, count: int, *, longest: int = 60) -> list[QuestionExample]:
    """Questions of contexts of other lengths, some without an answer; some ask of the same context."""
    examples: list[QuestionExample] = []
    for number in range(count):
        words = rng.choice(NOUNS + VERBS, int(rng.integers(1, longest)))
        context = " ".join(words) if number % 3 else (examples[-1].context if examples else "dog cat bird")
        there = context.split()
        first = int(rng.integers(len(there)))
        answers = [" ".join(there[first : first + int(rng.integers(1, 4))])] if rng.random() < 0.7 else []
        text = " ".join(rng.choice(NOUNS, int(rng.integers(1, 9))))
        examples.append(question(context, *answers, text=text, number=number))
    return examples


def random_logits(samples: QuestionSamples, rng: np.random.Generator) -> Ragged:
    lengths = samples.lengths
    return Ragged(rng.normal(size=(lengths.sum(), 2)).astype(np.float32), offsets_of(lengths))


def pointing_logits(samples: QuestionSamples) -> Ragged:
    """Logits of a model that is sure of each target."""
    assert samples.targets is not None
    values = np.zeros((samples.lengths.sum(), 2), np.float32)
    targets = samples.targets.values.reshape(-1, 2)
    rows = samples.input_ids.offsets[:-1, None] + np.maximum(targets, 0)
    values[rows[:, 0], 0] += 9
    values[rows[:, 1], 1] += 9
    return Ragged(values, offsets_of(samples.lengths))


# Windows


def test_windows_and_their_targets_by_hand(tokenizer: Tokenizer) -> None:
    context = "dog cat bird horse child girl boy king queen"
    examples = [question(context, "girl boy", text="near house"), question("dog cat", text="tiger", number=2)]
    samples = encode(tokenizer, examples, 9, doc_stride=2)
    words = [" ".join(tokenizer.id_to_token(i) or "" for i in ids) for ids in samples.input_ids]
    assert words == [
        "[CLS] near house [SEP] dog cat bird horse [SEP]",
        "[CLS] near house [SEP] bird horse child girl [SEP]",  # half of the answer is not the answer
        "[CLS] near house [SEP] child girl boy king [SEP]",
        "[CLS] near house [SEP] boy king queen [SEP]",
        "[CLS] tiger [SEP] dog cat [SEP]",
    ]
    assert samples.windows is not None
    assert samples.windows.tolist() == [0, 4, 5]
    assert [types.tolist() for types in samples.token_type_ids] == [
        *([[0] * 4 + [1] * 5] * 3),
        [0] * 4 + [1] * 4,
        [0] * 3 + [1] * 3,
    ]
    assert samples.targets is not None
    assert [targets.tolist() for targets in samples.targets] == [[0, 0, 0, 0, 5, 6, 0, 0], [0, 0]]
    assert samples.first_rows.tolist() == [4, 4, 4, 4, 3]
    assert (samples.first_tokens.tolist(), samples.num_context_tokens.tolist()) == ([0, 2, 4, 6, 0], [4, 4, 4, 3, 2])
    assert (len(samples), samples.num_truncated_texts) == (2, 0)
    assert QuestionAnswering().describe_targets(samples) == {
        "questions": {"with_answer": 1, "without_answer": 1},
        "windows": 5,
        "windows_with_answer": 1,
    }


def test_random_windows_are_those_that_are_planned(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        length, stride, longest = int(rng.integers(9, 40)), int(rng.integers(1, 30)), int(rng.integers(1, 9))
        examples = random_examples(rng, 7)
        samples = encode(tokenizer, examples, length, doc_stride=stride, max_query_length=longest)
        assert samples.windows is not None
        for number, example in enumerate(examples):
            ids, asked = (
                tokenizer.encode(text, add_special_tokens=False).input_ids
                for text in (example.context, example.question)
            )
            asked = asked[: min(longest, (length - 3) // 2)]
            room = length - 3 - len(asked)
            [planned] = plan_windows([len(ids)], room, stride)
            expected = [
                [tokenizer.cls_token_id, *asked, tokenizer.sep_token_id, *ids[start:stop], tokenizer.sep_token_id]
                for start, stop in planned.tolist()
            ]
            sequences = range(samples.windows[number], samples.windows[number + 1])
            assert [samples.input_ids[i].tolist() for i in sequences] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_needs_one_window_is_what_the_tokenizer_makes_of_the_pair(
    trained: dict[tuple[str, str], Tokenizer], kind: tuple[str, str]
) -> None:
    """With the double separator of RoBERTa, without token types, and in a GPT without any special token."""
    examples = [question(ENGLISH, text=" when did they?"), question(KOREAN, text="누가 만들었나?"), question(ENGLISH)]
    samples = encode(trained[kind], examples, 500, targets=False, doc_stride=500)
    pairs = trained[kind].encode_batch(
        [example.question for example in examples], [example.context for example in examples]
    )
    assert [ids.tolist() for ids in samples.input_ids] == pairs.input_ids
    assert [types.tolist() for types in samples.token_type_ids] == pairs.token_type_ids
    assert samples.targets is None
    places = [encoding.sequence_ids.index(1) for encoding in pairs.encodings]
    assert samples.first_rows.tolist() == places


@pytest.mark.parametrize("kind", [*KINDS, UNCASED])
def test_a_target_is_the_answer_to_the_letter(trained: dict[tuple[str, str], Tokenizer], kind: tuple[str, str]) -> None:
    """Where tokens begin and end with the answer: characters are exact through every tokenizer, in both scripts."""
    exact = 0
    for context in (ENGLISH, KOREAN, *(unicodedata.normalize("NFD", text) for text in (ENGLISH, KOREAN))):
        spans = [found.span() for found in np.random.default_rng(1).permutation(list(_words(context)))]
        answers = [context[start:end] for start, end in spans]
        examples = [
            dataclasses.replace(question(context, number=n), answers=(Answer(text, start),), is_impossible=False)
            for n, ((start, _), text) in enumerate(zip(spans, answers, strict=True))
        ]
        for length in (500, 60):
            samples = encode(trained[kind], examples, length, doc_stride=13)
            task = QuestionAnswering(TaskOptions(max_answer_length=200))
            for example, told in zip(examples, task.predict(examples, samples, pointing_logits(samples)), strict=True):
                if length < 500 and not _is_in_a_window(samples, examples.index(example)):
                    continue
                assert told.text == context[told.start : told.end]
                assert told.text.strip() == told.text
                assert told.start is not None
                assert told.end is not None
                assert told.start <= example.answers[0].start
                assert told.end >= example.answers[0].end
                exact += told.text == example.answers[0].text
    assert exact >= 120


@pytest.mark.parametrize("kind", [*KINDS, UNCASED])
def test_an_answer_keeps_the_marks_at_its_end(trained: dict[tuple[str, str], Tokenizer], kind: tuple[str, str]) -> None:
    """BERT's tokenizer without case drops the accents of decomposed text: they are no token's characters."""
    context, other = unicodedata.normalize("NFD", "dog cafés café, é! naïveté cat é"), "\u0301 dog"
    spans = [found.span() for found in _words(context)]
    examples = [
        dataclasses.replace(question(context, number=n), answers=(Answer(context[start:end], start),))
        for n, (start, end) in enumerate(spans)
    ]
    samples = encode(trained[kind], [*examples, question(other, "dog")], 500)
    told = QuestionAnswering().predict([*examples, question(other, "dog")], samples, pointing_logits(samples))
    assert [(answer.start, answer.end) for answer in told] == [*spans, (2, 5)]
    last = samples.spans[samples.context_offsets[1:] - 1]  # a text's first mark is not the last text's last
    assert last[:, 1].tolist() == [len(context), len(other)]


def test_joiners_belong_to_what_they_follow_and_zero_width_spaces_do_not(
    trained: dict[tuple[str, str], Tokenizer],
) -> None:
    context = "dog\u200d cat\u200b bird"
    samples = encode(trained["bert", "wordpiece"], [question(context)], 100)
    assert set(samples.spans[:, 1].tolist()) >= {4, 8, 14}
    assert not {3, 9} & set(samples.spans[:, 1].tolist())


def _words(context: str) -> list[Any]:
    return list(re.finditer(r"(?:\w[\u0300-\u036f]*)+|[^\w\s]", context))


def _is_in_a_window(samples: QuestionSamples, number: int) -> bool:
    assert samples.targets is not None
    return bool((samples.targets[number] > 0).any())


def test_byte_level_tokens_of_one_character_make_no_half_answers(trained: dict[tuple[str, str], Tokenizer]) -> None:
    tokenizer = trained["roberta", "bpe"]
    context = "a 😀 뷁 b"
    samples = encode(tokenizer, [question(context)], 100)
    offsets = tokenizer.encode(context, add_special_tokens=False).offsets
    assert len(offsets) > len(context)  # the two characters fell into bytes
    rng = np.random.default_rng(0)
    task = QuestionAnswering(TaskOptions(n_best_size=100))
    for _ in range(5):
        [told] = task.predict([question(context)], samples, random_logits(samples, rng))
        spans = [(candidate.start, candidate.end) for candidate in told.n_best]
        assert sorted(spans) == sorted(  # every run of words once, blanks at no end
            (first, last) for first, last in itertools.product((0, 2, 4, 6), (1, 3, 5, 7)) if first < last
        )


def test_an_answer_of_dropped_characters_teaches_nothing(
    tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    context = "dog \u200b cat"
    with caplog.at_level(logging.WARNING):
        samples = encode(tokenizer, [question(context, "\u200b"), question(context, "cat")])
    assert samples.targets is not None
    assert samples.targets[0].tolist() == [IGNORED, IGNORED]
    assert samples.targets[1].min() > 0
    assert "1 answer of characters that the tokenizer drops: nothing is learnt of them" in caplog.text
    assert make_batch(samples, np.arange(2)).num_targets == (2,)


def test_long_questions_are_cut_and_said_to_be(tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    text = " ".join(["dog"] * 30)
    with caplog.at_level(logging.WARNING):
        samples = encode(tokenizer, [question("cat bird", text=text)], 40, max_query_length=5)
    assert len(samples.input_ids[0]) == 5 + 2 + 3
    assert "1 question cut: see max_query_length" in caplog.text
    assert len(encode(tokenizer, [question("cat " * 30, text=text)], 21).input_ids[0]) == 21  # 9 of each


@pytest.mark.parametrize(
    ("example", "length", "error", "message"),
    [
        (question("\u200b"), 40, DataError, r"squad.json, field 'data\[0\].*': nothing of the text is left"),
        (question("dog", text="\u200b"), 40, DataError, "nothing of the question is left by the tokenizer"),
        (question("dog"), 4, SettingsError, "max_seq_length is 4: a question, its text and .* need 5 tokens"),
    ],
)
def test_what_cannot_be_encoded(
    tokenizer: Tokenizer, example: QuestionExample, length: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        encode(tokenizer, [question("dog cat", number=7), example], length)


# The loss


def test_loss_and_gradients_are_those_of_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """On windows of one length its own loss; on others that of its logits, where padding has no part in the softmax."""
    reference = hf_model("BertForQuestionAnswering", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    ours = ours_of(reference, tmp_path / "model")
    context = "dog cat bird horse child girl boy king queen farmer doctor nurse pilot"
    equal = [question(context, "girl boy"), question(context, "farmer", number=2), question(context, number=3)]
    task = QuestionAnswering(TaskOptions(doc_stride=3))
    for examples, length in ((equal, 40), ([*equal, question("dog cat bird", "bird", text="near the house")], 12)):
        samples = task.encode(examples, tokenizer, max_seq_length=length)
        batch = make_batch(samples, np.arange(len(samples)))
        ours.zero_grad()
        loss = task.compute_loss(task.compute_logits(ours, batch), batch) / batch.num_targets[0]
        loss.backward()
        inputs = batch.inputs
        starts, ends = batch.targets.view(-1, 2).T
        is_real = pad(torch.ones(inputs.total_tokens, dtype=torch.bool), inputs.cu_seqlens)
        reference.zero_grad()
        told = reference(
            input_ids=pad(inputs.input_ids, inputs.cu_seqlens),
            token_type_ids=pad(inputs.token_type_ids, inputs.cu_seqlens),
            attention_mask=is_real.long(),
            start_positions=starts,
            end_positions=ends,
        )
        if is_real.all():
            assert len(samples.input_ids) == 3
            expected = told.loss
        else:
            assert len(samples.input_ids) > len(examples)
            masked = [logits.masked_fill(~is_real, -torch.inf) for logits in (told.start_logits, told.end_logits)]
            expected = (F.cross_entropy(masked[0], starts) + F.cross_entropy(masked[1], ends)) / 2
        expected.backward()
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        own = dict(named_parameters(ours))
        for name, parameter in reference.named_parameters():
            torch.testing.assert_close(own[name].grad, parameter.grad, rtol=1e-5, atol=1e-5, msg=name)
        logits = predict_logits(ours, task, samples)
        assert mean_loss(task, samples, logits) == pytest.approx(expected.item(), rel=1e-5)


def test_windows_of_a_long_text_are_computed_some_at_a_time_and_learn_the_same(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(BertConfig(**SIZES), "question-answering", seed=1)
    context = " ".join(np.random.default_rng(0).choice(NOUNS, 200))
    examples = [question(context, "dog"), question("dog cat", "cat", number=2)]
    task = QuestionAnswering(TaskOptions(doc_stride=9))
    samples = task.encode(examples, tokenizer, max_seq_length=20)
    objective = FineTuning(task, samples, samples, dev_examples=examples, seed=5)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].total_tokens))
    results = []
    for limit in (10**6, 100):
        monkeypatch.setattr("unmask.tasks.finetuning._WINDOW_TOKENS_AT_ONCE", limit)
        model.train()
        model.zero_grad()
        seen.clear()
        batch = objective.collate([0, 1], epoch=0)
        loss = objective.compute_loss(model, batch).sum()
        loss.backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
        model.eval()
        with torch.no_grad():
            logits = task.compute_logits(model, batch)
        results.append((loss.detach(), gradients, logits, max(seen), len(seen)))
    (loss, gradients, logits, most, calls), (parted, parted_gradients, parted_logits, fewest, parted_calls) = results
    torch.testing.assert_close(parted, loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(parted_logits, logits, rtol=1e-5, atol=1e-5)
    for gradient, expected in zip(parted_gradients, gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)
    assert most == batch.num_tokens > 400
    assert fewest <= 120  # the limit and one window more
    assert calls == 2
    assert parted_calls >= 3 * (most // 120)  # training computes each part twice


def test_twenty_thousand_tokens_are_read_in_parts(tokenizer: Tokenizer) -> None:
    model = build_model(BertConfig(**SIZES), "question-answering", seed=1)
    context = " ".join(np.random.default_rng(0).choice(NOUNS, 20_000))
    examples = [question(f"{context} tiger sleep", "tiger sleep"), question("dog cat", "cat", number=2)]
    task = QuestionAnswering(TaskOptions())
    samples = task.encode(examples, tokenizer, max_seq_length=40)
    assert samples.num_windows.tolist() == [-(-(20_002 - 36) // 36) + 1, 1]
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].total_tokens))
    logits, scores = evaluate_samples(model, task, examples, samples)
    assert np.isfinite(scores["loss"])
    assert max(seen) <= 8192 + 40
    seen.clear()
    objective = FineTuning(task, samples, samples, dev_examples=examples, seed=5)
    model.train()
    objective.compute_loss(model, objective.collate([0, 1], epoch=0)).sum().backward()
    assert max(seen) <= 8192 + 40
    pointed = pointing_logits(samples)
    assert [answer.text for answer in task.predict(examples, samples, pointed)] == ["tiger sleep", "cat"]
    assert logits.values.shape == pointed.values.shape


# The best spans


def all_spans(
    logits: NDArray[np.float32], windows: Sequence[tuple[int, int]], first_row: int, longest: int
) -> tuple[dict[tuple[int, int], float], float]:
    """Every span of tokens that a window holds with its best score, and the lowest score of none: by force."""
    best: dict[tuple[int, int], float] = {}
    nulls, row = [], 0
    for start, stop in windows:
        nulls.append(float(logits[row, 0] + logits[row, 1]))
        for first in range(start, stop):
            for last in range(first, min(stop, first + longest)):
                score = float(logits[row + first_row + first - start, 0] + logits[row + first_row + last - start, 1])
                best[first, last] = max(best.get((first, last), -np.inf), score)
        row += first_row + stop - start + 1
    return best, min(nulls)


@pytest.mark.parametrize("n_best", [1, 7, 20])
def test_the_best_spans_are_those_found_by_force(tokenizer: Tokenizer, n_best: int) -> None:
    rng = np.random.default_rng(n_best)
    compared = 0
    for longest, length, stride in ((1, 14, 3), (4, 20, 5), (30, 40, 40), (100, 15, 1)):
        examples = random_examples(rng, 23)
        options: dict[str, Any] = {"doc_stride": stride, "max_answer_length": longest, "n_best_size": n_best}
        task = QuestionAnswering(TaskOptions(**options, null_score_diff_threshold=0.25))
        samples = task.encode(examples, tokenizer, max_seq_length=length)
        logits = random_logits(samples, rng)
        for number, (example, told) in enumerate(zip(examples, task.predict(examples, samples, logits), strict=True)):
            words = list(_words(example.context))
            asked = min(len(example.question.split()), (length - 3) // 2)
            room = length - 3 - asked
            [windows] = plan_windows([len(words)], room, stride)
            scores, null = all_spans(logits[number], windows.tolist(), asked + 2, longest)
            ranked = sorted(scores, key=lambda span: -scores[span])[:n_best]
            places = [(words[first].start(), words[last].end()) for first, last in ranked]
            candidates = [candidate for candidate in told.n_best if candidate.start is not None]
            assert [(candidate.start, candidate.end) for candidate in candidates] == places
            assert [candidate.text for candidate in candidates] == [example.context[a:b] for a, b in places]
            weights = np.exp([*(scores[span] for span in ranked), null])
            shares = weights / weights.sum()
            np.testing.assert_allclose([candidate.score for candidate in candidates], shares[:-1], rtol=1e-5)
            assert told.null_score == pytest.approx(null - scores[ranked[0]], abs=1e-5)
            assert told.is_impossible == (told.null_score > 0.25)
            if told.is_impossible:
                assert (told.text, told.start, told.end) == ("", None, None)
                assert told.score == pytest.approx(shares[-1], rel=1e-5)
            else:
                assert (told.text, told.score) == (candidates[0].text, candidates[0].score)
            assert [c.score for c in told.n_best] == sorted((c.score for c in told.n_best), reverse=True)
            assert len(told.n_best) == len(places) + 1
            compared += len(places)
    assert compared > 80


def test_texts_of_mixed_lengths_are_held_as_if_padded() -> None:
    """One text of 20,000 tokens among short ones: these are not padded to it."""
    lengths = np.concatenate((np.full(6000, 15), [20_000], np.arange(1, 400)))
    runs = list(answer_spans._by_length(lengths, 30))
    assert sorted(np.concatenate(runs).tolist()) == list(range(len(lengths)))
    assert max(len(run) * lengths[run].max() * 30 for run in runs) <= answer_spans._SPANS_AT_ONCE
    assert len(runs) < 10
    assert [run.tolist() for run in answer_spans._by_length(np.array([9, 10**9]), 30)] == [[1], [0]]


def test_without_a_threshold_every_question_is_answered(tokenizer: Tokenizer) -> None:
    examples = random_examples(np.random.default_rng(1), 12)
    samples = encode(tokenizer, examples)
    logits = random_logits(samples, np.random.default_rng(2))
    logits.values[samples.input_ids.offsets[:-1]] = 50
    answers = QuestionAnswering().predict(examples, samples, logits)
    assert all(answer.text and not answer.is_impossible for answer in answers)
    assert all(candidate.text for answer in answers for candidate in answer.n_best)
    assert answers[0].to_cells()["answer"] == answers[0].text
    strict = QuestionAnswering(TaskOptions(null_score_diff_threshold=0.0)).predict(examples, samples, logits)
    assert {answer.text for answer in strict} == {""}
    assert strict[0].to_cells() == {
        "answer": "no answer",
        "score": f"{strict[0].score:.3f}",
        "characters": "",
        "question": examples[0].question,
    }
    json.dumps([answer.to_dict() for answer in strict])


def test_where_no_span_may_be_an_answer_there_is_none(trained: dict[tuple[str, str], Tokenizer]) -> None:
    """Characters of several tokens each, and answers of one token: nothing can be said, and nothing breaks."""
    tokenizer = trained["roberta", "bpe"]
    examples = [question("뷁쀍", "뷁")]
    task = QuestionAnswering(TaskOptions(max_answer_length=1), is_tuned=False)
    samples = task.encode(examples, tokenizer, max_seq_length=50)
    logits = random_logits(samples, np.random.default_rng(0))
    [told] = task.predict(examples, samples, logits)
    assert (told.text, told.is_impossible, len(told.n_best)) == ("", True, 1)
    assert task.score(examples, samples, logits) == {"exact_match": 0.0, "f1": 0.0}


def test_a_question_that_nothing_can_answer_has_no_part_in_the_threshold(
    trained: dict[tuple[str, str], Tokenizer],
) -> None:
    examples = [question("뷁쀍", "뷁"), question("x", "x", number=2), question("y", number=3), question("뷁쀍")]
    answerable = [*examples[:2], question("y", "y", number=3), examples[3]]
    task = QuestionAnswering.for_training(examples, TaskOptions(max_answer_length=1))
    samples = task.encode(examples, trained["roberta", "bpe"], max_seq_length=50)
    logits = Ragged(np.zeros((samples.lengths.sum(), 2), np.float32), offsets_of(samples.lengths))
    logits.values[samples.input_ids.offsets[1:3], 0] = (-8, 4)
    for asked, threshold in ((examples, -2), (answerable, 4)):  # midway between the real ones; the highest of them
        assert task.tuned(asked, samples, logits).options.null_score_diff_threshold == threshold
        entry = task.report(asked, samples, logits)
        assert entry["threshold_curve"]["thresholds"] == [-8, 4]
        assert max(map(abs, entry["answers"]["metrics"].values())) <= 8
    told = task.predict(examples, samples, logits)
    assert [answer.is_impossible for answer in told] == [True, False, False, True]
    assert told[0].null_score > 1e6
    unsure = task.tuned(examples[::3], *_part(samples, logits, [0, 3]))  # there is nothing to choose by
    assert unsure.options.null_score_diff_threshold == pytest.approx(0, abs=1e-9)


def _part(samples: QuestionSamples, logits: Ragged, chosen: list[int]) -> tuple[QuestionSamples, Ragged]:
    """Some questions of one window each."""
    assert samples.targets is not None
    names = ("first_rows", "first_tokens", "num_context_tokens", "contexts")
    parts = {name: getattr(samples, name)[chosen] for name in names}
    taken = {name: getattr(samples, name).take(chosen) for name in ("input_ids", "token_type_ids", "targets")}
    windows = np.arange(len(chosen) + 1)
    return dataclasses.replace(samples, windows=windows, **parts, **taken), logits.take(chosen)


# Scores and the threshold


@pytest.fixture
def two(tokenizer: Tokenizer) -> tuple[list[QuestionExample], QuestionSamples, Ragged]:
    """Two answerable questions, the second answered wrongly, and two that are not; null scores -4, 2, 4 and 1."""
    examples = [
        question("dog cat bird", "cat", "cat bird"),
        question("dog cat bird", "bird", number=2),
        question("king queen", number=3),
        question("king queen", number=4),
    ]
    samples = encode(tokenizer, examples)
    values = np.full((samples.lengths.sum(), 2), -99, np.float32)
    firsts = samples.input_ids.offsets[:-1]
    for number, (null, first, last, best) in enumerate(((0, 1, 1, 4), (5, 0, 0, 3), (6, 0, 0, 2), (3, 1, 1, 2))):
        row = firsts[number] + samples.first_rows[number]
        values[firsts[number]] = null / 2
        values[row + first, 0] = values[row + last, 1] = best / 2
    return examples, samples, Ragged(values, offsets_of(samples.lengths))


def test_the_threshold_is_tuned_on_dev_and_kept(two: tuple[list[QuestionExample], QuestionSamples, Ragged]) -> None:
    """Answered are those whose null score is not above it: best is the first alone, right as three of four are."""
    examples, samples, logits = two
    task = QuestionAnswering.for_training(examples, TaskOptions())
    assert not task.is_tuned
    tuned = task.tuned(examples, samples, logits)
    assert tuned.options.null_score_diff_threshold == pytest.approx((-4 + 1) / 2)
    expected = {
        "exact_match": 0.75,
        "f1": 0.75,
        "has_answer_exact_match": 0.5,
        "has_answer_f1": 0.5,
        "no_answer_exact_match": 1.0,
        "no_answer_f1": 1.0,
    }
    assert task.score(examples, samples, logits) == tuned.score(examples, samples, logits) == expected
    again = QuestionAnswering.for_model({}, TaskOptions.of(json.loads(json.dumps(tuned.memory))))
    assert again.options == tuned.options
    answers = again.predict(examples, samples, logits)
    assert [answer.text for answer in answers] == ["cat", "", "", ""]
    np.testing.assert_allclose([answer.null_score for answer in answers], [-4, 2, 4, 1])
    assert tuned.tuned(examples[2:], samples, logits) is tuned
    entry = again.report(examples, samples, logits)
    assert entry["metrics"] == {"exact_match": 0.75, "f1": 0.75}
    assert entry["answers"]["null_threshold"] == again.options.null_score_diff_threshold
    assert entry["answers"]["metrics"]["best_f1"] == 0.75
    assert entry["threshold_curve"] == {
        "thresholds": [-4.0, 1.0, 2.0, 4.0],
        "exact_match": [0.75, 0.5, 0.5, 0.25],
        "f1": [0.75, 0.5, 0.5, 0.25],
    }
    assert "by more than -1.5" in again.summary(pairs=True)


def test_what_is_given_or_not_needed_is_not_tuned(two: tuple[list[QuestionExample], QuestionSamples, Ragged]) -> None:
    examples, samples, logits = two
    given = QuestionAnswering.for_training(examples, TaskOptions(null_score_diff_threshold=3.0))
    assert given.tuned(examples, samples, logits) is given
    assert given.score(examples, samples, logits)["f1"] == pytest.approx(0.5)  # cat, dog, nothing, queen
    # A model of questions that all have answers never gives none, whatever it is evaluated on.
    task = QuestionAnswering.for_training(examples[:2], TaskOptions())
    half = [samples.input_ids.take([0, 1]), samples.token_type_ids.take([0, 1])]
    assert samples.targets is not None
    part = dataclasses.replace(
        samples,
        input_ids=half[0],
        token_type_ids=half[1],
        windows=np.arange(3),
        targets=samples.targets.take([0, 1]),
        contexts=samples.contexts[:2],
    )
    tuned = task.tuned(examples[:2], part, logits.take([0, 1]))
    assert (tuned.is_tuned, tuned.options.null_score_diff_threshold) == (True, None)
    assert tuned.score(examples, samples, logits)["no_answer_f1"] == 0
    assert tuned.report(examples, samples, logits)["answers"]["metrics"]["best_f1"] == 0.75
    assert "threshold_curve" not in tuned.report(examples[:2], part, logits.take([0, 1]))
    assert tuned.summary(pairs=True) == "Answers each question with a span of the text it is asked of."


def test_a_judged_answer_stands_beside_the_right_ones(
    two: tuple[list[QuestionExample], QuestionSamples, Ragged],
) -> None:
    examples, samples, logits = two
    task = QuestionAnswering(TaskOptions(null_score_diff_threshold=3.0))
    answers = task.predict(examples, samples, logits)
    lines = [task.judge(example, answer) for example, answer in zip(examples, answers, strict=True)]
    assert [(line["predicted"], line["answers"]) for line in lines] == [
        ("cat", ["cat", "cat bird"]),
        ("dog", ["bird"]),
        ("", []),
        ("queen", []),
    ]
    assert [(line["exact_match"], line["f1"]) for line in lines] == [(1.0, 1.0), (0.0, 0.0), (1.0, 1.0), (0.0, 0.0)]
    assert lines[0]["predicted_excerpt"] == ["dog ", "cat", " bird"]
    assert (lines[1]["answer_excerpt"], lines[2]["answer_excerpt"]) == (["dog cat ", "bird", ""], None)
    assert len(lines[0]["n_best"]) == 3
    json.dumps(lines)


def test_korean_is_scored_by_characters(trained: dict[tuple[str, str], Tokenizer]) -> None:
    answers = [question(KOREAN, "훈민정음")]
    told = [question(KOREAN, "훈민정음을")]
    scores = []
    for rules in ("squad2", "korquad"):
        task = QuestionAnswering(TaskOptions(answer_rules=rules))
        samples = task.encode(told, trained["bert", "wordpiece"], max_seq_length=300)
        logits = pointing_logits(samples)
        assert [answer.text for answer in task.predict(told, samples, logits)] == ["훈민정음을"]
        scores.append(task.score(answers, samples, logits)["f1"])
    assert scores == pytest.approx([0.0, 2 * (4 / 5) / (4 / 5 + 1)])


def test_each_answer_is_judged_once(
    two: tuple[list[QuestionExample], QuestionSamples, Ragged], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples, samples, logits = two
    judged: list[str] = []
    judge = question_answering._judge
    monkeypatch.setattr(question_answering, "_judge", lambda text, *more: judged.append(text) or judge(text, *more))
    task = QuestionAnswering.for_training(examples, TaskOptions())
    task.score(examples, samples, logits)
    assert judged == ["cat", "dog", "king", "queen"]
    task.report(examples, samples, logits)
    assert len(judged) == 8


# Reading


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (Reading(columns=Columns(text="passage")), "text_column is 'passage', and a file of questions has keys"),
        (Reading(columns=Columns(text_pair="passage")), "text_pair_column is 'passage', and"),
        (Reading(columns=Columns(label="answer")), "label_column is 'answer', and"),
        (Reading(column_names=["a", "b"]), r"column_names is \['a', 'b'\], and"),
        (Reading(split="dev"), "split is 'dev', and a file of questions has keys of its own, and no parts: leave it"),
    ],
)
def test_what_no_file_of_questions_has_is_refused(tmp_path: Path, reading: Reading, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        QuestionAnswering.read(tmp_path / "questions.jsonl", reading)


def test_findings_are_told_by_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "questions.jsonl"
    rows = [
        {"question": "who?", "context": "dog cat dog", "answers": [{"text": "cat", "answer_start": 2}]},
        {"question": "what?", "context": "dog cat dog", "answers": [{"text": "dog", "answer_start": 5}]},
        {"question": "where?", "context": "dog cat dog", "answers": [{"text": "cat", "answer_start": 0}]},
        {"question": "when?", "context": "dog cat dog", "answers": []},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with caplog.at_level(logging.WARNING):
        examples = QuestionAnswering.read(path, Reading())
    [told] = caplog.messages
    assert "of 3 answers" in told
    assert "2 repaired answers, such as" in told
    assert "line 1" in told
    assert "1 ambiguous answer, such as" in told
    assert [example.is_impossible for example in examples] == [False, False, False, True]
    caplog.clear()
    assert not any(example.answers for example in QuestionAnswering.read(path, Reading(), with_labels=False))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("text", "pair", "message"),
    [
        (" ", "dog", "texts, line 3: the question is empty: write it"),
        ("dog", "\n", "texts, line 3: the text that is to answer it is empty: write it"),
        ("dog", None, "a question is asked of a text: give it too, with --text-pair"),
    ],
)
def test_a_typed_question_needs_both_texts(text: str, pair: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        QuestionAnswering.from_text(text, pair, source="texts", line=3)


def test_questions_that_all_have_no_answer_teach_nothing() -> None:
    with pytest.raises(DataError, match=r"squad.json: no question has an answer"):
        QuestionAnswering.for_training([question("dog"), question("cat")], TaskOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_answer_length": 0}, "max_answer_length is 0: it must be 1 or more"),
        ({"max_query_length": 0}, "max_query_length is 0: it must be 1 or more"),
        ({"n_best_size": 0}, "n_best_size is 0: it must be 1 or more"),
        ({"answer_rules": "squad"}, "answer_rules is 'squad': it must be squad1, squad2 or korquad"),
        ({"null_score_diff_threshold": float("nan")}, "null_score_diff_threshold is nan: it must be finite"),
    ],
)
def test_options_have_ranges(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TaskOptions(**options)


# Real questions


def test_squad_s_dev_set_with_perfect_logits_has_perfect_scores(data_dir: Path, minilm: Path) -> None:
    """But for the answers that end within a word: nothing else is lost between characters, tokens and windows."""
    path = data_dir / "squad" / "dev-v2.0.rebuilt.json"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    examples = QuestionAnswering.read(path, Reading())[:800]
    task = QuestionAnswering.for_training(examples, TaskOptions(doc_stride=64))
    samples = task.encode(examples, Tokenizer.from_folder(minilm), max_seq_length=192)
    assert len(samples.input_ids) > len(examples)
    scores = task.score(examples, samples, pointing_logits(samples))
    assert scores["no_answer_f1"] == 1
    assert scores["has_answer_f1"] > 0.99
    tuned = task.tuned(examples, samples, pointing_logits(samples))
    assert tuned.score(examples, samples, pointing_logits(samples)) == scores
