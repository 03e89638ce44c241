"""Korean: one spelling for each syllable, offsets into what was given, morphemes.

Run: pytest tests/test_tokenization_korean.py.
"""

from __future__ import annotations

import builtins
import json
import random
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from tokenizers.normalizers import Sequence

from unmask.errors import SettingsError
from unmask.tokenization import Tokenizer, explain
from unmask.tokenization.hangul import align_composed, composing_steps, is_composed
from unmask.tokenization.morphemes import SplitText, split_morphemes
from unmask.tokenization.training import train_on_texts

if TYPE_CHECKING:
    from pathlib import Path

    from unmask.tokenization.families import FamilyName

TEXTS = [
    "나는 학교에서 한국어를 배웠다. 값이 없다.",
    "영화가 정말 재미있었어요 ㅋㅋㅋ ㅠㅠ",
    "BERT는 2018년에 나온 언어 모형이다.",
    "서울에서 부산까지 café의 값을 물었다.",
] * 7

# Half-width letters as a Korean keyboard types them; consonants in the order of ㄱ to ㅎ, vowels of ㅏ to ㅣ.
CONSONANTS = dict(zip(map(chr, range(0x3131, 0x314F)), map(chr, range(0xFFA1, 0xFFBF)), strict=True))
VOWELS = dict(zip(map(chr, range(0x314F, 0x3164)), "ￂￃￄￅￆￇￊￋￌￍￎￏￒￓￔￕￖￗￚￛￜ", strict=True))
INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"


def half_width(text: str) -> str:
    """Spell syllables and lone letters of Hangul with half-width letters: the other way from the one tested."""
    spelt = []
    for character in text:
        if "가" <= character <= "힣":
            initial, rest = divmod(ord(character) - 0xAC00, 588)
            vowel, final = divmod(rest, 28)
            letters = INITIALS[initial] + chr(0x314F + vowel) + FINALS[final].strip()
        else:
            letters = character
        spelt.append("".join(CONSONANTS.get(letter) or VOWELS.get(letter) or letter for letter in letters))
    return "".join(spelt)


