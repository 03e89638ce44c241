"""Questions about a text whose answers are spans of it, or that have none: SQuAD 1.1 and 2.0, and JSON lines.

- **squad**: one JSON object, `{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers":
  [{"text", "answer_start"}], "is_impossible"}]}]}]}` (Rajpurkar et al. 2016, 2018). KorQuAD 1.0 and XQuAD are the same.
- **jsonl**: one question a line, `{"question", "context", "answers"}`, with `id`, `title` and `is_impossible` if there
  are any. Answers are a list of `{"text", "answer_start"}` or of strings; or one object of lists, `{"text": [...],
  "answer_start": [...]}`, as `datasets` has them. No answers mean that the context holds none.
"""

from __future__ import annotations

import json
import reprlib
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from unmask.data.findings import Finding, count_of
from unmask.data.sources import NOT_TEXT, OTHER_FILE, find_source, json_records, numbered_lines, suffix_of
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = [
    "Answer",
    "AnswerCheck",
    "QuestionExample",
    "QuestionFormat",
    "is_question",
    "read_first_line",
    "read_questions",
    "split_by_article",
]

QuestionFormat: TypeAlias = Literal["squad", "jsonl"]

_EXAMPLE = '{"question": "...", "context": "...", "answers": ["..."]}'
_EXPECTED = f'questions are read from SQuAD\'s JSON, {{"data": [...]}}, or one object a line, such as {_EXAMPLE}'


@dataclass(frozen=True, slots=True)
class Answer:
    """A span of the context: `context[start:end] == text`, in characters."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionExample:
    """One question.

    Args:
        id: no other question of the file has it.
        question: as it was asked.
        context: the text that is to answer it; questions of one paragraph share the string.
        answers: what annotators took for the answer, often the same twice; none if it is impossible.
        is_impossible: whether the context holds no answer; false also where answers were not read.
        title: of the article, if the file tells.
        source: the path, for messages.
        line: of the question in a file of JSON lines, counted from 1.
        place: of the question in a SQuAD file, such as `data[3].paragraphs[2].qas[0]`.
        paragraph: number of its context among the file's different contexts, from 0.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    is_impossible: bool
    title: str | None
    source: str
    line: int | None
    place: str | None
    paragraph: int


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """What came of holding each answer against its context.

    Args:
        num_answers: all of them.
        findings: one for each answer that did not stand where it was said to. "repaired_answer": it occurs once
            elsewhere, or only without the blanks around it, and its start was corrected. "ambiguous_answer": it occurs
            several times, and was given the occurrence nearest to the place that was said, or the first where none was.
    """

    num_answers: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a file something is: a line of JSON lines, or a path of keys."""

    source: Path
    line: int | None = None
    keys: str = ""

    def down(self, key: str | int) -> _Place:
        """To the value of a key, or the entry of a list."""
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.keys else key
        return _Place(self.source, self.line, self.keys + step)

    def error(self, problem: str) -> DataError:
        return DataError(problem, path=self.source, line=self.line, field=self.keys or None)

    def get(self, record: dict[str, Any], key: str, kind: type | tuple[type, ...], what: str) -> Any:
        """The value of a key that must be there and of a kind, described by `what`."""
        if key not in record:
            there_are = ", ".join(map(reprlib.repr, record)) or "none"
            raise self.error(f"the key {key!r} is missing, which holds {what}: add it. The keys here are {there_are}")
        value = record[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            is_quoted = kind is int and isinstance(value, str) and value.strip("-").isdecimal()
            remedy = "write it without quotes" if is_quoted else "correct the file"
            raise self.down(key).error(f"expected {what}, found {reprlib.repr(value)}: {remedy}")
        return value

    def get_text(self, record: dict[str, Any], key: str) -> str:
        """Text that is not empty."""
        text: str = self.get(record, key, str, "text")
        if NOT_TEXT.search(text):
            raise self.down(key).error("the text holds a NUL or half of a surrogate pair: correct it")
        if not text.strip():
            raise self.down(key).error(f"the {key} is empty: write it, or delete the entry")
        return text

    def get_objects(self, record: dict[str, Any], key: str) -> Iterator[tuple[_Place, dict[str, Any]]]:
        """The entries of a list of objects, with their places."""
        for i, entry in enumerate(self.get(record, key, list, "a list")):
            place = self.down(key).down(i)
            if not isinstance(entry, dict):
                raise place.error(f"expected an object, found {reprlib.repr(entry)}: correct the file")
            yield place, entry


def read_questions(
    source: str | Path,
    *,
    format: QuestionFormat | None = None,
    labelled: bool = True,
    data_dir: Path | None = None,
) -> tuple[list[QuestionExample], AnswerCheck]:
    """Read questions, and hold each answer against its context.

    A question is impossible if `is_impossible` says so or, where that is not said, if it has no answers.

    Args:
        source: a file, gzipped if named `.gz`. A relative path is looked for in the working directory, then in the data
            folder.
        format: if None, `.jsonl` is JSON lines, and a file whose first line is a whole object with a `question` too;
            all else is SQuAD.
        labelled: whether to read answers; without, the file needs none.
        data_dir: the data folder; if None, the environment variable UNMASK_DATA_DIR names it.

    Returns:
        The questions in the file's order, and what came of the check of their answers.

    Raises:
        DataError: the file is missing, unreadable or without questions; something in it is missing or of another kind;
            a question, context or answer is empty; an answer is not in its context; a question that shall be impossible
            has answers, or one that shall not has none; two have the same id. It names the line, or the path of keys.
    """
    path = find_source(source, data_dir, is_file=True)
    if path is None or path.is_dir():
        raise DataError("questions are read from a file: name one", path=source)
    if format not in (None, "squad", "jsonl"):
        raise SettingsError(f"there is no format {format!r} of questions: choose squad or jsonl")
    first = None
    if format is None and suffix_of(path) != ".jsonl":
        first = read_first_line(numbered_lines(path))
        format = "jsonl" if is_question(first) else "squad"
    reader = _Reader(path, labelled=labelled)
    if format == "squad":
        reader.read_squad(first)
    else:
        reader.read_json_lines()
    if not reader.examples:
        raise DataError(f"there is no question in this file: {OTHER_FILE}", path=path)
    return reader.examples, reader.check()


def split_by_article(examples: Sequence[QuestionExample], counts: Sequence[int]) -> tuple[list[QuestionExample], ...]:
    """Part questions by whole articles, so that no part has read another's texts.

    The articles are sorted by title (by code points); the first part has the first `counts[0]` of them, and so on. In
    each part articles stand in that order, and an article's questions in theirs. Articles of one title are one.

    Args:
        examples: all with a title.
        counts: articles of each part, such as `(25, 3, 7)`; all the articles there are.

    Raises:
        DataError: a question has no title, or there are not as many articles as counted.
        SettingsError: a part would be empty.
    """
    articles: dict[str, list[QuestionExample]] = {}
    for example in examples:
        if example.title is None:
            raise DataError(
                "the question has no title, and so no article to part by: give a file for each part",
                path=example.source,
                line=example.line,
                field=example.place,
            )
        articles.setdefault(example.title, []).append(example)
    if not counts or min(counts) < 1:
        raise SettingsError(f"each part needs an article at least, not {', '.join(map(str, counts)) or 'no parts'}")
    if sum(counts) != len(articles):
        raise DataError(
            f"there are {count_of(len(articles), 'article')}, and the parts have {' + '.join(map(str, counts))} = "
            f"{sum(counts)}: count all of them",
            path=examples[0].source if examples else None,
        )
    titles = iter(sorted(articles))
    return tuple([example for _ in range(count) for example in articles[next(titles)]] for count in counts)


def read_first_line(lines: Iterable[tuple[int, str]]) -> Any:
    """What the first line that is not blank holds: SQuAD's whole file, or a question; None if it is no JSON."""
    first = next((line for _, line in lines if line.strip()), "")
    try:
        return json.loads(first)
    except (ValueError, RecursionError):
        return None


