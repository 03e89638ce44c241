"""Reading labelled files. Run alone: `.venv/bin/python -m pytest tests/test_data_tables.py`."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from unmask.data import Table, read_table
from unmask.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

COLA_COLUMNS = ["source", "label", "star", "sentence"]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refuses(message: str) -> pytest.RaisesExc[DataError]:
    return pytest.raises(DataError, match=re.escape(message))


# Formats


def test_tsv_has_no_quoting_and_no_row_is_lost(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", 'text\tlabel\n"Lone quote\t0\nIt\'s "fine"\t1\n  spaces \t0\n""\t1\n')
    table = read_table(path)
    assert table == Table(
        str(path),
        {"text": ['"Lone quote', 'It\'s "fine"', "  spaces ", '""'], "label": ["0", "1", "0", "1"]},
        [2, 3, 4, 5],
    )
    assert len(table) == 4


def test_tsv_lines_end_only_at_line_feeds(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "text\tlabel\nnext\u0085line\u2028form\x0c\x1c feed\rreturn\t1\n")
    assert read_table(path).column("text") == ["next\u0085line\u2028form\x0c\x1c feed\rreturn"]


def test_csv_quoting_and_line_numbers_of_rows_that_span_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "a.CSV", 'text,label\n"one, ""two""",0\n"over\n\nlines",1\n\nplain,0\n')
    table = read_table(path)
    assert table.columns == {"text": ['one, "two"', "over\n\nlines", "plain"], "label": ["0", "1", "0"]}
    assert table.lines == [2, 3, 7]


def test_json_lines_values_become_text(tmp_path: Path) -> None:
    records = [
        {"text": "하나", "label": 1, "score": 0.5, "checked": True, "extra": {"kept": "unread"}},
        {"label": 0, "text": "two", "score": 2, "checked": False},
    ]
    path = write(tmp_path, "a.jsonl", "\n\n".join(map(json.dumps, records)))
    table = read_table(path)
    assert table.lines == [1, 3]
    assert table.column("text") == ["하나", "two"]
    assert table.column("label") == ["1", "0"]
    assert table.column("score") == ["0.5", "2"]
    assert table.column("checked") == ["true", "false"]


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    content = pyarrow.table({"text": ["a", "b", "c"], "label": [0, 1, None], "tokens": [["x"], [], ["y", "z"]]})
    folder = tmp_path / "year=2024"  # no column `year` may come of this
    folder.mkdir()
    pyarrow.parquet.write_table(content, folder / "a.parquet")
    write(folder, "a.parquet.gz", gzip.compress((folder / "a.parquet").read_bytes()))
    for name in ("a.parquet", "a.parquet.gz"):
        table = read_table(folder / name)
        assert list(table.columns) == ["text", "label", "tokens"]
        assert table.column("text") == ["a", "b", "c"]
        with refuses(f"{folder / name}, line 3, column 'label': the row has no value here"):
            table.column("label")
        with refuses("line 1, column 'tokens': expected text or a number, found ['x']"):
            table.column("tokens")


@pytest.mark.parametrize("name", ["a.tsv.gz", "a.csv.gz", "a.jsonl.gz", "a.txt.GZ"])
def test_gzip(tmp_path: Path, name: str) -> None:
    content = {"csv": "text,label\none,1\n", "jsonl": '{"text": "one", "label": 1}\n'}.get(
        name.split(".")[1], "text\tlabel\none\t1\n"
    )
    table = read_table(write(tmp_path, name, gzip.compress(content.encode(), mtime=0)))
    assert (table.column("text"), table.column("label")) == (["one"], ["1"])


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_byte_order_mark_crlf_and_blank_lines_leave_no_trace(tmp_path: Path, name: str) -> None:
    content = {
        "a.tsv": "text\tlabel\n\none\t1\ntwo\t0\n\n",
        "a.csv": '"text",label\n\none,1\ntwo,0\n\n',
        "a.jsonl": '\n\n{"text": "one", "label": 1}\n{"text": "two", "label": 0}\n\n',
    }[name]
    table = read_table(write(tmp_path, name, b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode()))
    assert table.columns.keys() == {"text", "label"}
    assert (table.column("text"), table.column("label")) == (["one", "two"], ["1", "0"])
    assert table.lines == [3, 4]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_a_text_of_100_000_characters(tmp_path: Path, name: str) -> None:
    text = "word " * 20_000
    content = {"a.tsv": f"text\tlabel\n{text}\t1", "a.csv": f"text,label\n{text},1"}.get(name)
    table = read_table(write(tmp_path, name, content or json.dumps({"text": text, "label": 1})))
    assert table.column("text") == [text]


