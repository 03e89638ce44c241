"""The data doctor: each check by a file that has just this, and none by a clean one.

Run: pytest tests/test_workflows_check.py.
"""

from __future__ import annotations

import gzip
import itertools
import json
import random
import re
from typing import TYPE_CHECKING, Any

import pytest

from tiny import NOUNS, VERBS, VOCABULARY
from unmask.checks.raw import rows_of_csv
from unmask.checks.sieve import Sieve
from unmask.data.tables import csv_rows as read_csv_rows
from unmask.errors import DataError, SettingsError
from unmask.tasks import TASKS, Columns, Reading, TaskOptions
from unmask.tokenization.training import train_on_texts
from unmask.workflows.check import CheckReport, CheckSettings, check
from unmask.workflows.loading import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Found = tuple[str, str, int | None]  # severity, kind, line


def texts(first: int, last: int) -> list[str]:
    """Different sentences, the same for the same numbers."""
    every = itertools.product(NOUNS, VERBS)
    return [f"the {noun} {verb}." for noun, verb in itertools.islice(every, first, last)]


def rows(first: int = 0, last: int = 24, labels: Sequence[str] = ("good", "bad")) -> list[str]:
    """Lines of a labelled file, whose line n, counted from 2 behind the header, is entry n - 2."""
    return [f"{text}\t{labels[i % len(labels)]}" for i, text in enumerate(texts(first, last))]


def write(path: Path, lines: Sequence[str | bytes], *, header: str | None = "sentence\tlabel") -> Path:
    content = [line.encode() if isinstance(line, str) else line for line in ([header] if header else []) + list(lines)]
    path.write_bytes(b"\n".join(content) + b"\n")
    return path


def found(report: CheckReport) -> list[Found]:
    return [(finding.severity, finding.kind, finding.line) for finding in report.findings]


