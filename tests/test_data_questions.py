"""Reading questions and answers. Run alone: `.venv/bin/python -m pytest tests/test_data_questions.py`."""

from __future__ import annotations

import copy
import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from unmask.data import Answer, QuestionExample, read_questions, split_by_article
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = "The Normans came from Norway. Norway is cold."  # "Norway" at 22 and 30, "cold" at 40
SQUAD: dict[str, Any] = {
    "version": "v2.0",
    "data": [
        {
            "title": "Normans",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {
                            "id": "q1",
                            "question": "Whence?",
                            "answers": [
                                {"text": "Norway", "answer_start": 22},
                                {"text": "from Norway", "answer_start": 17},
                            ],
                            "is_impossible": False,
                        },
                        {
                            "id": "q2",
                            "question": "Who won?",
                            "answers": [],
                            "is_impossible": True,
                            "plausible_answers": [{"text": "The Normans", "answer_start": 0}],
                        },
                    ],
                },
                {
                    "context": "한국의 수도는 서울이다.",
                    "qas": [{"id": 3, "question": "수도는?", "answers": [{"text": "서울"}]}],
                },
            ],
        }
    ],
}


def write(folder: Path, content: Any, name: str = "a.json") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def write_lines(folder: Path, *records: Any, name: str = "a.jsonl") -> Path:
    return write(folder, "\n".join(map(json.dumps, records)).encode(), name)


def question(**changes: Any) -> dict[str, Any]:
    """One question of JSON lines, right as it is; a change to ... leaves a key out."""
    record = {"question": "Whence?", "context": CONTEXT, "answers": [{"text": "cold", "answer_start": 40}], **changes}
    return {key: value for key, value in record.items() if value is not ...}


def refuses(message: str) -> pytest.RaisesExc[DataError]:
    return pytest.raises(DataError, match=re.escape(message))


# SQuAD


def test_squad(tmp_path: Path) -> None:
    path = write(tmp_path, SQUAD)
    examples, check = read_questions(path)
    assert examples[0] == QuestionExample(
        id="q1",
        question="Whence?",
        context=CONTEXT,
        answers=(Answer("Norway", 22), Answer("from Norway", 17)),
        is_impossible=False,
        title="Normans",
        source=str(path),
        line=None,
        place="data[0].paragraphs[0].qas[0]",
        paragraph=0,
    )
    assert examples[0].answers[1].end == 28
    assert (examples[1].answers, examples[1].is_impossible, examples[1].paragraph) == ((), True, 0)
    assert examples[1].context is examples[0].context
    assert (examples[2].id, examples[2].answers, examples[2].paragraph) == ("3", (Answer("서울", 8),), 1)
    assert examples[2].place == "data[0].paragraphs[1].qas[0]"
    assert (check.num_answers, check.findings) == (3, ())


def test_squad_gzipped_indented_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(SQUAD, indent=1).replace("\n", "\r\n").encode()
    path = write(tmp_path, gzip.compress(content), "a.json.gz")
    assert [example.id for example in read_questions(path)[0]] == ["q1", "q2", "3"]


def test_without_labels_answers_are_neither_read_nor_needed(tmp_path: Path) -> None:
    squad = copy.deepcopy(SQUAD)
    first, second = squad["data"][0]["paragraphs"][0]["qas"]
    del first["answers"]
    second["answers"] = "broken"
    examples, check = read_questions(write(tmp_path, squad), labelled=False)
    assert [(example.answers, example.is_impossible) for example in examples] == [((), False)] * 3
    assert check.num_answers == 0


