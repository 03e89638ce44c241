"""`unmask embed`: a file of texts in, a file of vectors out. Run: pytest tests/test_workflows_embed.py."""

from __future__ import annotations

import io
import json
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet
import pytest

from tiny import unmask, write_rows
from tiny_families import TEXTS, save_tiny
from unmask import embed, pipeline
from unmask.errors import DataError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models") / "bert", "bert", "encoder")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "texts.tsv", [(text, "x") for text in TEXTS])


def read(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Texts and vectors of an output; an array has no texts."""
    if path.suffix == ".npy":
        return TEXTS, np.load(path)
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[32]"
        return table.column("text").to_pylist(), np.array(table.column("embedding").to_pylist(), np.float32)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line["text"] for line in lines], np.array([line["embedding"] for line in lines], np.float32)


@pytest.mark.parametrize("suffix", ["parquet", "npy", "jsonl"])
@pytest.mark.parametrize("at_once", [1024, 4])
def test_vectors_are_those_of_the_pipeline(
    model: Path, texts: Path, tmp_path: Path, suffix: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("unmask.pipelines.base._INPUTS_AT_ONCE", "unmask.workflows.embed._VECTORS_AT_ONCE"):
        monkeypatch.setattr(module, at_once)
    output = tmp_path / "new" / f"vectors.{suffix}"
    made = embed(texts, output=output, model=str(model), pooling="max", normalize=True, device="cpu")
    assert (made.num_texts, made.num_dimensions, made.pooling, made.normalize) == (len(TEXTS), 32, "max", True)
    found, vectors = read(output)
    assert found == TEXTS
    assert vectors.dtype == np.float32
    expected = pipeline("feature-extraction", model, device="cpu")(TEXTS, pooling="max", normalize=True)
    np.testing.assert_allclose(vectors, np.array(expected), atol=1e-6)


def test_minilm_as_sentence_transformers_has_it(tmp_path: Path) -> None:
    """Its folder says how, and the definition is here: the mean over all tokens, brought to length 1."""
    import torch
    import transformers

    from unmask import hub

    (tmp_path / "texts.txt").write_text("A man eats food.\nSomeone is eating: Ünïcödé & 한국어!\n")
    made = embed(tmp_path / "texts.txt", output=tmp_path / "vectors.npy", device="cpu")
    assert (made.pooling, made.normalize, made.num_dimensions) == ("mean", True, 384)
    folder = hub.resolve("minilm")
    reference = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(
        (tmp_path / "texts.txt").read_text().splitlines(), np.load(tmp_path / "vectors.npy"), strict=True
    ):
        with torch.no_grad():
            mean = reference(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, ("mean", False)), ({"pooling": "cls"}, ("cls", False)), ({"normalize": True}, ("mean", True))],
)
def test_what_is_not_said(
    model: Path, texts: Path, tmp_path: Path, given: dict[str, Any], expected: tuple[str, bool]
) -> None:
    made = embed(texts, output=tmp_path / "v.npy", model=str(model), device="cpu", **given)
    assert (made.pooling, made.normalize) == expected


class TestCommand:
    def test_a_file(self, model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        output = tmp_path / "vectors.parquet"
        arguments = ("embed", texts, "--output", output, "--model", model, "--device", "cpu")
        assert unmask(*arguments) == 0
        said = f"{len(TEXTS)} texts: vectors of 32 numbers (mean) written to {output}\n"
        assert capsys.readouterr().out == said
        assert unmask(*arguments, "--json", "--pooling", "cls", "--normalize", "True") == 0
        assert json.loads(capsys.readouterr().out) == {
            "output": str(output),
            "num_texts": len(TEXTS),
            "num_dimensions": 32,
            "pooling": "cls",
            "normalize": True,
        }

    def test_standard_input(self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        piped = SimpleNamespace(buffer=io.BytesIO("\n".join(TEXTS).encode()), isatty=lambda: False)
        monkeypatch.setattr(sys, "stdin", piped)
        assert unmask("embed", "--output", tmp_path / "v.jsonl", "--model", model, "--device", "cpu") == 0
        assert read(tmp_path / "v.jsonl")[0] == TEXTS

    @pytest.mark.parametrize(
        ("rows", "more", "code", "problem"),
        [
            (["a dog", " "], (), 3, "texts.tsv, line 3: the text is empty"),
            (["a dog", "dog " * 60], (), 3, "line 3: the text has 62 tokens, and the model reads 40"),
            (["a dog"], ("--text-column", "words"), 3, "no column is named words"),
            (["a dog"], ("--output", "v.csv"), 2, "its name must end in .parquet, .jsonl, .npy"),
            (["a dog"], ("--pooling", "sum"), 2, "sum"),
        ],
    )
    def test_what_goes_wrong_leaves_nothing(
        self,
        model: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        rows: list[str],
        more: tuple[str, ...],
        code: int,
        problem: str,
    ) -> None:
        file = write_rows(tmp_path / "texts.tsv", [(text, "x") for text in rows])
        for output in ("v.npy", "v.parquet", "v.jsonl"):
            arguments = ("--output", tmp_path / output, "--model", model, "--device", "cpu")
            assert unmask("embed", file, *arguments, *more) == code
            assert problem in " ".join(capsys.readouterr().err.split())
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".v", "v"))] == []


def test_an_old_file_survives_a_mistake(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "v.npy"
    output.write_bytes(b"old")
    (tmp_path / "texts.txt").write_bytes(b"a dog\n" * 2000 + b"\xff")
    with pytest.raises(DataError, match="line 2001"):
        embed(tmp_path / "texts.txt", output=output, model=str(model), device="cpu")
    assert output.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts.txt", "v.npy"]


def test_no_text_at_all(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n")
    with pytest.raises(DataError, match=r"texts\.txt: there is no text in it"):
        embed(tmp_path / "texts.txt", output=tmp_path / "v.parquet", model=str(model), device="cpu")


@pytest.mark.skipif(os.name == "nt", reason="there is no such file")
def test_a_full_disk(model: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DataError, match="cannot be written: No space left on device; free some space"):
        embed(texts, output=tmp_path / "v.npy", model=str(model), device="cpu")
    assert not (tmp_path / "v.npy").exists()


def test_long_texts_are_cut_if_that_is_said(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("dog " * 60 + "\n")
    embed(tmp_path / "texts.txt", output=tmp_path / "v.npy", model=str(model), device="cpu", truncation=True)
    expected = pipeline("feature-extraction", model, device="cpu", pooling="mean")("dog " * 38)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy")[0], expected, atol=1e-5)
    with pytest.raises(SettingsError, match="output is vectors: its name must end in"):
        embed(tmp_path / "texts.txt", output=(tmp_path / "vectors").relative_to(tmp_path), model=str(model))