def with_line(lines: Sequence[str], number: int, line: str | bytes) -> list[str | bytes]:
    """The lines with another one as line `number` of the file."""
    return [*lines[: number - 2], line, *lines[number - 1 :]]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A tokenizer that knows the words of `tiny`, without a model."""
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCABULARY))
    return str(folder)


# A clean file of each task.


def conll(count: int, *, first: int = 0, tags: Sequence[str] = ("O", "B-PER", "O", "O")) -> list[str]:
    lines = []
    for text in texts(first, first + count):
        lines += [f"{word}\t{tag}" for word, tag in zip(text.replace(".", " .").split(), tags, strict=True)] + [""]
    return lines


def question(number: int, **changes: Any) -> dict[str, Any]:
    noun, verb = NOUNS[number % len(NOUNS)], VERBS[number // len(NOUNS)]
    return {
        "id": f"q{number}",
        "question": f"the {noun} {verb} ?",
        "context": f"the {noun} {verb} in the house near {number} {noun}.",
        "answers": [{"text": "house", "answer_start": len(f"the {noun} {verb} in the ")}],
        **changes,
    }


def squad(entries: Sequence[dict[str, Any]]) -> str:
    """Each question in an article of its own."""
    articles = []
    for entry in entries:
        qa = {key: entry[key] for key in ("id", "question", "answers", "is_impossible") if key in entry}
        articles.append({"title": entry["id"], "paragraphs": [{"context": entry["context"], "qas": [qa]}]})
    return json.dumps({"data": articles})


def clean(task: str, folder: Path) -> dict[str, Any]:
    """Settings with files that have nothing to find."""
    if task == "tagging":
        train = write(folder / "train.conll", conll(12), header=None)
        dev = write(folder / "dev.conll", conll(5, first=40), header=None)
    elif task == "question-answering":
        train = write(folder / "train.jsonl", [json.dumps(question(n)) for n in range(12)], header=None)
        dev = folder / "dev.json"
        dev.write_text(squad([question(n) for n in range(12, 16)]))
    else:
        labels = {"classification": ("good", "bad"), "multi-label": ("a", "", "a,b"), "regression": ("1", "2.5")}[task]
        train = write(folder / "train.tsv", rows(0, 36, labels))
        dev = write(folder / "dev.tsv", rows(40, 52, labels))
    return {"task": task, "train": train, "dev": dev}


@pytest.mark.parametrize("task", TASKS)
def test_clean_files_have_nothing_to_find(tmp_path, model, task):
    settings = clean(task, tmp_path)
    report = check(**settings, model=None)
    assert report.findings == ()
    assert report.summary() == "nothing was found"
    assert report.sets[0].num_examples == (36 if task in ("classification", "multi-label", "regression") else 12)
    if task != "question-answering":  # its numbers are unknown to the vocabulary
        assert check(**settings, model=model).findings == ()
    report.raise_for_errors()


def test_every_task_has_a_reader():
    from unmask.checks import CHECKS, READERS

    assert set(TASKS) == set(READERS)
    assert all(set(look.tasks) <= set(READERS) and look.tasks for look in CHECKS)
    assert len({look.find for look in CHECKS}) == len(CHECKS)


# Classification: the lines of train, and those of dev, if any; what is found, all of it.

GOOD = rows()
TOKENISED = [line.replace(".\t", " .\t") for line in rows(30, 42)]
CASES: dict[str, tuple[list[str | bytes], list[str | bytes] | None, list[Found]]] = {
    "Latin-1": (
        with_line(with_line(GOOD, 5, b"caf\xe9\tgood"), 9, b"na\xefve\tbad"),
        None,
        [("error", "encoding", 5), ("error", "encoding", 9)],
    ),
    "NUL": (with_line(GOOD, 4, b"a\0b\tgood"), None, [("error", "encoding", 4)]),
    "CRLF in part": (
        [line + "\r" if i in (3, 9) else line for i, line in enumerate(GOOD)],
        None,
        [("warning", "line_ends", 5)],
    ),
    "return inside": (with_line(GOOD, 6, "one\rtwo\tgood"), None, [("warning", "line_ends", 6)]),
    "ragged rows": (
        with_line(with_line(with_line(GOOD, 3, "lonely"), 8, "a\tgood\tmore"), 25, "x\ty\tz"),
        None,
        [("error", "ragged_row", 3), ("error", "ragged_row", 8), ("error", "ragged_row", 25)],
    ),
    "a quote": (with_line(GOOD, 7, '"so he said\tgood'), None, [("note", "quotes", 7)]),
    "a whole quotation": (with_line(GOOD, 7, '"so," he said\tgood'), None, [("note", "quotes", 7)]),
    "quoted fields": (
        [f'"{line.split(chr(9))[0]}"\t{line.split(chr(9))[1]}' for line in GOOD],
        None,
        [("warning", "quotes", 2)],
    ),
    "empty text": (with_line(GOOD, 7, "  \tgood"), None, [("error", "empty_field", 7)]),
    "empty labels": (
        with_line(with_line(GOOD, 2, "a dog\t"), 10, "a cat\t "),
        None,
        [("error", "empty_field", 2), ("error", "empty_field", 10)],
    ),
    "a missing value": (with_line(GOOD, 7, "NaN\tgood"), None, [("warning", "empty_field", 7)]),
    "damaged": (with_line(GOOD, 7, "caf\ufffd\tgood"), None, [("warning", "damaged_text", 7)]),
    "decoded wrongly": (with_line(GOOD, 7, "caf\u00c3\u00a9\tgood"), None, [("warning", "damaged_text", 7)]),
    "Hangul decoded wrongly": (
        with_line(GOOD, 7, "\u00ec\u2022\u02c6\u00eb\u2026\u2022\tgood"),
        None,
        [("warning", "damaged_text", 7)],
    ),
    "a space decoded wrongly": (with_line(GOOD, 7, "one\u00c2\u00a0two\tgood"), None, [("warning", "damaged_text", 7)]),
    "French quotations": (with_line(GOOD, 7, "\u00ab\u00a0caf\u00e9\u00a0\u00bb, Spa\u00df\u201c\tgood"), None, []),
    "a mark inside": (with_line(GOOD, 7, "caf\ufeff\tgood"), None, [("note", "damaged_text", 7)]),
    "decomposed": (with_line(GOOD, 7, "cafe\u0301\tgood"), None, [("warning", "decomposed_text", 7)]),
    "duplicate": ([*GOOD, "The  DOG sleep.\tgood"], None, [("warning", "duplicate", 26)]),
    "conflict": ([*GOOD, "the dog sleep.\tbad"], None, [("warning", "conflicting_labels", 26)]),
    "leak": (GOOD, [*rows(30, 36), "the dog  run.\tbad"], [("warning", "leak", 8)]),
    "near leak": (GOOD, [*rows(30, 36), "the dog, run!\tbad"], [("note", "near_leak", 8)]),
    "raw and tokenised": (GOOD, list(TOKENISED), [("warning", "raw_and_tokenised", 2)]),
    "tokenised": (
        [line.replace(".\t", " .\t") for line in GOOD],
        None,
        [("note", "tokenised_text", 2)],
    ),
    "both in one": ([*GOOD, *TOKENISED], None, [("note", "raw_and_tokenised", 26)]),
    "few tokenised": ([*GOOD, *TOKENISED[:4]], None, []),
    "rare label": ([*GOOD, *rows(30, 33, ["odd"])], None, [("warning", "rare_label", 26)]),
    "nine and ten": ([*rows(0, 20), *rows(30, 39, ["nine"])], None, [("warning", "rare_label", 22)]),
    "majority": ([*rows(0, 95, ["good"]), *rows(100, 110, ["bad"])], None, [("warning", "majority", None)]),
    "no majority": ([*rows(0, 85, ["good"]), *rows(100, 110, ["bad"])], None, []),
    "unseen label": (GOOD, [*rows(30, 36), "a cat\tbda", "a dog\tbda"], [("error", "unseen_label", 8)]),
    "missing label": (GOOD, rows(30, 40, ["good"]), [("note", "missing_label", None)]),
    "labels by case": (
        [*rows(0, 24), *rows(30, 40, ["Good"])],
        None,
        [("error", "similar_labels", 26)],
    ),
    "labels by form": (
        [*rows(0, 24, ["so_so", "bad"]), *rows(30, 40, ["so  so"])],
        None,
        [("warning", "similar_labels", 26)],
    ),
    "one class": (rows(0, 12, ["good"]), None, [("error", "one_class", None)]),
    "one example": (GOOD[:1], None, [("error", "few_examples", 2)]),
    "header alone": ([], None, [("error", "unreadable", None)]),
}


@pytest.mark.parametrize("name", CASES)
def test_classification(tmp_path, model, name):
    """And what is an error is one to training too, and nothing else is."""
    train_lines, dev_lines, expected = CASES[name]
    train = write(tmp_path / "train.tsv", train_lines)
    dev = () if dev_lines is None else write(tmp_path / "dev.tsv", dev_lines)
    report = check(train=train, dev=dev, model=None)
    assert found(report) == expected
    assert all(finding.path == str(dev if name in DEV_CASES else train) for finding in report.findings)
    refused = None
    try:
        train_on(train, dev or None, model)
    except DataError as error:
        refused = error
    assert (refused is not None) == any(severity == "error" for severity, *_ in expected), refused
    if refused is not None and name != "one example":
        first = report.findings[0]
        assert (str(refused.path or first.path), refused.line) == (first.path, first.line)


DEV_CASES = ("leak", "near leak", "raw and tokenised", "unseen label", "missing label")


def train_on(train: Path, dev: Path | None, model: str) -> None:
    """Do what fine-tuning does with its files before it trains."""
    kind = TASKS["classification"]
    examples = kind.read(train, Reading())
    task = kind.for_training(examples, TaskOptions())
    for some in (examples, kind.read(dev, Reading()) if dev else []):
        task.encode(some, load_tokenizer(model), max_seq_length=20)


def test_utf16_is_said_once(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("sentence\tlabel\n" + "\n".join(GOOD), encoding="utf-16")
    report = check(train=path, model=None)
    assert found(report) == [("error", "encoding", 1)]
    assert "UTF-16" in report.findings[0].problem


def test_cp949_is_recognised(tmp_path):
    path = write(tmp_path / "train.tsv", with_line(GOOD, 3, "정말 재미있는 영화\tgood".encode("cp949")))
    [finding] = check(train=path, model=None).findings
    assert finding.line == 3
    assert "byte 1 (0xc1) is not UTF-8; as CP949 it reads '정말 재미있는 영화" in finding.problem
    assert finding.advice == "save the file as UTF-8"


def test_byte_order_mark(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("sentence\tlabel\n" + "\n".join(GOOD), encoding="utf-8-sig")
    assert found(check(train=path, model=None)) == [("note", "byte_order_mark", 1)]


def test_crlf_with_and_without_the_last(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_bytes("\r\n".join(["sentence\tlabel", *GOOD]).encode())
    assert found(check(train=path, model=None)) == []
    path.write_bytes(("\n".join(["sentence\tlabel", *GOOD[:-1]]) + "\r\n" + GOOD[-1]).encode())
    assert found(check(train=path, model=None)) == [("warning", "line_ends", 24)]


def test_gzipped_files_keep_their_names_and_lines(tmp_path):
    path = tmp_path / "train.tsv.gz"
    path.write_bytes(gzip.compress("\n".join(["sentence\tlabel", *with_line(GOOD, 9, "lonely")]).encode()))
    [finding] = check(train=path, model=None).findings
    assert (finding.path, finding.line, finding.kind) == (str(path), 9, "ragged_row")
    path.write_bytes(gzip.compress(b"sentence\tlabel\na dog\tgood\n")[:-9])
    [finding] = check(train=path, model=None).findings
    assert finding.severity == "error"
    assert "cannot be read" in finding.problem


def test_problems_and_advice_are_whole(tmp_path):
    """What a user reads of some."""
    report = check(
        train=write(tmp_path / "train.tsv", [*GOOD, "the dog sleep.\tbad", "lonely"]),
        dev=write(tmp_path / "dev.tsv", ["the cat run.\tbad", *rows(30, 36), "a cat\tbda"]),
        model=None,
    )
    train, dev = tmp_path / "train.tsv", tmp_path / "dev.tsv"
    assert [str(finding) for finding in report.findings] == [
        f"{train}, line 27: expected 2 columns ('sentence', 'label') and found 1: correct the row, or the names of the "
        "columns",
        f"{dev}, line 9, column 'label': the label 'bda' is not one the model was given to learn (bad, good): mend the "
        "label, or add examples of it to the training file",
        f"{train}, line 26: labelled bad here and good in line 2: 'the dog sleep.': find out which is right: a model "
        "cannot learn both",
        f"{dev}, line 2: stands in {train}, line 18, too, labelled bad here and good there: 'the cat run.': take it "
        "out of train: what a model has seen is no test of it",
    ]
    assert report.summary() == "2 errors, 2 warnings"
    assert report.lines("error") == [f"error: {finding}" for finding in report.findings[:2]]
    assert report.lines() == [f"warning: {finding}" for finding in report.findings[2:]]
    assert report.sets[0].num_refused == 1
    again = check(train=write(tmp_path / "train.tsv", [*GOOD, *GOOD[:3]]), model=None).lines()
    assert [line.endswith(" in train and in dev (and 2 more)") for line in again] == [True]
    with pytest.raises(DataError, match=r"expected 2 columns .*\(and 1 more errors") as raised:
        report.raise_for_errors()
    assert raised.value.line == 27


# CSV and JSON lines


def csv_rows(count: int = 24) -> list[str]:
    return [line.replace("\t", ",") for line in rows(0, count)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({5: '"the dog, and\nthe cat",good'}, []),
        ({5: '"the dog,good'}, [("error", "quotes", 5)]),
        ({5: '"the dog,good', 9: 'the cat" run,bad'}, [("error", "quotes", 5), ("warning", "quotes", 5)]),
        ({5: "a,b,good", 9: "lonely"}, [("error", "ragged_row", 5), ("error", "ragged_row", 9)]),
        ({5: '"the ""dog"" ran",good'}, []),
        ({5: b'"caf\xe9",good', 7: "a,b,c"}, [("error", "encoding", 5), ("error", "ragged_row", 7)]),
    ],
)
def test_csv(tmp_path, change, expected):
    lines = csv_rows()
    for number, line in change.items():
        lines = with_line(lines, number, line)
    path = write(tmp_path / "train.csv", lines, header="sentence,label")
    report = check(train=path, model=None)
    assert [finding for finding in found(report) if finding[1] != "rare_label"] == expected


def test_a_quote_that_swallows_rows(tmp_path):
    """It closes again, as a field of many lines that look like rows."""
    lines = with_line(with_line(csv_rows(40), 5, '"the dog sleep,good'), 12, 'the cat run,bad"')
    report = check(train=write(tmp_path / "train.csv", lines, header="sentence,label"), model=None)
    swallowed = [finding for finding in report.findings if "looks like rows" in finding.problem]
    assert [(finding.line, finding.kind) for finding in swallowed] == [(5, "quotes")]
    assert "closes in line 12: what is between, 6 lines, is one field" in swallowed[0].problem


def test_quotes_inside_a_field_open_nothing(tmp_path):
    """As a reader of CSV has it: a quote opens where a field begins, and nowhere else."""
    lines = with_line(with_line(csv_rows(40), 5, '6" screen,good'), 12, '7" screen,bad')
    report = check(train=write(tmp_path / "train.csv", [*lines, "lonely"], header="sentence,label"), model=None)
    assert found(report) == [("error", "ragged_row", 42)]
    lines = with_line(with_line(csv_rows(40), 5, '"open,good'), 20, '"" and ""')  # the first never closes
    report = check(train=write(tmp_path / "train.csv", lines, header="sentence,label"), model=None)
    assert found(report)[:2] == [("error", "quotes", 5), ("error", "quotes", 20)]
    assert report.sets[0].num_examples == 38


def test_rows_of_csv_are_those_that_training_reads(tmp_path):
    """Whatever the quotes; of a file that training refuses, the row it names is one too."""
    rng = random.Random(7)
    path = tmp_path / "any.csv"
    outcomes = set()
    for _ in range(300):
        lines = "".join(rng.choices(['"', '""', ",", "a", " ", "\n"], [2, 1, 2, 3, 1, 2], k=25)).split("\n")
        path.write_text("\n".join(lines) + "\n")
        rows, _ = rows_of_csv(path, list(enumerate(lines, start=1)))
        starts = [row[0][0] for row in rows]
        read, refused = [], None
        try:
            read = [line for line, _ in read_csv_rows(path)]
        except DataError as error:
            refused = error.line
        assert read == starts if refused is None else refused in starts
        outcomes.add((refused is None, len(starts) < len([line for line in lines if line])))
    assert len(outcomes) == 4  # read or refused, with rows of several lines or without


def test_empty_texts_that_are_to_be_left_out_are_warnings(tmp_path):
    train = write(tmp_path / "train.tsv", with_line(with_line(GOOD, 7, "  \tgood"), 9, "\tbad"))
    report = check(train=train, model=None, skip_empty=True)
    assert found(report) == [("warning", "empty_field", 7), ("warning", "empty_field", 9)]
    assert report.findings[0].advice == "the row is left out"
    assert report.sets[0].num_examples == 22


def test_rows_that_are_left_out_are_looked_at_no_further(tmp_path):
    """Nor are they errors for their labels, which training does not read."""
    lines = [*GOOD, "\t", " \todd", *["\tbad"] * 300, "lonely"]
    report = check(train=write(tmp_path / "train.tsv", lines), model=None, skip_empty=True)
    left_out = [("warning", "empty_field", number) for number in range(26, 328)]
    assert found(report) == [("error", "ragged_row", 328), *left_out]
    assert report.sets[0].labels == {"bad": 12, "good": 12}
    report = check(train=write(tmp_path / "train.tsv", lines[24:26]), model=None, skip_empty=True)
    assert found(report)[0] == ("error", "empty_field", None)
    assert "every text is empty" in report.findings[0].problem


def test_json_lines(tmp_path):
    lines = [json.dumps(dict(zip(("text", "label"), row.split("\t"), strict=True))) for row in rows(0, 30)]
    lines[3], lines[5], lines[9] = '{"text": "a dog"', "[1]", '{"text": "a cat", "label": null}'
    lines[12] = '{"text": 7, "label": "good"}'
    report = check(train=write(tmp_path / "train.jsonl", lines, header=None), model=None)
    assert found(report) == [("error", "not_json", 4), ("error", "not_json", 6), ("error", "empty_field", 10)]
    assert report.sets[0].num_examples == 27


def test_a_column_that_is_missing_is_one_error(tmp_path):
    report = check(train=write(tmp_path / "train.tsv", GOOD, header="sentence\tverdict"), model=None)
    [finding] = report.findings
    assert finding.severity == "error"
    assert "say which one holds the label with --label-column" in finding.problem
    path = write(tmp_path / "train.tsv", GOOD, header="sentence\tverdict")
    assert check(train=path, label_column="verdict", model=None).findings == ()
    lines = write(tmp_path / "bare.tsv", GOOD, header=None)
    assert check(train=lines, column_names=["sentence", "label"], model=None).findings == ()
    [finding] = check(train=tmp_path / "absent.tsv", model=None).findings
    assert "there is no such file" in finding.problem


def test_a_file_of_errors_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("unmask.checks.sieve._MOST_REFUSED", 20)
    report = check(train=write(tmp_path / "train.tsv", ["a\tb\tc"] * 70), model=None)
    assert found(report)[:20] == [("error", "ragged_row", number) for number in range(2, 22)]
    assert [finding.kind for finding in report.findings[20:]] == ["unreadable"]


def test_pairs(tmp_path):
    lines = [f"{text}\t{text[4:]}\tsame" for text in texts(0, 12)] + [f"{text}\ta cat\tother" for text in texts(20, 32)]
    path = write(tmp_path / "train.tsv", lines, header="sentence1\tsentence2\tlabel")
    settings = {"train": path, "text_pair_column": "sentence2", "model": None}
    assert check(**settings).findings == ()
    lines[4], lines[6] = "the dog\t \tsame", " \t\tsame"
    lines += [lines[0].upper().replace("SAME", "same"), lines[1].replace("same", "other")]
    write(path, lines, header="sentence1\tsentence2\tlabel")
    assert found(check(**settings)) == [
        ("error", "empty_field", 8),
        ("warning", "empty_field", 6),
        ("warning", "duplicate", 26),
        ("warning", "conflicting_labels", 27),
    ]


def test_dev_and_test_may_share_nothing_either(tmp_path):
    train = write(tmp_path / "train.tsv", GOOD)
    dev, other = write(tmp_path / "dev.tsv", rows(30, 40)), write(tmp_path / "dev2.tsv", rows(30, 40))
    assert found(check(train=train, dev=[dev, other], model=None)) == []  # of one role
    assert [found[1] for found in found(check(train=train, dev=dev, test=other, model=None))] == ["leak"] * 10
    [finding] = check(train=train, dev=train, model=None).findings
    assert finding.problem == "this is the train file too: its scores say nothing about other texts"


def test_parts_of_one_data_set_are_not_one_file(tmp_path):
    import datasets

    def part(lines: Sequence[str]) -> datasets.Dataset:
        columns = zip(*(line.split("\t") for line in lines), strict=True)
        return datasets.Dataset.from_dict(dict(zip(("text", "label"), map(list, columns), strict=True)))

    folder = tmp_path / "set"
    datasets.DatasetDict(train=part(GOOD), validation=part([*rows(30, 40), GOOD[3]])).save_to_disk(folder)
    [finding] = check(train=folder, dev=folder, model=None).findings
    assert (finding.kind, finding.path, finding.line) == ("leak", f"{folder} (validation)", 11)
    assert f"stands in {folder} (train), line 4, too" in finding.problem


def test_labels_that_are_given(tmp_path):
    train = write(tmp_path / "train.tsv", [*rows(0, 24), *rows(30, 40, ["Good"])])
    assert found(check(train=train, labels=["good", "bad", "Good"], model=None)) == [("warning", "similar_labels", 26)]
    assert found(check(train=train, labels=["good=fine", "bad"], model=None)) == [
        ("error", "unseen_label", 26),
        ("warning", "similar_labels", 26),
    ]
    dev = write(tmp_path / "dev.tsv", rows(50, 60, ["fine", "bad"]))  # a label's name is as good as its value
    train = write(tmp_path / "train.tsv", rows(0, 24))
    report = check(train=train, dev=dev, labels=["good=fine", "bad"], model=None)
    assert found(report) == []
    assert report.sets[1].labels == {"bad": 5, "good": 5}
    write(dev, [*rows(50, 60, ["fine", "bad"]), "the dog sleep.\tfine", "the dog run.\tgood"])  # bad in train
    leaks = check(train=train, dev=dev, labels=["good=fine", "bad"], model=None).findings
    assert ["labelled" in leak.problem for leak in leaks] == [False, True]
    write(train, rows(0, 36, ["a=b", "c"]))
    assert found(check(train=train, labels=["a=b", "c"], model=None)) == []
    with pytest.raises(SettingsError, match="each value and each name may stand once"):
        check(train=train, labels=["c", "c=d"], model=None)


def test_many_rare_labels_are_one_finding(tmp_path):
    """As of a column of ids, which is no column of labels."""
    lines = [f"{text}\t{i}" for i, text in enumerate(texts(0, 200))]
    report = check(train=write(tmp_path / "train.tsv", lines), model=None)
    assert found(report) == [("warning", "rare_label", None)]
    assert report.findings[0].problem.startswith("200 of 200 labels have fewer than 10 examples, such as '")


# Multi-label and regression


def test_label_sets(tmp_path):
    settings = clean("multi-label", tmp_path)
    lines = rows(0, 36, ("a", "", "a,b"))
    write(settings["train"], with_line(with_line(lines, 4, '"a dog"\t["a"'), 8, "a cat\ta,,b"))
    write(settings["dev"], [*rows(40, 52, ("a", "", "b,a")), "a cat\ta,c"])
    report = check(**settings, model=None)
    assert found(report) == [
        ("error", "bad_labels", 4),
        ("error", "bad_labels", 8),
        ("error", "unseen_label", 14),
    ]
    assert report.sets[1].labels == {"a": 9, "b": 4, "c": 1}
    write(settings["train"], rows(0, 36, [""]))
    report = check(task="multi-label", train=settings["train"], model=None)
    assert found(report) == [("error", "one_class", None)]
    write(settings["train"], rows(0, 36, ["a;b", "b"]))
    assert check(task="multi-label", train=settings["train"], label_separator=";", model=None).sets[0].num_labels == 2


def test_scores(tmp_path):
    settings = clean("regression", tmp_path)
    lines = with_line(with_line(rows(0, 36, ("1", "2.5")), 4, "a dog\tgood"), 8, "a cat\t2,5")
    write(settings["train"], lines)
    write(settings["dev"], [*rows(40, 52, ("1", "2.5")), "a dog\t3", "a cat\t0.5"])
    assert found(check(**settings, model=None)) == [
        ("error", "bad_score", 4),
        ("error", "bad_score", 8),
        ("warning", "scores_beyond", 14),
        ("warning", "scores_beyond", 15),
    ]
    assert found(check(**settings, model=None, score_range=(1, 5)))[:3] == [
        ("error", "bad_score", 4),
        ("error", "bad_score", 8),
        ("error", "bad_score", 15),
    ]
    write(settings["train"], [*rows(0, 36, ("1", "2.5")), "the dog sleep.\t1.0", "the dog run.\t2.4"])
    assert found(check(task="regression", train=settings["train"], model=None)) == [
        ("warning", "duplicate", 38),
        ("warning", "conflicting_labels", 39),
    ]
    write(settings["train"], [*rows(0, 36, ("1", "2.5")), "the dog sleep.\t1.0000001"])  # no two scores are one
    assert found(check(task="regression", train=settings["train"], model=None)) == [
        ("warning", "conflicting_labels", 38)
    ]
    write(settings["train"], rows(0, 36, ["1", "1.0"]))
    assert found(check(task="regression", train=settings["train"], model=None)) == [("error", "constant_scores", None)]


@pytest.mark.parametrize("task", TASKS)
def test_one_example(tmp_path, task):
    """An error where a task cannot learn of one, and where none is left for dev; training says the same."""
    settings = clean(task, tmp_path)
    lines = settings["train"].read_text(encoding="utf-8").split("\n")
    first = {"tagging": lines[:4], "question-answering": lines[:1]}.get(task, [lines[0], lines[3]])  # with a label
    write(settings["train"], first, header=None)
    few = [(f.severity, f.line) for f in check(**settings, model=None).findings if f.kind == "few_examples"]
    examples = TASKS[task].read(settings["train"], Reading())
    try:
        TASKS[task].for_training(examples, TaskOptions())
        severity = "warning"
    except DataError:
        severity = "error"
    assert severity == ("error" if task in ("classification", "regression") else "warning")
    assert few == [(severity, 1 if len(first) != 2 else 2)]
    del settings["dev"]
    assert ("error", "few_examples") in [found[:2] for found in found(check(**settings, model=None))]


# Tagging


def tagging(tmp_path: Path, lines: Sequence[str | bytes], name: str = "train.conll", **settings: Any) -> list[Found]:
    path = write(tmp_path / name, lines, header=None)
    return found(check(task="tagging", train=path, **{"model": None} | settings))


def test_broken_spans(tmp_path):
    lines = conll(12)
    lines[6] = "dog\tI-PER"
    assert tagging(tmp_path, lines) == [("error", "broken_span", 7), ("note", "rare_label", 6)]
    assert tagging(tmp_path, lines, repair_spans=True) == [("warning", "broken_span", 7), ("note", "rare_label", 6)]
    assert tagging(tmp_path, lines, tag_scheme="plain") == [("note", "rare_label", 6)]


def test_rows_of_tagged_files(tmp_path):
    lines: list[str | bytes] = [*conll(24)]
    lines[6], lines[16], lines[27] = "dog", "dog\tO\tO", b"caf\xe9\tO"
    assert tagging(tmp_path, lines) == [
        ("error", "encoding", 28),
        ("error", "ragged_row", 7),
        ("error", "ragged_row", 17),
    ]
    assert tagging(tmp_path, [*conll(12), "word\t"]) == [("error", "empty_field", 61)]
    trees = [f"1\t{noun}\t_\tNOUN{'' if i != 4 else chr(9)}" + "\t_" * 6 + "\n" for i, noun in enumerate(NOUNS[:12])]
    trees += [f"1\t{verb}\t_\tVERB" + "\t_" * 6 + "\n" for verb in VERBS[:12]]
    assert tagging(tmp_path, trees, "a.conllu") == [("error", "ragged_row", 9)]


def test_tags_and_tokens_of_json_lines(tmp_path):
    entries = [{"tokens": text.split(), "tags": ["O", "B-X", "O"]} for text in texts(0, 12)]
    entries[3]["tags"] = ["O", "O"]
    entries[7]["tags"] = ["O", "", "O"]
    entries[9]["text"] = "another text"
    assert tagging(tmp_path, [json.dumps(entry) for entry in entries], "train.jsonl") == [
        ("error", "tags_and_words", 4),
        ("error", "empty_field", 8),
        ("error", "misaligned_words", 10),
        ("note", "rare_label", 1),
    ]


def test_tags_that_train_has_not(tmp_path):
    lines = conll(5, first=40)
    lines[1], lines[6], lines[7] = "queen\tB-LOC", "king\tB-PER", "run\tI-PER"  # I-PER is known with B-PER
    dev = write(tmp_path / "dev.conll", lines, header=None)
    assert tagging(tmp_path, conll(12), dev=dev) == [("error", "unseen_label", 2)]
    plain = write(tmp_path / "plain.conll", conll(5, first=40, tags=("DET", "NOUN", "VERB", "SYM")), header=None)
    assert tagging(tmp_path, conll(12, tags=("DET", "NOUN", "VERB", "PUNCT")), dev=plain) == [
        ("error", "unseen_label", 4),
        ("note", "missing_label", None),
    ]


def test_tags_that_their_scheme_has_not(tmp_path):
    """They are errors, and the rest is looked at all the same."""
    lines = conll(5, first=40)
    lines[1], lines[6], lines[11], lines[16] = "queen\tB_PER", "king\tB_PER", "dog\tI-PER", "cat\tB-LOC"
    dev = write(tmp_path / "dev.conll", lines, header=None)
    train = write(tmp_path / "train.conll", conll(12), header=None)
    report = check(task="tagging", train=train, dev=dev, model=None)
    assert found(report) == [
        ("error", "unseen_label", 17),
        ("error", "bad_tag", 2),
        ("error", "broken_span", 12),
    ]
    assert report.findings[1].problem == "the tag 'B_PER' is none of bio's; 2 words have it"
    parts = conll(5, first=40, tags=("DET", "NOUN", "VERB", "PUNCT"))
    dev = write(tmp_path / "dev.conll", parts, header=None)
    assert tagging(tmp_path, conll(12), dev=dev) == [
        *[("error", "bad_tag", line) for line in (1, 2, 4, 3)],
        ("note", "missing_label", None),
    ]
    lines = conll(12)
    lines[1] = "dog\tS-PER"
    assert tagging(tmp_path, lines, tag_scheme="bio") == [("error", "bad_tag", 2), ("note", "rare_label", 1)]
    assert tagging(tmp_path, lines, tag_scheme="iobes")[0] == ("error", "broken_span", 7)


def test_a_span_is_not_looked_for_where_tags_are_of_no_scheme(tmp_path, model):
    lines = [f"{character}\tB-X" for character in "a dogs"] + [""] + [f"{c}\tO" for c in "the dog"]
    lines[4] = "g\tB_X"
    dev = write(tmp_path / "dev.tsv", lines, header=None)
    train = write(tmp_path / "train.tsv", lines[:4] + lines[6:], header=None)
    assert ("error", "bad_tag", 5) in found(check(task="tagging", train=train, dev=dev, model=model))


def test_tags_that_are_given(tmp_path):
    """By their values, their names, and the types of another scheme's tags."""
    lines = conll(5, first=40)
    lines[1], lines[6] = "queen\tB-LOC", "king\tI-PER"
    dev = write(tmp_path / "dev.conll", lines, header=None)
    labels = ["O", "B-PER", "I-PER"]
    assert tagging(tmp_path, conll(12), dev=dev, labels=labels) == [
        ("error", "unseen_label", 2),
        ("error", "broken_span", 7),
    ]
    assert tagging(tmp_path, conll(12), labels=["O", "B-LOC", "I-LOC"]) == [("error", "unseen_label", 2)]
    entries = [json.dumps({"tokens": text.split(), "ner_tags": [0, 1, 2]}) for text in texts(0, 12)]
    train = write(tmp_path / "train.jsonl", entries, header=None)
    settings = {"task": "tagging", "train": train, "labels": ["0=O", "1=B-PER", "2=I-PER"], "model": None}
    assert found(check(**settings)) == []
    broken = [json.dumps({"tokens": text.split(), "ner_tags": [0, 2, 3]}) for text in texts(40, 42)]
    dev = write(tmp_path / "dev.jsonl", broken, header=None)
    report = check(**settings, dev=dev)
    assert [(f.severity, f.kind, f.line) for f in report.findings if f.severity == "error"] == [("error", "bad_tag", 1)]
    write(dev, [json.dumps({"tokens": text.split(), "ner_tags": [0, 2, 0]}) for text in texts(40, 42)], header=None)
    assert ("error", "broken_span", 1) in found(check(**settings, dev=dev))
    named = conll(3, first=40, tags=("O", "S-PER", "O", "O"))  # converted, as training does
    dev = write(tmp_path / "dev.conll", named, header=None)
    assert found(check(**settings, dev=dev)) == [("note", "tag_schemes", 1)]