@pytest.mark.parametrize(
    ("keys", "value", "place", "message"),
    [
        (["data"], ..., None, "there is no key 'data' as SQuAD has it: questions are read from SQuAD's JSON"),
        (["data"], {}, "data", "expected a list, found {}"),
        (["data", 0], "text", "data[0]", "expected an object, found 'text'"),
        (["data", 0, "title"], 7, "data[0].title", "expected text, found 7"),
        (
            ["data", 0, "paragraphs"],
            ...,
            "data[0]",
            "the key 'paragraphs' is missing, which holds a list: add it. The keys here",
        ),
        (["data", 0, "paragraphs", 0, "context"], " \n", "data[0].paragraphs[0].context", "the context is empty"),
        (["data", 0, "paragraphs", 0, "context"], "a\0b", "data[0].paragraphs[0].context", "holds a NUL"),
        (["data", 0, "paragraphs", 1, "qas"], None, "data[0].paragraphs[1].qas", "expected a list, found None"),
        (["data", 0, "paragraphs", 0, "qas", 1, "id"], ..., "data[0].paragraphs[0].qas[1]", "the key 'id' is missing"),
        (["data", 0, "paragraphs", 0, "qas", 1, "id"], True, "data[0].paragraphs[0].qas[1].id", "found True"),
        (
            ["data", 0, "paragraphs", 1, "qas", 0, "id"],
            "q1",
            "data[0].paragraphs[1].qas[0].id",
            "the id 'q1' is that of data[0].paragraphs[0].qas[0] too",
        ),
        (
            ["data", 0, "paragraphs", 0, "qas", 1, "question"],
            "",
            "data[0].paragraphs[0].qas[1].question",
            "the question is empty",
        ),
        (
            ["data", 0, "paragraphs", 0, "qas", 0, "answers"],
            ...,
            "data[0].paragraphs[0].qas[0]",
            "the key 'answers' is missing, which holds a list of answers: add it. The keys here are 'id', 'question'",
        ),
        (
            ["data", 0, "paragraphs", 0, "qas", 0, "answers", 1, "text"],
            "from Sweden",
            "data[0].paragraphs[0].qas[0].answers[1]",
            "the answer 'from Sweden' to 'Whence?' is not in its context",
        ),
        (
            ["data", 0, "paragraphs", 0, "qas", 0, "answers", 1, "text"],
            " ",
            "data[0].paragraphs[0].qas[0].answers[1].text",
            "the text is empty",
        ),
        (
            ["data", 0, "paragraphs", 0, "qas", 0, "answers", 0, "answer_start"],
            "22",
            "data[0].paragraphs[0].qas[0].answers[0].answer_start",
            "expected a whole number, found '22': write it without quotes",
        ),
        (
            ["data", 0, "paragraphs", 0, "qas", 0, "answers"],
            [],
            "data[0].paragraphs[0].qas[0]",
            "there is no answer",
        ),
        (
            ["data", 0, "paragraphs", 0, "qas", 0, "is_impossible"],
            True,
            "data[0].paragraphs[0].qas[0]",
            "said to be impossible and has answers",
        ),
        (
            ["data", 0, "paragraphs", 0, "qas", 0, "is_impossible"],
            "no",
            "data[0].paragraphs[0].qas[0].is_impossible",
            "expected true or false, found 'no'",
        ),
    ],
)
def test_what_is_wrong_in_squad_is_named_by_its_path(
    tmp_path: Path, keys: list[str | int], value: Any, place: str, message: str
) -> None:
    squad = copy.deepcopy(SQUAD)
    record: Any = squad
    for key in keys[:-1]:
        record = record[key]
    if value is ...:
        del record[keys[-1]]
    else:
        record[keys[-1]] = value
    path = write(tmp_path, squad)
    with refuses(message) as caught:
        read_questions(path)
    field = "" if place is None else f", {'field' if '[' in place else 'column'} '{place}'"
    assert str(caught.value).startswith(f"{path}{field}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: not JSON (Expecting value): name another, or see why nothing was written into it"),
        (
            b'{"data":\n [1,\n}',
            'line 3: not JSON (Expecting value): questions are read from SQuAD\'s JSON, {"data": [...]}, or',
        ),
        (
            b'{"data": [{"title": "No',
            "line 1: not JSON (Unterminated string starting at): the file seems to be cut short",
        ),
        (
            b'{"data": [{"title": "A"},\n',
            "not JSON (Expecting value): the file seems to be cut short, fetch or write it",
        ),
        (b"sentence\tlabel\na\tb\n", "line 1: not JSON (Expecting value): questions are read from SQuAD's JSON"),
        (b'{"data": []}\n{"data": []}\n', "line 2: not JSON (Extra data): name a file with one object a line .jsonl"),
        (b'{"data":\n\n "\xff"}', "line 3: byte 3 (0xff) is not UTF-8"),
        (b"[1]", "there is no key 'data' as SQuAD has it"),
        (b'{"data": []}', "there is no question in this file"),
        (b'{"data": [{"paragraphs": [{"context": "a", "qas": []}]}]}', "there is no question in this file"),
    ],
)
def test_files_that_are_not_squad(tmp_path: Path, content: bytes, message: str) -> None:
    with refuses(message):
        read_questions(write(tmp_path, content))


# JSON lines


def test_json_lines(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path,
        question(id="x", title="T"),
        question(answers=["cold", "The Normans"]),
        question(answers={"text": ["Norway", "cold"], "answer_start": [30, 40]}, extra=1),
        question(answers={"text": [], "answer_start": []}),
        question(answers=[], context="Another text."),
        question(answers=[{"text": "cold", "answer_start": None}], is_impossible=False),
    )
    examples, check = read_questions(path)
    assert [example.id for example in examples] == ["x", "2", "3", "4", "5", "6"]
    assert [example.line for example in examples] == [1, 2, 3, 4, 5, 6]
    assert [example.title for example in examples] == ["T", None, None, None, None, None]
    assert [example.paragraph for example in examples] == [0, 0, 0, 0, 1, 0]
    assert [example.is_impossible for example in examples] == [False, False, False, True, True, False]
    assert [example.answers for example in examples] == [
        (Answer("cold", 40),),
        (Answer("cold", 40), Answer("The Normans", 0)),
        (Answer("Norway", 30), Answer("cold", 40)),
        (),
        (),
        (Answer("cold", 40),),
    ]
    assert (check.num_answers, check.findings) == (6, ())


