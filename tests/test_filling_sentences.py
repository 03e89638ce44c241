"""Pseudo-log-likelihoods, token by token. Run: pytest tests/test_filling_sentences.py."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
import torch

from tiny import VOCABULARY, save_tiny_bert, unmask
from unmask.data import acceptability_pairs, make_acceptability_set, read_table
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.workflows.fill import load_masked_lm
from unmask.workflows.score import MinimalPair, read_pairs, score, score_pairs

if TYPE_CHECKING:
    from pathlib import Path

MASK = VOCABULARY.index("[MASK]")
TEXT = "the dogs walking in this garden sleep."  # dog ##s walk ##ing
HIDDEN = {  # with each token but [CLS] and [SEP], in the order of the text: the positions that are masked
    "original": [[at] for at in range(1, 11)],
    "word_l2r": [[1], [2, 3], [3], [4, 5], [5], [6], [7], [8], [9], [10]],
    "whole_word": [[1], [2, 3], [2, 3], [4, 5], [4, 5], [6], [7], [8], [9], [10]],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("place") / "bert", "masked-lm", initializer_range=0.35)


@pytest.mark.parametrize("variant", HIDDEN)
def test_each_token_is_hidden_as_the_variant_says(place, variant):
    import transformers

    model = transformers.BertForMaskedLM.from_pretrained(place).eval()
    ids = load_masked_lm(place).tokenizer.encode(TEXT).input_ids
    assert [VOCABULARY[i] for i in ids[2:6]] == ["dog", "##s", "walk", "##ing"]
    expected = []
    for at, hidden in enumerate(HIDDEN[variant], start=1):
        masked = torch.tensor([[MASK if place in hidden else i for place, i in enumerate(ids)]])
        with torch.no_grad():
            expected.append(float(model(masked).logits[0, at].double().log_softmax(-1)[ids[at]]))
    [found] = score(TEXT, model=place, variant=variant)
    assert found.log_probabilities == pytest.approx(expected, abs=1e-4)
    assert found.pseudo_log_likelihood == pytest.approx(sum(expected), abs=1e-3)
    assert found.pseudo_perplexity == pytest.approx(math.exp(-sum(expected) / 10), rel=1e-4)
    assert found.tokens == tuple(VOCABULARY[i] for i in ids[1:-1])


def test_a_sentence_scores_alike_alone_and_among_others(place):
    texts = [TEXT, "the dog sleep.", "a cat", TEXT, "those birds talk not near the river today"]
    together = score(texts, model=place)
    for text, one in zip(texts, together, strict=True):
        [alone] = score([text], model=place)
        assert one.text == text
        assert one.log_probabilities == pytest.approx(alone.log_probabilities, abs=1e-5)


def test_pairs_are_judged_by_their_sums(place, tmp_path):
    pairs = [
        MinimalPair(good="the dogs sleep.", bad="the dogs sleeps.", group="agreement"),
        MinimalPair(good="this dog is near.", bad="these dog is near.", group="agreement"),
        MinimalPair(good="a cat not near.", bad="near cat not a.", group="order"),
    ]
    judged = score_pairs(pairs, model=place)
    scores = {s.text: s.pseudo_log_likelihood for s in score([t for p in pairs for t in (p.good, p.bad)], model=place)}
    assert [pair.is_right for pair in judged.pairs] == [scores[pair.good] > scores[pair.bad] for pair in pairs]
    assert judged.accuracy == pytest.approx(sum(pair.is_right for pair in judged.pairs) / 3)
    assert {group: count for group, (_, count) in judged.by_group.items()} == {"agreement": 2, "order": 1}
    file = tmp_path / "pairs.tsv"
    file.write_text(
        "sentence_good\tsentence_bad\tphenomenon\n"
        + "".join(f"{pair.good}\t{pair.bad}\t{pair.group}\n" for pair in pairs)
    )
    assert read_pairs(file) == pairs
    assert score_pairs(file, model=place) == judged


def test_pairs_of_the_embedded_set_are_its_rows(tmp_path):
    files = make_acceptability_set(tmp_path, seed=3)
    for split, file in files.items():
        table = read_table(file)
        rows = set(zip(*(table.column(name) for name in ("sentence", "label", "phenomenon")), strict=True))
        pairs = acceptability_pairs(split, seed=3)
        expected = {(good, "acceptable", of) for good, _, of in pairs} | {
            (bad, "unacceptable", of) for _, bad, of in pairs
        }
        assert rows == expected
        assert len(pairs) == len(rows) / 2


class TestCommand:
    @pytest.fixture(autouse=True)
    def wide(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")

    def test_sentences(self, place, capsys):
        texts = ("the dogs sleep.", "the dogs sleeps.")
        assert unmask("score", *texts, "--model", place) == 0
        out = capsys.readouterr().out
        for found in score(texts, model=place):
            lowest = min(zip(found.log_probabilities, found.tokens, strict=True))
            assert f"{found.text}" in out
            assert f"{found.pseudo_log_likelihood:.2f}" in out
            assert f"{lowest[1]} ({lowest[0]:.2f})" in out
        assert unmask("score", *texts, "--model", place, "--variant", "original", "--json") == 0
        [first, _] = json.loads(capsys.readouterr().out)
        [expected] = score(texts[0], model=place, variant="original")
        assert first["pseudo_log_likelihood"] == pytest.approx(expected.pseudo_log_likelihood, abs=1e-4)
        assert first["tokens"] == list(expected.tokens)

    def test_pairs(self, place, tmp_path, capsys):
        file = tmp_path / "pairs.jsonl"
        rows = [
            {"sentence_good": "the dogs sleep.", "sentence_bad": "the dogs sleeps.", "UID": "verbs"},
            {"sentence_good": "this dog is near.", "sentence_bad": "these dog is near.", "UID": "nouns"},
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        judged = score_pairs(file, model=place)
        assert unmask("score", "--pairs", file, "--model", place) == 0
        out = capsys.readouterr().out
        assert f"{judged.accuracy:.4f}" in out
        assert "verbs" in out
        assert unmask("score", "--pairs", file, "--model", place, "--json") == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["accuracy"] == judged.accuracy
        assert [pair["is_right"] for pair in printed["pairs"]] == [pair.is_right for pair in judged.pairs]

    @pytest.mark.parametrize("arguments", [(), ("a cat", "--pairs", "x.tsv")])
    def test_sentences_or_pairs(self, place, capsys, arguments):
        assert unmask("score", *arguments, "--model", place) == 2
        assert "give sentences" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("texts", "settings", "error", "message"),
    [
        (["a dog", ""], {}, DataError, "sentence 2 .* has no word to score"),
        (["a [MASK]"], {}, DataError, "sentence 1 .* has a mask in it"),
        (["a " * 50], {}, DataError, "has 52 tokens, the model takes 40: shorten it"),
        (["a dog"], {"variant": "both"}, SettingsError, "variant is 'both'"),
    ],
)
def test_what_cannot_be_scored(place, texts, settings, error, message):
    with pytest.raises(error, match=message):
        score(texts, model=place, **settings)


def test_files_that_hold_no_pairs(place, tmp_path):
    (tmp_path / "x.tsv").write_text("sentence\tlabel\na dog\tgood\n")
    with pytest.raises(DataError, match="holds no pairs: its columns are sentence, label, and must be sentence_good"):
        score_pairs(tmp_path / "x.tsv", model=place)
    with pytest.raises(DataError, match="there is no pair to judge"):
        score_pairs([], model=place)
    save_tiny_bert(tmp_path / "encoder")
    with pytest.raises(CheckpointError, match="has no masked LM head"):
        score("a dog", model=tmp_path / "encoder")
