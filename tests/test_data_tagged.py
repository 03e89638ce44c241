"""Reading tagged sentences. Run alone: `.venv/bin/python -m pytest tests/test_data_tagged.py`."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from unmask.data import TaggedSentence, find_broken_spans, read_tagged
from unmask.data.tagged_sentence import is_character
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refuses(message: str) -> pytest.RaisesExc[DataError]:
    return pytest.raises(DataError, match=re.escape(message))


def shown(sentence: TaggedSentence) -> list[str]:
    """What each word's offsets cut out of the text."""
    return [sentence.shown_text[start:stop] for start, stop in sentence.offsets]


def pairs(sentence: TaggedSentence) -> list[tuple[str, str]]:
    return list(zip(sentence.words, sentence.tags or (), strict=True))


# Columns


def test_columns_between_tabs(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conll", "\n\nNew York\tB-LOC\nis\tO\n\t\n\n#now\tO\n#\t O \n\u200b\tO")
    first, second = read_tagged(path)
    assert first == TaggedSentence(
        words=("New York", "is"),
        tags=("B-LOC", "O"),
        text=None,
        offsets=((0, 8), (9, 11)),
        source=str(path),
        line=3,
        lines=(3, 4),
        label_column="2",
    )
    assert (first.shown_text, len(first), first.runs()) == ("New York is", 2, [(0, 1), (1, 2)])
    assert pairs(second) == [("#now", "O"), ("#", "O"), ("\u200b", "O")]
    assert (second.line, second.lines, shown(second)) == (7, (7, 8, 9), ["#now", "#", "\u200b"])


CONLL_2003 = """\
-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter   NNP B-NP   B-PER
-DOCSTART- -X- -X- O
Blackburn NNP B-NP B-PER
"""


def test_columns_between_blanks_and_documents(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", CONLL_2003.replace("\n", "\r\n"))
    assert [pairs(sentence) for sentence in read_tagged(path)] == [
        [("EU", "B-ORG"), ("rejects", "O")],
        [("Peter", "B-PER")],
        [("Blackburn", "B-PER")],
    ]
    for column in (2, "2", -3, "-3"):
        assert read_tagged(path, tag_column=column)[0].tags == ("NNP", "VBZ")
    assert read_tagged(path, word_column=-1, tag_column=1)[0].words == ("B-ORG", "O")


def test_blanks_inside_words_part_no_columns(tmp_path: Path) -> None:
    """French and Czech write 10 000 with a no-break space; Python calls that a blank, and more of the kind."""
    content = "EU NNP  B-ORG \n # CD\tO\n10\xa0000 CD O\na\u3000b\u2028c X O\n\n# 2\xa03 O\nx X O\n"
    first, second = read_tagged(write(tmp_path, "a.conll", content))
    assert pairs(first) == [("EU", "B-ORG"), ("#", "O"), ("10\xa0000", "O"), ("a\u3000b\u2028c", "O")]
    assert pairs(second) == [("#", "O"), ("x", "O")]
    assert [s.tags for s in read_tagged(tmp_path / "a.conll", tag_column=2)] == [("NNP", "CD", "CD", "X"), ("X",)]


def test_comments_stand_before_a_sentence_and_are_no_rows(tmp_path: Path) -> None:
    content = "# id 1 domain=en\n## more\nEU _ _ B-ORG\n# _ _ O\n\n# _ _ O\nx _ _ B-ORG\n\n# only a comment\n"
    sentences = read_tagged(write(tmp_path, "a.conll", content))
    assert [pairs(sentence) for sentence in sentences] == [[("EU", "B-ORG"), ("#", "O")], [("x", "B-ORG")]]
    # The second sentence's "#" was taken for a comment: of the rows without "# ", none has its tag. Here one has.
    sentences = read_tagged(write(tmp_path, "b.conll", content + "\n#now _ _ O\n"))
    assert [len(sentence) for sentence in sentences] == [2, 2, 1]
    assert [sentence.line for sentence in sentences] == [3, 6, 11]
    content = "# text\tof it\n#id of the sentence\nEU\tB-ORG\n\n#\tO\n"
    sentences = read_tagged(write(tmp_path, "c.conll", content))
    assert [pairs(sentence) for sentence in sentences] == [[("EU", "B-ORG")], [("#", "O")]]


def test_without_labels_one_column_will_do(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conll", "# a comment\nEU\n#now\n\nrejects\n")
    sentences = read_tagged(path, labelled=False)
    assert [(sentence.words, sentence.tags) for sentence in sentences] == [(("EU", "#now"), None), (("rejects",), None)]
    with refuses(f"{path}: there is one column: the tags are missing"):
        read_tagged(path)


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("a\tO\nb\n", {}, "line 2: expected 2 columns between tabs, as in the first row, and found 1"),
        ("a\tO\n\nb\tX\tO\n", {}, "line 3: expected 2 columns between tabs, as in the first row, and found 3"),
        ("a b O\n\nc O\n", {}, "line 3: expected 3 columns between blanks, as in the first row, and found 2"),
        ("a\tO\n# b\n", {}, "line 2: expected 2 columns between tabs, as in the first row, and found 1"),
        ("a\tO\nb\t\n", {}, "line 2, column '2': there is nothing in this column"),
        ("a\tO\n\tO\n", {}, "line 2, column '1': there is nothing in this column"),
        ("a\tO\n", {"tag_column": 3}, "there is no column 3: the rows have 2"),
        ("a\tO\n", {"word_column": -3}, "there is no column -3: the rows have 2"),
        ("a\tO\n", {"tag_column": 1}, "the tags and the words would both be column 1 of 2"),
        ("", {}, "there is no sentence in this file"),
        ("\n \n\t\n-DOCSTART- O\n\n", {}, "there is no sentence in this file"),
        (b"a\tO\n\nb\xff\tO\n", {}, "line 3: byte 2 (0xff) is not UTF-8: save the file as UTF-8"),
        ("a\tO\nb\0\tO\n", {}, "line 2: there is a NUL byte"),
    ],
)
def test_columns_that_cannot_be_read(
    tmp_path: Path, content: str | bytes, columns: dict[str, int], message: str
) -> None:
    path = write(tmp_path, "a.conll", content)
    with refuses(message) as caught:
        read_tagged(path, **columns)  # type: ignore[arg-type]
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tag_column": "upos"}, "the columns here have numbers, from 1, and no names such as 'upos'"),
        ({"word_column": 0}, "columns count from 1; -1 is the last"),
        ({"format": "xml"}, "no format 'xml' of tagged sentences: choose columns, conllu, jsonl, characters"),
        ({"format": "conllu", "tag_column": "pos"}, "CoNLL-U has no column 'pos': choose one of id, form, lemma, upos"),
        ({"format": "conllu", "word_column": 2}, "the conllu format has its words in one place"),
        ({"format": "characters", "tag_column": 2}, "a file of characters has its tags in one place"),
    ],
)
def test_columns_that_no_file_has(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write(tmp_path, "a.conll", "a\tO\n")
    with pytest.raises(SettingsError, match=re.escape(message)):
        read_tagged(path, **columns)


def test_a_source_is_a_file(tmp_path: Path) -> None:
    with refuses("tagged sentences are read from a file: name one"):
        read_tagged(tmp_path)
    with refuses("there is no such file"):
        read_tagged(tmp_path / "none.conll")


def test_a_file_in_the_data_folder_gzipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.conll.gz", gzip.compress(b"\xef\xbb\xbfEU\tB-ORG\n"))
    assert read_tagged("a.conll.gz", data_dir=tmp_path)[0].words == ("EU",)
    monkeypatch.setenv("UNMASK_DATA_DIR", str(tmp_path))
    assert read_tagged("a.conll.gz")[0].words == ("EU",)
    broken = write(tmp_path, "b.conll.gz", gzip.compress(b"EU\tB-ORG\n" * 999)[:-9])
    with refuses(f"{broken}: the file cannot be read"):
        read_tagged(broken)


# CoNLL-U


def row(id_: str, form: str, upos: str, misc: str = "_", feats: str = "_") -> str:
    return f"{id_}\t{form}\t_\t{upos}\t_\t{feats}\t0\troot\t_\t{misc}\n"


CONLLU = (
    "# newdoc id = d\n# sent_id = s-1\n# text = Don't go au\u00a0 bar.\n"
    + row("1-2", "Don't", "_")
    + row("1", "Do", "AUX")
    + row("2", "n't", "PART", feats="Polarity=Neg")
    + row("3", "go", "VERB")
    + row("3.1", "then", "ADV")
    + row("4-5", "au", "_")
    + row("4", "à", "ADP")
    + row("5", "le", "DET")
    + row("6", "bar", "NOUN", "X=y|SpaceAfter=No")
    + row("7", ".", "PUNCT")
    + "\n"
)


def test_conllu(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conllu", CONLLU + "\n# end = of file\n")
    (sentence,) = read_tagged(path)
    assert sentence == TaggedSentence(
        words=("Do", "n't", "go", "à", "le", "bar", "."),
        tags=("AUX", "PART", "VERB", "ADP", "DET", "NOUN", "PUNCT"),
        text="Don't go au\u00a0 bar.",
        offsets=((0, 2), (2, 5), (6, 8), (9, 11), (9, 11), (13, 16), (16, 17)),
        source=str(path),
        line=1,
        lines=(5, 6, 7, 10, 11, 12, 13),
        id="s-1",
        label_column="upos",
    )
    assert shown(sentence) == ["Do", "n't", "go", "au", "au", "bar", "."]
    assert read_tagged(path, tag_column="FEATS")[0].tags == ("_", "Polarity=Neg", "_", "_", "_", "_", "_")
    assert read_tagged(path, tag_column=4) == read_tagged(path, tag_column="upos") == [sentence]
    assert set(read_tagged(path, tag_column="deprel")[0].tags or ()) == {"root"}
    (unlabelled,) = read_tagged(path, labelled=False)
    assert (unlabelled.tags, unlabelled.words) == (None, sentence.words)


def test_conllu_without_its_text_is_put_together_from_what_was_written(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", re.sub("# text = .*\n", "", CONLLU))  # told from its content
    (sentence,) = read_tagged(path)
    assert sentence.text == "Don't go au bar."
    assert shown(sentence) == ["Do", "n't", "go", "au", "au", "bar", "."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            CONLLU.replace("bar.\n", "pub.\n", 1),
            "line 12: the word 'bar' is not where the line `# text = ` goes on with",
        ),
        (CONLLU.replace("bar.\n", "bar. Now\n", 1), "line 13: the line `# text = ` goes on with ' Now' after the last"),
        (row("1", "a", "X") + row("1", "b", "X"), "line 2, column 'id': expected word 2 and found 1: is a row missing"),
        (row("1", "a", "X") + row("3", "b", "X"), "line 2, column 'id': expected word 2 and found 3"),
        (row("a", "a", "X"), "line 1, column 'id': 'a' is no number of a word (1), a range (1-2) or an empty node"),
        (row("2-3", "ab", "_") + row("1", "a", "X"), "line 1, column 'id': the range 2-3 does not begin with the next"),
        (row("1-2", "ab", "_") + row("1", "a", "X"), "line 2, column 'id': a range goes to word 2 of 1"),
        (
            row("1-3", "abc", "_") + row("1", "a", "X") + row("2-3", "bc", "_") + row("2", "b", "X"),
            "line 3, column 'id': the range 2-3 does not begin with the next word",
        ),
        (row("1", "a", ""), "line 1, column 'upos': there is nothing in this column"),
        (row("1", "", "X"), "line 1, column 'form': there is nothing in this column"),
        (row("1", "a", "_") + "\n" + row("1", "b", "_"), "column 'upos': the column is empty: choose another"),
        ("1\ta\tX\n", "line 1: expected 10 columns between tabs, as CoNLL-U has, and found 3"),
        ("# newdoc\n\n", "there is no sentence in this file"),
    ],
)
def test_conllu_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    with refuses(message):
        read_tagged(write(tmp_path, "a.conllu", content))


# JSON lines


def write_lines(folder: Path, *records: Any) -> Path:
    return write(folder, "a.jsonl", "\n".join(map(json.dumps, records)))


def test_json_lines(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path,
        {"tokens": ["New", "York", "!"], "tags": ["B-LOC", "I-LOC", "O"], "text": " New  York!", "id": 7},
        {"tokens": ["EU", "\u200b"], "ner_tags": [3, 0], "text": None},
    )
    first, second = read_tagged(path)
    assert first == TaggedSentence(
        words=("New", "York", "!"),
        tags=("B-LOC", "I-LOC", "O"),
        text=" New  York!",
        offsets=((1, 4), (6, 10), (10, 11)),
        source=str(path),
        line=1,
        lines=(1, 1, 1),
        id="7",
        label_column="tags",
    )
    assert (second.tags, second.text, second.offsets, second.lines) == (("3", "0"), None, ((0, 2), (3, 4)), (2, 2))
    other = write_lines(tmp_path, {"words": ["a", "b"], "pos": ["X", "Y"]})
    assert pairs(read_tagged(other, word_column="words", tag_column="pos")[0]) == [("a", "X"), ("b", "Y")]
    assert read_tagged(other, word_column="words", labelled=False)[0].tags is None


def test_json_lines_of_characters(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path,
        {"tokens": list("박 씨"), "ner_tags": ["B-PS", "I-PS", "I-PS"], "text": "박 씨"},
        {"tokens": ["네"], "ner_tags": ["O"]},
    )
    first, second = read_tagged(path)
    assert (first.words, first.tags, first.text) == (("박", "씨"), ("B-PS", "I-PS"), "박 씨")
    assert (first.offsets, first.runs(), first.by_character) == (((0, 1), (2, 3)), [(0, 1), (1, 2)], True)
    assert second.by_character
    with refuses("line 1: the text is not that of the characters"):
        read_tagged(write_lines(tmp_path, {"tokens": ["a", " "], "tags": ["O", "O"], "text": "b "}))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "line 2, column 'tags': there are 2 words and 1 tag:"),
        ({"tokens": ["a"], "ner_tags": ["O", "O"]}, "line 2, column 'ner_tags': there are 1 word and 2 tags"),
        ({"tokens": ["a"]}, "line 2, column 'tags': the object has no such key. Its keys are 'tokens'"),
        ({"tags": ["O"]}, "line 2, column 'tokens': the object has no such key. Its keys are 'tags'"),
        ({"tokens": [], "tags": []}, "line 2, column 'tokens': expected a list of strings with one at least"),
        ({"tokens": "a", "tags": ["O"]}, "line 2, column 'tokens': expected a list of strings"),
        (
            {"tokens": ["a", ""], "tags": ["O", "O"]},
            "column 'tokens': expected strings that are not empty, found '' at",
        ),
        ({"tokens": [1], "tags": ["O"]}, "column 'tokens': expected strings that are not empty, found 1 at place 1"),
        (
            {"tokens": ["a", "b"], "tags": ["O", 1]},
            "column 'tags': expected strings that are not empty, found 1 at place",
        ),
        ({"tokens": ["a"], "tags": [None]}, "line 2, column 'tags': expected strings that are not empty, found None"),
        ({"tokens": ["a"], "tags": [True]}, "line 2, column 'tags': expected strings that are not empty, found True"),
        ({"tokens": ["a"], "tags": [" "]}, "line 2, column 'tags': expected strings that are not empty, found ' '"),
        ({"tokens": ["\ud800"], "tags": ["O"]}, "line 2, column 'tokens': expected strings that are not empty"),
        (
            {"tokens": ["a"], "tags": ["O"], "text": ""},
            "line 2, column 'text': expected the sentence as it was written",
        ),
        ({"tokens": ["a", "b"], "tags": ["O", "O"], "text": "a c"}, "line 2: the word 'b' is not where `text` goes on"),
        ({"tokens": ["a"], "tags": ["O"], "text": "a b"}, "line 2: `text` goes on with ' b' after the last word"),
        (["a"], "line 2: expected one JSON object in each line"),
    ],
)
def test_json_lines_that_cannot_be_read(tmp_path: Path, record: Any, message: str) -> None:
    with refuses(message):
        read_tagged(write_lines(tmp_path, {"tokens": ["word"], "tags": ["O"]}, record))