def test_schemes_and_units(tmp_path):
    dev = write(tmp_path / "dev.conll", conll(5, first=40, tags=("O", "S-PER", "O", "O")), header=None)
    assert tagging(tmp_path, conll(12), dev=dev) == [("note", "tag_schemes", 1)]
    characters = [f"{character}\tO" for character in "a dog"] + [""] + [f"{character}\tB-PER" for character in "a b"]
    dev = write(tmp_path / "dev.conll", characters, header=None)
    assert tagging(tmp_path, conll(12), dev=dev) == [("error", "tag_units", 1)]


def test_a_missing_blank_line(tmp_path):
    lines = [*conll(12), *[line for line in conll(80, first=20) if line]]
    assert tagging(tmp_path, lines) == [("warning", "long_sentence", 61)]


def test_spans_within_a_token(tmp_path, model):
    """The vocabulary has dog and ##s, and no piece that begins or ends inside dog."""
    marked = {"the dog": "OOOOBII", "the dogs": "OOOOBIIO", "a dogs": "OOBIOO"}
    lines = [
        line
        for text, letters in marked.items()
        for line in (
            *(f"{c}\t{letter if letter == 'O' else letter + '-X'}" for c, letter in zip(text, letters, strict=True)),
            "",
        )
    ]
    path = write(tmp_path / "train.tsv", lines, header=None)
    report = check(task="tagging", train=path, model=model)
    assert [(f.line, f.problem) for f in report.findings if f.kind == "misaligned_span"] == [
        (20, f"the X 'do' ends inside a token of {model}")
    ]


