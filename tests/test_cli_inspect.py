"""`unmask inspect` and the joint `unmask fill` as people type them. Run: pytest tests/test_cli_inspect.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tiny import SIZES, save_tiny_bert, unmask
from unmask.models.electra import ElectraConfig
from unmask.models.registry import build_model
from unmask.tokenization import Tokenizer
from unmask.workflows import inspect as looks
from unmask.workflows.fill import fill_jointly
from unmask.workflows.loading import save_pretrained

if TYPE_CHECKING:
    from pathlib import Path

TEXT, MASKED, OTHER = "the dogs sleep.", "the [MASK] sleep near a [MASK].", "a queen was near the dogs"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("place")
    save_tiny_bert(place / "bert", "masked-lm", initializer_range=0.3)
    electra = build_model(ElectraConfig(**SIZES, embedding_size=8, initializer_range=0.3), "replaced-token")
    save_pretrained(electra, Tokenizer.from_vocab(place / "bert-vocab.txt"), place / "electra")
    return place


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def words_of(capsys) -> str:
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_attention(place, capsys):
    assert unmask("inspect", place / "bert", TEXT, "--attention") == 0
    out = words_of(capsys)
    maps = looks.inspect_attention(place / "bert", TEXT)
    for head in maps.heads:
        assert f"{head.head} {head.entropy:.2f} {head.to_cls:.0%} {head.to_sep:.0%} {head.to_previous:.0%}" in out
        assert f"{head.most_attended} ({head.most_attended_share:.0%})" in out
    assert unmask("inspect", place / "bert", TEXT, "--attention", "--layer", "2", "--head", "4") == 0
    out = words_of(capsys)
    assert f"2 4 {maps.head(2, 4).entropy:.2f}" in out
    assert f"{maps.head(1, 4).entropy:.2f} {maps.head(1, 4).to_cls:.0%}" not in out
    assert unmask("inspect", place / "bert", TEXT, OTHER, "--attention", "--json") == 0
    printed = json.loads(capsys.readouterr().out)["attention"]
    assert printed == json.loads(json.dumps(looks.inspect_attention(place / "bert", TEXT, OTHER).to_dict()))


def test_words(place, capsys):
    assert unmask("inspect", place / "bert", TEXT, "--tokens", "--nearest", "cat", "--top-k", "2") == 0
    out = words_of(capsys)
    for word in looks.inspect_tokens(place / "bert", TEXT, top_k=2):
        nearest = ", ".join(f"{near.token} {near.cosine:.2f}" for near in word.nearest)
        assert f"{word.word} {word.token_ids[0]} {word.norm:.3f} {nearest}" in out
    for near in looks.inspect_nearest(place / "bert", "cat", top_k=2).nearest:
        assert f"{near.token} {near.token_id} {near.cosine:.4f}" in out
    assert unmask("inspect", place / "bert", TEXT, OTHER, "--word", "dogs") == 0
    out = words_of(capsys)
    for layer in looks.inspect_word(place / "bert", "dogs", TEXT, OTHER).layers:
        assert f"{layer.layer} {layer.between:.3f} {layer.first_to_static:.3f} {layer.second_to_static:.3f}" in out


def test_gradients(place, capsys):
    assert unmask("inspect", place / "bert", MASKED, "--gradients", "--target", "dog", "--baseline", "mask") == 0
    out = words_of(capsys)
    found = looks.inspect_gradients(place / "bert", MASKED, target="dog", baseline="mask")
    for token, value in list(zip(found.tokens, found.attributions, strict=True))[1:-1]:
        assert f"{token} {value:+.4f}" in out
    assert f"probability of 'dog': {found.prediction:.4f}" in out
    assert f"complete, off by {abs(found.completeness_error):.1e} with {found.num_points} points" in out


def test_replaced(place, capsys):
    assert unmask("inspect", place / "electra", TEXT, OTHER, "--replaced") == 0
    out = words_of(capsys)
    for verdicts in looks.inspect_replaced(place / "electra", TEXT, OTHER):
        assert verdicts.text in out
        for token in verdicts.tokens:
            assert f"{token.token} {token.probability:.1%}" in out


def test_a_page_and_a_picture(place, tmp_path, capsys):
    looked = ("inspect", place / "bert", TEXT, "--attention", "--tokens", "--nearest", "dog")
    assert unmask(*looked, "--output", tmp_path / "look.html", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"attention", "tokens", "nearest"}
    assert "Heads that stand out" in (tmp_path / "look.html").read_text()
    assert unmask("inspect", place / "bert", TEXT, "--attention", "--layer", "1", "--output", tmp_path / "a.svg") == 0
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert unmask(*looked, "--output", tmp_path / "two.png") == 2
    assert "a picture shows one thing" in capsys.readouterr().err
    assert not (tmp_path / "two.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--attention",), 2, "--attention takes a text, or a pair of texts after the model, and 0 were given"),
        ((TEXT, "--word", "dogs"), 2, "--word takes two sentences after the model, and 1 were given"),
        ((TEXT, OTHER, TEXT, "--gradients"), 2, "and 3 were given"),
        ((TEXT, "--attention", "--layer", "9"), 2, "the model has 2 layers of 4 heads"),
        ((TEXT, "--replaced"), 3, "this model tells no replaced tokens"),
        ((TEXT, "--gradients"), 3, "the text has no [MASK]"),
    ],
)
def test_what_cannot_be_looked_at(place, capsys, arguments, code, message):
    assert unmask("inspect", place / "bert", *arguments) == code
    assert message in capsys.readouterr().err


class TestFill:
    def test_jointly(self, place, capsys):
        assert unmask("fill", MASKED, "--model", place / "bert", "--joint", "--top-k", "3") == 0
        out = words_of(capsys)
        for filling in fill_jointly(MASKED, model=place / "bert", top_k=3):
            words = ", ".join(word.word for word in filling.words)
            assert f"{words} {filling.log_probability:.3f} {filling.text}" in out
        assert " mean " not in out

    def test_candidates_and_pieces(self, place, capsys):
        text = "the [MASK] sleep."
        assert unmask("fill", text, "--model", place / "bert", "--candidates", "dogs", "cat") == 0
        out = words_of(capsys)
        for filling in fill_jointly(text, model=place / "bert", candidates=["dogs", "cat"]):
            [word] = filling.words
            pieces = " ".join(word.tokens)
            figures = f"{filling.log_probability:.3f} {filling.mean_log_probability:.3f}"
            assert f"{word.word} {pieces} {figures} {filling.text}" in out
        assert unmask("fill", text, "--model", place / "bert", "--max-pieces", "2", "--compare", "total", "--json") == 0
        printed = json.loads(capsys.readouterr().out)
        expected = fill_jointly(text, model=place / "bert", max_pieces=2, compare="total")
        assert [entry["text"] for entry in printed] == [filling.text for filling in expected]
        assert printed[0]["words"][0]["token_ids"] == list(expected[0].words[0].token_ids)

    def test_settings_that_do_not_go_together(self, place, capsys):
        arguments = ("--candidates", "dog", "--max-pieces", "2")
        assert unmask("fill", "a [MASK]", "--model", place / "bert", *arguments) == 2
        assert "leave max_pieces and beam_width out" in capsys.readouterr().err
