"""What all pipelines have in common: any number of inputs, in order, each answered as if it were alone; no torch.

Run: pytest tests/test_pipelines_base.py
"""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from exported import save_export
from tiny import VOCABULARY
from tiny_families import TAGS, TEXTS, numbered, save_tiny
from unmask import pipeline
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.pipelines import PIPELINES, InputRow, Pipeline, open_model, pipeline_class, pipeline_of
from unmask.ragged import Ragged
from unmask.tasks import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "text-classification": ("bert", "sequence-classification", {}),
    "token-classification": ("bert", "token-classification", {"id2label": numbered(TAGS)}),
    "fill-mask": ("roberta", "masked-lm", {}),
    "question-answering": ("electra", "question-answering", {}),
    "feature-extraction": ("albert", "encoder", {}),
    "sentence-similarity": ("bert", "encoder", {}),
    "text-generation": ("gpt2", "causal-lm", {}),
    "replaced-token-detection": ("electra", "replaced-token", {}),
    "next-sentence-prediction": ("bert", "next-sentence", {}),
}


def asked_of(task: str) -> list[Any]:
    """Inputs of many lengths that are no two alike."""
    texts = [text[:57] for text in TEXTS]
    more: dict[str, list[Any]] = {
        "fill-mask": [f"{text} <mask>" + " the <mask>" * (number % 3) for number, text in enumerate(TEXTS)],
        "question-answering": [
            {"question": text, "context": " ".join(TEXTS[number : 3 * number + 1])} for number, text in enumerate(TEXTS)
        ],
        "sentence-similarity": [
            {"source_sentence": text, "sentences": TEXTS[: 1 + number % 5]} for number, text in enumerate(TEXTS)
        ],
        "next-sentence-prediction": [{"text": one, "text_pair": other} for one, other in pairwise(TEXTS)],
    }
    return more.get(task, texts)


def assert_close(ours: Any, theirs: Any) -> None:
    """Equal, numbers to 1e-5."""
    assert type(ours) is type(theirs)
    if isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for one, other in zip(ours.values(), theirs.values(), strict=True):
            assert_close(one, other)
    else:
        assert ours == (pytest.approx(theirs, abs=1e-5) if isinstance(ours, float) else theirs)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {
        task: save_tiny(place / task / "model", family, head, **changes)
        for task, (family, head, changes) in MODELS.items()
    }


