"""`unmask check` as it is typed: what is printed, and how it ends. Run: pytest tests/test_cli_check.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tiny import NOUNS, VERBS, VOCABULARY, unmask

ROWS = [f"the {noun} {verb}.\t{'good' if i % 2 else 'bad'}" for i, verb in enumerate(VERBS[:12]) for noun in NOUNS[:2]]

TAGGED = [("the", noun, verb, ("O", "B-X", "O")) for noun in NOUNS for verb in VERBS]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal wide enough for any table."""
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory with train.tsv, dev.tsv that shares its last row, broken.tsv, and a tokenizer."""
    monkeypatch.chdir(tmp_path)
    for name, rows in (
        ("train", ROWS),
        ("dev", ROWS[-1:]),
        ("broken", [*ROWS[:5], "lonely", *ROWS[5:9], *["a\tb\tc"] * 5]),
    ):
        Path(f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *rows, ""]))
    Path("tokenizer").mkdir()
    Path("tokenizer/vocab.txt").write_text("".join(f"{word}\n" for word in VOCABULARY))
    return tmp_path


def test_warnings_end_well(place, capsys):
    assert unmask("check", "classification", "--train", "train.tsv", "--dev", "dev.tsv", "--model", "tokenizer") == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line.strip() for line in out.splitlines()]
    assert lines[:2] == ["train  train.tsv", "24 examples; labels bad: 12, good: 12"]
    assert lines[3:5] == ["dev    dev.tsv", "1 example; labels good: 1"]
    assert any(line.startswith("dev.tsv:2") and "stands in train.tsv, line 25, too" in line for line in lines)
    assert "-> take it out of train: what a model has seen is no test of it" in lines
    assert lines.index("1 warning") < lines.index("1 note")
    assert lines[-1] == "1 warning, 1 note"


def test_80_columns_hold_whole_words(place, capsys, monkeypatch):
    """Of long paths the findings show what tells them apart; the list of files has all of them."""
    monkeypatch.setenv("COLUMNS", "80")
    folder = place / "a folder of data with a long name" / "and one more in it"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_bytes((place / name).read_bytes())
    assert unmask("check", "--train", folder / "train.tsv", "--dev", folder / "dev.tsv", "--model", "tokenizer") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    lines = [line.strip() for line in out.splitlines()]
    tokens = r"\d+\.\d tokens on average, \d+ at most, 0\.00% unknown; 0 too long"
    assert sum(re.fullmatch(tokens, line) is not None for line in lines) == 2
    assert any(line.startswith("dev.tsv:2   stands in train.tsv, line 25, too") for line in lines)
    assert "…" not in out


def test_files_of_one_name_are_told_apart():
    from unmask.cli.check import _short_names

    paths = {"/data/rte/train.tsv", "/data/mrpc/train.tsv", "/data/mrpc/dev.tsv", "train.tsv"}
    assert _short_names(paths) == {
        "/data/rte/train.tsv": "rte/train.tsv",
        "/data/mrpc/train.tsv": "mrpc/train.tsv",
        "/data/mrpc/dev.tsv": "dev.tsv",
        "train.tsv": "train.tsv",
    }


def test_nothing_found(place, capsys):
    assert unmask("check", "--train", "train.tsv", "--model", "tokenizer") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing was found"


def test_the_file_may_stand_first(place, capsys):
    assert unmask("check", "train.tsv", "--task", "classification", "--model", "None", "--json") == 0
    assert json.loads(capsys.readouterr().out)["data"][0]["data"] == "train.tsv"


def test_errors_exit_with_3(place, capsys):
    """Three rows of a kind are shown, and how many more there are."""
    assert unmask("check", "--train", "broken.tsv", "--model", "None") == 3
    out, err = capsys.readouterr()
    assert err == "unmask check: training would stop: 6 errors; correct them first\n"
    shown = [line for line in out.splitlines() if "expected 2 columns" in line]
    assert [line.split()[0] for line in shown] == ["broken.tsv:7", "broken.tsv:12", "broken.tsv:13"]
    assert "and 3 more" in out
    assert out.splitlines()[-1].startswith("6 errors, ")


def test_json_holds_all(place, capsys):
    assert unmask("check", "--train", "broken.tsv", "--model", "None", "--json") == 3
    content = json.loads(capsys.readouterr().out)
    assert content["counts"]["error"] == 6
    errors = [finding for finding in content["findings"] if finding["severity"] == "error"]
    assert [finding["line"] for finding in errors] == [7, 12, 13, 14, 15, 16]
    assert set(errors[0]) == {"severity", "kind", "problem", "path", "line", "field", "advice"}
    assert content["data"][0]["num_refused"] == 6
    assert unmask("check", "--train", "train.tsv", "--json", "--model", "tokenizer") == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []


def test_one_odd_tag_hides_nothing(place, capsys):
    """It is one error among others, and JSON is printed all the same."""
    sentences = ["\n".join(f"{word}\t{tag}" for word, tag in zip(row[:-1], row[-1], strict=True)) for row in TAGGED]
    Path("train.conll").write_text("\n\n".join(sentences[:12]) + "\n")
    Path("dev.conll").write_text(sentences[13].replace("B-X", "B_X") + "\n\n" + sentences[0] + "\n")
    arguments = ("--train", "train.conll", "--dev", "dev.conll", "--model", "tokenizer", "--json")
    assert unmask("check", "tagging", *arguments) == 3
    content = json.loads(capsys.readouterr().out)
    odd, leak = content["findings"]
    assert (odd["severity"], odd["kind"], odd["path"], odd["line"]) == ("error", "bad_tag", "dev.conll", 2)
    assert odd["problem"] == "the tag 'B_X' is none of bio's; 1 word has it"
    assert (leak["kind"], leak["line"]) == ("leak", 5)


def test_usage_errors_exit_with_2(place, capsys):
    assert unmask("check", "classification") == 2
    assert "there is no file to look at" in capsys.readouterr().err
    assert unmask("check", "parsing", "--train", "train.tsv") == 2
    assert unmask("check", "--train", "train.tsv", "--label-separator", "") == 2


def test_a_recipe_and_flags_over_it(place, capsys):
    """What a recipe says of training is passed over; what nobody knows is not."""
    recipe = Path("recipe.yaml")
    recipe.write_text(
        "task: classification\nmodel: nowhere\ntrain: train.tsv\ndev: [dev.tsv]\nepochs: 3\nlearning_rate: 2e-5\n"
        "betas: [0.9, 0.98]\nresume: false\nmax_seq_length: null\nlabels: [good=1, bad=0]\n"
    )
    for arguments in (("--config", recipe, "--model", "tokenizer"), ("--model", "tokenizer", f"--config={recipe}")):
        assert unmask("check", *arguments, "--json") == 0
        content = json.loads(capsys.readouterr().out)
        assert (content["model"], [data["data"] for data in content["data"]]) == ("tokenizer", ["train.tsv", "dev.tsv"])
        assert [finding["kind"] for finding in content["findings"]] == ["leak", "missing_label"]
    recipe.write_text("train: train.tsv\ncorpus: books/\n")
    assert unmask("check", "--config", recipe) == 2
    assert "the recipe sets corpus, which is no setting of unmask finetune or check" in capsys.readouterr().err


def test_every_recipe_for_finetuning_can_be_checked(capsys):
    for recipe in sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml")):
        if not recipe.name.startswith("pretrain-"):
            code = unmask("check", "--config", recipe, "--data-dir", "/nowhere", "--model", "None", "--json")
            assert (recipe.name, code) == (recipe.name, 3)
            kinds = {finding["problem"][:21] for finding in json.loads(capsys.readouterr().out)["findings"]}
            assert kinds <= {"there is no such file"}


def test_python_and_shell_agree(place, capsys):
    from unmask import check

    assert unmask("check", "--train", "broken.tsv", "--model", "tokenizer", "--json") == 3
    assert json.loads(capsys.readouterr().out) == check(train="broken.tsv", model="tokenizer").to_dict()


@pytest.mark.real_data
def test_real_pairs(data_dir, capsys):
    arguments = ("--text-pair-column", "sentence2", "--model", "None", "--data-dir", data_dir, "--json")
    assert unmask("check", "classification", "--train", "glue/RTE/train.tsv", *arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["data"][0]["labels"] == {"entailment": 1249, "not_entailment": 1241}
    damaged = [finding["line"] for finding in content["findings"] if finding["kind"] == "damaged_text"]
    assert damaged == [289, 1335, 2067]
    assert content["counts"]["error"] == 0
