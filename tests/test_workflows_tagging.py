"""Tagging from the command line to the report, and in transformers.

Run: pytest tests/test_workflows_tagging.py
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tiny import DETERMINERS, QUICK, VERBS, make_workplace, sentences, unmask
from unmask import compare, evaluate, predict
from unmask.errors import DataError, SettingsError
from unmask.metrics.tag_schemes import convert_tags
from unmask.metrics.tagging import tagging_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LEARN = (*QUICK, "--epochs", 8, "--learning-rate", "5e-3")
Tagged = tuple[list[str], list[str], list[str]]  # words, parts of speech, spans


def tagged(count: int, *, seed: int) -> list[Tagged]:
    """Sentences in which "these dogs" is who, and "sleep" what they do."""
    made = []
    for text, _ in sentences(count, seed=seed):
        words = [*text.rstrip(".").split(), "."]
        parts = ["DET", "NOUN", *("VERB" if word in VERBS else "X" for word in words[2:-1]), "PUNCT"]
        assert words[0] in DETERMINERS
        made.append((words, parts, ["B-WHO", "I-WHO", "B-ACT", *["O"] * (len(words) - 3)]))
    return made


def write_columns(path: Path, rows: Sequence[Tagged], scheme: Any = "bio") -> Path:
    blocks = (
        "".join(f"{' '.join(row)}\n" for row in zip(words, parts, convert_tags(spans, "bio", scheme), strict=True))
        for words, parts, spans in rows
    )
    path.write_text("\n".join(blocks))
    return path


def write_json_lines(path: Path, rows: Sequence[Tagged], scheme: Any = "bio") -> Path:
    lines = ({"tokens": words, "tags": convert_tags(spans, "bio", scheme)} for words, _, spans in rows)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def write_conllu(path: Path, rows: Sequence[Tagged]) -> Path:
    blocks = (
        "".join(
            f"{number}\t{word}\t_\t{part}\t{part.lower()}\t_\t_\t_\t_\t_\n"
            for number, (word, part) in enumerate(zip(words, parts, strict=True), start=1)
        )
        for words, parts, _ in rows
    )
    path.write_text("\n".join(blocks))
    return path


def write_characters(path: Path, rows: Sequence[Tagged]) -> Path:
    """As KLUE-NER is written: one character a line, blanks too."""
    blocks = []
    for words, _, spans in rows:
        tags: list[str] = []
        for word, tag, after in zip(words, spans, [*spans[1:], "O"], strict=True):
            inside = tag.replace("B-", "I-")
            tags += [tag, *[inside] * (len(word) - 1), inside if after[0] == "I" else "O"]
        rows_of_text = zip(" ".join(words), tags[:-1], strict=True)
        blocks.append("## id\tx\n" + "".join(f"{character}\t{tag}\n" for character, tag in rows_of_text))
    path.write_text("\n".join(blocks))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace with a run on spans, of files in three schemes, and one on parts of speech."""
    place = make_workplace(tmp_path_factory.mktemp("place"))
    write_columns(place / "train.conll", tagged(64, seed=1), "iob1")
    write_columns(place / "dev.conll", tagged(16, seed=2), "iob1")
    write_json_lines(place / "test.jsonl", tagged(17, seed=3), "iobes")
    write_conllu(place / "train.conllu", tagged(64, seed=1))
    write_conllu(place / "dev.conllu", tagged(16, seed=2))
    runs: dict[str, Sequence[object]] = {
        "spans": (*files(place, "conll"), "--test", place / "test.jsonl", *LEARN),
        "parts": (*files(place, "conllu"), "--label-column", "xpos", *LEARN, "--epochs", 3),
    }
    for name, arguments in runs.items():
        model = ("--model", place / "bert", "--output-dir", place / name)
        assert unmask("finetune", "tagging", *model, *arguments) == 0
    return place


