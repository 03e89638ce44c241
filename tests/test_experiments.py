"""The proofs on real data: transformers is given the same to do, and the parts of files are what they are said to be.

Run: .venv/bin/python -m pytest tests/test_experiments.py
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import zipfile
from argparse import Namespace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tiny import NOUNS, OTHERS, VERBS, save_tiny_bert, sentences
from unmask.data import read_questions, read_tagged, split_by_article
from unmask.workflows.loading import load_tokenizer
from unmask.workflows.settings import FinetuneSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest.importorskip("transformers")

FOLDER = Path(__file__).parents[1] / "experiments"
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(autouse=True)
def experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def write_pairs(path: Path, count: int, seed: int) -> None:
    rng = random.Random(seed)
    rows = ["text\tpair\tlabel\tscore"]
    for (text, label), (pair, _) in zip(sentences(count, seed=seed), sentences(count, seed=seed + 100), strict=True):
        rows.append(f"{text}\t{pair}\t{label}\t{rng.uniform(0, 5):.2f}")
    path.write_text("".join(f"{row}\n" for row in rows))


def write_words(path: Path, count: int, seed: int) -> None:
    """Two tags: words of three pieces, such as unknown ones, are verbs."""
    blocks = []
    for text, _ in sentences(count, seed=seed):
        words = text.rstrip(".").split()
        blocks.append("".join(f"{word}\t{'VERB' if word in VERBS else 'NOUN'}\n" for word in words))
    path.write_text("\n".join(blocks))


def write_questions(path: Path, count: int, seed: int, *, num_facts: int = 3, title: str = "facts") -> None:
    """Texts of so many words, all tokens: who does what. Every other question has no answer."""
    rng = random.Random(seed)
    paragraphs = []
    for number in range(count):
        *nouns, missing = rng.sample(NOUNS, num_facts + 1)
        facts = [f"{noun} {rng.choice(VERBS)} {rng.choice(OTHERS)}" for noun in nouns]
        context = " ".join(facts)
        noun, verb, _ = rng.choice(facts).split()
        answer = {"text": verb, "answer_start": context.index(f"{noun} ") + len(noun) + 1}
        paragraphs.append(
            {
                "context": context,
                "qas": [
                    {"id": f"{title}{seed}-{number}a", "question": f"what {noun}", "answers": [answer]},
                    {"id": f"{title}{seed}-{number}b", "question": f"what {missing}", "answers": []},
                ],
            }
        )
    path.write_text(json.dumps({"data": [{"title": title, "paragraphs": paragraphs}]}))


# Heads of their own, so that both sides start alike; one batch of all examples, so that no order matters.
CASES: dict[str, tuple[Any, str, dict[str, Any], dict[str, Any]]] = {
    "classification": (write_pairs, "sequence-classification", {"id2label": {0: "bad", 1: "good"}}, {}),
    "regression": (
        write_pairs,
        "sequence-classification",
        {"id2label": {0: "score"}},
        {"text_pair_column": "pair", "label_column": "score"},
    ),
    "tagging": (write_words, "token-classification", {"id2label": {0: "NOUN", 1: "VERB"}}, {}),
    "question-answering": (write_questions, "question-answering", {}, {"max_answer_length": 4}),
}
SUFFIX = {"classification": "tsv", "regression": "tsv", "tagging": "conll", "question-answering": "json"}


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("task", CASES)
def test_both_sides_take_the_same_steps_and_are_judged_alike(task: str, tmp_path: Path) -> None:
    from every_task import run_ours
    from peers import finetune_peer

    write, head, sizes, more = CASES[task]
    bert = save_tiny_bert(tmp_path / "bert", head, **STILL, **sizes)
    names = [f"{part}.{SUFFIX[task]}" for part in ("train", "dev", "test")]
    for seed, name in enumerate(names):
        write(tmp_path / name, 12, seed)
    told = {
        "task": task,
        "model": str(bert),
        "train": names[0],
        "dev": (names[1],),
        "test": (names[2],),
        "data_dir": tmp_path,
        "epochs": 4,
        "global_batch_size": 64,
        "learning_rate": 1e-3,
        "warmup_ratio": 0.3,
        "max_grad_norm": 0.05,  # which all gradients exceed
        "weight_decay": 0.5,
        "device": "cpu",
        "check": False,
        **more,
    }
    ours, theirs = run_ours(told, tmp_path / "ours"), finetune_peer(FinetuneSettings(**told), bert)
    assert ours.num_steps == theirs.num_steps == 4
    trained = load_file(tmp_path / "ours" / "run" / "model" / "model.safetensors")
    before = load_file(bert / "model.safetensors")
    weights = theirs.model.state_dict()
    assert any((weights[name] - before[name]).abs().max() > 1e-3 for name in before)
    for name, tensor in trained.items():
        if not name.endswith(
            ("key.bias", "qa_outputs.bias")
        ):  # their gradient is 0 but for rounding, which Adam enlarges
            torch.testing.assert_close(
                tensor, weights[name], atol=3e-5, rtol=0, msg=lambda text, name=name: f"{name} {text}"
            )
    for part in ("dev", "test"):
        same = ours.scores[part].keys() & theirs.scores[part].keys()
        assert len(same) >= 2
        assert {name: ours.scores[part][name] for name in same} == pytest.approx(
            {name: theirs.scores[part][name] for name in same}, abs=1e-4
        )


def test_windows_of_questions_and_their_answers_are_ours(tmp_path: Path) -> None:
    from peers import PeerOfQuestions
    from unmask.tasks import QuestionAnswering

    bert = save_tiny_bert(tmp_path / "bert")
    write_questions(tmp_path / "long.json", 8, 0, num_facts=11)
    examples, _ = read_questions(tmp_path / "long.json")
    settings = FinetuneSettings(task="question-answering", max_seq_length=17, doc_stride=5, max_query_length=1)
    groups = PeerOfQuestions(settings, examples, bert).encode(examples)
    samples = QuestionAnswering(settings.task_options).encode(examples, load_tokenizer(str(bert)), max_seq_length=17)
    assert [len(group) for group in groups] == samples.num_windows.tolist()
    assert max(map(len, groups)) > 3
    features = [feature for group in groups for feature in group]
    assert [feature.input_ids for feature in features] == [row.tolist() for row in samples.input_ids]
    assert [feature.token_type_ids for feature in features] == [row.tolist() for row in samples.token_type_ids]
    answers = [[feature.labels[f"{end}_positions"] for end in ("start", "end")] for feature in features]
    assert samples.targets is not None
    assert answers == samples.targets.values.reshape(-1, 2).tolist()
    assert 8 <= sum(start > 0 for start, _ in answers) < len(answers) / 2


def test_words_without_a_token_have_the_most_frequent_tag_and_padding_has_none(tmp_path: Path) -> None:
    from peers import IGNORED, PeerOfTags, collate

    bert = save_tiny_bert(tmp_path / "bert")
    (tmp_path / "words.conll").write_text("dogs N\n\u200b V\nsleeping V\n\ncat N\n")
    examples = read_tagged(tmp_path / "words.conll")
    peer = PeerOfTags(FinetuneSettings(task="tagging"), [*examples, *examples[1:]], bert)
    [[first], [second]] = groups = peer.encode(examples)
    assert (first.labels["labels"], first.first_pieces) == ([IGNORED, 0, IGNORED, 1, IGNORED, IGNORED], {0: 1, 2: 3})
    assert second.labels["labels"] == [IGNORED, 0, IGNORED]
    batch = collate([first, second], _FakeModel())
    assert batch["labels"].tolist()[1] == [IGNORED, 0, *[IGNORED] * 4]
    assert batch["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    logits = [[np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0, 0]]], [np.eye(2, dtype=np.float32)[[0, 0, 0]]]]
    # Given: V, the most frequent N in place of the word that vanishes, V; and N.
    assert peer.score(examples, groups, logits)["accuracy"] == 2 / 4


class _FakeModel:
    class config:  # noqa: N801 - as transformers names it
        pad_token_id = 0

    device = torch.device("cpu")


# Parts of files.


def test_squad_is_parted_by_article(tmp_path: Path) -> None:
    from every_task import part_squad

    titles = ["Zebra", "apple", "Bee", "Ä", "Bear"]
    articles = []
    for number, title in enumerate(titles):
        write_questions(tmp_path / "one.json", 2, number, title=title)
        articles += json.loads((tmp_path / "one.json").read_text())["data"]
    (tmp_path / "all.json").write_text(json.dumps({"version": "v2.0", "data": articles}))
    part_squad("all.json", "squad", (2, 1, 2))(tmp_path, tmp_path / "parts")
    expected = split_by_article(read_questions(tmp_path / "all.json")[0], (2, 1, 2))
    for part, examples in zip(("train", "dev", "test"), expected, strict=True):
        made, _ = read_questions(tmp_path / "parts" / f"squad-{part}.json")
        assert [(q.id, q.title, q.answers) for q in made] == [(q.id, q.title, q.answers) for q in examples]
    with pytest.raises(ValueError, match="has 5 articles, not 6"):
        part_squad("all.json", "squad", (2, 2, 2))(tmp_path, tmp_path / "parts")


def test_rows_are_parted_once_and_all(tmp_path: Path) -> None:
    from every_task import part_rows, read_lines

    rows = [f"row {number}\t\u2028{number % 2}" for number in range(23)]
    part_rows("text\tlabel", rows, tmp_path, "some")
    (head, *train), (same, *dev) = (read_lines(tmp_path / f"some-{part}.tsv") for part in ("train", "dev"))
    assert head == same == "text\tlabel"
    assert (len(train), len(dev)) == (18, 5)
    assert sorted(train + dev) == sorted(rows)
    assert max(int(row.split()[1]) for row in dev) > 10  # not the first few


def test_files_are_shortened(tmp_path: Path) -> None:
    from every_task import read_lines, shorten

    write_pairs(tmp_path / "pairs.tsv", 9, 0)
    shorten(tmp_path / "pairs.tsv", tmp_path / "short" / "pairs.tsv", 4)
    assert read_lines(tmp_path / "short" / "pairs.tsv") == read_lines(tmp_path / "pairs.tsv")[:5]
    write_words(tmp_path / "words.conll", 6, 0)
    packed = tmp_path / "words.conll.gz"
    packed.write_bytes(gzip.compress((tmp_path / "words.conll").read_bytes()))
    shorten(packed, tmp_path / "short" / "words.conll", 4)
    words = [sentence.words for sentence in read_tagged(tmp_path / "short" / "words.conll")]
    assert words == [sentence.words for sentence in read_tagged(packed)][:4]
    write_questions(tmp_path / "squad.json", 5, 0)
    shorten(tmp_path / "squad.json", tmp_path / "short" / "squad.json", 3)
    ids = [question.id for question in read_questions(tmp_path / "short" / "squad.json")[0]]
    assert ids == [question.id for question in read_questions(tmp_path / "squad.json")[0]][:3]


def test_korean_files_are_parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import korean

    (tmp_path / "nsmc").mkdir()
    rows = [f"{number}\t{'' if number == 7 else f'좋다 {number}'}\t{number % 2}\n" for number in range(30)]
    (tmp_path / "nsmc" / "ratings_test.txt").write_text("".join(["id\tdocument\tlabel\n", *rows]))
    text = "".join(["id\tdocument\tlabel\n", *rows]).encode()
    (tmp_path / "nsmc" / "ratings_train.txt.gz").write_bytes(gzip.compress(text))
    monkeypatch.setattr(korean, "NSMC_DEV", 5)
    korean.part_nsmc(tmp_path, tmp_path / "parts", num_train=20)
    train, dev, test = (
        [line.split("\t")[0] for line in (tmp_path / "parts" / f"nsmc-{part}.tsv").read_text().splitlines()]
        for part in ("20-train", "20-dev", "test")
    )
    assert (len(train), len(dev)) == (21, 6)
    assert not {*train[1:]} & {*dev[1:]}
    assert test == ["id", *(str(number) for number in range(30) if number != 7)]

    (tmp_path / "klue").mkdir()
    blocks = [
        f"## klue-ner-v1_dev_{number:05}-x\t<가:PS>{number}\n가\tB-PS\n \tO\n{number}\tO\n" for number in range(9)
    ]
    (tmp_path / "klue" / "klue-ner-v1.1_dev.tsv").write_text("## 구분자 : \\t\n## CHAR\tNE_TAG\n" + "\n".join(blocks))
    monkeypatch.setattr(korean, "KLUE_PARTS", {"train": 4, "dev": 2, "test": 3})
    korean.part_klue(tmp_path, tmp_path / "parts")
    whole = {s.id: (s.text, s.tags) for s in read_tagged(tmp_path / "klue" / "klue-ner-v1.1_dev.tsv")}
    parts = [read_tagged(tmp_path / "parts" / f"klue-ner-{part}.conll") for part in ("train", "dev", "test")]
    assert [len(part) for part in parts] == [4, 2, 3]
    assert {s.id: (s.text, s.tags) for part in parts for s in part} == whole
    assert all(s.by_character for part in parts for s in part)


def test_reviews_are_parted_by_fold(tmp_path: Path) -> None:
    from long_reviews import part_reviews

    with zipfile.ZipFile(tmp_path / "reviews.zip", "w") as archive:
        archive.writestr("movie_reviews/README", "cv")
        for number in range(1000):
            for label in ("pos", "neg"):
                archive.writestr(f"movie_reviews/{label}/cv{number:03}_{number * 7}.txt", f"{label} {number}\nends\n")
    part_reviews(tmp_path / "reviews.zip", tmp_path / "parts", limit=None)
    parts = {
        part: [json.loads(line) for line in (tmp_path / "parts" / f"{part}.jsonl").read_text().splitlines()]
        for part in ("train", "dev", "test")
    }
    assert {part: len(lines) for part, lines in parts.items()} == {"train": 1200, "dev": 200, "test": 600}
    assert parts["dev"][:2] == [
        {"text": "neg 600\nends", "label": "neg"},
        {"text": "pos 600\nends", "label": "pos"},
    ]
    assert parts["test"][-1]["text"].startswith("pos 999")


@pytest.mark.real_data
def test_parts_of_the_real_files(tmp_path: Path, data_dir: Path) -> None:
    from every_task import EXPERIMENTS, read_lines

    for name in ("rte", "squad-1.1", "squad-2.0"):
        part = EXPERIMENTS[name].part
        assert part is not None
        part(data_dir, tmp_path)
    assert [len(read_lines(tmp_path / f"rte-{part}.tsv")) - 1 for part in ("train", "dev")] == [1992, 498]
    for name, counts in (("squad-1.1", (36, 4, 8)), ("squad-2.0", (25, 3, 7))):
        titles = [
            [article["title"] for article in json.loads((tmp_path / f"{name}-{part}.json").read_text())["data"]]
            for part in ("train", "dev", "test")
        ]
        assert tuple(map(len, titles)) == counts
        assert list(chain.from_iterable(titles)) == sorted(set(chain.from_iterable(titles)))


# The script.


def run(arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch) -> None:
    import every_task

    monkeypatch.setattr(sys, "argv", ["every_task.py", *map(str, arguments)])
    every_task.main()


@pytest.mark.usefixtures("no_report")
def test_a_table_of_both_sides_whose_runs_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import every_task

    bert = save_tiny_bert(tmp_path / "bert")
    for seed, part in enumerate(("train", "dev")):
        write_pairs(tmp_path / f"{part}.tsv", 30, seed)
    told = {"train": "train.tsv", "dev": ("dev.tsv",)}
    toy = every_task.Experiment(title="toy sentences", metrics=("accuracy", "f1"), told=told)
    monkeypatch.setattr(every_task, "EXPERIMENTS", {"toy": toy})
    arguments = ("--data-dir", tmp_path, "--output-dir", tmp_path / "out", "--model", bert, "--device", "cpu")
    arguments += ("--seeds", 2, "--limit", 20, "--epochs", 1)
    run([*arguments, "--side", "ours"], monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:3] == ["toy", "sentences", "accuracy"]
    assert lines[1].split()[6] == "-"  # transformers has no score yet
    run([*arguments, "--json"], monkeypatch)
    [row] = json.loads(capsys.readouterr().out)["rows"]
    for side in ("ours", "theirs"):
        results = [every_task.read_results(tmp_path / "out" / side / f"toy-{seed}") for seed in (0, 1)]
        by_seed = [result["scores"]["dev"]["accuracy"] for result in results if result is not None]
        assert row[side]["accuracy"] == {
            "by_seed": by_seed,
            "mean": pytest.approx(np.mean(by_seed)),
            "std": pytest.approx(np.std(by_seed, ddof=1)),
        }
    assert row["seconds_ratio"] == pytest.approx(
        np.median(np.array(row["theirs"]["seconds"]) / np.array(row["ours"]["seconds"]))
    )
    assert json.loads((tmp_path / "out" / "ours" / "toy-0" / "run" / "data.json").read_text())["train"]["rows"] == 20

    def run_again(*_: object) -> Any:
        raise AssertionError("this was done before")

    monkeypatch.setattr(every_task, "run_ours", run_again)
    monkeypatch.setattr(every_task, "run_theirs", run_again)
    run(arguments, monkeypatch)
    assert len(capsys.readouterr().out.splitlines()) == 3
    with pytest.raises(SystemExit, match=r"'epochs': 1.* 'epochs': 2.*choose another --output-dir"):
        run([*arguments, "--epochs", 2], monkeypatch)


@pytest.mark.usefixtures("no_report")
def test_random_weights_beside_pretrained_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import korean
    from every_task import Experiment

    bert = save_tiny_bert(tmp_path / "bert", "masked-lm")
    for seed, part in enumerate(("train", "dev")):
        write_pairs(tmp_path / f"{part}.tsv", 20, seed)
    toy = Experiment(title="toy", metrics=("f1",), told={"train": "train.tsv", "dev": ("dev.tsv",)})
    options = Namespace(
        pretrained=bert,
        output_dir=tmp_path / "out",
        data_dir=tmp_path,
        starts=["random", "pretrained"],
        seeds=2,
        limit=None,
        epochs=1,
        learning_rate=1e-3,
        device="cpu",
    )
    row = korean.measure("toy", toy, options)
    assert [len(of_start["by_seed"]) for of_start in row["scores"]["f1"].values()] == [2, 2]
    assert korean.as_text(row).startswith("toy ")
    weights = [load_file(tmp_path / "out" / f"random-{seed}" / "model.safetensors") for seed in (0, 1)]
    weights.append(load_file(bert / "model.safetensors"))
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert weights[0].keys() == weights[1].keys() == weights[2].keys()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(weights[one][name], weights[other][name])