def test_an_empty_file_of_json_lines(tmp_path: Path) -> None:
    with refuses("there is no sentence in this file"):
        read_tagged(write(tmp_path, "a.jsonl", "\n"))


# Characters

CHARACTERS = """\
## 토큰, 레이블 구분자 : \\t
## 컬럼명 : CHAR\tNE_TAG
## ner-0\t<박:PS>씨 <24 살:QT>이
박\tB-PS
씨\tO
 \tB-QT
2\tI-QT
4\tI-QT
 \tI-QT
살\tI-QT
이\tO

## ner-1\t#
#\tO
 \tB-PS
\u1112\u1161\u11ab\tB-PS
"""


def test_characters(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", CHARACTERS)
    first, second = read_tagged(path)
    assert first == TaggedSentence(
        words=("박", "씨", "2", "4", "살", "이"),
        tags=("B-PS", "O", "B-QT", "I-QT", "I-QT", "O"),  # what begins on a blank begins on the character after it
        text="박씨 24 살이",
        offsets=((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8)),
        source=str(path),
        line=1,
        lines=(4, 5, 7, 8, 10, 11),
        by_character=True,
        id="ner-0",
        label_column="2",
    )
    assert first.runs() == [(0, 2), (2, 4), (4, 6)]
    assert pairs(second) == [("#", "O"), ("\u1112\u1161\u11ab", "B-PS")]
    assert (second.id, second.line, second.text, second.offsets) == (
        "ner-1",
        13,
        "# \u1112\u1161\u11ab",
        ((0, 1), (2, 5)),
    )
    assert read_tagged(path, labelled=False)[0].tags is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((one, True) for one in ("a", " ", "한", "\u0301", "e\u0301", "\u1112\u1161\u11ab")),
        *((one, True) for one in ("❤\ufe0f", "👍🏽", "한\u200d")),
        *((more, False) for more in ("", "ab", "한국", "a`", "a^", "\u1112\u1161\u11ab\u1100", " a", "\u200da")),
    ],
)
def test_what_one_character_is(value: str, expected: bool) -> None:
    assert is_character(value) == expected


