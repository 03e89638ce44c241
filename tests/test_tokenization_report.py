"""The report on a tokenizer, counted by hand. Run: pytest tests/test_tokenization_report.py."""

from __future__ import annotations

import io
import json

import pytest
import tokenizers
from rich.console import Console

from unmask.errors import DataError
from unmask.tokenization import Tokenizer
from unmask.tokenization.report import WordPieces, tokenizer_report
from unmask.tokenization.training import train_on_texts


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "hack",
        "##ath",
        "##on",
        "the",
        ",",
        "'",
        "t",
        "won",
        "zebra",
    ]
    path = tmp_path_factory.mktemp("tokenizer") / "vocab.txt"
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return Tokenizer.from_vocab(path)


def test_every_figure_by_hand(tokenizer: Tokenizer) -> None:
    # the | hack ##ath ##on | , || won ' t | [UNK] || the the
    report = tokenizer_report(tokenizer, ["the Hackathon,", "won't Ωmega", "the the"])
    assert (report.num_texts, report.num_words, report.num_characters, report.num_tokens) == (3, 6, 14 + 11 + 7, 11)
    assert report.tokens_per_word == pytest.approx((1 + 3 + 3 + 1 + 1 + 1) / 6)  # the comma is of no word
    assert report.characters_per_token == pytest.approx(32 / 11)
    assert report.single_piece_rate == pytest.approx(3 / 6)
    assert report.unknown_rate == pytest.approx(1 / 11)
    assert report.num_used_pieces == 8  # of nine that are not special: zebra is left; [UNK] is special
    assert report.vocabulary_use == pytest.approx(8 / 9)
    assert report.vocab_size == 14
    assert report.unknown_words == [WordPieces("Ωmega", ["[UNK]"], 1)]
    assert report.most_split_words[:2] == [
        WordPieces("Hackathon", ["hack", "##ath", "##on"], 1),
        WordPieces("won't", ["won", "'", "t"], 1),
    ]
    assert report.longest_words[0] == WordPieces("Hackathon", ["hack", "##ath", "##on"], 1)
    assert report.longest_words[-1] == WordPieces("the", ["the"], 3)
    assert report.longest_pieces[:2] == ["zebra", "hack"]
    assert json.loads(json.dumps(report.to_dict()))["unknown_words"][0]["word"] == "Ωmega"
    console = Console(width=90, file=io.StringIO())
    console.print(report.to_table())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for said in ("tokens per word", "1.667", "9.091%", "8 of 14 ids", "Hackathon  hack ##ath ##on", "Ωmega  [UNK]"):
        assert said in shown


def test_words_are_the_same_for_every_kind(tokenizer: Tokenizer) -> None:
    texts = ["the hackathon won't, the hack's zebra", "한국 the", "a  b"] * 3
    reports = [tokenizer_report(tokenizer, texts)] + [
        tokenizer_report(train_on_texts(texts, family=family, vocab_size=300, min_frequency=1), texts)
        for family in ("bert", "roberta", "albert", "gpt")
    ]
    assert {(report.num_words, report.num_characters) for report in reports} == {((6 + 2 + 2) * 3, (37 + 6 + 4) * 3)}
    for report in reports[1:]:
        assert report.tokens_per_word >= 1
        assert report.unknown_rate == 0
    # GPT-2 calls <|endoftext|> its <unk>, and it is none.
    gpt2 = train_on_texts(texts, family="gpt", vocab_size=300)
    gpt2 = Tokenizer(gpt2.backend, {"unk_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})
    assert tokenizer_report(gpt2, ["a <|endoftext|> b"]).unknown_rate == 0


def test_a_token_may_cover_two_words() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.Unigram([("<unk>", 0.0), ("a.b", -1.0), ("c", -1.0)], unk_id=0))
    report = tokenizer_report(Tokenizer(backend), ["a.bc"])  # a.b | c; the words are a and bc
    assert (report.num_words, report.tokens_per_word) == (2, 1.5)


def test_nothing_to_report_on_is_named(tokenizer: Tokenizer) -> None:
    for texts in ([], ["..."], [""]):
        with pytest.raises(DataError, match="there is no word in the text to report on"):
            tokenizer_report(tokenizer, texts)
