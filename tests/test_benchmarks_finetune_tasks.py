"""The benchmark of tags, pairs and questions: both sides learn the same from the same, and what it prints adds up.

Run: .venv/bin/python -m pytest tests/test_benchmarks_finetune_tasks.py
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import random
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizer, DataCollatorForTokenClassification, DataCollatorWithPadding

from tiny import NOUNS, OTHERS, VERBS, VOCABULARY, save_tiny_bert, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "benchmarks"
PROGRAM = "benchmark_finetune_tasks"  # not the file's own name, which an experiment may have too
ALL = ("tagging", "pairs", "questions", "similarity")


@pytest.fixture(scope="module")
def program() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        spec = importlib.util.spec_from_file_location(PROGRAM, FOLDER / "finetune_tasks.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, PROGRAM, module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bert/, which reads 40 tokens at once, and small files in the places of the real ones."""
    folder = tmp_path_factory.mktemp("benchmark")
    save_tiny_bert(folder / "bert")
    rng = random.Random(0)
    texts = [text for text, _ in sentences(80, seed=1)]

    tagged = []
    for text in texts:
        tagged.append(f"# text = {text.removesuffix('.')}")
        for number, word in enumerate(text.removesuffix(".").split(), start=1):
            tag = "NOUN" if word.removesuffix("s") in NOUNS else "VERB" if word in VERBS else "X"
            tagged.append("\t".join([str(number), word, word, tag, *"______"]))
        tagged.append("")
    packed = folder / "ud_english_ewt/en_ewt-ud-train.conllu.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress("\n".join([*tagged, ""]).encode()))
    pairs = [(texts[i], texts[rng.randrange(80)]) for i in range(80)]
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    rows = [f"{i % 3 % 2}\t{i}\t{i}\t{first}\t{second}" for i, (first, second) in enumerate(pairs)]
    write(folder / "glue/MRPC/train.tsv", "\n".join([header, *rows, ""]))
    rows = [f"{first}\t{second}\t{rng.randrange(51) / 10}" for first, second in pairs]
    write(folder / "glue/STS-B/train.tsv", "\n".join(["sentence1\tsentence2\tscore", *rows, ""]))

    articles: list[dict[str, Any]] = [{"title": f"title {k}", "paragraphs": []} for k in range(4)]
    for number in range(40):
        words = [rng.choice(OTHERS) for _ in range(rng.choice((5, 9, 20, 45)))]
        place_of_answer = rng.randrange(len(words))
        context = " ".join(words)
        start = len(" ".join([*words[:place_of_answer], ""]))
        answers = [] if number % 3 == 0 else [{"text": words[place_of_answer], "answer_start": start}]
        question = {"id": str(number), "question": " ".join(rng.sample(VERBS, 3)), "answers": answers}
        question["is_impossible"] = not answers
        articles[number % 4]["paragraphs"].append({"context": context, "qas": [question]})
    write(folder / "squad/dev-v2.0.rebuilt.json", json.dumps({"version": "v2.0", "data": articles}))
    return folder


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def contest_of(program: Any, place: Path, name: str, **changes: Any) -> Any:
    kind = replace(program.KINDS[name], **changes)
    return program.Contest.read(kind, Namespace(data_dir=place, model=str(place / "bert")))