@pytest.fixture(scope="module", params=["bert", "roberta", "albert"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_on_texts(TEXTS, family=request.param, vocab_size=400, min_frequency=1, lowercase=True)


def test_every_syllable_has_one_form() -> None:
    composer = Sequence(list(composing_steps()))
    syllables = "".join(map(chr, range(0xAC00, 0xD7A4)))
    # A syllable without final would take the first letter of the next one for it, as when typing: hence the spaces.
    spaced = " ".join(syllables)
    assert composer.normalize_str(half_width(spaced)) == spaced
    assert composer.normalize_str(unicodedata.normalize("NFD", spaced)) == spaced
    assert composer.normalize_str(spaced) == spaced


@pytest.mark.parametrize(
    ("letters", "composed"),
    [
        ("ㅎㅏㄴㄱㅜㄱ", "한국"),
        ("ㅁㅏㄱㅏ", "마가"),  # the consonant belongs to the vowel behind it
        ("ㄱㅏㅄㅏ", "값ㅏ"),  # no syllable begins with ㅄ
        ("ㄱㅏㄸㅏ", "가따"),  # and none ends with ㄸ
        ("ㅋㅋㅋ ㅗㅗ", "ㅋㅋㅋ ㅗㅗ"),
        ("ㅎㅏㅋㅋ", "핰ㅋ"),
    ],
)
def test_what_half_width_letters_become(letters: str, composed: str) -> None:
    composer = Sequence(list(composing_steps()))
    assert not set(half_width(letters)) & set(letters.replace(" ", ""))
    assert composer.normalize_str(half_width(letters)) == composed
    assert composer.normalize_str(letters) == letters  # letters of full width stay as they are
    assert composer.normalize_str("A\uffa0B") == "A\u3164B"  # the filler


def test_random_letters_are_read_as_an_input_method_reads_them() -> None:
    composer = Sequence(list(composing_steps()))
    counted = random.Random(11)
    for _ in range(499):
        letters = "".join(counted.choices([*CONSONANTS, *VOWELS, " "], k=counted.randint(1, 23)))
        assert composer.normalize_str(half_width(letters)) == typed(letters), letters


def typed(letters: str) -> str:
    """What typing these letters gives, one at a time: a plain automaton, where the steps are regular expressions."""
    result, place = [], 0
    while place < len(letters):
        if letters[place] in INITIALS and letters[place + 1 : place + 2] in {*VOWELS}:
            initial, vowel = INITIALS.index(letters[place]), ord(letters[place + 1]) - 0x314F
            place += 2
            final = 0
            if place < len(letters) and letters[place] in FINALS[1:]:
                begins_another = letters[place] in INITIALS and letters[place + 1 : place + 2] in {*VOWELS}
                if not begins_another:
                    final = FINALS.index(letters[place])
                    place += 1
            result.append(chr(0xAC00 + (initial * 21 + vowel) * 28 + final))
        else:
            result.append(letters[place])
            place += 1
    return "".join(result)


def test_every_spelling_gets_the_same_ids_and_its_own_offsets(tokenizer: Tokenizer) -> None:
    text = "학교에서 값이 ㅋㅋㅋ CAFÉ"
    expected = tokenizer.encode(text)
    assert tokenizer.unk_token_id not in expected.input_ids
    surfaces = [text[start:end] for start, end in expected.offsets]
    for spelling in (lambda t: unicodedata.normalize("NFD", t), half_width):
        given = spelling(text)
        assert given != text
        encoding = tokenizer.encode(given)
        assert encoding.input_ids == expected.input_ids
        assert [given[start:end] for start, end in encoding.offsets] == [spelling(surface) for surface in surfaces]


def test_syllables_stay_whole_and_lone_letters_what_they_are(tokenizer: Tokenizer) -> None:
    for lowercase, strip in ((True, True), (True, False), (False, True)):
        tokenizer = train_on_texts(TEXTS, vocab_size=400, lowercase=lowercase, strip_accents=strip)
        assert (
            tokenizer.normalize("한국 ㅋㅋㅋ ㅠㅠ É")
            == "한국 ㅋㅋㅋ ㅠㅠ "
            + {
                (True, True): "e",
                (True, False): "é",
                (False, True): "E",
            }[lowercase, strip]
        )


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "gpt", "electra"])
def test_transformers_loads_the_same_tokenizer(tmp_path: Path, family: FamilyName) -> None:
    from transformers import AutoTokenizer

    ours = train_on_texts(TEXTS, family=family, vocab_size=400, min_frequency=1, lowercase=True)
    ours.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": {"gpt": "gpt2"}.get(family, family)}))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    mask = ours.mask_token or ""
    for text in ("학교에서 값이 CAFÉ", f"나는 {mask} ㅋㅋㅋ", "", "새 글자 뷁 emoji 🤗"):
        for given in (text, unicodedata.normalize("NFD", text), half_width(text)):
            for pair in ((given,), (given, text)):
                expected = theirs([[*pair]] if len(pair) > 1 else [given], return_offsets_mapping=True)
                encoding = ours.encode(*pair)
                assert encoding.input_ids == expected["input_ids"][0]
                if given == text:  # else theirs end inside a syllable of several letters
                    assert encoding.offsets == expected["offset_mapping"][0]
                if "token_type_ids" in expected:
                    assert encoding.token_type_ids == expected["token_type_ids"][0]
    again = Tokenizer.from_folder(tmp_path)
    assert again.fingerprint == ours.fingerprint
    assert (theirs.mask_token, theirs.cls_token, theirs.eos_token) == (
        again.mask_token,
        again.cls_token,
        again.eos_token,
    )


def test_composed_text_takes_the_short_way(tokenizer: Tokenizer) -> None:
    assert tokenizer.backend_for_composed is not tokenizer.backend
    counted = random.Random(3)
    for _ in range(97):
        text = " ".join(counted.choices(" ".join(TEXTS).split(), k=5))
        assert is_composed(text)
        assert tokenizer.backend_for_composed.encode(text).ids == tokenizer.backend.encode(text).ids
        assert tokenizer.backend_for_composed.encode(text).offsets == tokenizer.backend.encode(text).offsets
    assert is_composed("ascii")
    assert not is_composed("\uffa1")
    assert not is_composed(unicodedata.normalize("NFD", "한"))
    assert is_composed("ㅋㅋ")


# Morphemes


def test_spaces_and_the_way_back() -> None:
    split = SplitText.cut("학교에서만 가", [2, 4])
    assert (split.text, split.spaces) == ("학교 에서 만 가", [2, 5])
    assert [split.original_offset(offset) for offset in range(len(split.text) + 1)] == [0, 1, 2, 2, 3, 4, 4, 5, 6, 7]
    assert SplitText.cut("", []).text == ""


