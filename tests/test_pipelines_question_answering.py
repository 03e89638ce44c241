"""Answers to questions, against a plain reimplementation of what transformers' pipeline did until 5.2.

Run: pytest tests/test_pipelines_question_answering.py
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from test_workflows_question_answering import OPTIONS, write_squad
from tiny import NOUNS, OTHERS, QUICK, VERBS, save_tiny_bert, unmask
from tiny_families import FAMILIES, save_tiny
from unmask import pipeline, predict
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.pipelines import TooLongError

if TYPE_CHECKING:
    from pathlib import Path

rng = random.Random(5)
CONTEXTS = [
    " ".join(f"{rng.choice(NOUNS)}s {rng.choice(VERBS)}ing {rng.choice(OTHERS)}," for _ in range(count))
    for count in (2, 5, 13, 31)
] + ["Unknown xylophones' dogs - sleep.  The  cat!"]
QUESTIONS = ["which dogs sleep", "who?", "the tiger in the garden", "is it not", "dogs"]
ASKED = [{"question": q, "context": c} for q, c in zip(QUESTIONS, CONTEXTS, strict=True)]


class Dropped:
    """The dropped pipeline's rules, in loops: every span of every window is scored by itself."""

    def __init__(self, folder: Path) -> None:
        import transformers

        self.model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def __call__(
        self,
        question: str,
        context: str,
        *,
        top_k: int = 1,
        doc_stride: int | None = None,
        max_answer_len: int = 15,
        max_seq_len: int | None = None,
        handle_impossible_answer: bool = False,
        align_to_words: bool = True,
    ) -> Any:
        max_seq_len = min(self.tokenizer.model_max_length, 384) if max_seq_len is None else max_seq_len
        doc_stride = min(max_seq_len // 2, 128) if doc_stride is None else doc_stride
        encoded = self.tokenizer(
            question,
            context,
            truncation="only_second",
            max_length=max_seq_len,
            stride=doc_stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        answers: list[dict[str, Any]] = []
        null_score = 1000000.0
        for window in range(len(encoded["input_ids"])):
            inputs = {
                name: torch.tensor([encoded[name][window]])
                for name in self.tokenizer.model_input_names
                if name in encoded
            }
            with torch.no_grad():
                output = self.model(**inputs)
            is_text = [number == 1 for number in encoded.sequence_ids(window)]
            is_open = [
                text or token == self.tokenizer.cls_token_id
                for text, token in zip(is_text, encoded["input_ids"][window], strict=True)
            ]
            starts, ends = (
                self.probabilities(logits[0].tolist(), is_open) for logits in (output.start_logits, output.end_logits)
            )
            null_score = min(null_score, starts[0] * ends[0])
            spans = [
                (starts[first] * ends[last], first, last)
                for first in range(len(starts))
                for last in range(first, min(first + max_answer_len, len(ends)))
                if is_text[first] and is_text[last]
            ]
            spans.sort(key=lambda span: -span[0])
            for score, first, last in spans[: top_k * 2 + 10 if align_to_words else top_k]:
                begin, end = self.characters(encoded, window, first, last, align_to_words)
                # Some tokenizers count blanks to a word, byte-level ones to a window's first; ours does not.
                begin += len(context[begin:end]) - len(context[begin:end].lstrip())
                end = begin + len(answer := context[begin:end].rstrip())
                if not answer:
                    continue
                same = [one for one in answers if one["answer"].lower() == answer.lower()]
                if same:
                    same[0]["score"] += score
                else:
                    answers.append({"score": score, "start": begin, "end": end, "answer": answer})
        if handle_impossible_answer:
            answers.append({"score": null_score, "start": 0, "end": 0, "answer": ""})
        answers = sorted(answers, key=lambda one: one["score"], reverse=True)[:top_k]
        return answers[0] if len(answers) == 1 else answers

    @staticmethod
    def probabilities(logits: list[float], is_open: list[bool]) -> list[float]:
        masked = np.array([logit if is_real else -10000.0 for logit, is_real in zip(logits, is_open, strict=True)])
        powers = np.exp(masked - masked.max())
        return (powers / powers.sum()).tolist()

    @staticmethod
    def characters(encoded: Any, window: int, first: int, last: int, align_to_words: bool) -> tuple[int, int]:
        offsets = encoded["offset_mapping"][window]
        if align_to_words:
            words = [encoded.token_to_word(window, token) for token in (first, last)]
            if None not in words:
                spans = [encoded.word_to_chars(window, word, sequence_index=1) for word in words]
                return spans[0].start, spans[1].end
        return offsets[first][0], offsets[last][1]


def assert_alike(ours: Any, theirs: Any) -> None:
    """The same spans in the same order, scores to 1e-5."""
    assert type(ours) is type(theirs)
    ours, theirs = ([ours], [theirs]) if isinstance(ours, dict) else (ours, theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one == {**other, "score": pytest.approx(other["score"], abs=1e-5)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {family: save_tiny(place / family / "model", family, "question-answering") for family in FAMILIES}


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "gpt2"])
def test_what_the_dropped_pipeline_gave(folders: dict[str, Path], family: str) -> None:
    """Some contexts have several windows: forty tokens fit."""
    ours, theirs = pipeline(None, folders[family], device="cpu"), Dropped(folders[family])
    assert ours.task == "question-answering"
    cases: list[dict[str, Any]] = [
        {},
        {"top_k": 4},
        {"top_k": 3, "align_to_words": False},
        {"max_answer_len": 2, "doc_stride": 3},
        {"max_seq_len": 30, "doc_stride": 8, "top_k": 2},
        {"handle_impossible_answer": True, "top_k": 30},
    ]
    for options in cases:
        found = ours(ASKED, **options)
        for asked, answer in zip(ASKED, found, strict=True):
            assert_alike(answer, theirs(**asked, **options))
    spans = ours(ASKED)
    assert all(
        asked["context"][one["start"] : one["end"]] == one["answer"] for asked, one in zip(ASKED, spans, strict=True)
    )


def test_a_gpt_finds_spans_but_no_absence(folders: dict[str, Path]) -> None:
    ours, theirs = pipeline("question-answering", folders["gpt2"], device="cpu"), Dropped(folders["gpt2"])
    asked = {"question": "who", "context": "the dog and the cat"}
    assert_alike(ours(**asked), theirs(**asked))
    answers = ours(**asked, handle_impossible_answer=True, top_k=20)
    assert [one["score"] for one in answers if not one["answer"]] in ([], [0.0])


def test_every_way_to_ask(folders: dict[str, Path]) -> None:
    ours = pipeline("question-answering", folders["bert"], device="cpu")
    question, context = QUESTIONS[0], CONTEXTS[1]
    expected = ours({"question": question, "context": context})
    assert set(expected) == {"score", "start", "end", "answer"}
    assert ours(question=question, context=context) == expected
    assert ours(question, context) == expected
    assert ours([{"question": question, "context": context}]) == expected  # of a list of one, as it was
    assert ours(question=[question], context=[context], padding="longest", batch_size=8) == expected
    both = ours(question=QUESTIONS[:2], context=context)
    assert_alike(both, [ours(question=one, context=context) for one in QUESTIONS[:2]])
    assert_alike(ours(question=QUESTIONS[:2], context=CONTEXTS[:2]), ours(ASKED[:2]))
    assert list(ours(iter(ASKED[:3]))) == ours(ASKED[:3])


@pytest.mark.parametrize(
    ("asked", "error", "problem"),
    [
        ({"question": "who"}, DataError, "context is missing: give an object with question and context"),
        ({"question": "who", "context": ""}, DataError, "the context is empty"),
        ({"question": " ", "context": "a"}, DataError, "the question is empty"),
        ({"question": ["who", "what"], "context": ["a"]}, DataError, "2 questions, and 1 contexts"),
        ({"question": "who", "context": "a", "top_k": 0}, SettingsError, "top_k is 0: it must be 1 or more"),
        (
            {"question": "who", "context": "a", "max_seq_len": 41},
            SettingsError,
            "max_seq_len is 41, and the model takes 40",
        ),
        ({"question": "who " * 40, "context": "a"}, TooLongError, "the question has 40 tokens, and the model reads 36"),
        ({"question": 3, "context": "a"}, DataError, "must be a text, or a list of texts"),
        ({}, DataError, "nothing is asked: give question= and context="),
    ],
)
def test_questions_that_cannot_be_answered(
    folders: dict[str, Path], asked: dict[str, Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        pipeline("question-answering", folders["bert"])(**asked)


def test_a_long_question_may_be_cut(folders: dict[str, Path]) -> None:
    ours = pipeline("question-answering", folders["bert"], device="cpu")
    context = CONTEXTS[1]
    cut = ours(question="who dog cat " * 20, context=context, max_question_len=2)
    assert_alike(cut, ours(question="who dog", context=context))


def test_a_model_without_the_head(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="has no question-answering head, which question-answering asks: fine-tune"
    ):
        pipeline("question-answering", save_tiny(tmp_path / "model", "bert", "encoder"))


class TestFineTuned:
    @pytest.fixture(scope="module")
    @staticmethod
    def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A run on questions some of which have no answer; its texts have several windows."""
        place = tmp_path_factory.mktemp("place")
        save_tiny_bert(place / "bert")
        train = write_squad(place / "train.json", 150, seed=1, share_impossible=0.4)
        dev = write_squad(place / "dev.json", 25, seed=2, share_impossible=0.4)
        files = ("--model", place / "bert", "--train", train, "--dev", dev, "--output-dir", place / "run")
        more = ("--epochs", 4, "--learning-rate", "5e-3")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")
            assert unmask("finetune", "question-answering", *files, *OPTIONS, *QUICK, *more) == 0
        return place / "run"

    @pytest.fixture(scope="module")
    @staticmethod
    def asked(run: Path) -> list[dict[str, str]]:
        document = json.loads((run.parent / "dev.json").read_text())
        return [
            {"question": entry["question"], "context": paragraph["context"]}
            for paragraph in document["data"][0]["paragraphs"]
            for entry in paragraph["qas"]
        ]

    def test_it_reads_as_it_was_trained(self, run: Path) -> None:
        ours = pipeline("question-answering", run)
        reading = ours._reading(ours.told())
        assert (reading.max_seq_len, reading.stride, reading.shared, reading.max_answer_len) == (24, 6, None, 5)
        assert reading.null_threshold is not None

    def test_no_answer_is_given_where_predict_gives_none(self, run: Path, asked: list[dict[str, str]]) -> None:
        """The tuned threshold decides; spans are mostly the same, and all are where only one window is."""
        ours = pipeline(None, run)(asked)
        theirs = predict(run, [one["question"] for one in asked], [one["context"] for one in asked])
        assert [not one["answer"] for one in ours] == [answer.is_impossible for answer in theirs]
        assert 0 < sum(not one["answer"] for one in ours) < len(asked)
        same = [one["answer"] == answer.text for one, answer in zip(ours, theirs, strict=True)]
        assert sum(same) >= 0.9 * len(same)

    def test_the_threshold_yields_to_what_is_told(self, run: Path, asked: list[dict[str, str]]) -> None:
        ours = pipeline("question-answering", run)
        assert all(one["answer"] for one in ours(asked, handle_impossible_answer=False))
        three = ours(asked, top_k=3)
        for one, first in zip(three, ours(asked), strict=True):
            assert len(one) == 3
            assert_alike(one[0], first)
            assert [answer["score"] for answer in one[1:]] == sorted((a["score"] for a in one[1:]), reverse=True)
