"""Entities and tags, against transformers' pipeline and our own predictions.

Run: pytest tests/test_pipelines_token_classification.py
"""

from __future__ import annotations

import random
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tiny import NOUNS, QUICK, VERBS, save_tiny_bert, unmask
from tiny_families import FAMILIES, TAGS, TEXTS, numbered, save_tiny
from unmask import pipeline, predict
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

STRATEGIES = ("none", "simple", "first", "average", "max")
HARD = ["Those dogs' tigers?", "  a cat,the bird .", "xylophones sleeping Unseen wörd", "dogs"]


def words_of(text: str) -> list[str]:
    return text.replace(".", " .").split()


def save_tagger(folder: Path, family: str = "bert", **changes: Any) -> Path:
    return save_tiny(folder, family, "token-classification", id2label=numbered(TAGS), **changes)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_gives(tmp_path: Path, family: str, strategy: str) -> None:
    import transformers

    folder = save_tagger(tmp_path / "model", family)
    ours = pipeline("ner", folder, device="cpu", aggregation_strategy=strategy)
    theirs = transformers.pipeline("ner", model=str(folder), device="cpu", aggregation_strategy=strategy)
    texts = TEXTS[:9] if family == "gpt2" else TEXTS[:9] + HARD
    texts = [text for text in texts if len(text) < 58]  # the GPT reads bytes, and has 60 positions
    num_found = 0
    for text, mine in zip(texts, ours(texts), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where they guess what a word is
            expected = theirs(text)
        assert mine == [
            {key: pytest.approx(float(value), abs=1e-5) if key == "score" else value for key, value in one.items()}
            for one in expected
        ]
        assert all(list(one) == list(other) for one, other in zip(mine, expected, strict=True))
        num_found += len(mine)
    assert num_found > len(texts)


def test_labels_to_leave_out(tmp_path: Path) -> None:
    import transformers

    folder = save_tagger(tmp_path / "model")
    ours = pipeline("token-classification", folder, device="cpu")
    theirs = transformers.pipeline("ner", model=str(folder), device="cpu", aggregation_strategy="simple")
    for ignored in ([], ["O", "PER"], ["LOC"]):
        mine = ours(TEXTS[0], ignore_labels=ignored)  # "simple", as nobody fine-tuned it with unmask
        assert [one["entity_group"] for one in mine] == [
            one["entity_group"] for one in theirs(TEXTS[0], ignore_labels=ignored)
        ]
    with pytest.raises(SettingsError, match="ignore_labels is 'O': it must be a list of labels"):
        ours(TEXTS[0], ignore_labels="O")


@pytest.fixture(scope="module")
def tagger_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt that nouns are PER and verbs are LOC."""
    place = tmp_path_factory.mktemp("tags")
    rng = random.Random(1)
    for name, count in (("train", 60), ("dev", 9)):
        lines = []
        for _ in range(count):
            words = [rng.choice(NOUNS), rng.choice(["the", "a", "in"]), rng.choice(VERBS), "."]
            tags = ["B-PER", "O", "B-LOC", "O"]
            lines += [f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)] + [""]
        (place / f"{name}.conll").write_text("\n".join(lines))
    save_tiny_bert(place / "bert")
    data = ("--train", place / "train.conll", "--dev", place / "dev.conll", "--model", place / "bert")
    more = ("--epochs", 4, "--learning-rate", "1e-2", "--output-dir", place / "run")
    with pytest.MonkeyPatch.context() as patch:  # drawing the plots takes longer than the run
        patch.setattr("unmask.workflows.finetune.write_report", lambda folder: folder / "report.html")
        assert unmask("finetune", "tagging", *data, *QUICK, *more) == 0
    return place / "run"


class TestAsTrained:
    def test_entities_are_those_of_predict(self, tagger_run: Path) -> None:
        texts = ["dog the sleep.", "a cat, the tigers run", "Queens in laughing."]
        ours = pipeline(None, tagger_run)
        assert ours.task == "token-classification"
        for text, mine, answer in zip(texts, ours(texts), predict(tagger_run, texts), strict=True):
            assert answer.entities
            assert mine == [
                {
                    "entity_group": span.type,
                    "score": pytest.approx(span.score, abs=1e-6),
                    "word": span.text,
                    "start": span.start,
                    "end": span.end,
                }
                for span in answer.entities
            ]
            assert all(text[one["start"] : one["end"]] == one["word"] for one in mine)

    def test_a_long_text_is_read_whole(self, tagger_run: Path) -> None:
        """Forty tokens fit, and here are some eighty: by words and by tokens."""
        ours = pipeline("ner", tagger_run)
        text = "dog the sleep . " * 20
        for strategy in ("words", "first"):
            found = ours(text, aggregation_strategy=strategy)
            words = [(one["entity_group"], one["word"]) for one in found]
            assert words == [("PER", "dog"), ("LOC", "sleep")] * 20
            assert [one["start"] for one in found if one["word"] == "dog"] == [16 * n for n in range(20)]

    def test_tags_that_mark_no_spans_are_given_word_by_word(self, tmp_path: Path) -> None:
        names = numbered(("NOUN", "VERB", "DET"))
        folder = save_tiny(tmp_path / "model", "bert", "token-classification", id2label=names)
        text = "this dog sleeps."
        mine = pipeline("token-classification", folder)(text, aggregation_strategy="words")
        assert [one["word"] for one in mine] == ["this", "dog", "sleeps", "."]
        assert {one["entity_group"] for one in mine} <= set(names.values())


@pytest.mark.parametrize("text", ["", " \n", "\u200b\u0000"])
def test_an_empty_text(tmp_path: Path, text: str) -> None:
    ours = pipeline("ner", save_tagger(tmp_path / "model"))
    with pytest.raises(DataError, match="inputs, line 2: the text"):
        ours([TEXTS[0], text])


def test_a_text_of_which_nothing_is_left(tmp_path: Path) -> None:
    ours = pipeline("ner", save_tagger(tmp_path / "model"))
    with pytest.raises(DataError, match="inputs, line 1: the tokenizer leaves nothing of the text"):
        ours("\u200b")


def test_a_strategy_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="aggregation_strategy is 'last': it must be one of words, none, simple"):
        pipeline("ner", save_tagger(tmp_path / "model"), aggregation_strategy="last")
