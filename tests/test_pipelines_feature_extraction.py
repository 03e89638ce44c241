"""Vectors of tokens and texts, against transformers and sentence-transformers.

Run: pytest tests/test_pipelines_feature_extraction.py
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tiny_families import FAMILIES, TEXTS, save_tiny
from unmask import pipeline
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.pipelines import TooLongError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SHORT = [text for text in TEXTS if len(text) < 58]  # the GPT reads bytes, and has 60 positions
POOLED = {
    "cls": lambda hidden: hidden[0],
    "mean": lambda hidden: hidden.mean(0),
    "max": lambda hidden: hidden.max(0),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_gives(tmp_path: Path, family: str) -> None:
    import transformers

    folder = save_tiny(tmp_path / "model", family, "encoder")
    ours = pipeline(None, folder, device="cpu")
    assert ours.task == "feature-extraction"
    theirs = transformers.pipeline("feature-extraction", model=str(folder), device="cpu")(SHORT)
    for mine, expected in zip(ours(SHORT), theirs, strict=True):
        assert isinstance(mine[0][0][0], float)
        np.testing.assert_allclose(np.array(mine), np.array(expected), atol=2e-5)  # [1][tokens][hidden]
    [array] = ours(SHORT[:1], return_arrays=True)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array(ours(SHORT[0]), np.float32))
    for pooling, pool in POOLED.items():
        expected = np.array([pool(np.array(one[0])) for one in theirs])
        mine = np.array(ours(SHORT, pooling=pooling))
        np.testing.assert_allclose(mine, expected, atol=2e-5)
        length_1 = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(np.array(ours(SHORT, pooling=pooling, normalize=True)), length_1, atol=1e-5)


def test_a_model_with_a_head_gives_its_encoders_vectors(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", "bert", "masked-lm")
    vectors = np.array(pipeline("feature-extraction", folder)(SHORT[0]))
    assert vectors.shape == (1, len(pipeline("fill-mask", folder).tokenizer.encode(SHORT[0])), 32)


def test_many_tokens_are_computed_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny(tmp_path / "model", "bert", "encoder")
    ours = pipeline("feature-extraction", folder, return_arrays=True)
    options: list[dict[str, Any]] = [{}, {"pooling": "mean"}]
    whole = [ours(SHORT, **one) for one in options]
    monkeypatch.setattr("unmask.pipelines.vectors._TOKENS_AT_ONCE", 20)
    seen: list[int] = []
    run_all = ours.runtime.run_all
    monkeypatch.setattr(
        ours.runtime, "run_all", lambda ids, *rest: (seen.append(len(ids.values)), run_all(ids, *rest))[1]
    )
    for one, expected in zip(options, whole, strict=True):
        for mine, before in zip(ours(SHORT, **one), expected, strict=True):
            np.testing.assert_allclose(mine, before, atol=1e-5)
    assert len(seen) > 10
    assert max(seen) < 20 + 40


@pytest.fixture(scope="module")
def mixed_texts() -> list[str]:
    """Short texts and one that sentence-transformers cuts at 256 tokens."""
    text = "the old lighthouse had not been lit for thirty years and the fishermen had learnt to do without it"
    words = text.split()
    return [" ".join(words[: 1 + 3 * n]) for n in range(6)] + [" ".join(words * 20), "Ünïcödé, 한국어 & ... ?"]


@pytest.fixture(scope="module")
def sentence_transformer(minilm: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(minilm), device="cpu")


class TestSentenceTransformers:
    def test_minilm_gives_its_vectors(self, mixed_texts: list[str], sentence_transformer: Any) -> None:
        ours = pipeline("feature-extraction", device="cpu", pooling="mean", normalize=True)
        mine = np.array(ours(mixed_texts))
        np.testing.assert_allclose(mine, sentence_transformer.encode(mixed_texts), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(mine, axis=1), 1, atol=1e-6)

    @pytest.mark.parametrize("pooling", ["cls", "max"])
    def test_other_poolings(self, mixed_texts: list[str], sentence_transformer: Any, pooling: str) -> None:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Pooling

        transformer = sentence_transformer[0]
        theirs = SentenceTransformer(
            modules=[transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling)], device="cpu"
        )
        mine = pipeline("feature-extraction", "minilm", device="cpu", pooling=pooling, normalize=False)(mixed_texts)
        np.testing.assert_allclose(np.array(mine), theirs.encode(mixed_texts), atol=1e-5)

    def test_similarities(self, mixed_texts: list[str], sentence_transformer: Any) -> None:
        ours = pipeline("sentence-similarity", device="cpu")
        asked = {"source_sentence": mixed_texts[2], "sentences": mixed_texts}
        vectors = sentence_transformer.encode(mixed_texts)
        expected = vectors @ vectors[2]
        np.testing.assert_allclose(ours(asked), expected, atol=1e-5)
        other = {"source_sentence": mixed_texts[5], "sentences": mixed_texts[:2]}
        both = ours([asked, other])
        np.testing.assert_allclose(both[0], expected, atol=1e-5)
        np.testing.assert_allclose(both[1], vectors[:2] @ vectors[5], atol=1e-5)

    def test_a_long_text_may_be_refused(self, mixed_texts: list[str]) -> None:
        ours = pipeline("feature-extraction", "minilm", device="cpu", pooling="mean")
        with pytest.raises(TooLongError, match="line 7: the text has 382 tokens, and the model reads 256"):
            ours(mixed_texts, truncation=False)
        assert len(ours(mixed_texts[6], pooling=None)[0]) == 382  # vectors of tokens are no matter of that folder


@pytest.fixture
def sentence_model(tmp_path: Path) -> Path:
    folder = save_tiny(tmp_path / "model", "bert", "encoder")
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    return folder


class TestFoldersOfSentenceTransformers:
    @pytest.mark.parametrize("config", [{"pooling_mode_cls_token": True}, {"pooling_mode": "cls"}])
    def test_their_pooling_is_the_usual_one(self, sentence_model: Path, config: dict[str, Any]) -> None:
        old = {"pooling_mode_mean_tokens": False} if "pooling_mode_cls_token" in config else {}
        (sentence_model / "1_Pooling" / "config.json").write_text(json.dumps(config | old))
        asked = {"source_sentence": SHORT[0], "sentences": SHORT[1:4]}
        given = pipeline("sentence-similarity", sentence_model)(asked)
        assert given == pytest.approx(pipeline("sentence-similarity", sentence_model, pooling="cls")(asked))
        assert given != pytest.approx(pipeline("sentence-similarity", sentence_model, pooling="mean")(asked), abs=1e-4)

    @pytest.mark.parametrize(
        ("file", "content", "problem"),
        [
            ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "made with another pooling than cls, mean or max"),
            (
                "1_Pooling/config.json",
                {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
                "another pooling than cls, mean or max",
            ),
            ("modules.json", [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}], "a module Dense"),
            ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case in sentence_bert_config.json"),
        ],
    )
    def test_what_is_not_computed_is_said(self, sentence_model: Path, file: str, content: Any, problem: str) -> None:
        (sentence_model / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "mean"}))
        (sentence_model / file).write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=f"{problem}.*which unmask does not compute: name a pooling"):
            pipeline("sentence-similarity", sentence_model)({"source_sentence": "a", "sentences": ["the"]})

    @pytest.mark.parametrize(
        ("file", "content", "problem"),
        [
            ("modules.json", "[", "not valid JSON"),
            ("modules.json", '{"a": 1}', "not a list of modules, as sentence-transformers has it"),
            ("sentence_bert_config.json", '{"max_seq_length": "256"}', "max_seq_length is '256', and no whole number"),
        ],
    )
    def test_a_broken_one(self, sentence_model: Path, file: str, content: str, problem: str) -> None:
        (sentence_model / file).write_text(content)
        with pytest.raises(CheckpointError, match=problem):
            pipeline("sentence-similarity", sentence_model)({"source_sentence": "a", "sentences": ["the"]})


class TestWrongInputs:
    @pytest.mark.parametrize(
        ("asked", "problem"),
        [
            ("a", r"text or an object|a text \('a'\)|where an object with the keys source_sentence and sentences"),
            ({"source_sentence": "a"}, "sentences is missing"),
            ({"source_sentence": "a", "sentences": []}, "sentences must be a list of one text or more"),
            ({"source_sentence": "a", "sentences": "the"}, "sentences must be a list of one text or more"),
            ({"source_sentence": "a", "sentences": ["the", ""]}, "sentence 2 is empty"),
            ({"source_sentence": "a", "sentences": ["the"], "top_k": 1}, "'top_k' is no key it can have"),
        ],
    )
    def test_of_similarity(self, sentence_model: Path, asked: Any, problem: str) -> None:
        with pytest.raises(DataError, match=problem):
            pipeline("sentence-similarity", sentence_model, pooling="mean")(asked)

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"pooling": "sum"}, "pooling is 'sum': it must be one of cls, mean, max"),
            ({"normalize": True}, "normalize is for one vector a text: name a pooling too"),
        ],
    )
    def test_options(self, sentence_model: Path, options: dict[str, Any], problem: str) -> None:
        with pytest.raises(SettingsError, match=problem):
            pipeline("feature-extraction", sentence_model, **options)

    def test_a_long_text(self, sentence_model: Path) -> None:
        ours = pipeline("feature-extraction", sentence_model, return_arrays=True)
        long = "this dog " * 30
        with pytest.raises(TooLongError, match="the text has 62 tokens, and the model reads 40"):
            ours(long)
        cut: NDArray[np.float32] = ours(long, truncation=True)
        assert cut.shape == (1, 40, 32)