def test_both_sides_learn_the_same_and_what_it_prints_adds_up(
    program: Any, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data-dir", str(place), "--model", str(place / "bert"), "--rounds", "1", "--steps", "2"]
    program.main([*options, "--tasks", *ALL, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert set(result["ratios"]) == set(ALL)
    for name in ALL:
        assert result["loss_difference"][name] < 1e-5
        assert result["gradient_norm_difference"][name] < 1e-4
        least, most = result["ratio_ranges"][name]
        rates = result["real_tokens_per_second"][name]
        assert least == most == result["ratios"][name]  # of one round
        assert rates["unmask"] / rates["transformers"] == pytest.approx(most, abs=0.01, rel=0.01)
        is_question = name == "questions"
        assert (result["padding_in_peer_loss"][name] > 0.01) == is_question
        assert abs(result["padding_in_peer_loss"][name]) < 1e-6 or is_question
        assert 0 < result["padding"][name] < 1
    assert result["peer_optimizer"] == "adamw_torch_fused"
    shown = program.as_text(result).splitlines()
    assert shown[1].startswith("tagging")
    assert f"{result['ratios']['tagging']:.2f}x" in shown[1]


def test_batches_are_those_of_transformers_collators(program: Any, place: Path) -> None:
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(VOCABULARY)})
    indices = np.array([7, 0, 31, 7, 12])

    contest = contest_of(program, place, "tagging")
    samples = contest.samples
    features = []
    for i in indices:
        labels = [-100] * len(samples.input_ids[i])
        for row, tag in zip(samples.rows[i], samples.targets[i], strict=True):
            labels[row] = int(tag)
        features.append(
            {
                "input_ids": samples.input_ids[i].tolist(),
                "token_type_ids": samples.token_type_ids[i].tolist(),
                "labels": labels,
            }
        )
    expected = dict(DataCollatorForTokenClassification(tokenizer)(features))
    assert_same(contest.pad_batch(indices), expected)

    contest = contest_of(program, place, "pairs")
    samples = contest.samples
    features = [
        {
            "input_ids": samples.input_ids[i].tolist(),
            "token_type_ids": samples.token_type_ids[i].tolist(),
            "label": int(samples.targets[i][0]),
        }
        for i in indices
    ]
    expected = dict(DataCollatorWithPadding(tokenizer)(features))
    assert expected["token_type_ids"].any()
    assert_same(contest.pad_batch(indices), expected)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_each_window_of_a_question_is_a_row_with_its_own_answer(program: Any, place: Path) -> None:
    contest = contest_of(program, place, "questions")
    samples = contest.samples
    chosen = (
        np.flatnonzero(samples.num_windows == 2)[:2].tolist() + np.flatnonzero(samples.num_windows == 1)[:1].tolist()
    )
    assert len(chosen) == 3
    batch = contest.pad_batch(np.array(chosen))
    assert batch["input_ids"].shape == (5, 40)
    windows = [w for i in chosen for w in range(samples.windows[i], samples.windows[i + 1])]
    for row, window in enumerate(windows):
        ids = samples.input_ids[window].tolist()
        assert batch["input_ids"][row].tolist() == ids + [0] * (40 - len(ids))
        assert batch["attention_mask"][row].tolist() == [1] * len(ids) + [0] * (40 - len(ids))
    places = [value for i in chosen for value in samples.targets[i].tolist()]
    assert batch["start_positions"].tolist() == places[0::2]
    assert batch["end_positions"].tolist() == places[1::2]


def test_an_answer_that_teaches_nothing_is_one_that_transformers_ignores(program: Any) -> None:
    from unmask.ragged import Ragged

    targets = Ragged.of([[3, 4], [-100, -100, 0, 0]])
    places = program.answer_places(targets, None, (3, 17))
    assert places["start_positions"].tolist() == [3, 17, 0]
    assert places["end_positions"].tolist() == [4, 17, 0]


def test_random_batches_are_the_same_for_both(program: Any, place: Path) -> None:
    contest = contest_of(program, place, "tagging", batch_size=9)
    plan = program.plan_rounds(contest, rounds=4, steps=2, is_length_grouped=False)  # 80 sentences make 8 batches
    seen = []
    for own in plan:
        assert [batch.tolist() for batch in own["unmask"]] == [batch.tolist() for batch in own["transformers"]]
        assert [len(batch) for batch in own["unmask"]] == [9, 9]
        seen += [index for batch in own["unmask"] for index in batch.tolist()]
    assert len(set(seen)) == 72


def test_batches_of_like_length_hold_the_same_examples_and_less_padding(program: Any, place: Path) -> None:
    contest = contest_of(program, place, "questions", batch_size=3)
    sizes = {}
    for is_grouped in (False, True):
        plan = program.plan_rounds(contest, rounds=3, steps=4, is_length_grouped=is_grouped)
        sizes[is_grouped] = sum(contest.padded_size(batch) for own in plan for batch in own["transformers"])
        for own in plan:
            ours, theirs = (np.concatenate(own[name]).tolist() for name in ("unmask", "transformers"))
            assert sorted(ours) == sorted(theirs)
            assert [len(batch) for batch in own["unmask"]] == [3] * 4
            assert (ours != theirs) == is_grouped
    assert sizes[True] < 0.9 * sizes[False]


def test_rounds_alternate_and_the_first_is_not_counted(program: Any) -> None:
    calls: list[tuple[str, int]] = []
    rounds = [{"a": [k], "b": [k, k]} for k in range(3)]
    steps = {name: lambda batch, name=name: calls.append((name, batch)) for name in "ab"}
    seconds = program.alternate(steps, rounds, say=lambda told: None)
    assert calls == [("b", 0), ("b", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 1), ("b", 2), ("b", 2), ("a", 2)]
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


def test_peak_memory_is_that_of_the_steps(program: Any, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data-dir", str(place), "--model", str(place / "bert"), "--steps", "1", "--tasks", "pairs"]
    program.main([*options, "--memory-of", "transformers"])
    assert 50 < int(capsys.readouterr().out) < 100_000  # MiB: torch alone takes more than the one


def test_missing_data_is_one_line_and_exit_code_3(
    program: Any, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["--data-dir", str(tmp_path), "--model", str(place / "bert"), "--tasks", "questions"])
    assert ended.value.code == 3
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("finetune_tasks.py: squad/dev-v2.0.rebuilt.json: there is no such file")
    assert str(tmp_path) in line