def test_a_file_of_one_line_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text, **more: parsed.append(text) or loads(text, **more))
    content = json.dumps(SQUAD, ensure_ascii=False)
    for text, times in ((f"\n{content}\n \n", 1), (json.dumps(SQUAD, indent=1), 2)):  # of the latter's "{" first
        parsed.clear()
        examples, _ = read_questions(write(tmp_path, text.encode(), "squad.json"))
        assert len(parsed) == times
        assert examples == read_questions(tmp_path / "squad.json", format="squad")[0]
    with refuses("not JSON (Extra data): name a file with one object a line .jsonl"):
        read_questions(write(tmp_path, f"{content}\n{content}".encode(), "squad.json"))


def test_the_format_follows_from_the_content_where_the_name_does_not_tell(tmp_path: Path) -> None:
    lines = write_lines(tmp_path, question(), question(), name="lines.json")
    assert [example.line for example in read_questions(lines)[0]] == [1, 2]
    with refuses("not JSON"):
        read_questions(lines, format="squad")
    squad = write(tmp_path, SQUAD, "squad.jsonl")
    assert len(read_questions(squad, format="squad")[0]) == 3
    with pytest.raises(SettingsError, match="no format 'xml' of questions: choose squad or jsonl"):
        read_questions(squad, format="xml")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (question(question=""), "line 2, column 'question': the question is empty"),
        (question(context="\t"), "line 2, column 'context': the context is empty"),
        (
            question(context=...),
            "line 2: the key 'context' is missing, which holds text: add it. The keys here are 'question', 'answers'",
        ),
        (question(answers=...), "line 2: the key 'answers' is missing"),
        (question(answers="cold"), "line 2, column 'answers': expected a list of answers, found 'cold'"),
        (question(answers=[3]), "line 2, field 'answers[0]': expected a text, or an object"),
        (question(answers=["hot"]), "line 2, field 'answers[0]': the answer 'hot' to 'Whence?' is not in its context"),
        (
            question(answers=["COLD"]),
            "line 2, field 'answers[0]': the answer 'COLD' to 'Whence?' is not in its context",
        ),
        (question(answers={"text": ["cold"], "answer_start": []}), "column 'answers': there are 1 text and 0 starts"),
        (
            question(answers=[{"text": "cold", "answer_start": 4.0}]),
            "field 'answers[0].answer_start': expected a whole number, found 4.0: correct the file",
        ),
        (question(is_impossible=True), "line 2: the question is said to be impossible and has answers"),
        (question(answers=[], is_impossible=False), "line 2: there is no answer"),
        (question(id="1"), "line 2, column 'id': the id '1' is that of line 1 too"),
        (question(question="half \ud800"), "line 2, column 'question': the text holds a NUL or half"),
        ([1], "line 2: expected one JSON object in each line"),
    ],
)
def test_what_is_wrong_in_json_lines_is_named_by_its_line(tmp_path: Path, record: Any, message: str) -> None:
    path = write_lines(tmp_path, question(), record)
    with refuses(message) as caught:
        read_questions(path)
    assert str(caught.value).startswith(f"{path}, line 2")


def test_an_answer_in_another_unicode_form_is_told_as_such(tmp_path: Path) -> None:
    record = question(context="Un café.", answers=["cafe\u0301"])
    with refuses("alike after Unicode normalization: bring both to NFC"):
        read_questions(write_lines(tmp_path, record))


def test_empty_files_and_names_that_are_none(tmp_path: Path) -> None:
    with refuses("there is no question in this file"):
        read_questions(write(tmp_path, b"\n", "a.jsonl"))
    with refuses("questions are read from a file"):
        read_questions(tmp_path)
    with refuses("there is no such file"):
        read_questions(tmp_path / "none.json")


# Answers against their context