# Questions


def questions(tmp_path: Path, entries: Sequence[Any], **settings: Any) -> list[Found]:
    lines = [entry if isinstance(entry, str | bytes) else json.dumps(entry) for entry in entries]
    path = write(tmp_path / "train.jsonl", lines, header=None)
    return found(check(task="question-answering", train=path, **{"model": None} | settings))


def test_question_lines(tmp_path):
    entries: list[Any] = [question(n) for n in range(12)]
    entries[2] = question(2, answers=[{"text": "palace", "answer_start": 0}])
    entries[4] = question(4, question=" ")
    entries[5] = question(5, answers=[{"text": "house", "answer_start": 0}])
    entries[6] = question(6, answers=[], is_impossible=False)
    entries[8] = "{"
    entries[9] = question(9, id="q1")
    entries[10] = b"\xff"
    assert questions(tmp_path, entries) == [
        ("error", "encoding", 11),
        ("error", "answer_not_in_context", 3),
        ("error", "empty_field", 5),
        ("error", "no_answer", 7),
        ("error", "not_json", 9),
        ("error", "duplicate_id", 10),
        ("warning", "repaired_answer", 6),
    ]


def test_question_lines_of_a_json_file(tmp_path):
    """The reader takes them too."""
    entries = [question(n) for n in range(12)]
    del entries[7]["question"]
    lines = [json.dumps(entry) for entry in entries]
    path = write(tmp_path / "train.json", lines, header=None)
    report = check(task="question-answering", train=path, model=None)
    assert [(f.severity, f.line, f.field) for f in report.findings] == [("error", 8, None)]
    assert report.findings[0].problem.startswith("the key 'question' is missing, which holds text: add it")
    assert report.sets[0].num_examples == 11