# Columns and headers


@pytest.mark.parametrize(
    ("column_names", "header", "columns"),
    [
        (None, None, {"a": ["c"], "b": ["d"]}),
        (None, True, {"a": ["c"], "b": ["d"]}),
        (None, False, {"1": ["a", "c"], "2": ["b", "d"]}),
        (["x", "y"], None, {"x": ["a", "c"], "y": ["b", "d"]}),
        (["x", "y"], True, {"x": ["c"], "y": ["d"]}),
    ],
)
def test_headers_and_column_names(
    tmp_path: Path, column_names: list[str] | None, header: bool | None, columns: dict[str, list[str]]
) -> None:
    for name, content in (("a.tsv", "a\tb\nc\td\n"), ("a.csv", "a,b\nc,d\n")):
        table = read_table(write(tmp_path, name, content), column_names=column_names, header=header)
        assert table.columns == columns


def test_a_missing_column_lists_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "gj04\t1\t\tOur friends won't buy this analysis, let alone the next\nb\t0\t*\tc\n")
    with refuses(
        f"{path}, column 'label': there is no such column. The columns are 'gj04', '1', '', 'Our friends ...lone the "
        "next'; if these are data, the file has no header and its columns must be named"
    ):
        read_table(path).column("label")


def test_a_relative_path_is_also_looked_for_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "set").mkdir(parents=True)
    path = write(tmp_path / "data" / "set", "a.tsv", "text\nin the data folder\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("UNMASK_DATA_DIR", raising=False)
    with refuses("set/a.tsv: there is no such file in "):
        read_table("set/a.tsv")
    assert read_table("set/a.tsv", data_dir=tmp_path / "data").source == str(path)
    monkeypatch.setenv("UNMASK_DATA_DIR", str(tmp_path / "data"))
    assert read_table("set/a.tsv").source == str(path)
    with refuses(f"a.tsv: there is no such file here or in the data folder {tmp_path / 'data'}: check its name"):
        read_table("a.tsv")
    (tmp_path / "work" / "set").mkdir()
    write(tmp_path / "work" / "set", "a.tsv", "text\nhere\n")
    assert read_table("set/a.tsv").column("text") == ["here"]


# Bad input


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"", "the file is empty"),
        ("a.csv", b"\n\r\n", "the file is empty"),
        ("a.jsonl", b"\n \n", "the file is empty"),
        ("a.tsv.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("a.tsv", b"text\tlabel\n", "there is a header and no row"),
        ("a.tsv", b"text\tlabel\na\t1\nb\n", "line 3: expected 2 columns ('text', 'label') and found 1"),
        ("a.csv", b'text,label\n"a\nb",1\nc,d,0\n', "line 4: expected 2 columns ('text', 'label') and found 3"),
        ("a.tsv", b"text\tlabel\na\0b\t1\n", "line 2: there is a NUL byte"),
        ("a.tsv", "text\tlabel\na\t1\n".encode("utf-16-le"), "line 1: there is a NUL byte"),
        ("a.tsv", b"text\tlabel\na\t1\ncaf\xe9\t1\n", "line 3: byte 4 (0xe9) is not UTF-8: save the file as UTF-8"),
        ("a.jsonl", b'{"text": "caf\xe9"}\n', "line 1: byte 14 (0xe9) is not UTF-8: save the file as UTF-8"),
        ("a.tsv", b"text\tlabel\ttext\na\t1\tb\n", "line 1, column 'text': 2 columns have this name"),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', "line 1: not JSON (a key occurs twice in one object)"),
        ("a.csv", b'text,label\na,1\n"b,0\nc,1\n', "line 3: the row that starts here is not CSV (unexpected end of"),
        ("a.csv", b'text,label\n"a" b,1\n', "line 2: the row that starts here is not CSV (',' expected after '\"')"),
        ("a.jsonl", b'{"text": "a"}\n{"text"}\n', "line 2: not JSON (Expecting ':' delimiter"),
        ("a.jsonl", b"[" * 200_000, "line 1: not JSON (maximum recursion depth exceeded"),
        ("a.jsonl", b'["a", 1]\n', "line 1: expected one JSON object in each line"),
        ("a.tsv.gz", b"text\tlabel\na\t1\n", "the file cannot be read: Not a gzipped file"),
        (
            "a.tsv.gz",
            gzip.compress(b"text\nthe end is cut off\n", mtime=0)[:-9],
            "the file cannot be read: Compressed file ended before",
        ),
        ("a.parquet", b"PAR1 and no more", "the file cannot be read: Parquet magic bytes not found"),
        ("a.xlsx", b"PK", "the name must end in .tsv, .txt, .csv, .jsonl, .json, .parquet, or one of these and .gz"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('["a"]', "expected text or a number, found ['a']"),
        ('{"b": 1}', "expected text or a number, found {'b': 1}"),
        ("null", "the row has no value here"),
        ("NaN", "the row has no value here"),
        (r'"a\ud800"', "the text holds a NUL or half of a surrogate pair"),
        (r'"a\u0000"', "the text holds a NUL or half of a surrogate pair"),
    ],
)
def test_values_that_are_no_text(tmp_path: Path, value: str, message: str) -> None:
    path = write(tmp_path, "a.jsonl", f'{{"text": "a", "id": 7}}\n{{"text": {value}}}\n')
    table = read_table(path)
    with refuses(f"{path}, line 2, column 'text': {message}"):
        table.column("text")
    with refuses(f"{path}, line 2, column 'id': the row has no value here"):
        table.column("id")


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.symlink_to("/proc/self/mem")  # open to its owner, yet an error to read: true for root as well
    if not path.exists():
        pytest.skip("no /proc here")
    with refuses(f"{path}: the file cannot be read: Input/output error"):
        read_table(path)


