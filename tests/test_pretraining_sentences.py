"""Where sentences end: `.venv/bin/python -m pytest tests/test_pretraining_sentences.py`."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, Any

import pytest

from unmask.errors import SettingsError
from unmask.pretraining import split_sentences

if TYPE_CHECKING:
    from pathlib import Path

# "|" is where a sentence ends.
ENGLISH = """
Mr. Darcy bowed.| Mrs. Bennet did not.| It was late.
He met Dr. J. H. Watson in St. Petersburg.| Then he left.
He came on Jan. 3, at 5 p.m. on the dot.| See Fig. 3 and pp. 4-5, vol. 2, e.g. No. 7.
We live in the U.S. and work for Smith & Sons Inc. in Ohio.| She lives in the U.S.| The rest do not.
They sold apples, pears, etc.| The shop was full.
It was I.| He laughed.| Henry I. Smith is another man, and so is John F. Kennedy.
It cost $3.50.| In 1990. | That was 2.5 times as much!| 30 of them came.
“Stop!” he cried.| “Who is there?”| Nobody answered.
"Stop!" Mr. Smith said.| "Why?" asked she.| "Because." | And she left.
"Oh! how I wish you would... perhaps," she said.
Well ... I think so.| He waited…| Nothing came...| The end.
He went home.| (She stayed.)| [It rained.]| “Did it?”
1. First comes this.| 2. Then comes that.| II. The red-headed league.
What?!| No!!| Yes.
www.example.com is a site.| Version 2.0 is out.
no capital. no end, as web pages write
At 10 a.m. (CDT) we met.| Drs. and Messrs. Ali & Co. of London came.| Éva came too.
"""

KOREAN = """
인간 유전체 프로젝트이다.| 이 프로젝트는 끝났다.
2020. 1. 3. 그는 왔다.| 2004.3.12 개정되었다.| 1988년이었다.
1. 의사는 의료를 임무로 한다.| 2. 치과의사는 구강을 임무로 한다.
가. 의원 나. 치과의원 다. 한의원
그는 "나는 간다." 라고 말했다.| "정말?" 하고 물었다.| '간다고 할까?' 하는 의문이 일어났다.
"어디 가세요?"| 그가 물었다.| “집에요.”
재밌었음..| 근데.. 좀 길어요..| 또 볼게요!
글쎄… 잘 모르겠다….| 그래도 좋다.
재밌어요| 또 보고 싶어요| 감사합니다
내용이 정말 훌륭했다| 다음 편도 기대된다
좋아요~~| 최고예요ㅋㅋㅋ| 강추합니다 ^^| 꼭 보세요 ㅠㅠ| 끝
좋다 나쁘다 말이 많다
돈이 있다 하더라도 살 수 없다.| 그렇다고 한다.
그것이 문제요 하는 말을 들었습니다 라고 했다.
B.C. 5 세기의 Dr. Kim 은 J. Lee 와 다르다.| React 를 배운다.| API.| 끝.
조조(曹操, ? ~ 220년)는 위나라의 왕이다.
ㅋㅋㅋ 웃겨 죽겠네요| 진짜로
"""


def cut(line: str) -> list[str]:
    return [sentence.strip() for sentence in line.split("|")]


@pytest.mark.parametrize("line", ENGLISH.strip().split("\n"))
def test_english_by_hand(line: str) -> None:
    assert split_sentences(re.sub(r" ?\| ?", " ", line), "en") == cut(line)


@pytest.mark.parametrize("line", KOREAN.strip().split("\n"))
def test_korean_by_hand(line: str) -> None:
    assert split_sentences(re.sub(r" ?\| ?", " ", line), "ko") == cut(line)


def test_none_blank_and_unknown() -> None:
    assert split_sentences(" One. Two. ", "none") == ["One. Two."]
    assert split_sentences("One.\nTwo. ") == ["One.", "Two."]
    assert [split_sentences(" \n", language) for language in ("en", "ko", "none")] == [[], [], []]
    wrong: Any = "fr"
    with pytest.raises(SettingsError, match="no rules for sentences in language 'fr': choose one of en, ko, none"):
        split_sentences("Oui. Non.", wrong)


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(
    "unit", [".", "ㅋ", ". ", "다 ", '."', "다;", "!~", "A. ", "ㅋㅋ ", "~ ", "( ", "1. ", "?^^( ", "...  "]
)
def test_odd_text_takes_linear_time(language: Any, unit: str) -> None:
    """Quadratic time on 300,000 characters would run into the suite's limit."""
    text = unit * (300_000 // len(unit)) + "a"
    assert "".join(split_sentences(text, language)).replace(" ", "") == text.replace(" ", "")


def treebank(path: Path, *, at_once: int | None = None) -> list[list[str]]:
    """The sentences of each paragraph of a CoNLL-U file, or of every few where it has no paragraphs."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    paragraphs: list[list[str]] = [[]]
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.startswith(("# newpar", "# newdoc")):
                paragraphs.append([])
            elif line.startswith("# text = "):
                if len(paragraphs[-1]) == at_once:
                    paragraphs.append([])
                paragraphs[-1].append(line[9:].strip())
    return [paragraph for paragraph in paragraphs if paragraph]


def precision_and_recall(paragraphs: list[list[str]], language: Any) -> tuple[float, float]:
    """Of the ends inside paragraphs, as counts of letters before them."""
    right = found = wanted = 0
    for paragraph in paragraphs:
        gold, ours = (
            {len("".join("".join(sentences[:count]).split())) for count in range(1, len(sentences))}
            for sentences in (paragraph, split_sentences(" ".join(paragraph), language))
        )
        right, found, wanted = right + len(gold & ours), found + len(ours), wanted + len(gold)
    return right / found, right / wanted


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("path", "language", "min_precision", "min_recall"),
    [
        ("ud_english_ewt/en_ewt-ud-dev.conllu", "en", 0.985, 0.74),  # e-mails and forums: many ends without a mark
        ("ud_english_ewt/en_ewt-ud-test.conllu", "en", 0.99, 0.69),
        ("ud_korean/ko_gsd-ud-dev.conllu", "ko", 0.995, 0.84),  # news mixed with spoken commands, which have no mark
        ("ud_korean/ko_gsd-ud-test.conllu", "ko", 0.995, 0.85),
        ("ud_korean/ko_kaist-ud-dev.conllu", "ko", 0.998, 0.999),  # books
        ("ud_korean/ko_kaist-ud-test.conllu", "ko", 0.998, 0.999),
    ],
)
def test_against_treebanks(data_dir: Path, path: str, language: str, min_precision: float, min_recall: float) -> None:
    paragraphs = treebank(data_dir / path, at_once=None if language == "en" else 5)
    precision, recall = precision_and_recall(paragraphs, language)
    assert precision >= min_precision
    assert recall >= min_recall


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("path", "language", "count"),
    [("text_en/wiki_en.txt.gz", "en", 75_447), ("text_ko/law_ko.txt.gz", "ko", 34_689)],
)
def test_nothing_of_real_text_is_lost(data_dir: Path, path: str, language: Any, count: int) -> None:
    with gzip.open(data_dir / path, "rt", encoding="utf-8") as file:
        paragraphs = file.read().split("\n")
    num_sentences = 0
    for paragraph in paragraphs:
        sentences = split_sentences(paragraph, language)
        num_sentences += len(sentences)
        assert all(sentences)
        assert "".join("".join(sentences).split()) == "".join(paragraph.split())
    assert num_sentences == pytest.approx(count, rel=0.01)