def test_places_in_squad(tmp_path):
    entries = [question(n) for n in range(12)]
    entries[2] = question(2, answers=[{"text": "palace", "answer_start": 0}])
    entries[7] = question(7, answers=[{"text": "house", "answer_start": 0}])
    entries[9] = question(9, id="q3")
    entries[11] = question(11, question="")
    path = tmp_path / "train.json"
    path.write_text(squad(entries))
    report = check(task="question-answering", train=path, model=None)
    assert [(f.severity, f.kind, f.field) for f in report.findings] == [
        ("error", "answer_not_in_context", "data[2].paragraphs[0].qas[0].answers[0]"),
        ("error", "empty_field", "data[11].paragraphs[0].qas[0].question"),
        ("error", "duplicate_id", "data[9].paragraphs[0].qas[0]"),
        ("warning", "repaired_answer", "data[7].paragraphs[0].qas[0].answers[0]"),
    ]
    assert "that of data[3].paragraphs[0].qas[0] too" in report.findings[2].problem
    assert (report.sets[0].num_examples, report.sets[0].num_refused) == (10, 2)
    path.write_text('{"data": [')
    [finding] = check(task="question-answering", train=path, model=None).findings
    assert (finding.kind, finding.line) == ("not_json", 1)


def test_questions_among_sets(tmp_path):
    entries = [question(n) for n in range(12)]
    dev = tmp_path / "dev.json"
    dev.write_text(squad([question(20), question(3), {**question(4), "id": "q21", "question": "what ?"}]))
    assert questions(tmp_path, entries, dev=dev) == [
        ("warning", "leak", None),
        ("warning", "shared_context", None),
    ]
    dev.write_text(squad([question(20), question(21, answers=[], is_impossible=True)]))
    assert questions(tmp_path, entries, dev=dev) == [("warning", "unanswerable", None)]
    assert questions(tmp_path, [question(n, answers=[]) for n in range(12)]) == [("error", "no_answer", None)]
    assert questions(tmp_path, [*entries, {**question(2), "id": "other"}]) == [("warning", "duplicate", 13)]