def test_answers_that_are_not_where_they_are_said_to_be(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path,
        question(answers=[{"text": "cold", "answer_start": 38}]),
        question(answers=[{"text": "Norway", "answer_start": 27}]),
        question(answers=[{"text": "Norway", "answer_start": 25}, {"text": "Norway", "answer_start": 30}]),
        question(answers=["Norway"]),
        question(answers=[{"text": " cold ", "answer_start": 39}]),
        question(answers=[{"text": "cold", "answer_start": -1}, {"text": "The", "answer_start": -45}]),
        question(context="aaa b", answers=[{"text": "aa", "answer_start": 3}]),
    )
    examples, check = read_questions(path)
    assert [[answer.start for answer in example.answers] for example in examples] == [
        [40],
        [30],  # 3 characters away, and the other 5
        [22, 30],
        [22],  # the first, where nothing is said
        [40],
        [40, 0],
        [1],  # occurrences may overlap
    ]
    assert examples[4].answers[0].text == "cold"
    for example in examples:
        for answer in example.answers:
            assert example.context[answer.start : answer.end] == answer.text
    assert check.num_answers == 9
    assert [(finding.kind, finding.line) for finding in check.findings] == [
        ("repaired_answer", 1),
        ("ambiguous_answer", 2),
        ("ambiguous_answer", 3),
        ("ambiguous_answer", 4),
        ("repaired_answer", 5),
        ("repaired_answer", 6),
        ("repaired_answer", 6),
        ("ambiguous_answer", 7),
    ]
    assert str(check.findings[0]) == (
        f"{path}, line 1, field 'answers[0]': the answer 'cold' is at character 40, not 38: it is read from there"
    )
    assert check.findings[1].problem == (
        "the answer 'Norway' occurs 2 times, and not at character 27: the nearest, at 30, is taken. Say which"
    )
    assert "no place is said: the first, at 22, is taken" in check.findings[3].problem
    assert "is at character 40, without the blanks around it" in check.findings[4].problem
    assert check.findings[0].to_dict() == {
        "kind": "repaired_answer",
        "problem": check.findings[0].problem,
        "path": str(path),
        "line": 1,
        "field": "answers[0]",
    }


def test_a_context_of_twenty_thousand_tokens(tmp_path: Path) -> None:
    context = "word " * 20_000 + "end"
    examples, check = read_questions(write_lines(tmp_path, question(context=context, answers=["end"])))
    assert examples[0].answers == (Answer("end", 100_000),)
    assert (check.num_answers, check.findings) == (1, ())


# Parts by article


def test_parts_by_article(tmp_path: Path) -> None:
    titles = ["b", "C", "a", "b", "é", "a"]
    path = write_lines(tmp_path, *(question(title=title) for title in titles))
    examples, _ = read_questions(path)
    parts = split_by_article(examples, (2, 1, 1))
    assert [[(example.title, example.line) for example in part] for part in parts] == [
        [("C", 2), ("a", 3), ("a", 6)],
        [("b", 1), ("b", 4)],
        [("é", 5)],
    ]
    with refuses(f"{path}: there are 4 articles, and the parts have 2 + 3 = 5"):
        split_by_article(examples, (2, 3))
    with pytest.raises(SettingsError, match="each part needs an article at least, not 4, 0"):
        split_by_article(examples, (4, 0))
    with pytest.raises(SettingsError, match="not no parts"):
        split_by_article(examples, ())


def test_parts_need_titles(tmp_path: Path) -> None:
    examples, _ = read_questions(write_lines(tmp_path, question(title="a"), question()))
    with refuses("line 2: the question has no title"):
        split_by_article(examples, (1, 1))


# Real files


@pytest.fixture(scope="module")
def squad_dir(data_dir: Path) -> Path:
    folder = data_dir / "squad"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}: set UNMASK_DATA_DIR to the folder that holds squad/")
    return folder


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "num_questions", "num_impossible", "num_paragraphs", "num_answers", "counts", "sizes"),
    [
        ("dev-v2.0.rebuilt.json", 11_873, 5_945, 1_204, 20_302, (25, 3, 7), [8_266, 1_095, 2_512]),
        ("dev-v1.1.rebuilt.json", 10_570, 0, 2_067, 34_726, (36, 4, 8), [7_539, 692, 2_339]),
        ("xquad.en.json", 1_190, 0, 240, 1_190, (36, 4, 8), [858, 97, 235]),
    ],
)
def test_real_files(
    squad_dir: Path,
    name: str,
    num_questions: int,
    num_impossible: int,
    num_paragraphs: int,
    num_answers: int,
    counts: tuple[int, ...],
    sizes: list[int],
) -> None:
    examples, check = read_questions(squad_dir / name)
    assert len(examples) == num_questions
    assert sum(example.is_impossible for example in examples) == num_impossible
    assert max(example.paragraph for example in examples) + 1 == num_paragraphs
    assert (check.num_answers, check.findings) == (num_answers, ())
    parts = split_by_article(examples, counts)
    assert [len(part) for part in parts] == sizes
    assert not {example.title for example in parts[0]} & {example.title for example in (*parts[1], *parts[2])}