def files(place: Path, suffix: str) -> tuple[object, ...]:
    return "--train", place / f"train.{suffix}", "--dev", place / f"dev.{suffix}"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def hf_tags(folder: Path, rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """What transformers answers at the first piece of each word."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    encoded = tokenizer([list(words) for words in rows], is_split_into_words=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        best = model(**encoded).logits.argmax(-1)
    return [
        [model.config.id2label[int(best[row, encoded.word_to_tokens(row, word).start])] for word in range(len(words))]
        for row, words in enumerate(rows)
    ]


def test_spans_are_learnt_and_the_run_says_so(place: Path) -> None:
    run = place / "spans"
    config, memory = read_json(run / "config.json"), read_json(run / "model" / "config.json")
    labels = ["O", "B-ACT", "I-ACT", "B-WHO", "I-WHO"]
    assert (config["task"], config["labels"], config["metric_for_best"]) == ("tagging", labels, "f1")
    assert memory["architectures"] == ["BertForTokenClassification"]
    assert list(memory["id2label"].values()) == labels
    assert memory["unmask_task"]["label_scheme"] == "bio"
    assert memory["unmask_task"]["text_unit"] == "word"
    dev, [test] = read_json(run / "evaluation_dev.json"), read_json(run / "evaluation.json")
    assert (dev["kind"], dev["num_examples"], test["num_examples"]) == ("tagging", 16, 17)
    assert list(dev["metrics"]) == ["accuracy", "precision", "recall", "f1", "macro_f1"]
    assert test["metrics"]["f1"] > 0.8
    lines = [json.loads(line) for line in (run / "predictions_dev.jsonl").read_text().splitlines()]
    assert [line["tags"] for line in lines] == [spans for _, _, spans in tagged(16, seed=2)]  # of iob1, as bio
    scores = tagging_metrics([line["tags"] for line in lines], [line["predicted"] for line in lines], scheme="bio")
    assert dev["metrics"] == {name: scores[name] for name in dev["metrics"]}
    data = read_json(run / "data.json")
    assert sum(data["train"]["labels"].values()) == sum(len(words) for words, _, _ in tagged(64, seed=1))
    page = (run / "report.html").read_text()
    for said in ("Type by type", "What is taken for what", "dev spans", "WHO", "words have the right tag"):
        assert said in page
    assert (run / "plots" / "confusion_matrix.png").is_file()
    card = (run / "model" / "README.md").read_text()
    for said in (
        "pipeline_tag: token-classification",
        "Finds spans of 2 types in a text: ACT, WHO",
        "64 sentences",
    ):
        assert said in card


def test_transformers_gives_the_same_tags(place: Path) -> None:
    rows = [words for words, _, _ in tagged(9, seed=4)]
    answers = predict(place / "spans", [" ".join(words) for words in rows])
    assert [list(answer.tags) for answer in answers] == hf_tags(place / "spans" / "model", rows)


def test_evaluating_gives_what_the_run_gave_in_whatever_format_and_scheme(
    place: Path, tmp_path: Path, capsys: Any
) -> None:
    [kept] = read_json(place / "spans" / "evaluation.json")
    assert evaluate(str(place / "spans" / "model"), data=str(place / "test.jsonl")) == kept
    for scheme in ("bio", "iob1", "bilou"):
        same = write_columns(tmp_path / "test.conll", tagged(17, seed=3), scheme)
        assert evaluate(str(place / "spans" / "model"), data=str(same)) == kept | {"data": str(same)}
    assert unmask("evaluate", place / "spans" / "model", "--data", place / "test.jsonl") == 0
    shown = capsys.readouterr().out
    assert "WHO" in shown
    assert "support" in shown


def test_a_typed_text_gets_its_spans(place: Path, capsys: Any) -> None:
    [answer] = predict(place / "spans" / "model", ["those  horses sleep, now."])
    assert answer.words == ("those", "horses", "sleep", ",", "now", ".")
    assert [(e.type, e.text, e.start, e.end) for e in answer.entities] == [
        ("WHO", "those  horses", 0, 13),
        ("ACT", "sleep", 14, 19),
    ]
    assert answer.entities[0].score == pytest.approx(sum(answer.scores[:2]) / 2)
    assert unmask("predict", place / "spans", "those  horses sleep, now.", "--json") == 0
    assert json.loads(capsys.readouterr().out) == answer.to_dict()
    assert unmask("predict", place / "spans", "--data", place / "test.jsonl") == 0
    assert "entities" in capsys.readouterr().out
    assert unmask("predict", place / "spans", "a", "--text-pair", "b") == 3
    assert "texts, line 1: tagging reads one text at a time" in capsys.readouterr().err


def test_a_text_longer_than_the_model_is_read_in_windows(place: Path) -> None:
    text = " ".join(f"these horses run near the {noun} ." for noun in ["house", "garden", "river"] * 10)
    [answer] = predict(place / "spans", [text])
    assert len(answer.tags) == len(answer.words) == 7 * 30
    assert sum(span.text == "these horses" for span in answer.entities) > 20


def test_parts_of_speech_are_judged_by_accuracy(place: Path, tmp_path: Path, capsys: Any) -> None:
    run = place / "parts"
    config = read_json(run / "config.json")
    assert (config["metric_for_best"], config["labels"]) == ("accuracy", ["det", "noun", "punct", "verb", "x"])
    dev = read_json(run / "evaluation_dev.json")
    assert list(dev["metrics"]) == ["accuracy", "macro_f1"]
    page = (run / "report.html").read_text()
    for said in ("Tag by tag", "On the dev set", "The share of labels that are right."):
        assert said in page
    assert unmask("predict", run, "this dog sleep.") == 0
    assert "this/" in capsys.readouterr().out
    assert evaluate(str(run), data=str(place / "dev.conllu"))["metrics"] == dev["metrics"]
    model = ("--model", place / "bert", "--output-dir", tmp_path / "run", *files(place, "conllu"), *QUICK)
    assert unmask("finetune", "tagging", *model, "--metric-for-best", "f1") == 2
    assert "metric_for_best is 'f1', which tagging does not give with these labels" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_of_characters(place: Path, tmp_path: Path, no_report: None) -> None:
    for name, count, seed in (("train", 24, 1), ("dev", 7, 2)):
        write_characters(tmp_path / f"{name}.tsv", tagged(count, seed=seed))
    files_and_model = ("--model", place / "bert", "--train", tmp_path / "train.tsv", "--dev", tmp_path / "dev.tsv")
    run = tmp_path / "run"
    assert unmask("finetune", "tagging", *files_and_model, "--output-dir", run, *QUICK, "--learning-rate", "5e-3") == 0
    assert read_json(run / "model" / "config.json")["unmask_task"]["text_unit"] == "character"
    dev = read_json(run / "evaluation_dev.json")
    assert dev["num_words"] == sum(len("".join(words)) for words, _, _ in tagged(7, seed=2))
    assert evaluate(str(run / "model"), data=str(tmp_path / "dev.tsv"))["metrics"] == dev["metrics"]
    [answer] = predict(run, ["this dog sleep."])
    assert "".join(answer.words) == "thisdogsleep."
    assert len(answer.tags) == len(answer.words)
    for span in answer.entities:
        assert span.text == "this dog sleep."[span.start : span.end]


def test_real_tweets_go_through_the_command(place: Path, tmp_path: Path, data_dir: Path, no_report: None) -> None:
    """A slice of WNUT-17 with a vocabulary that knows hardly a word of it: long words, odd characters, all of it."""
    rows = (data_dir / "wnut17" / "emerging.dev.conll").read_text(encoding="utf-8").split("\n\n")
    (tmp_path / "tweets.conll").write_text("\n\n".join(rows[:60]), encoding="utf-8")
    arguments = ("--model", place / "bert", "--train", tmp_path / "tweets.conll", "--output-dir", tmp_path / "run")
    assert unmask("finetune", "tagging", *arguments, *QUICK, "--max-steps", 2) == 0
    dev = read_json(tmp_path / "run" / "evaluation_dev.json")
    assert dev["num_examples"] == 6
    assert 0 <= dev["metrics"]["f1"] <= 1


def test_runs_of_two_label_schemes_are_compared_by_their_spans(place: Path, tmp_path: Path) -> None:
    """The tags differ of every span of one word; the spans are the same, and so right or wrong alike."""
    run = tmp_path / "iobes"
    arguments = (*files(place, "conll"), "--label-scheme", "iobes", *QUICK, "--max-steps", 2)
    assert unmask("finetune", "tagging", "--model", place / "bert", "--output-dir", run, *arguments) == 0
    lines = [
        [json.loads(line) for line in (folder / "predictions_dev.jsonl").read_text().splitlines()]
        for folder in (place / "spans", run)
    ]
    assert lines[0][0]["tags"] != lines[1][0]["tags"]
    result = compare(str(place / "spans"), str(run))
    f1 = [read_json(folder / "evaluation_dev.json")["metrics"]["f1"] for folder in (place / "spans", run)]
    assert result.metric == "f1"
    assert [result.first.mean, result.second.mean] == pytest.approx(f1, abs=1e-9)
    with pytest.raises(SettingsError, match=r"metric is 'accuracy': these runs of tagging are compared by f1$"):
        compare(str(place / "spans"), str(run), metric="accuracy")
    assert compare(str(run), str(run), metric="accuracy").interval.value == 0.0

    lines[1][3]["entities"].pop()
    (run / "predictions_dev.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines[1]))
    with pytest.raises(DataError, match="line 4, column 'entities': the dev sets differ"):
        compare(str(place / "spans"), str(run))
    with pytest.raises(DataError, match=r"line 1, column '(words|text|tags)': the dev sets differ"):
        compare(str(place / "spans"), str(place / "parts"))