def test_answers_within_a_token(tmp_path, model):
    """The vocabulary has dog and ##s: dog is a span of tokens, do is none."""
    context = "the dogs sleep near the house"
    entries = [
        question(0, context=context, answers=[{"text": "dog", "answer_start": 4}]),
        question(1, context=context, answers=[{"text": "do", "answer_start": 4}]),
    ]
    path = write(tmp_path / "train.jsonl", [json.dumps(entry) for entry in entries], header=None)
    report = check(task="question-answering", train=path, model=model, max_query_length=3)
    misaligned = [finding for finding in report.findings if finding.kind == "misaligned_answer"]
    assert [(finding.line, finding.problem) for finding in misaligned] == [
        (2, f"the answer 'do' ends inside a token of {model}")
    ]
    assert ("warning", "long_questions", 1) in found(report)


# With the tokenizer


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory) -> str:
    """A tokenizer like GPT-2's: blanks belong to the words behind them, in the places of its tokens too."""
    folder = tmp_path_factory.mktemp("bytes")
    lines = ["the dogs sleep near the house", "a dogs", "the dogs"] * 3
    train_on_texts(lines, kind="bpe", family="gpt", vocab_size=400, min_frequency=1).save(folder)
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    [processor] = [part for part in state["post_processor"]["processors"] if part["type"] == "ByteLevel"]
    processor["trim_offsets"] = False  # as in the tokenizer.json that OpenAI's model comes with
    (folder / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    return str(folder)


def test_a_blank_is_no_part_of_a_token(tmp_path, byte_level):
    """A word is one token with the blank before it, and begins where it does."""
    context = "the dogs sleep near the house"
    answers = [("dogs", 4), ("dog", 4), (" sleep ", 8)]
    entries = [
        question(n, context=context, answers=[{"text": text, "answer_start": start}])
        for n, (text, start) in enumerate(answers)
    ]
    path = write(tmp_path / "train.jsonl", [json.dumps(entry) for entry in entries], header=None)
    report = check(task="question-answering", train=path, model=byte_level)
    assert [(f.line, f.problem) for f in report.findings if f.kind == "misaligned_answer"] == [
        (2, f"the answer 'dog' ends inside a token of {byte_level}")
    ]
    marked = {"the dogs": "OOOOBIII", "a dogs": "OOBIIO"}
    lines = [
        line
        for text, letters in marked.items()
        for line in (
            *(f"{c}\t{letter if letter == 'O' else letter + '-X'}" for c, letter in zip(text, letters, strict=True)),
            "",
        )
    ]
    report = check(task="tagging", train=write(tmp_path / "train.tsv", lines, header=None), model=byte_level)
    assert [(f.line, f.problem) for f in report.findings if f.kind == "misaligned_span"] == [
        (12, f"the X 'dog' ends inside a token of {byte_level}")
    ]


def test_words_are_counted_as_training_reads_them(tmp_path, byte_level):
    """With a blank before each, so that a byte-level tokenizer has the same tokens as in a text."""
    path = write(tmp_path / "train.conll", conll(12, tags=("O", "B-X", "O", "O")), header=None)
    report = check(task="tagging", train=path, model=byte_level)
    sentences = TASKS["tagging"].read(path, Reading())
    task = TASKS["tagging"].for_training(sentences, TaskOptions())
    samples = task.encode(sentences, load_tokenizer(byte_level), max_seq_length=99)
    assert report.sets[0].max_tokens == samples.lengths.max()
    assert report.sets[0].mean_tokens == samples.lengths.mean()


def test_unknown_tokens(tmp_path, model):
    path = write(tmp_path / "train.tsv", with_line(with_line(GOOD, 5, "zzz dog\tgood"), 9, "zzz yyy zzz\tgood"))
    [finding] = check(train=path, model=model).findings
    assert (finding.severity, finding.kind, finding.line) == ("warning", "unknown_tokens", 9)
    # 22 sentences of 4 tokens, 2 and 3 tokens: 93, 4 of them unknown
    assert finding.problem == (
        f"unknown to {model}: 4 of 93 tokens (4.30%), in 2 of 24 texts; most in line 9, line 5. Often 'zzz', 'yyy'"
    )
    report = check(train=write(path, [*rows(0, 105), "zzz dog\tgood"]), model=model)
    assert found(report) == [("note", "unknown_tokens", 107)]  # 1 of 422
    assert report.sets[0].unknown_rate == 1 / 422


def test_a_korean_vocabulary_behind_an_uncased_normalizer(tmp_path):
    """As a vocab.txt alone is read: BERT's lower-casing takes syllables apart."""
    syllables = [chr(ord("가") + 28 * i) for i in range(101)]
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in [*VOCABULARY[:5], *syllables]))
    train = write(
        tmp_path / "train.tsv", [f"{a} {b}\t{'good' if a < b else 'bad'}" for a in "가개갸" for b in "가개갸거걔게"]
    )
    [finding] = [f for f in check(train=train, model=str(tmp_path)).findings if f.kind == "unknown_tokens"]
    assert finding.severity == "warning"
    assert "36 of 36 tokens (100.00%)" in finding.problem
    assert finding.advice.endswith('let tokenizer_config.json say "do_lower_case": false')
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert not [f for f in check(train=train, model=str(tmp_path)).findings if f.kind == "unknown_tokens"]