def test_settings_that_do_not_fit_the_source(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "a"}\n')
    with refuses("a .jsonl file names its own columns: leave out the column names"):
        read_table(path, column_names=["text"])
    with refuses("a data set names its own columns: leave out the column names"):
        read_table(tmp_path, column_names=["text"])
    with refuses("this is one file, with no part 'train': leave out the split"):
        read_table(path, split="train")
    with refuses(f"{tmp_path / 'none.parquet'}: there is no such file: check its name"):
        read_table(tmp_path / "none.parquet")


# Data sets


@pytest.fixture
def labelled_dataset(tmp_path: Path) -> Path:
    """A saved data set of two parts whose labels have names."""
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    parts = {
        "train": datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, 1]}, features=features),
        "test": datasets.Dataset.from_dict({"text": ["d"], "label": [-1]}, features=features),
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    parts["train"].to_parquet(tmp_path / "train.parquet")
    return tmp_path


def test_datasets_keep_the_names_of_labels(labelled_dataset: Path) -> None:
    folder = labelled_dataset / "saved"
    table = read_table(folder, split="train")
    assert table == Table(f"{folder} (train)", {"text": ["a", "b", "c"], "label": ["good", "bad", "good"]}, [1, 2, 3])
    assert read_table(folder / "train").columns == table.columns  # one part alone needs no name
    assert read_table(labelled_dataset / "train.parquet").columns == table.columns
    with refuses(f"{folder} (test), line 1, column 'label': the row has no value here"):
        read_table(folder, split="test").column("label")
    with refuses(f"{folder}: the data set has the parts train, test: name one"):
        read_table(folder)
    with refuses(f"{folder}: the data set has the parts train, test: there is no 'dev'"):
        read_table(folder, split="dev")


