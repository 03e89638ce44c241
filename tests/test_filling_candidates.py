"""Candidates of a user's list, each scored exactly. Run: pytest tests/test_filling_candidates.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tiny import VOCABULARY, save_tiny_bert
from unmask.errors import DataError, SettingsError
from unmask.models.registry import FAMILIES, FAMILY_NAMES, build_model
from unmask.tokenization.training import train_on_texts
from unmask.workflows.fill import fill, fill_jointly, load_masked_lm
from unmask.workflows.loading import save_pretrained

if TYPE_CHECKING:
    from pathlib import Path

MASK = VOCABULARY.index("[MASK]")
WORDS = ["dog", "dogs", "walking", "cats and birds"]  # of one, two, two and four pieces
TEXTS = [
    "The tiger slept near the garden, often.",
    "A tiger slept. The garden sleeps often, near a sleeping tiger's slippers.",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("place") / "bert", "masked-lm", initializer_range=0.35)


def product_of_conditionals(model: Any, ids: list[int], hidden: list[int]) -> float:
    """The likeliest hidden piece first, by transformers' model."""
    if not hidden:
        return 0.0
    masked = torch.tensor([[MASK if at in hidden else i for at, i in enumerate(ids)]])
    with torch.no_grad():
        log_probs = model(masked).logits[0].double().log_softmax(-1)
    scores = {at: float(log_probs[at, ids[at]]) for at in hidden}
    best = max(scores, key=scores.__getitem__)
    return scores[best] + product_of_conditionals(model, ids, [at for at in hidden if at != best])


@pytest.mark.parametrize("text", ["the [MASK] is not near.", "that [MASK] in this [MASK]?"])
def test_scores_are_the_products(place, text):
    import transformers

    model = transformers.BertForMaskedLM.from_pretrained(place).eval()
    pretrained = load_masked_lm(place)
    words = [*WORDS[:3], "cats often sleep"]
    fillings = fill_jointly(text, model=pretrained, candidates=words)
    assert len(fillings) == len(words) ** text.count("[MASK]")
    for filling in fillings:
        ids = pretrained.tokenizer.encode(filling.text).input_ids
        before, *rest = text.split("[MASK]")
        place_in_text, hidden = len(before), []
        for word, between in zip(filling.words, rest, strict=True):
            assert filling.text[place_in_text:].startswith(word.word + between)
            offsets = pretrained.tokenizer.encode(filling.text).offsets
            own = [
                at
                for at, (first, last) in enumerate(offsets)
                if first < last and place_in_text <= first < place_in_text + len(word.word)
            ]
            assert list(word.token_ids) == [ids[at] for at in own]
            hidden += own
            place_in_text += len(word.word) + len(between)
        expected = product_of_conditionals(model, ids, hidden)
        assert filling.log_probability == pytest.approx(expected, abs=1e-4)
        assert filling.mean_log_probability == pytest.approx(expected / len(hidden), abs=1e-4)
    means = [filling.mean_log_probability for filling in fillings]
    assert means == sorted(means, reverse=True)
    totals = [f.log_probability for f in fill_jointly(text, model=pretrained, candidates=words, compare="total")]
    assert totals == sorted(totals, reverse=True)
    if text.count("[MASK]") == 2:  # where the two orders differ
        assert totals != [filling.log_probability for filling in fillings]


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "electra"])
def test_candidates_of_one_piece_have_fills_probabilities(family, tmp_path):
    """In every family, wherever it marks a word's beginning."""
    tokenizer = train_on_texts(TEXTS * 3, family=family, lowercase=False, vocab_size=331, min_frequency=1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    more = {"embedding_size": 16} if family in ("albert", "electra") else {}
    config = FAMILIES[FAMILY_NAMES[family]].config(
        vocab_size=tokenizer.vocab_size, max_position_embeddings=43, initializer_range=0.3, **sizes, **more
    )
    save_pretrained(build_model(config, "masked-lm", seed=5), tokenizer, tmp_path / "model")
    text = "The [MASK] slept near."
    [guesses] = fill(text, model=tmp_path / "model", top_k=tokenizer.vocab_size)
    probabilities = {guess.text: guess.probability for guess in guesses if bool(tokenizer.word_starts[guess.token_id])}
    fillings = fill_jointly(text, model=tmp_path / "model", candidates=["garden", "tiger", "slept"])
    assert {filling.words[0].word for filling in fillings} == {"garden", "tiger", "slept"}
    for filling in fillings:
        assert filling.num_pieces == 1
        assert math.exp(filling.log_probability) == pytest.approx(probabilities[filling.text], rel=1e-4)


def test_a_mask_that_joins_a_word_takes_its_ending(place):
    ending, word = fill_jointly("the dog[MASK] sleep", model=place, candidates=["s", "ing"])
    assert {ending.text, word.text} == {"the dogs sleep", "the doging sleep"}
    assert {ending.words[0].tokens, word.words[0].tokens} == {("##s",), ("##ing",)}


def test_repeated_candidates_count_once_and_top_k_cuts(place):
    fillings = fill_jointly("a [MASK]", model=place, candidates=["dog", " dog", "cat", "cat", "king"], top_k=2)
    assert len(fillings) == 2
    alone = fill_jointly("a [MASK]", model=place, candidates=["dog", "cat", "king"])
    assert [f.text for f in alone][:2] == [f.text for f in fillings]
    np.testing.assert_allclose([f.log_probability for f in alone[:2]], [f.log_probability for f in fillings], atol=1e-6)


@pytest.mark.parametrize(
    ("candidates", "settings", "error", "message"),
    [
        ([], {}, SettingsError, "candidates is empty"),
        (["dog", " "], {}, DataError, "the candidate '' is no word"),
        (["xylophone"], {}, DataError, "the candidate 'xylophone' is unknown to the vocabulary"),
        (["a " * 60], {}, DataError, "tokens, the model takes 40: shorten it or its candidates"),
        (["dog"], {"max_pieces": 2}, SettingsError, "leave max_pieces and beam_width out"),
        (["dog"], {"top_k": 0}, SettingsError, "top_k is 0"),
        ([f"{a} {b}" for a in VOCABULARY[20:50] for b in VOCABULARY[20:50]], {}, SettingsError, "make 810,000 texts"),
    ],
)
def test_what_cannot_be_chosen_among(place, candidates, settings, error, message):
    text = "a [MASK] and a [MASK]" if len(candidates) > 100 else "a [MASK]"
    with pytest.raises(error, match=message):
        fill_jointly(text, model=place, candidates=candidates, **settings)
