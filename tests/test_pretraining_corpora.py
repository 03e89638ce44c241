"""Reading raw documents, and the filters: `.venv/bin/python -m pytest tests/test_pretraining_corpora.py`."""

from __future__ import annotations

import gzip
import json
import re
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from unmask.errors import DataError, SettingsError
from unmask.pretraining import Document, list_sources, read_documents
from unmask.pretraining.corpora import text_size

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def texts(*sources: Path | str, **settings: object) -> list[list[str]]:
    return [document.paragraphs for document in read_documents(sources, **settings)]


def refuses(message: str) -> pytest.RaisesExc[DataError]:
    return pytest.raises(DataError, match=re.escape(message))


def count_letters(text: str) -> int:
    return len(re.findall(r"\w", text))


# Formats


def test_plain_text(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf\r\none\r\n two \r\n\r\n \t\r\nthree\r\n\r\n"
    path = write(tmp_path, "a.txt", content)
    packed = write(tmp_path, "b.txt.gz", gzip.compress(content, mtime=0))
    assert list(read_documents([path, packed])) == [
        Document(["one", "two"], str(path), 2),
        Document(["three"], str(path), 6),
        Document(["one", "two"], str(packed), 2),
        Document(["three"], str(packed), 6),
    ]
    assert texts(path, packed, document_per_file=True) == [["one", "two", "three"]] * 2
    large = write(tmp_path, "c.txt.gz", gzip.compress(content * 100, mtime=0))
    assert text_size([path, large]) == 101 * len(content)


def test_json_lines_parquet_and_saved_data_sets_give_the_same_documents(tmp_path: Path) -> None:
    import datasets
    import pyarrow
    import pyarrow.parquet

    contents = ["one\n\ntwo", "하나\r\n둘", "three"]
    lines = "\n\n".join(json.dumps({"id": 7, "content": content}) for content in contents)
    columns = {"id": [7] * 3, "content": contents}
    jsonl = write(tmp_path, "a.jsonl.gz", gzip.compress(lines.encode(), mtime=0))
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "saved")
    expected = [["one", "two"], ["하나", "둘"], ["three"]]
    for source, first_lines in (
        (jsonl, [1, 3, 5]),
        (tmp_path / "a.parquet", [1, 2, 3]),
        (tmp_path / "saved", [1, 2, 3]),
    ):
        documents = list(read_documents([source]))
        assert [document.paragraphs for document in documents] == expected
        assert [document.line for document in documents] == first_lines
        assert texts(source, text_column="content") == expected
    assert text_size([tmp_path / "a.parquet", "org/name"]) is None


def test_a_data_set_of_the_hub_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(name: str, config: str | None, *, streaming: bool) -> datasets.IterableDatasetDict:
        assert (name, config, streaming) == ("org/name", "ko", True)
        rows = datasets.Dataset.from_dict({"text": ["one", "two"]}).to_iterable_dataset()
        return datasets.IterableDatasetDict({"test": rows, "train": rows})

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    assert texts("org/name:ko") == [["one"], ["two"]]


def test_a_folder_is_its_files_by_name(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.jsonl", "a/b.txt", "README.md", ".hidden.txt"):
        write(tmp_path / "corpus", name, "{}")
    found = list_sources([tmp_path / "corpus"])
    assert [str(path.relative_to(tmp_path / "corpus")) for path in found] == ["a/b.txt", "a/z.jsonl", "b.txt"]


def test_a_file_named_twice_is_refused_and_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    write(folder, ".ipynb_checkpoints/a-checkpoint.txt", "an older one")
    path = write(folder, "a.txt", "one")
    assert texts(folder) == [["one"]]
    with refuses("is named 2 times, perhaps by its folder too"):
        texts(path, folder)


def test_relative_names_are_also_looked_for_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "set/a.txt", "one")
    monkeypatch.delenv("UNMASK_DATA_DIR", raising=False)
    assert list_sources(["set/a.txt"], data_dir=tmp_path) == [path]
    monkeypatch.setenv("UNMASK_DATA_DIR", str(tmp_path))
    assert texts("set") == [["one"]]


def test_long_documents_come_in_parts_and_memory_stays_bounded(tmp_path: Path) -> None:
    """20 MB of lines without a blank one: a part has about a million characters."""
    line = "word " * 100
    with gzip.open(tmp_path / "a.txt.gz", "wt", compresslevel=1) as file:
        for _ in range(40_000):
            file.write(line + "\n")
        file.write("\nshort\n")
    tracemalloc.start()
    num_lines, flags = 0, []
    for document in read_documents([tmp_path / "a.txt.gz"], filters=["min-words", "dedupe"]):
        num_lines += len(document.paragraphs)
        flags.append(document.continues)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_lines == 40_000
    assert flags == [False] + [True] * 19  # "short" is too short
    assert peak < 8e6


