"""The cache of keys and values, and writing with it. Run: pytest tests/test_models_generation.py."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from reference import hf_model, ours_of, padded, ragged
from unmask.errors import SettingsError
from unmask.models.cache import KeyValueCache
from unmask.models.generation import Sampling, generate_ids
from unmask.models.gpt import GPTConfig, OpenAIGPTConfig
from unmask.models.registry import build_model
from unmask.packing import pack

if TYPE_CHECKING:
    from unmask.models.headed import ForCausalLM

SIZES: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 33,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 132,
    "max_position_embeddings": 41,
    "initializer_range": 0.3,  # large, so that the likeliest token is far from the next
}
PROMPTS = [[5, 6, 7], [11], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [97, 13]]


@pytest.fixture(params=[GPTConfig, OpenAIGPTConfig], ids=["gpt2", "openai-gpt"])
def model(request) -> ForCausalLM:
    return build_model(request.param(**SIZES), "causal-lm", seed=5).eval()


@pytest.fixture
def gpt2() -> ForCausalLM:
    return build_model(GPTConfig(**SIZES), "causal-lm", seed=5).eval()


def texts_of(seed: int, lengths: list[int]) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 101, length).tolist() for length in lengths]


class TestCache:
    def test_logits_are_those_without_a_cache(self, model):
        """Read in chunks of one token, of several, of unequal numbers, by sequences of different lengths."""
        texts = texts_of(0, [41, 17, 30])
        chunks = [[3, 1, 7], [1, 1, 1], [1, 1, 1], [5, 2, 1], [1, 3, 11], [30, 9, 9]]
        cache = KeyValueCache(num_sequences=3, capacity=41)
        read = [0, 0, 0]
        with torch.inference_mode():
            expected = [model(pack([text])).logits for text in texts]
            for chunk in chunks:
                pieces = [text[start : start + count] for text, start, count in zip(texts, read, chunk, strict=True)]
                logits = model(pack(pieces), cache=cache).logits.split(chunk)
                for row in range(3):
                    end = read[row] + chunk[row]
                    torch.testing.assert_close(logits[row], expected[row][read[row] : end], rtol=1e-5, atol=1e-5)
                    read[row] = end
        assert read == cache.lengths.tolist() == [41, 17, 30]

    def test_sequences_can_be_dropped_and_repeated(self, gpt2):
        texts = texts_of(1, [9, 4, 6])
        cache = KeyValueCache(num_sequences=3, capacity=12)
        with torch.inference_mode():
            gpt2(pack(texts), cache=cache)
            cache.select(torch.tensor([2, 0, 2]))
            logits = gpt2(pack([[50], [60], [70]]), cache=cache).logits
            for row, whole in enumerate(([*texts[2], 50], [*texts[0], 60], [*texts[2], 70])):
                torch.testing.assert_close(logits[row], gpt2(pack([whole])).logits[-1], rtol=1e-5, atol=1e-5)
            assert cache.lengths.tolist() == [7, 10, 7]
            logits = gpt2(pack([[1, 2], [3], [4]]), cache=cache).logits  # the copies are not one
            expected = gpt2(pack([[*texts[2], 50, 1, 2], [*texts[2], 70, 4]])).logits
            torch.testing.assert_close(logits[[1, 3]], expected[[8, 16]], rtol=1e-5, atol=1e-5)

    def test_what_does_not_fit(self, gpt2, tmp_path):
        cache = KeyValueCache(num_sequences=2, capacity=5)
        with torch.inference_mode():
            gpt2(pack([[1, 2, 3], [4]]), cache=cache)
            with pytest.raises(ValueError, match="the batch has 1 sequences and the cache 2: each must go on"):
                gpt2(pack([[1]]), cache=cache)
            with pytest.raises(ValueError, match="a sequence grows to 6 tokens; this cache has room for 5"):
                gpt2(pack([[1, 2, 3], [4]]), cache=cache)
            with pytest.raises(ValueError, match="a cache takes packed batches"):
                gpt2(padded(ragged([3, 2])), cache=cache)
            with pytest.raises(ValueError, match="switch the model to eval mode"):
                gpt2.train()(pack([[1], [2]]), cache=cache)
            with pytest.raises(ValueError, match="attention maps are drawn without a cache"):
                gpt2.eval().encoder(pack([[1], [2]]), cache=cache, output_attentions=True)
            bert = ours_of(hf_model("BertModel"), tmp_path)
            with pytest.raises(ValueError, match="only a causal model has a use for a cache"):
                bert(pack([[1], [2]]), cache=KeyValueCache(num_sequences=2, capacity=5))
            with pytest.raises(ValueError, match="a sequence has 42 tokens; this model takes 41"):
                gpt2(pack([list(range(42))]), cache=KeyValueCache(num_sequences=1, capacity=50))


class TestGreedy:
    def test_it_writes_what_transformers_writes(self, tmp_path):
        import transformers

        torch.manual_seed(3)
        config = transformers.GPT2Config(
            vocab_size=101, n_embd=33, n_layer=3, n_head=3, n_positions=41, initializer_range=0.3, eos_token_id=100
        )
        reference = transformers.GPT2LMHeadModel(config).eval()
        ours = ours_of(reference, tmp_path)
        longest = max(map(len, PROMPTS))
        ids = torch.tensor([[100] * (longest - len(prompt)) + prompt for prompt in PROMPTS])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS])
        plain = reference.generate(
            ids, attention_mask=mask, max_new_tokens=23, do_sample=False, pad_token_id=100, eos_token_id=None
        )[:, longest:].tolist()
        assert len({tuple(text) for text in plain}) == 4
        assert [text.token_ids for [text] in generate_ids(ours, PROMPTS, max_new_tokens=23)] == plain
        # One of the tokens that come up ends the text; the others go on.
        end = plain[1][5]
        theirs = reference.generate(
            ids, attention_mask=mask, max_new_tokens=23, do_sample=False, pad_token_id=100, eos_token_id=end
        )[:, longest:].tolist()
        written = generate_ids(ours, PROMPTS, max_new_tokens=23, end_ids={end})
        ended = 0
        for [text], expected in zip(written, theirs, strict=True):
            if end in expected:
                expected = expected[: expected.index(end) + 1]
                ended += 1
            assert text.token_ids == expected
            assert text.finish_reason == ("end" if expected[-1] == end else "length")
        assert ended > 0

    def test_one_by_one_and_together(self, model):
        together = generate_ids(model, PROMPTS, max_new_tokens=19)
        alone = [generate_ids(model, [prompt], max_new_tokens=19)[0] for prompt in PROMPTS]
        assert together == alone

    def test_it_stops_at_the_last_position(self, model):
        [[short], [long]] = generate_ids(model, [[1], list(range(1, 39))], max_new_tokens=10)
        assert (len(long.token_ids), long.finish_reason) == (3, "positions")  # 38 and 3 are 41
        assert (len(short.token_ids), short.finish_reason) == (10, "length")
        with pytest.raises(ValueError, match="a prompt has 41 tokens, and the model 41 positions"):
            generate_ids(model, [[1], list(range(1, 42))], max_new_tokens=1)
        with pytest.raises(ValueError, match="every sequence needs at least one token"):
            generate_ids(model, [[1], []], max_new_tokens=1)
        with pytest.raises(ValueError, match="switch the model to eval mode"):
            generate_ids(model.train(), [[1]], max_new_tokens=1)


class TestSampling:
    def test_the_draws_depend_on_nothing_but_seed_prompt_copy_and_step(self, gpt2):
        sampling = Sampling(temperature=1.3, seed=7)
        together = generate_ids(gpt2, PROMPTS, max_new_tokens=13, sampling=sampling, num_return_sequences=3)
        again = generate_ids(gpt2, PROMPTS, max_new_tokens=13, sampling=sampling, num_return_sequences=3)
        assert together == again
        fewer = generate_ids(gpt2, PROMPTS[:2], max_new_tokens=9, sampling=sampling, num_return_sequences=2)
        for copies, all_copies in zip(fewer, together, strict=False):
            assert [text.token_ids for text in copies] == [text.token_ids[:9] for text in all_copies[:2]]
        assert len({tuple(text.token_ids) for copies in together for text in copies}) == 12
        other = generate_ids(gpt2, PROMPTS, max_new_tokens=13, sampling=Sampling(temperature=1.3, seed=8))
        assert all(one[0].token_ids != many[0].token_ids for one, many in zip(other, together, strict=True))
        # Texts that end leave the batch, and the others do not notice.
        end = together[0][0].token_ids[2]
        ended = generate_ids(gpt2, PROMPTS, max_new_tokens=13, sampling=sampling, num_return_sequences=3, end_ids=[end])
        for text, whole in zip(chain(*ended), chain(*together), strict=True):
            assert text.token_ids == whole.token_ids[: len(text.token_ids)]
            assert (text.token_ids[-1] == end) == (text.finish_reason == "end")

    @pytest.mark.parametrize(
        "settings",
        [
            {"temperature": 1.0},
            {"temperature": 0.6},
            {"temperature": 1.7, "top_k": 5},
            {"top_k": 5},
            {"top_p": 0.6},
            {"temperature": 1.4, "top_k": 9, "top_p": 0.7},
            {"top_p": 1.0},
            {"top_p": 1e-6},
            {"top_k": 1},
            {"top_k": 1000},
        ],
        ids=str,
    )
    def test_the_distribution_is_that_of_transformers(self, settings):
        """Against what its processors leave: no token that they bar, and a chi-square test of the others."""
        from scipy.stats import chisquare
        from transformers.generation import logits_process

        torch.manual_seed(0)
        logits = torch.randn(1, 23) * 2
        expected = logits
        for warper, name in (
            (logits_process.TemperatureLogitsWarper, "temperature"),
            (logits_process.TopKLogitsWarper, "top_k"),
            (logits_process.TopPLogitsWarper, "top_p"),
        ):
            if name in settings:
                expected = warper(settings[name])(None, expected)
        probabilities = expected.softmax(-1)[0].double().numpy()
        draws = 20_000
        sampling = Sampling(**settings, seed=11)
        chosen = sampling.choose(logits.expand(draws, -1), range(draws), [0] * draws, 3)
        counts = np.bincount(chosen, minlength=23)
        possible = probabilities > 0
        assert not counts[~possible].any()
        if possible.sum() > 1:
            kept = probabilities[possible] / probabilities.sum()
            assert chisquare(counts[possible], kept * draws).pvalue > 0.01

    def test_steps_and_copies_are_drawn_apart(self):
        sampling, logits = Sampling(temperature=1.0), torch.zeros(1000, 2)
        rows = [0] * 1000
        by_step = [sampling.choose(logits[:1], [0], [0], step)[0] for step in range(1000)]
        by_copy = sampling.choose(logits, rows, range(1000), 0)
        by_prompt = sampling.choose(logits, range(1000), rows, 0)
        for one, other in ((by_step, by_copy), (by_copy, by_prompt), (by_prompt, by_step)):
            assert 400 < sum(one) < 600
            assert 400 < sum(a == b for a, b in zip(one, other, strict=True)) < 600

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"temperature": 0.0},
                "temperature is 0.0: it must be more than 0; without it the likeliest token is taken",
            ),
            ({"temperature": float("nan")}, "temperature is nan"),
            ({"temperature": float("inf")}, "temperature is inf"),
            ({"top_k": 0}, "top_k is 0: it must be 1 or more"),
            ({"top_p": 0.0}, "top_p is 0.0: it must be more than 0 and at most 1"),
            ({"top_p": 1.1}, "top_p is 1.1"),
        ],
    )
    def test_settings_out_of_range(self, settings, message):
        with pytest.raises(SettingsError, match=message):
            Sampling(**settings)