def test_characters_in_parts_are_characters_in_every_format(tmp_path: Path) -> None:
    """As macOS writes them, in NFD: told from the columns and the lists they stand in as those in NFC are."""
    nfd = {character: unicodedata.normalize("NFD", character) for character in "박 씨"}
    rows = "".join(f"{one}\t{tag}\n" for one, tag in zip(nfd.values(), ("B-PS", "I-PS", "I-PS"), strict=True))
    sentences = [
        *read_tagged(write(tmp_path, "a.tsv", rows)),
        *read_tagged(write(tmp_path, "b.tsv", f"## id\tx\n{rows}")),
        *read_tagged(write_lines(tmp_path, {"tokens": list(nfd.values()), "tags": ["B-PS", "I-PS", "I-PS"]})),
    ]
    for sentence in sentences:
        assert sentence.by_character
        assert sentence.text == "".join(nfd.values())
        assert pairs(sentence) == [(nfd["박"], "B-PS"), (nfd["씨"], "I-PS")]
        assert shown(sentence) == list(sentence.words)


def test_characters_are_told_from_columns(tmp_path: Path) -> None:
    plain = "\n".join(line for line in CHARACTERS.split("\n")[3:11])
    assert read_tagged(write(tmp_path, "a.tsv", plain))[0].text == "박씨 24 살이"
    letters = write(tmp_path, "b.tsv", "I\tPRON\n.\tPUNCT\n")  # words of one letter, no blank among them
    assert not read_tagged(letters)[0].by_character
    assert read_tagged(letters, format="characters")[0].runs() == [(0, 2)]
    headed = read_tagged(write(tmp_path, "c.tsv", "## ner-0\tJohn I\nJohn\tB-PER\nI\tO\n"))
    assert (headed[0].words, headed[0].by_character) == (("John", "I"), False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("## a\n박\tB-PS\n씨\n", "line 3: expected a character, a tab and its tag, and found 1 columns"),
        ("## a\n박\tB-PS\n씨\tO\tO\n", "line 3: expected a character, a tab and its tag, and found 3 columns"),
        ("## a\n박\t\n", "line 2, column '2': there is nothing in this column"),
        ("## a\n \tO\n\n박\tO\n", "line 1: the sentence that starts here has blanks only"),
        ("\n## a\n## b\n", "there is no sentence in this file"),
    ],
)
def test_characters_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    with refuses(message):
        read_tagged(write(tmp_path, "a.tsv", content), format="characters")
    with refuses("line 2: expected one character and found '박씨': correct the row, or read columns"):
        read_tagged(write(tmp_path, "b.tsv", "한\tO\n박씨\tO\n"), format="characters")