@pytest.mark.parametrize("task", PIPELINES)
def test_the_same_alone_and_among_others(folders: dict[str, Path], task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, in a list, in any order, and in a stream whose windows end anywhere."""
    ours = pipeline(task, folders[task], device="cpu")
    asked = asked_of(task)
    together = ours(asked)
    for one, answer in zip(asked[::4], together[::4], strict=True):
        assert_close(ours([one]), answer if task == "question-answering" else [answer])  # as transformers had it
        if task != "text-classification":  # whose one answer stands in a list
            assert_close(ours(one), answer)
    assert_close(ours(asked[::-1]), together[::-1])
    assert_close(ours(tuple(asked)), together)
    for limits in ({"_INPUTS_AT_ONCE": 5}, {"_INPUTS_AT_ONCE": 10**6}):
        for name, value in limits.items():
            monkeypatch.setattr(f"unmask.pipelines.base.{name}", value)
        monkeypatch.setattr(type(ours), "characters_at_once", 100 if value > 5 else 10**9)
        stream = ours(iter(asked))
        assert iter(stream) is stream
        assert_close(list(stream), together)


@pytest.mark.parametrize("task", PIPELINES)
def test_no_input_is_no_answer(folders: dict[str, Path], task: str) -> None:
    ours = pipeline(task, folders[task], device="cpu")
    assert ours([]) == []
    assert list(ours(iter([]))) == []


@pytest.mark.parametrize("task", [task for task in PIPELINES if task != "text-generation"])
def test_steps_of_several_requests_can_be_computed_together(folders: dict[str, Path], task: str) -> None:
    """As a server does it: what two clients ask goes through the model in one batch, step by step."""
    ours = pipeline(task, folders[task], device="cpu")
    asked = asked_of(task)
    requests = [ours.steps([ours.parse(one) for one in part], ours.told()) for part in (asked[:1], asked[1:4])]
    waiting = {number: next(steps) for number, steps in enumerate(requests)}
    results: dict[int, Any] = {}
    while waiting:
        batch = list(waiting.items())
        counts = [len(samples.input_ids) for _, samples in batch]
        columns = [Ragged.concatenate([getattr(s, name) for _, s in batch]) for name in ("input_ids", "token_type_ids")]
        has_rows = all(samples.rows is not None for _, samples in batch)
        rows = (
            Ragged.concatenate([samples.rows for _, samples in batch if samples.rows is not None]) if has_rows else None
        )
        outputs = ours.runtime.run_all(*columns, rows)
        waiting, first = {}, 0
        for (number, _), count in zip(batch, counts, strict=True):
            try:
                waiting[number] = requests[number].send(outputs.take(np.arange(first, first + count)))
            except StopIteration as end:
                results[number] = end.value
            first += count
    assert_close(results[0] + results[1], ours(asked[:4]))


class TestStreams:
    @pytest.fixture
    def ours(self, folders: dict[str, Path]) -> Pipeline[Any, Any, Any]:
        return pipeline("text-classification", folders["text-classification"], device="cpu")

    def test_one_reads_no_further_than_a_window(
        self, ours: Pipeline[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("unmask.pipelines.base._INPUTS_AT_ONCE", 6)
        taken: list[int] = []

        def endless() -> Iterator[str]:
            for number in range(10**9):
                taken.append(number)
                yield TEXTS[number % len(TEXTS)]

        stream = ours(endless())
        assert taken == []
        for number in range(13):
            next(stream)
            assert len(taken) == 6 * (number // 6 + 1)

    def test_long_texts_make_short_windows(
        self, ours: Pipeline[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(ours), "characters_at_once", 100)
        windows = [
            len(window) for window in ours._windows(ours._parsed(["dog " * 30, "dog", "cat " * 20, "cat " * 20]))
        ]
        assert windows == [1, 3]

    def test_a_list_with_a_mistake_is_refused_before_anything_is_computed(
        self, ours: Pipeline[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(ours.runtime), "run", lambda *_: pytest.fail("something was computed"))
        with pytest.raises(DataError, match=r"inputs, line 2001: the text is nothing: it must be text"):
            ours([TEXTS[0]] * 2000 + [{"text": None}])

    def test_what_comes_of_a_file_is_called_by_its_line(self, ours: Pipeline[Any, Any, Any]) -> None:
        rows = [InputRow("a dog", "texts.txt", 3), InputRow(" ", "texts.txt", 7)]
        assert_close(ours(rows[:1]), ours(["a dog"]))
        assert_close(ours(rows[0]), ours("a dog"))
        with pytest.raises(DataError, match=r"texts\.txt, line 7: the text is empty: write it, or leave it out"):
            ours(rows)

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            (5, r"the text is a number \(5\): it must be text"),
            (b"dog", "the text is bytes"),
            (None, r"the text is nothing: it must be text"),
            ({"text": "a", "text_pairs": "b"}, "'text_pairs' is no key it can have: give an object with text, perhaps"),
            ({}, "text is missing: give an object with text"),
            (["a", ["b", "c", "d"]], "line 2: a list .* where two texts should be"),
            (["a\ud800"], "the text holds a NUL or half of a surrogate pair"),
            ([["a", 4]], r"the second text is a number \(4\)"),
            ([" \n "], "the text is empty"),
        ],
    )
    def test_what_is_no_text(self, ours: Pipeline[Any, Any, Any], given: Any, problem: str) -> None:
        with pytest.raises(DataError, match=problem):
            ours(given)


class TestProgress:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    @pytest.mark.parametrize(
        ("is_slow", "options", "is_shown"),
        [(True, {}, True), (True, {"progress": False}, False), (False, {}, False)],
    )
    def test_a_bar_for_long_work_on_a_terminal(
        self,
        folders: dict[str, Path],
        monkeypatch: pytest.MonkeyPatch,
        is_slow: bool,
        options: dict[str, bool],
        is_shown: bool,
    ) -> None:
        ours = pipeline("text-classification", folders["text-classification"], device="cpu")
        monkeypatch.setattr("unmask.pipelines.base._INPUTS_AT_ONCE", 4)
        monkeypatch.setattr("unmask.pipelines.progress._SHORT", 0.0 if is_slow else 60.0)
        monkeypatch.setattr(sys, "stderr", terminal := self.Terminal())
        monkeypatch.setenv("TERM", "xterm")
        expected = ours(TEXTS, **options)
        assert ("text-classification" in terminal.getvalue()) == is_shown
        monkeypatch.setattr(sys, "stderr", plain := io.StringIO())
        assert_close(ours(TEXTS, progress=True), expected)
        assert plain.getvalue() == ""


class TestRegistry:
    def test_it_is_found_in_unmask(self) -> None:
        import unmask.pipelines.base  # a module named like the function would hide it

        assert callable(unmask.pipeline)
        assert unmask.pipeline is pipeline

    @pytest.mark.parametrize("task", PIPELINES)
    def test_each_task_has_its_class(self, task: str) -> None:
        assert pipeline_class(task).task == task

    @pytest.mark.parametrize("task", [task for task in PIPELINES if task != "sentence-similarity"])
    def test_the_model_tells_its_task(self, folders: dict[str, Path], task: str) -> None:
        assert pipeline(None, folders[task], device="cpu").task == task
        assert pipeline_of(open_model(folders[task], device="cpu")).task == task

    @pytest.mark.parametrize(
        ("arguments", "options", "error", "problem"),
        [
            (("summarization", "minilm"), {}, SettingsError, "there is no task 'summarization'; there are text-class"),
            (("fill-mask",), {}, SettingsError, r"no model is named: pipeline\('fill-mask', model=...\)"),
            ((), {}, SettingsError, "no model is named"),
            (("ner", "minilm"), {"device": "tpu9"}, SettingsError, "device is 'tpu9'"),
            (("ner", "minilm"), {"runtime": "jax"}, SettingsError, "runtime is 'jax': it must be one of torch, onnx"),
            (
                ("ner", "minilm"),
                {"runtime": "onnx", "device": "cuda"},
                SettingsError,
                "device is 'cuda', and an exp",
            ),
            (
                ("ner", "minilm"),
                {},
                CheckpointError,
                r"minilm: this checkpoint \(BertModel\) has no token-classification",
            ),
        ],
    )
    def test_what_there_is_not(
        self, arguments: tuple[str, ...], options: dict[str, Any], error: type[Exception], problem: str
    ) -> None:
        with pytest.raises(error, match=problem):
            pipeline(*arguments, **options)

    def test_a_task_that_unmask_does_not_know(self, tmp_path: Path) -> None:
        folder = save_tiny(tmp_path / "model", "bert", "sequence-classification", extra={"problem_type": "ranking"})
        with pytest.raises(CheckpointError, match="its head gives ranking, and unmask knows no task for it"):
            pipeline("text-classification", folder)


class TestFoldersThatContradictThemselves:
    def test_a_memory_of_another_head(self, tmp_path: Path) -> None:
        extra = {"unmask_task": {"task": "tagging"}}
        folder = save_tiny(tmp_path / "model", "bert", "sequence-classification", extra=extra)
        with pytest.raises(
            CheckpointError, match="its head is sequence-classification, and tagging needs token-classification"
        ):
            pipeline("text-classification", folder)

    def test_labels_that_are_not_numbered(self, tmp_path: Path) -> None:
        folder = save_export(tmp_path / "model", "sequence-classification", id2label={"0": "a", "two": "b"})
        with pytest.raises(CheckpointError, match=r"id2label in its config\.json is .* which does not number labels"):
            pipeline("text-classification", folder, runtime="onnx")


EXPORTS: dict[str, dict[str, Any]] = {
    "text-classification": {"head": "sequence-classification"},
    "token-classification": {"head": "token-classification", "num_outputs": 5},
    "fill-mask": {"head": "masked-lm", "num_outputs": len(VOCABULARY)},
    "question-answering": {"head": "question-answering"},
    "feature-extraction": {"head": "encoder", "num_outputs": 7},
    "sentence-similarity": {"head": "encoder", "num_outputs": 7},
    "replaced-token-detection": {"head": "replaced-token"},
    "next-sentence-prediction": {"head": "next-sentence"},
}


class TestExported:
    @pytest.fixture(scope="module")
    @staticmethod
    def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        place = tmp_path_factory.mktemp("exports")
        return {task: save_export(place / task, **options) for task, options in EXPORTS.items()}

    def test_they_answer_without_torch(self, exports: dict[str, Path]) -> None:
        """Each in order, in a process that cannot import torch, nor transformers."""
        asked = {task: asked_of(task)[:3] for task in EXPORTS}
        asked["fill-mask"] = [text.replace("<mask>", "[MASK]") for text in asked["fill-mask"]]
        script = f"""
            import json, sys
            for name in ("torch", "transformers", "sklearn"):
                sys.modules[name] = None
            from pathlib import Path
            from unmask import pipeline
            found = {{}}
            for task, folder in {[(task, str(folder)) for task, folder in exports.items()]!r}:
                asked = {asked!r}[task]
                ours = pipeline(task, folder, runtime="onnx")
                found[task] = ours(asked)
                assert pipeline(None, folder, runtime="onnx").head == ours.head
            print(json.dumps(found))
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr[-3000:]
        import json

        found = json.loads(done.stdout)
        for task, folder in exports.items():
            here = pipeline(task, folder, runtime="onnx")
            assert_close(found[task], list(here(iter(asked[task]))))

    def test_a_head_that_is_not_in_the_graph(self, exports: dict[str, Path]) -> None:
        with pytest.raises(
            CheckpointError, match=r"\(a graph with the head encoder\) has no token-classification head"
        ):
            pipeline("ner", exports["feature-extraction"], runtime="onnx")

    def test_a_graph_has_no_weights_for_torch(self, exports: dict[str, Path]) -> None:
        with pytest.raises(CheckpointError, match='an exported graph, without weights for torch: runtime "onnx"'):
            pipeline("text-classification", exports["text-classification"])


def test_parts_of_samples() -> None:
    ids = Ragged.of([[5, 6], [7], [8, 9, 10]], np.int64)
    samples = Samples(
        input_ids=ids, token_type_ids=Ragged(ids.values * 0, ids.offsets), rows=Ragged.of([[1], [0], [2]])
    )
    part = samples.take(np.array([2, 0]))
    assert [list(one) for one in part.input_ids] == [[8, 9, 10], [5, 6]]
    assert part.rows is not None
    assert [list(one) for one in part.rows] == [[2], [1]]