def test_a_folder_of_files_is_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write(tmp_path / "set", "train.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n')
    script = "import sys; from unmask.data import read_table; t = read_table(sys.argv[1]); print(t.column('label'))"
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "set"],
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "['1', '0']\n"


def test_a_hub_id_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    script = (
        "import sys; from unmask.data import read_table; from unmask.errors import DataError\n"
        "try: read_table('nyu-mll/glue:cola', split='train')\n"
        "except DataError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == (
        "nyu-mll/glue:cola: neither a file nor a data set that can be loaded (Couldn't reach 'nyu-mll/glue' on the Hub "
        "(OfflineModeIsEnabled)). Check the name; without a network, give a file, or fetch the data set beforehand "
        "with `hf download --repo-type dataset`\n"
    )


# Real data


@pytest.mark.real_data
def test_all_8_551_rows_of_cola(data_dir: Path) -> None:
    path = data_dir / "cola" / "in_domain_train.tsv"
    table = read_table("cola/in_domain_train.tsv", column_names=COLA_COLUMNS, data_dir=data_dir)
    assert (table.source, len(table)) == (str(path), 8_551)
    assert table.lines == list(range(1, 8_552))
    assert [table.column("label").count(label) for label in "01"] == [2_528, 6_023]
    assert table.column("sentence")[0] == "Our friends won't buy this analysis, let alone the next one we propose."
    assert sum(sentence.count('"') for sentence in table.column("sentence")) == path.read_text().count('"') > 0
    assert len(read_table(data_dir / "cola" / "in_domain_dev.tsv", column_names=COLA_COLUMNS)) == 527
    assert len(read_table(data_dir / "cola" / "out_of_domain_dev.tsv", column_names=COLA_COLUMNS)) == 516


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "column", "num_rows"),
    [
        ("nsmc/ratings_train.txt.gz", "label", 150_000),
        ("glue/MRPC/train.tsv", "#1 String", 3_668),
        ("glue/RTE/train.tsv", "label", 2_490),
        ("kornlu/KorSTS/sts-train.tsv", "score", 5_749),
        ("korean_hate_speech/train.tsv", "hate", 7_896),
    ],
)
def test_files_with_headers_and_lone_quotes(data_dir: Path, file: str, column: str, num_rows: int) -> None:
    assert len(read_table(data_dir / file).column(column)) == num_rows


def test_other_kinds_of_file_are_told_by_name(tmp_path: Path) -> None:
    def told(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_table(tmp_path / name)
        return str(caught.value).removeprefix(f"{tmp_path / name}")

    assert told("a.conll", b"a O\n").endswith(
        "; a file of tagged words is for the task tagging, as in `unmask check tagging`"
    )
    assert told("a.json", b'{\n "text": "a"\n}\n') == (
        ': this is one JSON document over several lines: expected one JSON object in each line, such as {"text": "..."}'
    )
    assert told("a.jsonl", b"text,label\n").endswith(': expected one JSON object in each line, such as {"text": "..."}')
    assert told("a.tsv", b"text\tlabel\n").endswith("name the columns with --column-names if this line is a row")
    assert told("b.tsv", b"") == ": the file is empty: name another, or see why nothing was written into it"
    assert told("c.tsv", "text\tlabel\n정말 재미있는 영화\t1\n".encode("cp949")) == (
        ", line 2: byte 1 (0xc1) is not UTF-8; as CP949 it reads '정말 재미있는 영화\\t1': save the file as UTF-8"
    )
    assert told("d.tsv", "text\tlabel\n".encode("utf-16")) == (
        ", line 1: the file is UTF-16, as Windows programs call Unicode: save the file as UTF-8"
    )