# Tags that go on with what did not begin


def test_broken_spans(tmp_path: Path) -> None:
    content = "a\tI-PER\nb\tI-PER\n\nc\tB-LOC\nd\tI-PER\ne\tO\nf\tI-LOC\n\ng\tB-LOC\nh\tI-LOC\n"
    path = write(tmp_path, "a.conll", content)
    sentences = read_tagged(path)
    findings = find_broken_spans(sentences, scheme="bio")
    # Line 2 goes on with the span that line 1 began, if wrongly.
    assert [(finding.kind, finding.path, finding.line) for finding in findings] == [
        ("broken_span", str(path), 1),
        ("broken_span", str(path), 5),
        ("broken_span", str(path), 7),
    ]
    assert findings == find_broken_spans(sentences)  # B-LOC, with nothing to be parted from, is not iob1
    assert str(findings[0]).startswith(f"{path}, line 1, column '2': I-PER follows neither B-PER nor I-PER")
    assert [finding.line for finding in find_broken_spans(sentences, scheme="iob1")] == [4, 9]


def test_no_span_is_broken_where_there_are_none(tmp_path: Path) -> None:
    parts_of_speech = read_tagged(write(tmp_path, "a.conll", "a\tDET\nb\tINTJ\n"))
    assert find_broken_spans(parts_of_speech) == []
    assert find_broken_spans(read_tagged(write(tmp_path, "b.conll", "a\tI-PER\n"), labelled=False)) == []
    with refuses("a.conll, line 1, column '2': tag 'DET' of word 0 is none of bio's"):
        find_broken_spans(parts_of_speech, scheme="bio")


