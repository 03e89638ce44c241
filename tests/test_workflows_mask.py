"""Masking by hand: the tutorial's example, and the very draw of training. Run: pytest tests/test_workflows_mask.py."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tiny import save_tiny_bert, unmask
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.pretraining.masking import Masking
from unmask.pretraining.objective import Pretraining
from unmask.pretraining.objectives import MaskedLanguageModelling
from unmask.pretraining.vocabulary import Vocabulary
from unmask.tokenization.template import SequenceTemplate
from unmask.tokenization.training import train_on_texts
from unmask.workflows.loading import load_tokenizer
from unmask.workflows.mask import mask

TUTORIAL = "there is my school and i love this place"
LONG = "this dog sleeps near the quiet garden and those cats often run to the old house by the river " * 3


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    return str(save_tiny_bert(tmp_path_factory.mktemp("tiny") / "bert"))


@pytest.mark.usefixtures("minilm")
def test_the_example_of_the_tutorial(capsys):
    """The vocabulary is bert-base-uncased's; the ids are those anyone can look up in it."""
    assert unmask("mask", TUTORIAL, "--tokenizer", "minilm", "--words", "my", "love", "place", "--json") == 0
    masked = json.loads(capsys.readouterr().out)
    assert masked["input_ids"] == [101, 2045, 2003, 103, 2082, 1998, 1045, 103, 2023, 103, 102]
    assert masked["labels"] == [-100, -100, -100, 2026, -100, -100, -100, 2293, -100, 2173, -100]
    assert [token["token"] for token in masked["tokens"] if token["fate"] == "masked"] == ["my", "love", "place"]


def test_the_same_with_the_vocabulary_file_alone(data_dir):
    masked = mask(TUTORIAL, tokenizer=str(data_dir / "vocab" / "bert-base-uncased"), words=("my", "love", "place"))
    assert [label for label in masked.labels if label != -100] == [2026, 2293, 2173]


@pytest.mark.parametrize("unit", ["token", "word", "ngram"])
def test_without_words_it_is_the_draw_of_training(tiny, unit):
    tokenizer = load_tokenizer(tiny)
    encoding = tokenizer.encode(LONG)
    sequence = SequenceTemplate.of(tokenizer).single(np.array(encoding.input_ids[1:-1]))

    class Source:
        lengths = np.array([len(encoding)])
        num_cut_sentences = 0

        def __len__(self):
            return 1

        def build(self, index, *, epoch):
            from unmask.pretraining.formats import TrainingSequence

            return TrainingSequence.of(sequence)

    masking = Masking(mask_unit=unit, mlm_probability=0.4, mask_token_rate=0.5, random_token_rate=0.3)
    objective = MaskedLanguageModelling(masking, Vocabulary.of(tokenizer))
    batch = Pretraining(objective, None, Source(), Source(), seed=3).collate([0], epoch=5)
    settings = {"mask_unit": unit, "mlm_probability": 0.4, "mask_token_rate": 0.5, "random_token_rate": 0.3}
    masked = mask(LONG, tokenizer=tiny, seed=3, epoch=5, **settings)
    assert masked.input_ids == batch.inputs.input_ids.tolist()
    assert [at for at, label in enumerate(masked.labels) if label != -100] == batch.positions.tolist()
    assert [label for label in masked.labels if label != -100] == batch.labels.tolist()
    assert {token.fate for token in masked.tokens} == {"", "masked", "random", "kept"}
    for token in masked.tokens:
        assert (token.label == -100) == (token.fate == "")
        assert {"masked": token.seen == "[MASK]", "random": token.seen_id != token.token_id}.get(
            token.fate, token.seen_id == token.token_id
        )
    assert mask(LONG, tokenizer=tiny, seed=3, epoch=6, **settings) != masked


def test_words_are_found_whole_in_any_letters_with_all_their_pieces_and_in_both_texts(tiny):
    masked = mask("These dogs eat, dog", "DOGS and dogsled", tokenizer=tiny, words=("dogs",))
    found = [at for at, token in enumerate(masked.tokens) if token.fate]
    assert [masked.tokens[at].token for at in found] == ["dog", "##s", "dog", "##s"]
    assert {token.seen for token in masked.tokens if token.fate} == {"[MASK]"}
    assert [token.token for token in masked.tokens][:6] == ["[CLS]", "these", "dog", "##s", "eat", ","]


@pytest.mark.parametrize("family", ["roberta", "albert"])
def test_other_families_write_their_own_mask(family, tmp_path):
    tokenizer = train_on_texts([LONG] * 2, family=family, vocab_size=331, min_frequency=1)
    tokenizer.save(tmp_path)
    masked = mask("those cats, often", tokenizer=str(tmp_path), words=("cats", "often"))
    assert "".join(token.token for token in masked.tokens if token.fate).replace("Ġ", "▁") == "▁cats▁often"
    assert {token.seen for token in masked.tokens if token.fate} == {tokenizer.mask_token}


def test_a_mask_or_special_token_in_the_text_is_never_chosen(tiny):
    masked = mask("this [MASK] [SEP] dog", tokenizer=tiny, mlm_probability=1.0)
    assert [token.token for token in masked.tokens if token.fate] == ["this", "dog"]


def test_the_table(tiny, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert unmask("mask", "these dogs", "--tokenizer", tiny, "--words", "dogs") == 0
    out = capsys.readouterr().out
    for said in (
        "the model sees",
        "##s",
        "[MASK]",
        "-100",
        "2 of 3 tokens are to be guessed: the model sees 2 as the mask",
    ):
        assert said in out


def test_what_cannot_be_masked(tiny, tmp_path):
    train_on_texts([LONG] * 2, family="gpt", vocab_size=331).save(tmp_path)
    for arguments, error, message in [
        (
            {"tokenizer": tiny, "words": ("cow",)},
            DataError,
            "the text has no word 'cow': give words as the text has them",
        ),
        ({"tokenizer": tiny, "words": ("",)}, DataError, "the text has no word ''"),
        ({"tokenizer": tiny, "mlm_probability": 0.0}, SettingsError, r"mlm_probability is 0.0: it must be in \(0, 1\]"),
        ({"tokenizer": str(tmp_path)}, CheckpointError, r"the tokenizer has no \[MASK\] token"),
    ]:
        with pytest.raises(error, match=message):
            mask("this dog", **arguments)
    with pytest.raises(DataError, match="the text is empty"):
        mask("  ", tokenizer=tiny)
    assert unmask("mask", "dog", "--tokenizer", tiny, "--mask-unit", "syllable") == 2
