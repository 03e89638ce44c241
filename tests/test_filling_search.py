"""Filling masks together, against every filling there is. Run: pytest tests/test_filling_search.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tiny import SPECIAL, VOCABULARY, save_tiny_bert
from unmask.errors import DataError, SettingsError
from unmask.filling import TextWithMasks, search_fillings
from unmask.runtimes import run_steps
from unmask.runtimes.pytorch import TorchRuntime
from unmask.workflows.fill import fill, fill_jointly, load_masked_lm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MASK = VOCABULARY.index("[MASK]")
SPECIAL_IDS = list(range(len(SPECIAL)))
CONTINUING = [i for i, token in enumerate(VOCABULARY) if token.startswith("##")]
TEXT = "the [MASK] in this [MASK] is not near."


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("place") / "bert", "masked-lm", initializer_range=0.35)


@pytest.fixture(scope="module")
def log_probs(place) -> Callable[[Sequence[Sequence[int]]], np.ndarray]:
    """Log-probabilities of transformers' model for sequences of one length, (B, S, V)."""
    import transformers

    model = transformers.BertForMaskedLM.from_pretrained(place).eval()

    def compute(ids):
        with torch.no_grad():
            return model(torch.tensor(ids)).logits.double().log_softmax(-1).numpy()

    return compute


def allowed(log_probs: np.ndarray, *, continuing: bool = False) -> np.ndarray:
    masked = log_probs.copy()
    masked[..., SPECIAL_IDS] = -np.inf
    if continuing:
        masked[..., [i for i in range(len(VOCABULARY)) if i not in CONTINUING]] = -np.inf
    return masked


def every_pair(ids: list[int], log_probs, *, is_word: bool) -> dict[tuple[int, int], float]:
    """The score of every filling of two masks, the surer one first; of one word, the second piece continues it."""
    places = [at for at, i in enumerate(ids) if i == MASK]
    first_pass = log_probs([ids])[0]
    tables = [allowed(first_pass[place], continuing=is_word and n == 1) for n, place in enumerate(places)]
    first = int(tables[1].max() > tables[0].max())
    scores = {}
    candidates = [i for i in range(len(VOCABULARY)) if np.isfinite(tables[first][i])]
    filled = [[i if at == places[first] else old for at, old in enumerate(ids)] for i in candidates]
    for i, after in zip(candidates, log_probs(filled), strict=True):
        seconds = allowed(after[places[1 - first]], continuing=is_word and first == 0)
        for j in np.flatnonzero(np.isfinite(seconds)).tolist():
            pair = (i, j) if first == 0 else (j, i)
            scores[pair] = float(tables[first][i] + seconds[j])
    return scores


def test_two_masks_get_the_best_of_all_pairs(place, log_probs):
    pretrained = load_masked_lm(place)
    text = TextWithMasks.of(pretrained.tokenizer, TEXT)
    scores = every_pair(text.input_ids, log_probs, is_word=False)
    assert len(scores) == (len(VOCABULARY) - len(SPECIAL)) ** 2
    expected = sorted(scores, key=scores.__getitem__, reverse=True)[:7]
    found = fill_jointly(TEXT, model=pretrained, top_k=7, beam_width=len(VOCABULARY))
    assert [tuple(word.token_ids[0] for word in filling.words) for filling in found] == expected
    for filling, pair in zip(found, expected, strict=True):
        assert filling.log_probability == pytest.approx(scores[pair], abs=1e-4)
        assert filling.mean_log_probability == pytest.approx(scores[pair] / 2, abs=1e-4)
        assert sum(word.log_probability for word in filling.words) == pytest.approx(filling.log_probability)
        assert [word.tokens for word in filling.words] == [(VOCABULARY[i],) for i in pair]


def test_the_best_pair_is_not_the_pair_of_the_best(place):
    """Or a beam would be of no use: the model does not guess the masks as if they were apart."""
    apart = [guesses[0].token_id for guesses in fill(TEXT, model=str(place), top_k=1)]
    [together] = fill_jointly(TEXT, model=place, top_k=1, beam_width=len(VOCABULARY))
    assert [word.token_ids[0] for word in together.words] != apart


def test_a_narrow_beam_finds_less_but_scores_alike(place, log_probs):
    text = TextWithMasks.of(load_masked_lm(place).tokenizer, TEXT)
    scores = every_pair(text.input_ids, log_probs, is_word=False)
    narrow = fill_jointly(TEXT, model=place, top_k=2, beam_width=2)
    for filling in narrow:
        pair = tuple(word.token_ids[0] for word in filling.words)
        assert filling.log_probability == pytest.approx(scores[pair], abs=1e-4)
    assert narrow[0].log_probability <= max(scores.values()) + 1e-4