# Bad input


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "there is no text in it"),
        ("a.txt.gz", gzip.compress(b" \n\r\n", mtime=0), "there is no text in it"),
        ("a.jsonl", b"\n\n", "there is no text in it"),
        ("a.txt", b"one\n\ncaf\xe9\n", "line 3: byte 4 (0xe9) is not UTF-8: save the file as UTF-8"),
        ("a.txt", b"one\ntw\0o\n", "line 2: there is a NUL byte"),
        ("a.txt.gz", b"one\n", "the file cannot be read: Not a gzipped file"),
        ("a.jsonl", b'{"text": "a"}\n{"text"}\n', "line 2: not JSON (Expecting ':' delimiter"),
        ("a.jsonl", b'["a"]\n', "line 1: expected one JSON object in each line"),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"body": "a", "id": 1}\n',
            "line 2: there is no column 'text' or 'content' or 'document' or 'article' or 'raw_content'. The columns "
            "are 'body', 'id': name the one that holds the text",
        ),
        ("a.jsonl", b'{"text": 5}\n', "line 1, column 'text': expected text and found int: correct the row"),
        (
            "a.jsonl",
            b'{"text": "\\ud800"}\n',
            "line 1, column 'text': the text holds a NUL or half of a surrogate pair",
        ),
        ("a.parquet", b"PAR1", "the file cannot be read: "),
        ("a.parquet.gz", b"", "Parquet is read where it lies, not out of a .gz: unpack it"),
        ("a.docx", b"one", "the name must end in .txt, .jsonl, .json, .parquet, or one of these and .gz"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = write(tmp_path, name, content)
    with refuses(message) as caught:
        texts(path)
    assert str(caught.value).startswith(str(path))


def test_missing_columns_files_and_filters(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "a"}')
    with refuses("line 1: there is no column 'body'. The columns are 'text'"):
        texts(path, text_column="body")
    with refuses("there is no such file"):
        texts(tmp_path / "b.txt")
    (tmp_path / "empty").mkdir()
    with refuses("there is no .txt, .jsonl or .parquet file in this folder or below"):
        texts(tmp_path / "empty")
    with refuses("a corpus needs at least one file, folder or data set"):
        texts()
    with pytest.raises(
        SettingsError, match="there is no filter 'gutenburg': the filters are gutenberg, wikitext, unwrap"
    ):
        texts(path, filters=["gutenburg"])
    with pytest.raises(
        SettingsError, match=r"the filter dedupe works on the corpus as a whole: leave out the pattern 'a\*'"
    ):
        texts(path, filters=["dedupe:a*"])


def test_a_data_set_without_a_part_for_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: {"a": [], "b": []})
    with refuses("org/name: the data set has the parts a, b and none called train"):
        texts("org/name")


# Filters


def test_gutenberg_by_hand(tmp_path: Path) -> None:
    long = "word " * 60
    book = f"""The Project Gutenberg EBook of It\r
\r
*** START OF THIS PROJECT GUTENBERG EBOOK IT ***\r
\r
Produced by Someone\r
\r
IT\r
\r
CONTENTS\r
\r
CHAPTER I. In Which It Begins\r
\r
CHAPTER II. In Which\r
It Ends\r
\r
\r
CHAPTER I\r
\r
In Which It Begins\r
\r
{long}\r
   and _so_ it\r
went on.\r
\r
* * * * *\r
\r
[Illustration: It\r
runs]\r
\r
"Oh!"\r
\r
CHAPTER II. In Which It Ends\r
\r
snake_case_name {long}\r
\r
End of the Project Gutenberg EBook of It\r
*** END OF THIS PROJECT GUTENBERG EBOOK IT ***\r
\r
License of many words. {long}\r
"""
    path = write(tmp_path, "it.txt", book)
    documents = list(read_documents([path], filters=["gutenberg"]))
    assert [document.paragraphs for document in documents] == [
        [f"{long}and so it went on.", '"Oh!"'],
        [f"snake_case_name {long}".strip()],
    ]
    assert [document.line for document in documents] == [21, 34]
    other = write(tmp_path, "other.txt", "CHAPTER I\n\nshort\nlines\n")
    assert texts(other, filters=["gutenberg", "wikitext"]) == texts(other) == [["CHAPTER I"], ["short", "lines"]]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "num_chapters", "first", "last"),
    [
        (
            "1342_pride_and_prejudice",
            61,
            "It is a truth universally acknowledged",
            "had been the means of uniting them.",
        ),
        (
            "1400_great_expectations",
            59,
            "My father's family name being Pirrip",
            "no shadow of another parting from her.",
        ),
        ("145_middlemarch", 86 + 2, "Who that cares much to know", "and rest in unvisited tombs."),  # prelude, finale
        ("2600_war_and_peace", 365, "“Well, Prince, so Genoa and Lucca", "of which we are not conscious."),
        ("766_david_copperfield", 64 + 2, "I do not find it easy to get", "find thee near me, pointing upward!"),
        ("1023_bleak_house", 67 + 1, "A Chancery judge once had the kindness", 'in me--even supposing--."'),
    ],
)
def test_gutenberg_finds_the_chapters_of_real_novels(
    data_dir: Path, name: str, num_chapters: int, first: str, last: str
) -> None:
    """The numbers are the novels' own; some of the files have a byte order mark, all have CRLF."""
    documents = texts(data_dir / "text_en" / "gutenberg" / f"{name}.txt", filters=["gutenberg"])
    assert len(documents) == num_chapters
    assert documents[0][0].startswith(first)
    assert documents[-1][-1].endswith(last)
    everything = " ".join(paragraph for document in documents for paragraph in document)
    for trace in ("Gutenberg", "\ufeff", "\r", "  ", "Produced by"):
        assert trace not in everything
    assert everything.count("_") < 20  # "Sure_ly_!"