def test_truncation(tmp_path, model):
    path = write(tmp_path / "train.tsv", [*GOOD, "the dog sleep near the house.\tgood", "a\tbad"])
    settings = {"train": path, "model": model}
    assert found(check(**settings, max_seq_length=9)) == []
    report = check(**settings, max_seq_length=6)
    [finding] = report.findings
    assert (finding.severity, finding.kind, finding.line) == ("warning", "long_texts", 26)
    # [CLS] the dog sleep near the house . [SEP]: 9 tokens, and 24 of 6 and one of 3
    assert finding.problem == "more than 6 tokens in 1 of 26 texts, 9 in the longest: the rest is cut, 3 tokens (1.92%)"
    assert (report.sets[0].max_tokens, report.sets[0].num_long, report.max_seq_length) == (9, 1, 6)
    assert report.sets[0].mean_tokens == (24 * 6 + 9 + 3) / 26
    [finding] = check(**settings, max_seq_length=6, long_texts="windows").findings
    assert (finding.severity, finding.problem.endswith("9 in the longest: they are read through windows")) == (
        "note",
        True,
    )


def test_nothing_left_of_a_text(tmp_path, model):
    path = write(tmp_path / "train.tsv", with_line(GOOD, 5, "\u200b\u200b\tgood"))
    assert found(check(train=path, model=model)) == [("error", "nothing_left", 5)]
    assert found(check(train=path, model=None)) == []


def test_decomposed_text_that_a_tokenizer_reads_otherwise(tmp_path, model):
    path = write(tmp_path / "train.tsv", with_line(GOOD, 5, "the do\u0301g sleep near the house.\tgood"))
    [finding] = check(train=path, model=model).findings  # it takes accents away
    assert (finding.severity, finding.kind, finding.line) == ("note", "decomposed_text", 5)
    assert finding.problem.endswith(f"(NFD, or half-width); {model} reads them like the same in NFC")
    folder = tmp_path / "cased"
    folder.mkdir()
    pieces = [*VOCABULARY, "d", "##o", "##\u0301", "##g", "d\u00f3g"]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in pieces))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    [finding] = check(train=path, model=str(folder)).findings
    assert finding.severity == "warning"
    assert f"{folder} reads 1 of them otherwise than the same in NFC" in finding.problem
    many = [f"the do\u0301g sleep {number}.\tgood" for number in range(1500)]
    [finding] = [
        f for f in check(train=write(path, [*GOOD, *many]), model=str(folder)).findings if f.kind == "decomposed_text"
    ]
    assert f"{folder} reads 750 of the 750 looked at otherwise" in finding.problem  # every other one is tried
    hangul = write(tmp_path / "train.tsv", with_line(GOOD, 5, "\u1112\u1161\u11ab\tgood"))
    [finding] = check(train=hangul, model=None).findings
    assert "Hangul syllables as letters in 1 of 24 texts" in finding.problem


def test_a_model_that_is_not_there(tmp_path):
    path = write(tmp_path / "train.tsv", GOOD)
    report = check(train=path, model=str(tmp_path / "absent"))
    assert found(report) == [("warning", "no_tokenizer", None)]
    assert report.model is None
    assert report.sets[0].mean_tokens is None
    assert check(train=path, model=tmp_path / "absent").to_dict() == report.to_dict()
    json.dumps(report.to_dict())


# Settings, and what else there is


def test_settings(tmp_path):
    with pytest.raises(SettingsError, match="there is no file to look at"):
        check(model=None)
    with pytest.raises(SettingsError, match="task is 'parsing': it must be one of classification, multi-label"):
        CheckSettings(task="parsing", train="a.tsv")  # type: ignore[arg-type]
    from unmask.workflows.settings import FinetuneSettings

    finetune = FinetuneSettings(train="a.tsv", dev=("b.tsv",), max_seq_length=7, text_column="review", model="other")
    settings = CheckSettings.of(finetune)
    assert (settings.train, settings.dev, settings.max_seq_length, settings.model) == ("a.tsv", ("b.tsv",), 7, "other")
    assert settings.reading("b.tsv", "validation") == finetune.reading("b.tsv", "validation")
    assert settings.reading("b.tsv", "validation").columns == Columns(text="review")
    assert settings.reading("org/name", "validation").split == "validation"
    assert settings.reading("b.tsv", "validation").split is None


def test_a_sieve_finds_all_that_is_refused_and_keeps_the_rest():
    rng = random.Random(5)
    for _ in range(15):
        units = list(range(rng.randrange(1, 200)))
        bad = set(rng.sample(units, rng.randrange(len(units) + 1)))

        def read(some: Sequence[int], bad: set[int] = bad) -> list[int]:
            for unit in some:
                if unit in bad:
                    raise DataError(f"{unit} is bad")
            return list(some)

        sieve = Sieve(read)
        assert sieve(units) == [unit for unit in units if unit not in bad]
        assert [(unit, error.problem) for unit, error in sieve.refused] == [(u, f"{u} is bad") for u in sorted(bad)]