@pytest.mark.parametrize("compare", ["mean", "total"])
def test_a_word_of_up_to_two_pieces(place, log_probs, compare):
    pretrained = load_masked_lm(place)
    typed = "the [MASK] is not near this house."
    ids = TextWithMasks.of(pretrained.tokenizer, typed).input_ids
    at = ids.index(MASK)
    expected: dict[str, tuple[float, int]] = {}
    for i, score in enumerate(allowed(log_probs([ids])[0, at])):
        if np.isfinite(score):
            token = VOCABULARY[i]
            text = typed.replace(" [MASK]" if token.startswith("##") else "[MASK]", token.removeprefix("##"))
            expected[text] = (score, 1)
    for (i, j), score in every_pair([*ids[:at], MASK, *ids[at:]], log_probs, is_word=True).items():
        first, second = VOCABULARY[i], VOCABULARY[j].removeprefix("##")
        text = typed.replace(" [MASK]" if first.startswith("##") else "[MASK]", first.removeprefix("##") + second)
        if pretrained.tokenizer.encode(text).input_ids == [*ids[:at], i, j, *ids[at + 1 :]]:
            expected.setdefault(text, (score, 2))

    def key(text: str) -> float:
        score, pieces = expected[text]
        return score / pieces if compare == "mean" else score

    ordered = sorted(expected, key=key, reverse=True)
    found = fill_jointly(
        typed, model=pretrained, top_k=40, max_pieces=2, beam_width=len(VOCABULARY) ** 2, compare=compare
    )
    assert [filling.text for filling in found] == ordered[:40]
    for filling in found:
        score, pieces = expected[filling.text]
        assert (filling.log_probability, filling.num_pieces) == (pytest.approx(score, abs=1e-4), pieces)
    if compare == "mean":
        assert {filling.num_pieces for filling in found} == {1, 2}


def test_one_mask_is_what_fill_says(place):
    found = fill_jointly("the [MASK] slept.", model=place, top_k=9)
    [guesses] = fill("the [MASK] slept.", model=str(place), top_k=len(VOCABULARY))
    words = [guess for guess in guesses if guess.token not in SPECIAL][:9]
    assert [filling.text for filling in found] == [guess.text for guess in words]
    for filling, guess in zip(found, words, strict=True):
        assert math.exp(filling.log_probability) == pytest.approx(guess.probability, abs=1e-5)
        assert filling.words[0].word == guess.word


def test_steps_can_be_computed_beside_others(place):
    """What a server does: the questions of two texts in one pass."""
    from unmask.ragged import Ragged

    pretrained = load_masked_lm(place)
    runtime = TorchRuntime(pretrained.model, max_seq_length=40)
    texts = [TEXT, "a [MASK] or two: [MASK]!"]
    alone = [fill_jointly(text, model=pretrained) for text in texts]
    searches = [search_fillings(TextWithMasks.of(pretrained.tokenizer, text), pretrained.tokenizer) for text in texts]
    asked = [next(search) for search in searches]
    results = []
    while len(results) < 2:
        parts = [[getattr(samples, name) for samples in asked] for name in ("input_ids", "token_type_ids", "rows")]
        outputs = runtime.run_all(*map(Ragged.concatenate, parts))
        start, following = 0, []
        for search, samples in zip(searches, asked, strict=True):
            try:
                following.append(search.send(outputs.take(range(start, start + len(samples)))))
            except StopIteration as end:
                results.append(end.value)
            start += len(samples)
        asked = following
    for one, other in zip(results, alone, strict=True):
        assert [filling.text for filling in one] == [filling.text for filling in other]
        np.testing.assert_allclose([f.log_probability for f in one], [f.log_probability for f in other], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"top_k": 0}, SettingsError, "top_k is 0: it must be 1 or more"),
        ({"max_pieces": 0}, SettingsError, "max_pieces is 0: it must be 1 or more"),
        ({"top_k": 5, "beam_width": 4}, SettingsError, "beam_width is 4: it must be 5 or more"),
        ({"max_pieces": 9}, SettingsError, "2 masks of 1 to 9 pieces are 81 ways .* lower max_pieces"),
        ({"max_pieces": 4, "max_seq_length": 16}, DataError, "pieces the text has 17 tokens, the model takes 16"),
        ({"compare": "median"}, SettingsError, "compare is 'median': it must be mean or total"),
    ],
)
def test_what_cannot_be_searched(place, settings, error, message):
    pretrained = load_masked_lm(place)
    text = TextWithMasks.of(pretrained.tokenizer, TEXT)
    with pytest.raises(error, match=message):
        run_steps(
            search_fillings(text, pretrained.tokenizer, **settings), TorchRuntime(pretrained.model, max_seq_length=40)
        )


def test_words_side_by_side_stand_apart(place):
    text = TextWithMasks.of(load_masked_lm(place).tokenizer, "the[MASK][MASK] (a [MASK]).")
    for words, expected in {
        (("dog", True), ("cat", True), ("owl", True)): "the dog cat (a owl).",
        (("s", False), ("cat", True), ("s", False)): "thes cat (as).",
    }.items():
        assert text.fill_all(dict(enumerate(words))) == expected
    assert text.fill_all({1: ("cat", True)}) == "the[MASK]cat (a [MASK])."
