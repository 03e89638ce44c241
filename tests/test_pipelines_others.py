"""Text generation against transformers' pipeline; replaced tokens and next sentences against its models.

Run: pytest tests/test_pipelines_others.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from tiny_families import TEXTS, save_tiny
from unmask import pipeline
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.pipelines import TooLongError

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = ["The whale", "Sie lag", " a"]


class TestTextGeneration:
    @pytest.fixture
    def gpt(self, tmp_path: Path) -> Path:
        return save_tiny(tmp_path / "model", "gpt2", "causal-lm", extra={"eos_token_id": 256})

    def test_greedy_is_what_transformers_writes(self, gpt: Path) -> None:
        import transformers

        ours = pipeline(None, gpt, device="cpu")
        assert ours.task == "text-generation"
        theirs = transformers.pipeline("text-generation", model=str(gpt), device="cpu")
        options = {"max_new_tokens": 17, "do_sample": False}
        assert ours(PROMPTS[0], **options) == theirs(PROMPTS[0], **options)
        assert ours(PROMPTS, **options) == theirs(PROMPTS, **options)
        options |= {"return_full_text": False}
        assert ours(PROMPTS, **options) == theirs(PROMPTS, **options)

    def test_chance_is_the_same_alone_and_among_others(self, gpt: Path) -> None:
        ours = pipeline("text-generation", gpt, temperature=0.9, max_new_tokens=8, num_return_sequences=2)
        together = ours(PROMPTS)
        assert together == [ours(prompt) for prompt in PROMPTS]
        assert ours(PROMPTS, seed=1) != together
        plain = ours(PROMPTS[0], temperature=None, do_sample=True)
        assert plain == ours(PROMPTS[0], temperature=1.0)
        assert plain[0] != plain[1]

    def test_an_empty_prompt_begins_where_texts_begin(self, gpt: Path) -> None:
        [written] = pipeline("text-generation", gpt)("", max_new_tokens=5)
        assert set(written) == {"generated_text"}

    def test_what_cannot_be(self, gpt: Path, tmp_path: Path) -> None:
        ours = pipeline("text-generation", gpt)
        with pytest.raises(TooLongError, match="line 2: the text has 60 tokens, and the model reads 59"):
            ours(["a", "b" * 60])
        with pytest.raises(SettingsError, match="do_sample is False, and temperature"):
            ours("a", do_sample=False, top_k=3)
        with pytest.raises(SettingsError, match="max_new_tokens is 0"):
            ours("a", max_new_tokens=0)
        with pytest.raises(CheckpointError, match="has no causal-lm head, which text-generation asks: give a GPT"):
            pipeline("text-generation", save_tiny(tmp_path / "bert", "bert", "masked-lm"))


class TestReplacedTokenDetection:
    @pytest.fixture
    def electra(self, tmp_path: Path) -> Path:
        return save_tiny(tmp_path / "model", "electra", "replaced-token")

    def test_what_the_discriminator_of_transformers_says(self, electra: Path) -> None:
        import transformers

        ours = pipeline(None, electra, device="cpu")
        assert ours.task == "replaced-token-detection"
        model = transformers.ElectraForPreTraining.from_pretrained(electra).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(electra)
        for text, mine in zip(TEXTS, ours(TEXTS), strict=True):
            encoded = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
            offsets = encoded.pop("offset_mapping")[0, 1:-1].tolist()
            with torch.no_grad():
                scores = model(**encoded).logits.sigmoid()[0, 1:-1].tolist()
            assert [one["score"] for one in mine] == pytest.approx(scores, abs=1e-5)
            assert [[one["start"], one["end"]] for one in mine] == offsets
            assert [one["word"] for one in mine] == tokenizer.tokenize(text)
            assert [one["index"] for one in mine] == list(range(1, len(scores) + 1))
            assert [one["is_replaced"] for one in mine] == [score >= 0.5 for score in scores]
        assert 0 < sum(one["is_replaced"] for mine in ours(TEXTS) for one in mine) < sum(map(len, ours(TEXTS)))

    def test_options(self, electra: Path) -> None:
        ours = pipeline("replaced-token-detection", electra)
        [every] = ours(TEXTS[:1])
        threshold = sorted(one["score"] for one in every)[2]
        [chosen] = ours(TEXTS[:1], threshold=threshold, only_replaced=True)
        assert [one["index"] for one in chosen] == [one["index"] for one in every if one["score"] >= threshold]
        with pytest.raises(SettingsError, match="threshold is 2: it must be from 0 to 1"):
            ours("a", threshold=2)


class TestNextSentencePrediction:
    PAIRS = tuple(zip(TEXTS[:5], TEXTS[5:10], strict=True))

    @pytest.mark.parametrize("head", ["next-sentence", "pre-training"])
    def test_what_bert_of_transformers_says(self, tmp_path: Path, head: str) -> None:
        import transformers

        folder = save_tiny(tmp_path / "model", "bert", head)
        ours = pipeline("next-sentence-prediction", folder, device="cpu")
        model = transformers.BertForNextSentencePrediction.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        found = ours([{"text": one, "text_pair": other} for one, other in self.PAIRS])
        for (one, other), mine in zip(self.PAIRS, found, strict=True):
            with torch.no_grad():
                probabilities = model(**tokenizer(one, other, return_tensors="pt")).logits.softmax(-1)[0]
            label = int(probabilities.argmax())  # 0 is "is next" in checkpoints
            expected = {"label": ("IsNext", "NotNext")[label], "score": float(probabilities[label])}
            assert mine == pytest.approx(expected, abs=1e-5)
        if head == "next-sentence":  # of its random weights, which say both
            assert {mine["label"] for mine in found} == {"IsNext", "NotNext"}
        both = ours(list(map(list, self.PAIRS)), top_k=None)
        assert [one[0] for one in both] == found
        assert all(sum(entry["score"] for entry in one) == pytest.approx(1) for one in both)

    def test_albert_tells_the_order(self, tmp_path: Path) -> None:
        ours = pipeline(None, save_tiny(tmp_path / "model", "albert", "next-sentence"))
        found: list[dict[str, Any]] = ours(list(map(list, self.PAIRS)))
        assert {one["label"] for one in found} <= {"InOrder", "Swapped"}

    @pytest.mark.parametrize(
        ("asked", "problem"),
        [
            ("the dog", "text_pair is missing: give an object with text and text_pair"),
            (["the dog"], "text_pair is missing"),
            ([["the dog", "a cat", "in"]], r"a list .* where two texts should be"),
            ({"text": "a", "text_pair": " "}, "the second text is empty"),
        ],
    )
    def test_inputs_that_are_no_pairs(self, tmp_path: Path, asked: Any, problem: str) -> None:
        with pytest.raises(DataError, match=problem):
            pipeline("next-sentence-prediction", save_tiny(tmp_path / "model", "bert", "next-sentence"))(asked)