def test_broken_spans_with_ends_of_their_own_and_of_characters(tmp_path: Path) -> None:
    ends = read_tagged(write(tmp_path, "a.conll", "a\tB-PER\nb\tO\nc\tE-PER\nd\tS-PER\n"))
    assert [finding.line for finding in find_broken_spans(ends)] == [1, 3]
    characters = read_tagged(write(tmp_path, "b.tsv", CHARACTERS.replace("박\tB-PS", "박\tI-PS")))
    assert [finding.line for finding in find_broken_spans(characters)] == [4]


# Real files


@pytest.fixture(scope="module")
def corpus_dir(data_dir: Path) -> Path:
    for name in ("ud_english_ewt", "ud_korean", "wnut17", "klue"):
        if not (data_dir / name).is_dir():
            pytest.skip(f"there is no {data_dir / name}: set UNMASK_DATA_DIR to the folder that holds {name}/")
    return data_dir


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "num_sentences", "num_words", "num_tags"),
    [
        ("ud_english_ewt/en_ewt-ud-train.conllu.gz", 12_544, 204_577, 17),
        ("ud_english_ewt/en_ewt-ud-dev.conllu", 2_001, 25_147, 17),
        ("ud_english_ewt/en_ewt-ud-test.conllu", 2_077, 25_094, 17),
        ("ud_korean/ko_gsd-ud-dev.conllu", 950, 11_958, 15),
        ("ud_korean/ko_gsd-ud-test.conllu", 989, 11_677, 14),
        ("ud_korean/ko_kaist-ud-dev.conllu", 2_066, 25_278, 17),
        ("ud_korean/ko_kaist-ud-test.conllu", 2_287, 28_366, 17),
        ("wnut17/wnut17train.conll", 3_394, 62_730, 13),
        ("wnut17/emerging.dev.conll", 1_009, 15_733, 13),
        ("wnut17/emerging.test.annotated", 1_287, 23_394, 13),
        ("klue/klue-ner-v1.1_dev.tsv", 5_000, 285_929 - 60_379, 13),  # characters, and those of them that are blanks
    ],
)
def test_real_files(corpus_dir: Path, name: str, num_sentences: int, num_words: int, num_tags: int) -> None:
    sentences = read_tagged(corpus_dir / name)
    assert len(sentences) == num_sentences
    assert sum(map(len, sentences)) == num_words
    assert len({tag for sentence in sentences for tag in sentence.tags or ()}) == num_tags
    for sentence in sentences:
        assert shown(sentence) == list(sentence.words)
        assert len(sentence.lines) == len(sentence.words)
    assert find_broken_spans(sentences) == []


@pytest.mark.real_data
def test_klue_characters_are_its_texts(corpus_dir: Path) -> None:
    path = corpus_dir / "klue/klue-ner-v1.1_dev.tsv"
    sentences = read_tagged(path)
    assert sum(len(sentence.shown_text) for sentence in sentences) == 285_929
    marked = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line.startswith("## klue")]
    for sentence, (head, text) in zip(sentences, marked, strict=True):
        assert sentence.id == head.removeprefix("## ")
        # No character of a text is lost by marking it: without names and angle brackets both are the same.
        unmarked = re.sub(r"<([^<>]*):(?:PS|LC|OG|DT|TI|QT)>", r"\1", text)
        assert sentence.shown_text == unmarked
        runs = ["".join(sentence.words[i:j]) for i, j in sentence.runs()]
        assert runs == unmarked.split()


def test_a_file_of_questions_is_no_file_of_tags(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '{\n "data": []\n}\n')
    with refuses(
        'this is one JSON document over several lines: expected one JSON object in each line, such as {"tokens"'
    ):
        read_tagged(path)
    with refuses("Its keys are 'words', 'labels': name that of the words with --text-column"):
        read_tagged(write(tmp_path, "b.jsonl", '{"words": ["a"], "labels": ["O"]}\n'))
