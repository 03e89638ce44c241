"""run.py of exported folders: by itself, without unmask or torch, it says what unmask says of the original.

Run: pytest tests/test_exporting_program.py. With UNMASK_TEST_EMPTY_ENV=1 also in an environment of its own, which pip
fills with onnxruntime, tokenizers and numpy, and nothing else.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from exported import save_export
from tiny import save_tiny_bert, sentences
from tiny_families import save_tiny
from unmask import export, generate, pipeline, predict
from unmask.exporting.program import PROGRAMS, write_program
from unmask.models.registry import HEADS

ALONE = """
import runpy, sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "unmask", "onnx", "sklearn", "scipy"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refusing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TEXTS = [text for text, _ in sentences(9, seed=4)]
LONG = " ".join(text for text, _ in sentences(30, seed=8))


@dataclass(frozen=True)
class Case:
    """A model, as its config.json remembers its task, and what it is asked."""

    head: str
    task: dict[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ("bad", "good")
    texts: tuple[str, ...] = (*TEXTS, LONG, "the DOG's \u00e9 unheardof|jump\u00a0!")
    pairs: tuple[str, ...] | None = None


TASKS = {
    "classification": Case("sequence-classification", {"task": "classification", "temperature": 2.5}),
    "pairs": Case(
        "sequence-classification",
        {"task": "classification", "truncate": "head-tail"},
        texts=("these dogs sleep.", LONG, "the cat", LONG[40:]),
        pairs=("this cat runs.", LONG[100:300], LONG, LONG),
    ),
    "tail": Case("sequence-classification", {"task": "classification", "truncate": "tail", "max_seq_length": 17}),
    "windows": Case("sequence-classification", {"task": "classification", "long_texts": "windows"}),
    "windows-max": Case(
        "sequence-classification",
        {"task": "classification", "long_texts": "windows", "window_pooling": "max", "doc_stride": 9},
    ),
    "multi-label": Case("sequence-classification", {"task": "multi-label"}, labels=("a", "b", "c")),
    "regression": Case("sequence-classification", {"task": "regression"}, labels=("score",)),
    "tagging": Case("token-classification", {"task": "tagging", "text_unit": "word"}, labels=("O", "B-X", "I-X")),
    "tagging-plain": Case(
        "token-classification", {"task": "tagging", "tag_scheme": "plain", "doc_stride": 7}, labels=("N", "V")
    ),
    "tagging-characters": Case(
        "token-classification", {"task": "tagging", "text_unit": "character"}, labels=("O", "B-X", "I-X", "B-Y", "I-Y")
    ),
    "answers": Case(
        "question-answering",
        {"task": "question-answering", "doc_stride": 8, "max_answer_length": 5},
        texts=("who sleep?", LONG[:200]),
        pairs=(LONG, "the dog sleeps in the house."),
    ),
    "no-answers": Case(
        "question-answering",
        {"task": "question-answering", "null_score_diff_threshold": 0.3},
        texts=("who sleep?", "what is in the house?"),
        pairs=(LONG, "the dog sleeps in the house."),
    ),
}


def run_alone(folder: Path, lines: list[Any], *arguments: str, python: str = sys.executable) -> list[Any]:
    """Ask run.py on its standard input, in a process that sees neither torch nor unmask."""
    done = subprocess.run(
        [python, "-I", "-c", ALONE, str(folder / "run.py"), *arguments],
        input="".join(json.dumps(line) + "\n" if isinstance(line, dict) else f"{line}\n" for line in lines),
        env={"OMP_NUM_THREADS": "1", "LC_ALL": "C"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def nearly(value: Any) -> Any:
    """The same, with numbers that may be off by 1e-4."""
    if isinstance(value, dict):
        return {key: nearly(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [nearly(inner) for inner in value]
    return pytest.approx(value, abs=1e-4) if isinstance(value, float) else value


def exported(folder: Path) -> Path:
    export(folder, output_dir=folder.with_name("onnx"))
    return folder.with_name("onnx")


# The same answers


@pytest.mark.parametrize("name", TASKS)
def test_it_answers_as_predict_does(name: str, tmp_path: Path) -> None:
    case = TASKS[name]
    labels = dict(enumerate(case.labels))
    model = save_tiny_bert(
        tmp_path / "model", case.head, initializer_range=0.4, id2label=labels, extra={"unmask_task": case.task}
    )
    answers = predict(model, case.texts, case.pairs, device="cpu")
    folder = exported(model)
    again = predict(folder, case.texts, case.pairs, runtime="onnx")
    keys = ("question", "context") if case.head == "question-answering" else ("text", "text_pair")
    asked = zip(case.texts, case.pairs or [None] * len(case.texts), strict=True)
    said = run_alone(folder, [dict(zip(keys, one, strict=True)) for one in asked])
    expected = [answer.to_dict() for answer in answers]
    shown = [{key: value for key, value in one.items() if key not in ("id", "n_best")} for one in expected]
    assert said == nearly(shown)
    assert [answer.to_dict() for answer in again] == nearly(expected)
    assert len({json.dumps(list(answer.values())[1:]) for answer in said}) > 1  # not the same of everything


def test_it_fills_as_the_pipeline_does(tmp_path: Path) -> None:
    folder = exported(save_tiny(tmp_path / "model", "roberta", "masked-lm"))
    texts = ["these <mask> sleep.", "the [MASK] jumps[MASK] the house"]
    said = run_alone(folder, texts)
    fill = pipeline("fill-mask", folder, runtime="onnx")
    single, several = fill(texts)
    for mask, guesses in zip([*said[0]["masks"], *said[1]["masks"]], [single, *several], strict=True):
        assert [guess["token_id"] for guess in mask] == [guess["token"] for guess in guesses]
        assert [guess["probability"] for guess in mask] == nearly([guess["score"] for guess in guesses])
        assert [guess["word"] for guess in mask] == [guess["token_str"].strip() for guess in guesses]


def test_it_judges_pairs_as_the_pipeline_does(tmp_path: Path) -> None:
    folder = exported(save_tiny(tmp_path / "model", "albert", "next-sentence"))
    pairs = [{"text": one, "text_pair": other} for one, other in itertools.pairwise(TEXTS)]
    answers = pipeline("next-sentence-prediction", folder, runtime="onnx", top_k=None)(pairs)
    for said, scores in zip(run_alone(folder, pairs), answers, strict=True):
        [first] = [score["score"] for score in scores if score["label"] == "InOrder"]
        assert said["probability"] == pytest.approx(first, abs=1e-4)
        assert said["is_next"] == (scores[0]["label"] == "InOrder")


def test_it_detects_as_the_pipeline_does(tmp_path: Path) -> None:
    folder = exported(save_tiny(tmp_path / "model", "electra", "replaced-token", initializer_range=0.4))
    answers = pipeline("replaced-token-detection", folder, runtime="onnx")(TEXTS)
    assert {verdict["is_replaced"] for answer in answers for verdict in answer} == {True, False}
    for said, verdicts in zip(run_alone(folder, TEXTS), answers, strict=True):
        assert said["tokens"] == [
            {
                "token": verdict["word"],
                "start": verdict["start"],
                "end": verdict["end"],
                "probability": pytest.approx(verdict["score"], abs=1e-4),
                "is_replaced": verdict["is_replaced"],
            }
            for verdict in verdicts
        ]


def test_it_generates_as_we_do(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "model", "gpt2", "causal-lm", extra={"eos_token_id": 256})
    prompts = ["The whale", "Sie lag", " a\u00e9"]
    written = generate(prompts, model=model, max_new_tokens=30)
    said = run_alone(exported(model), prompts)
    assert [one["generated_text"] for one in said] == [one.prompt + one.text for [one] in written]


@pytest.mark.parametrize("pooling", [None, "cls", "max"])
def test_it_embeds_as_the_pipeline_does(pooling: str | None, tmp_path: Path) -> None:
    model = save_tiny_bert(tmp_path / "model", initializer_range=0.3)
    if pooling is not None:
        kinds = ("Transformer", "Pooling", "Normalize")
        modules = [{"type": f"sentence_transformers.models.{kind}", "path": f"1_{kind}"} for kind in kinds]
        (model / "modules.json").write_text(json.dumps(modules))
        (model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 23}))
        (model / "1_Pooling").mkdir()
        modes = {
            f"pooling_mode_{mode}": mode.startswith(pooling) for mode in ("cls_token", "mean_tokens", "max_tokens")
        }
        (model / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    folder = exported(model)
    texts = [*TEXTS, LONG]
    options = {"pooling": pooling or "mean", "normalize": True}
    original = pipeline("feature-extraction", model, device="cpu", truncation=True, **options)
    for one, other in zip(run_alone(folder, texts), original(texts), strict=True):
        assert one["embedding"] == nearly([float(number) for number in other])
    if pooling is not None:  # the folder says to ours how it is done, too
        [vector] = pipeline("feature-extraction", folder, runtime="onnx", **options)([LONG])
        assert one["embedding"] == nearly([float(number) for number in vector])


# As a program


def test_texts_of_the_command_line_and_pairs(tmp_path: Path) -> None:
    folder = save_export(tmp_path / "model", "sequence-classification")
    (folder / "run.py").write_text(write_program("sequence-classification"))
    said = run_alone(folder, [], "the dog", "the cat", "--pair", "a house")
    expected = predict(folder, ["the dog", "the cat"], ["a house"] * 2, runtime="onnx")
    assert said == nearly([answer.to_dict() for answer in expected])


@pytest.mark.parametrize(
    ("head", "line", "complaint"),
    [
        ("sequence-classification", b'{"text": "the', "line 1 is not JSON"),
        ("sequence-classification", b'{"text": 5}', "line 1: text and text_pair must be texts"),
        ("sequence-classification", b'{"text": ' + b"[" * 100_000, "line 1 is not JSON"),
        ("sequence-classification", b"\xff\xfe", "texts must be UTF-8"),
        ("token-classification", b'{"text": " "}', "a text is empty"),
        ("question-answering", b"who?", "a question is asked of a text"),
        ("next-sentence", b"alone", "this model reads pairs"),
        ("masked-lm", b"no mask", "has no [MASK]: put it where a word is to be guessed"),
        ("masked-lm", b"[MASK]" + b" dog" * 40, "the text has 43 tokens, and the model reads 40: shorten it"),
        ("replaced-token", b"dog " * 40, "the text has 42 tokens, and the model reads 40: shorten it"),
    ],
)
def test_what_it_cannot_answer_is_one_line_and_a_failure(
    head: str, line: bytes, complaint: str, tmp_path: Path
) -> None:
    folder = save_export(tmp_path / "model", head)
    (folder / "run.py").write_text(write_program(head))
    done = subprocess.run(
        [sys.executable, "-I", folder / "run.py"], input=line + b"\n", capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
    [message] = done.stderr.decode().splitlines()
    assert complaint in message


def test_each_head_has_a_program_that_stands_alone() -> None:
    assert PROGRAMS.keys() == set(HEADS) - {"pre-training"}
    for head in PROGRAMS:
        program = write_program(head)
        compile(program, "run.py", "exec")
        assert "import unmask" not in program
        assert "from unmask" not in program


@pytest.mark.skipif("UNMASK_TEST_EMPTY_ENV" not in os.environ, reason="it fetches packages: set UNMASK_TEST_EMPTY_ENV")
def test_it_answers_in_an_environment_of_its_three_packages(tmp_path: Path) -> None:
    model = save_tiny_bert(tmp_path / "model", "sequence-classification", initializer_range=0.4)
    report = export(model, output_dir=tmp_path / "onnx", int8=True, min_agreement=0.9)
    venv.create(tmp_path / "empty", with_pip=True)
    python = str(tmp_path / "empty" / "bin" / "python")
    constraints = Path(__file__).parents[1] / "constraints.txt"
    packages = ("onnxruntime", "tokenizers", "numpy")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", constraints, *packages], check=True)
    subprocess.run([python, "-c", "import importlib.util as u; assert not u.find_spec('torch')"], check=True)
    said = run_alone(Path(report["folder"]), TEXTS, python=python)
    assert [one["label"] for one in said] == [one.label for one in predict(report["folder"], TEXTS, runtime="onnx")]