def test_reports_as_json(tmp_path, model):
    train = write(tmp_path / "train.tsv", [*GOOD, "the dog sleep.\tbad"])
    report = check(train=train, model=model)
    content = json.loads(json.dumps(report.to_dict()))
    assert list(content) == ["task", "model", "max_seq_length", "counts", "data", "findings"]
    assert content["counts"] == {"error": 0, "warning": 1, "note": 0}
    assert content["findings"] == [
        {
            "severity": "warning",
            "kind": "conflicting_labels",
            "problem": "labelled bad here and good in line 2: 'the dog sleep.'",
            "path": str(train),
            "line": 26,
            "field": None,
            "advice": "find out which is right: a model cannot learn both",
        }
    ]
    assert content["data"] == [
        {
            "role": "train",
            "data": str(train),
            "num_examples": 25,
            "num_refused": 0,
            "labels": {"bad": 13, "good": 12},
            "num_labels": 2,
            "mean_tokens": 6.0,
            "max_tokens": 6,
            "unknown_rate": 0.0,
            "num_long": 0,
        }
    ]


# Real data


@pytest.mark.real_data
def test_cola(data_dir):
    names = {"column_names": ["source", "label", "star", "sentence"], "model": None}
    report = check(
        train=data_dir / "cola/in_domain_train.tsv",
        dev=[data_dir / "cola/in_domain_dev.tsv", data_dir / "cola/out_of_domain_dev.tsv"],
        **names,
    )
    assert report.counts["error"] == 0
    assert [data.num_examples for data in report.sets] == [8551, 527, 516]
    assert report.sets[0].labels == {"1": 6023, "0": 2528}
    lines = (data_dir / "cola/in_domain_train.tsv").read_text(encoding="utf-8").splitlines()
    seen: dict[str, str] = {}
    same, other = [], []
    for number, line in enumerate(lines, start=1):  # an oracle of a few lines; CoLA has no text in NFD
        _, label, _, text = line.split("\t")
        before = seen.setdefault(" ".join(text.casefold().split()), label)
        if len(seen) + len(same) + len(other) < number:
            (same if before == label else other).append(number)
    for kind, numbers in (("duplicate", same), ("conflicting_labels", other)):
        assert numbers
        assert [
            finding.line for finding in report.findings if finding.kind == kind and finding.path.endswith("train.tsv")
        ] == numbers


@pytest.mark.real_data
def test_cola_raw_beside_tokenised(data_dir, tmp_path):
    """The first sentences as CoLA's tokenized/ folder has them: NLTK parts clitics and punctuation."""
    import re

    lines = (data_dir / "cola/in_domain_train.tsv").read_text(encoding="utf-8").splitlines()[:500]
    tokenised = [re.sub(r"(?<=\w)(n't|'s|[.,?!])(?=\s|$)", r" \1", line) for line in lines]
    train = write(tmp_path / "train.tsv", tokenised, header=None)
    names = {"column_names": ["source", "label", "star", "sentence"], "model": None}
    report = check(train=train, dev=data_dir / "cola/in_domain_dev.tsv", **names)
    [finding] = [finding for finding in report.findings if finding.kind == "raw_and_tokenised"]
    assert (finding.severity, finding.path, finding.line) == ("warning", str(train), 1)
    assert "are raw" in finding.problem


NEAR = {
    "lower case": (("o", "b-per", "o", "o"), "the tags 'b-per' look like those", "write them as B-PER and O, or name"),
    "underscore": (("O", "B_ORG", "I_ORG", "O"), "the tags 'B_ORG', 'I_ORG' look", "--labels B_ORG=B-ORG ...;"),
    "letter last": (("-", "PER_B", "PER_I", "-"), "the tags 'PER_B', 'PER_I' look", "write them as B-PER and O"),
    "numbers": (("0", "3", "10", "0"), "the tags are numbers ('0', '3', '10'): they are", "--labels 0=O 1=B-PER ..."),
}


@pytest.mark.parametrize("what", NEAR)
def test_tags_that_nearly_mark_spans(tmp_path, what):
    """Else they would be learnt word by word, and no one would be told."""
    tags, problem, advice = NEAR[what]
    assert tagging(tmp_path, conll(12, tags=tags)) == [("warning", "near_scheme", 1)]
    settings = {"task": "tagging", "train": tmp_path / "train.conll", "model": None}
    [finding] = check(**settings).findings
    assert finding.problem.startswith(problem)
    assert finding.problem.endswith("they are learnt word by word, and no spans are found")
    assert advice in finding.advice
    assert finding.advice.endswith("say --tag-scheme plain if they mark none")
    assert finding.field == "2"
    assert check(**settings, tag_scheme="plain").findings == ()
    named = [
        f"{tag}={'O' if tag == tags[0] else name}" for tag, name in zip(tags[:3], ("O", "B-X", "I-X"), strict=True)
    ]
    report = check(**settings, labels=tuple(dict.fromkeys(named)))
    assert "near_scheme" not in [finding.kind for finding in report.findings]


def test_tags_that_mark_none_are_not_near(tmp_path):
    for tags in (("DET", "NOUN", "VERB", "PUNCT"), ("O", "B-PER", "O", "O"), ("d", "n-1", "v", "o")):
        assert "near_scheme" not in [kind for _, kind, _ in tagging(tmp_path, conll(12, tags=tags))]


def test_what_dev_lacks_is_told_by_type_whatever_its_scheme(tmp_path):
    train = write(tmp_path / "train.conll", conll(12, tags=("S-LOC", "B-PER", "E-PER", "O")), header=None)
    dev = write(tmp_path / "dev.conll", conll(5, first=40, tags=("O", "B-PER", "I-PER", "O")), header=None)
    report = check(task="tagging", train=train, dev=dev, model=None)
    assert found(report) == [("note", "missing_label", None), ("note", "tag_schemes", 1)]
    assert report.findings[0].problem == "no example has the type 'LOC'"


def test_a_label_that_differs_in_case_is_told_with_its_column(tmp_path):
    train, dev = write(tmp_path / "train.tsv", GOOD), write(tmp_path / "dev.tsv", [*rows(30, 36), "a cat\tGood"])
    errors = [finding for finding in check(train=train, dev=dev, model=None).findings if finding.severity == "error"]
    assert [str(finding) for finding in errors] == [
        f"{dev}, line 8, column 'label': the label 'Good' is not one the model was given to learn (bad, good): 'good' "
        "differs from it in case only: write them alike"
    ]


def test_one_sentence_for_want_of_blank_lines(tmp_path):
    train = write(tmp_path / "train.conll", [line for line in conll(12) if line], header=None)
    [finding] = [f for f in check(task="tagging", train=train, model=None).findings if f.severity == "error"]
    assert (finding.kind, finding.problem) == ("few_examples", "there is one sentence, and nothing to tell it from")
    assert finding.advice == "is the blank line between sentences missing? If not, give more"


def test_answers_that_were_repaired_are_not_told_again_by_a_run(tmp_path):
    """Reading them says so in a line of the log."""
    path = tmp_path / "train.json"
    entries = [question(n) for n in range(12)]
    entries[7] = question(7, answers=[{"text": "house", "answer_start": 0}])
    path.write_text(squad(entries))
    report = check(task="question-answering", train=path, model=None)
    assert [finding.kind for finding in report.findings] == ["repaired_answer"]
    assert report.lines("error", "warning") == []


def test_one_of_a_kind_is_one(tmp_path, model):
    path = tmp_path / "train.json"
    path.write_text(squad([question(0)]))
    report = check(task="question-answering", train=path, model=model, max_seq_length=9, max_query_length=1)
    said = " ".join(finding.problem for finding in report.findings)
    assert "in 1 of 1 question, " in said
    assert "more than 1 token" in said
    assert not re.search(r"\b1 (questions|texts|sentences|tokens)\b", said)