@pytest.mark.real_data
@pytest.mark.parametrize("part", ["valid", "test"])
def test_wikitext_has_60_articles_in_each_part(data_dir: Path, part: str) -> None:
    path = data_dir / "text_en" / "wikitext-2" / f"{part}.txt"
    documents = texts(path, filters=["wikitext"])
    assert len(documents) == 60
    everything = " ".join(paragraph for document in documents for paragraph in document)
    assert "@-@" not in everything
    assert " , " not in everything
    raw = path.read_text()
    headings = re.findall(r"(?<=\n \n)(?: =)+ .* (?:= )+(?=\n)", "\n" + raw)
    assert count_letters(raw) - count_letters(everything) == sum(map(count_letters, headings))


def test_wikitext_by_hand(tmp_path: Path) -> None:
    content = """
 = Title ( one ) =

 He said " it 's 5 @.@ 2 % of $ 1 @,@ 000 " , twice .
 = a formula =

 = = Part = =

 Two

 = 2 =

 Three
"""
    path = write(tmp_path, "a.txt", "".join(f"{line} \n" for line in content.split("\n")))
    assert texts(path, filters=["wikitext"]) == [
        ['He said "it\'s 5.2% of $1,000", twice.', "= a formula =", "Two"],
        ["Three"],
    ]


def test_other_layouts(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "\n\none\n two\n\nthree\n\n\nfour\nfive\n")
    assert texts(path, filters=["unwrap"]) == [["one two", "three"], ["four five"]]
    assert texts(path, filters=["two-blank-lines"]) == [["one", "two", "three"], ["four", "five"]]
    assert texts(path, filters=["lines"]) == [["one"], ["two"], ["three"], ["four"], ["five"]]
    assert texts(path, filters=["lines:*/b.txt"]) == texts(path)
    assert texts(path, filters=["lines:*/a.txt"]) == texts(path, filters=["lines"])


@pytest.mark.real_data
def test_two_blank_lines_part_the_works_of_shakespeare(data_dir: Path) -> None:
    """37 plays and the sonnets."""
    assert len(texts(data_dir / "text_en" / "shakespeare_plays_sonnets.txt", filters=["two-blank-lines"])) == 38


def test_the_parts_of_a_long_document_are_kept_or_dropped_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unmask.pretraining.corpora._LONGEST_PART", 30)
    long = " ".join(f"word{number}" for number in range(30))
    path = write(tmp_path, "a.txt", f"{long}\n\nTitle\n{'x' * 40}\n{'y' * 40}\n\n{long}\n{long}")
    documents = list(read_documents([path], filters=["min-words"]))
    assert [(document.paragraphs, document.continues) for document in documents] == [
        ([long], False),
        ([long], False),
        ([long], True),
    ]
    assert [document.paragraphs[0] for document in read_documents([path])] == [long, "Title", "y" * 40, long, long]


def test_dedupe_and_min_words(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "one\ntwo\n\nthree\n\none\ntwo\n\none two\n\nthree")
    again = write(tmp_path, "again.txt", path.read_text())
    assert texts(path, again, filters=["dedupe"]) == [["one", "two"], ["three"], ["one two"]]
    words = " ".join(map(str, range(19)))
    long = write(tmp_path, "b.txt", f"{words}\n\n{words}\n20\n\n{words}\n")
    assert texts(long, filters=["min-words"]) == [[words, "20"]]