def is_question(first: Any) -> bool:
    """Whether the first line holds a question: then there is one on each line, whatever the name of the file."""
    return isinstance(first, dict) and "question" in first


@dataclass
class _Reader:
    """What is gathered on the way through one file."""

    path: Path
    labelled: bool
    examples: list[QuestionExample] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    num_answers: int = 0
    places: dict[str, _Place] = field(default_factory=dict)  # of each id
    contexts: dict[str, tuple[int, str]] = field(default_factory=dict)  # number, and the one string to share

    def check(self) -> AnswerCheck:
        return AnswerCheck(num_answers=self.num_answers, findings=tuple(self.findings))

    def read_squad(self, first: Any) -> None:
        """Read SQuAD's JSON; `first` is what the first line that is not blank holds, None where that is not known."""
        root = _Place(self.path)
        lines = [line for _, line in numbered_lines(self.path)]
        is_read = first is not None and sum(not line.isspace() for line in lines if line) == 1
        try:
            document = first if is_read else json.loads("\n".join(lines))
        except json.JSONDecodeError as error:
            told = f"not JSON ({error.msg}): {_remedy(error)}"
            raise DataError(told, path=self.path, line=error.lineno) from error
        except RecursionError as error:
            raise root.error(f"not SQuAD: lists or objects are nested too deep: {_EXPECTED}") from error
        if not isinstance(document, dict) or "data" not in document:
            raise root.error(f"there is no key 'data' as SQuAD has it: {_EXPECTED}")
        for article_place, article in root.get_objects(document, "data"):
            for paragraph_place, paragraph in article_place.get_objects(article, "paragraphs"):
                context = paragraph_place.get_text(paragraph, "context")
                for place, entry in paragraph_place.get_objects(paragraph, "qas"):
                    id_ = str(place.get(entry, "id", (str, int), "text or a number"))
                    self.add(place, entry, id_=id_, context=context, title=_title(article_place, article))

    def read_json_lines(self) -> None:
        for number, record in json_records(self.path, example=_EXAMPLE):
            place = _Place(self.path, number)
            id_ = str(place.get(record, "id", (str, int), "text or a number") if "id" in record else number)
            context = place.get_text(record, "context")
            self.add(place, record, id_=id_, context=context, title=_title(place, record))

    def add(self, place: _Place, entry: dict[str, Any], *, id_: str, context: str, title: str | None) -> None:
        if id_ in self.places:
            before = self.places[id_]
            where = f"line {before.line}" if before.line is not None else before.keys
            raise place.down("id").error(f"the id {reprlib.repr(id_)} is that of {where} too: give each its own")
        self.places[id_] = place
        paragraph, context = self.contexts.setdefault(context, (len(self.contexts), context))
        question = place.get_text(entry, "question")
        answers: tuple[Answer, ...] = ()
        is_impossible = False
        if self.labelled:
            answers = tuple(self.locate(question, context, *answer) for answer in _read_answers(place, entry))
            is_impossible = not answers
            if entry.get("is_impossible") is not None:
                is_impossible = place.get(entry, "is_impossible", bool, "true or false")
            if is_impossible and answers:
                raise place.error("the question is said to be impossible and has answers: delete them or is_impossible")
            if not is_impossible and not answers:
                raise place.error("there is no answer: give one, or say that the question is_impossible")
        self.examples.append(
            QuestionExample(
                id=id_,
                question=question,
                context=context,
                answers=answers,
                is_impossible=is_impossible,
                title=title,
                source=str(self.path),
                line=place.line,
                place=None if place.line is not None else place.keys,
                paragraph=paragraph,
            )
        )

    def locate(self, question: str, context: str, place: _Place, text: str, start: int | None) -> Answer:
        """The answer where it is in the context; a finding tells what had to be done for it."""
        self.num_answers += 1
        if start is not None and start >= 0 and context.startswith(text, start):
            return Answer(text, start)
        said = text
        starts = _occurrences(text, context)
        if not starts:
            text = text.strip()
            starts = _occurrences(text, context)
        if not starts:
            asked = reprlib.repr(question)
            problem = f"the answer {reprlib.repr(text)} to {asked} is not in its context: correct one of them"
            if unicodedata.normalize("NFC", text) in unicodedata.normalize("NFC", context):
                problem += " (they are alike after Unicode normalization: bring both to NFC)"
            raise place.error(problem)
        found = min(starts, key=lambda position: abs(position - (start or 0)))  # the first where none is said
        if len(starts) == 1 and start is None and text == said:
            return Answer(text, found)
        if len(starts) == 1:
            kind = "repaired_answer"
            problem = f"the answer {reprlib.repr(said)} is at character {found}, "
            problem += "without the blanks around it" if text != said else f"not {start}"
            problem += ": it is read from there"
        else:
            kind = "ambiguous_answer"
            said_place = "no place is said" if start is None else f"not at character {start}"
            which = "first" if start is None else "nearest"
            problem = (
                f"the answer {reprlib.repr(said)} occurs {len(starts)} times, and {said_place}: the {which}, at "
                f"{found}, is taken. Say which"
            )
        self.findings.append(Finding(kind, problem, str(self.path), place.line, place.keys or None))
        return Answer(text, found)