def test_morphemes_are_written_apart_where_the_boundary_is_visible() -> None:
    pytest.importorskip("kiwipiepy")
    texts = ["나는 학교에서 왔다", "BERT는 3월에 🤗 나왔다", "no Korean here", "", "[MASK]에서 만났다", "코로나19가"]
    split = [text.text for text in split_morphemes(texts)]
    assert split[0] == "나 는 학교 에서 왔 다"
    assert split[1] == "BERT 는 3 월 에 🤗 나왔 다"
    assert split[2:4] == ["no Korean here", ""]
    assert split[4] == "[MASK] 에서 만났 다"
    assert [text.text.replace(" ", "") for text in split_morphemes(texts)] == [text.replace(" ", "") for text in texts]


def test_a_morpheme_of_no_width_at_the_end_is_no_boundary() -> None:
    pytest.importorskip("kiwipiepy")
    # From NSMC's raw reviews: -래 is -라고 해, and kiwipiepy puts 하 where the text ends.
    (split,) = split_morphemes(["더이상할말이없는데 뭘자꾸적으래"])
    assert split.text.replace(" ", "") == "더이상할말이없는데뭘자꾸적으래"
    assert not split.text.endswith(" ")


def test_morphemes_of_any_spelling_are_those_of_the_composed_text() -> None:
    pytest.importorskip("kiwipiepy")
    text = "나는 학교에서 왔다"
    for spelling in (lambda t: unicodedata.normalize("NFD", t), half_width):
        (split,) = split_morphemes([spelling(text)])
        assert split.text == " ".join(map(spelling, ["나", "는", "학교", "에서", "왔", "다"]))
        composed, starts = align_composed(spelling(text))
        assert composed == text
        assert [spelling(text)[start] for start in starts] == [spelling(c)[0] for c in text]


def test_a_tokenizer_of_morphemes(tmp_path: Path) -> None:
    pytest.importorskip("kiwipiepy")
    from transformers import AutoTokenizer

    ours = train_on_texts(TEXTS, vocab_size=300, min_frequency=1, morphemes=True)
    whole = train_on_texts(TEXTS, vocab_size=300, min_frequency=1)
    assert {"학교", "에서"} <= ours.backend.get_vocab().keys()
    assert ours.fingerprint != whole.fingerprint
    encoding = ours.encode("나는 학교에서 [MASK]를", "BERT는 학교에서")
    assert encoding.tokens == [
        *["[CLS]", "나", "는", "학교", "에서", "[MASK]", "를", "[SEP]"],
        *["BERT", "는", "학교", "에서", "[SEP]"],
    ]
    assert encoding.offsets == [
        *[(0, 0), (0, 1), (1, 2), (3, 5), (5, 7), (8, 14), (14, 15), (0, 0)],
        *[(0, 4), (4, 5), (6, 8), (8, 10), (0, 0)],
    ]
    assert encoding.sequence_ids == [None] + [0] * 6 + [None] + [1] * 4 + [None]
    assert [word.text for word in explain(ours, "나는 학교에서").texts[0].words] == ["나", "는", "학교", "에서"]
    ours.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    assert again.morphemes
    assert again.encode("나는 학교에서") == ours.encode("나는 학교에서")
    assert again.fingerprint == ours.fingerprint
    # transformers does not split by itself, but agrees on split text.
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs("나 는 학교 에서")["input_ids"] == ours.encode("나는 학교에서").input_ids
    assert theirs("나는 학교에서")["input_ids"] != ours.encode("나는 학교에서").input_ids
    # A token that was added is never cut.
    added = ours.with_added_tokens(["학교에서"])
    assert added.morphemes
    assert added.encode("나는 학교에서", add_special_tokens=False).tokens == ["나", "는", "학교에서"]
    cut = ours.encode("나는 학교에서 배웠다", max_length=5)
    assert (cut.tokens[-2], cut.offsets[-2]) == ("학교", (3, 5))


def test_without_kiwipiepy_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from unmask.tokenization import morphemes

    real_import = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name == "kiwipiepy":
            raise ImportError(name)
        return real_import(name, *arguments)

    morphemes._kiwi.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SettingsError, match=r"needs kiwipiepy, which is not installed: pip install 'unmask\[korean\]'"):
        train_on_texts(["한국어"], morphemes=True)
    assert train_on_texts(["English only"] * 3, morphemes=True, vocab_size=60).morphemes  # nothing to split