def _title(place: _Place, record: dict[str, Any]) -> str | None:
    if record.get("title") is None:
        return None
    title: str = place.get(record, "title", str, "text")
    return title


def _read_answers(place: _Place, entry: dict[str, Any]) -> Iterator[tuple[_Place, str, int | None]]:
    """Place, text, and where it is said to start, of each answer of an entry."""
    answers = place.get(entry, "answers", (list, dict), "a list of answers")
    place = place.down("answers")
    if isinstance(answers, dict):
        texts = place.get(answers, "text", list, "a list of texts")
        starts = [None] * len(texts)
        if answers.get("answer_start") is not None:
            starts = place.get(answers, "answer_start", list, "a list of numbers")
        if len(texts) != len(starts):
            raise place.error(
                f"there are {count_of(len(texts), 'text')} and {count_of(len(starts), 'start')}: give each answer both"
            )
        answers = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    for i, answer in enumerate(answers):
        here = place.down(i)
        if isinstance(answer, str):
            answer = {"text": answer}
        if not isinstance(answer, dict):
            raise here.error(
                f"expected a text, or an object with text and answer_start, found {reprlib.repr(answer)}: correct it"
            )
        text, start = here.get_text(answer, "text"), None
        if answer.get("answer_start") is not None:
            start = here.get(answer, "answer_start", int, "a whole number")
        yield here, text, start


def _remedy(error: json.JSONDecodeError) -> str:
    """What to do about a file that is not JSON."""
    if not error.doc.strip():
        return OTHER_FILE
    if error.msg == "Extra data":
        return "name a file with one object a line .jsonl"
    if error.msg.startswith("Unterminated") or error.pos >= len(error.doc.rstrip()):
        return "the file seems to be cut short, fetch or write it again"
    return _EXPECTED


def _occurrences(text: str, context: str) -> list[int]:
    """Where the text starts in the context; occurrences may overlap."""
    starts = []
    start = context.find(text)
    while start >= 0:
        starts.append(start)
        start = context.find(text, start + 1)
    return starts
