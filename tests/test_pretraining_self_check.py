"""The self-check before training. Run alone: `.venv/bin/python -m pytest tests/test_pretraining_self_check.py`."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors

from unmask.pretraining.formats import Format, SequenceSource, TrainingSequence, all_documents, make_source
from unmask.pretraining.masking import Masking
from unmask.pretraining.objective import Pretraining
from unmask.pretraining.objectives import (
    CausalLanguageModelling,
    MaskedLanguageModelling,
    NextSentencePrediction,
    ReplacedTokenDetection,
    SentenceOrderPrediction,
)
from unmask.pretraining.packs import pack_to_budget
from unmask.pretraining.self_check import render_self_check, self_check, show_examples
from unmask.pretraining.vocabulary import Vocabulary
from unmask.tokenization import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "owl", "sleep", "##s", "by", "day", "and", "hunt", "."]
_SENTENCES = ["the owl sleeps by day .", "the owl hunts .", "the day sleeps and the owl hunts .", "owl and day ."]


class _Text:
    """A store in memory: documents of sentences."""

    def __init__(self, tokenizer: Tokenizer, documents: list[list[str]]) -> None:
        ids = [[tokenizer.encode(text, add_special_tokens=False).input_ids for text in texts] for texts in documents]
        lengths = [len(sentence) for document in ids for sentence in document]
        self.tokens: NDArray[np.uint16] = np.array([i for document in ids for s in document for i in s], np.uint16)
        self.sentence_starts = np.concatenate([[0], np.cumsum(lengths)])
        self.document_starts = np.concatenate([[0], np.cumsum([len(document) for document in documents])])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    backend = Backend(models.WordPiece({piece: index for index, piece in enumerate(_PIECES)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    backend.decoder = decoders.WordPiece(cleanup=False)
    backend.add_special_tokens(_PIECES[:5])
    return Tokenizer(backend)


def _source(tokenizer: Tokenizer, format: Format, *, num_documents: int = 300, **settings: Any) -> SequenceSource:
    documents = [[_SENTENCES[(number + k * k) % 4] for k in range(2 + number % 5)] for number in range(num_documents)]
    store = _Text(tokenizer, documents)
    return make_source(format, store, all_documents(store), tokenizer, seed=1, **{"max_seq_length": 24, **settings})


def _pretraining(tokens: Any, pairs: Any, source: SequenceSource, *, budget: int | None = None) -> Pretraining:
    packs = None if budget is None else pack_to_budget(source.lengths, budget=budget, seed=1)
    return Pretraining(tokens, pairs, source, source, seed=1, packs=packs)


def _printed(check: Any) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(render_self_check(check))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_tutorials_example(data_dir: Path) -> None:
    tokenizer = Tokenizer.from_folder(data_dir / "vocab" / "bert-base-uncased")
    store = _Text(tokenizer, [["there is my school and i love this place"]])
    source = make_source("doc-sentences", store, all_documents(store), tokenizer, max_seq_length=16, seed=0)
    masking = Masking(mlm_probability=0.3, mask_token_rate=1.0, random_token_rate=0.0)
    pretraining = _pretraining(MaskedLanguageModelling(masking, Vocabulary.of(tokenizer)), None, source)
    chosen = (3, 7, 9)
    epoch = next(
        epoch
        for epoch in range(10_000)
        if tuple(pretraining.make_batch(source, np.array([0]), epoch=epoch)[0].positions.tolist()) == chosen
    )
    (example,) = show_examples(pretraining, tokenizer, [0], epoch=epoch)
    assert example.original == "[CLS] there is my school and i love this place [SEP]"
    assert example.seen == "[CLS] there is [MASK] school and i [MASK] this [MASK] [SEP]"
    assert example.labels == (-100, -100, -100, 2026, -100, -100, -100, 2293, -100, 2173, -100)
    assert example.input_ids == (101, 2045, 2003, 103, 2082, 1998, 1045, 103, 2023, 103, 102)
    assert [(target.position, target.expected, target.label) for target in example.targets] == [
        (3, "my", 2026),
        (7, "love", 2293),
        (9, "place", 2173),
    ]
    assert example.pair_label is None


def test_rates_are_those_of_the_settings(tokenizer: Tokenizer) -> None:
    source = _source(tokenizer, "segment-pair", pair_objective="nsp")
    masking = Masking(mlm_probability=0.3, mask_token_rate=0.6, random_token_rate=0.3)
    tokens = MaskedLanguageModelling(masking, Vocabulary.of(tokenizer))
    check = self_check(_pretraining(tokens, NextSentencePrediction(), source), tokenizer, num_samples=10**6)
    assert check.measured_sequences == check.num_sequences == check.num_samples == len(source)
    count = check.num_targets
    assert check.mask_rate == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / (count / 0.3)))
    assert check.mask_token_rate == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / count))
    # One random token in nine is the same as before, and counts as kept.
    assert check.random_token_rate == pytest.approx(0.3 * 8 / 9, abs=4 * np.sqrt(0.2 / count))
    assert check.mask_token_rate + check.random_token_rate + check.kept_rate == pytest.approx(1)
    assert list(check.pair_rates) == ["is next", "is not next"]
    assert check.pair_rates["is next"] == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(source)))
    assert sum(check.pair_rates.values()) == pytest.approx(1)
    assert (check.token_budget, check.packing_efficiency) == (None, None)


def test_counts_by_hand(tokenizer: Tokenizer) -> None:
    store = _Text(tokenizer, [["the owl sleeps", "by day ."], ["and hunts"]])  # 4 + 3 | 3 tokens
    source = make_source("doc-sentences", store, all_documents(store), tokenizer, max_seq_length=6, seed=0)
    masking = Masking(mlm_probability=1.0, mask_token_rate=1.0, random_token_rate=0.0)
    pretraining = _pretraining(
        ReplacedTokenDetection(masking, Vocabulary.of(tokenizer)), None, source, budget=11
    )  # 6, 5 and 5 tokens
    check = self_check(pretraining, tokenizer, token_budget=11)
    assert (check.objective, check.pair_objective) == ("rtd", None)
    assert (check.num_sequences, check.num_samples, check.tokens_per_epoch) == (3, 2, 16)
    assert (check.measured_sequences, check.measured_tokens, check.num_targets) == (3, 16, 10)
    assert check.special_rate == 6 / 16
    assert (check.mask_rate, check.mask_token_rate, check.random_token_rate, check.kept_rate) == (1, 1, 0, 0)
    assert check.packing_efficiency == 16 / 22
    assert check.length_bins == (1, 2, 3, 4, 5, 6)
    assert check.length_counts == (0, 0, 0, 0, 2, 1)
    assert check.mean_length == 16 / 3
    assert check.num_cut_sentences == 0
    assert check.examples[0].seen == "[CLS] [MASK] [MASK] [MASK] [MASK] [SEP]"
    assert check.remarks == ()  # what is left over at the end is no waste of the others
    check = self_check(pretraining, tokenizer, token_budget=12)
    assert check.remarks == (
        "samples fill 0.917 of the token budget: choose a budget that is a multiple of a usual sequence's length, "
        "or a larger one",
    )
    assert "tokens to judge: original or replaced?" in _printed(check)


def test_chosen_tokens_that_are_not_masked_are_marked(tokenizer: Tokenizer) -> None:
    store = _Text(tokenizer, [["the owl sleeps by day"]])
    source = make_source("doc-sentences", store, all_documents(store), tokenizer, max_seq_length=9, seed=0)
    vocabulary = Vocabulary.of(tokenizer)
    kept = Masking(mlm_probability=1.0, mask_token_rate=0.0, random_token_rate=0.0)
    (example,) = show_examples(
        _pretraining(MaskedLanguageModelling(kept, vocabulary), None, source), tokenizer, [0], epoch=0
    )
    assert example.seen == "[CLS] =the= =owl= =sleep==s= =by= =day= [SEP]"
    assert example.original == "[CLS] the owl sleeps by day [SEP]"
    random = Masking(mlm_probability=1.0, mask_token_rate=0.0, random_token_rate=1.0)
    (example,) = show_examples(
        _pretraining(MaskedLanguageModelling(random, vocabulary), None, source), tokenizer, [0], epoch=0
    )
    replaced = [target for target in example.targets if target.seen != target.expected]
    assert replaced
    assert all(f"<{target.seen}>" in example.seen for target in replaced)


def test_clm_guesses_the_next_token(tokenizer: Tokenizer) -> None:
    source = _source(tokenizer, "blocks", max_seq_length=7)
    check = self_check(_pretraining(CausalLanguageModelling(), None, source, budget=70), tokenizer, num_samples=100)
    assert check.mask_rate is check.mask_token_rate is check.random_token_rate is check.kept_rate is None
    assert check.num_targets == check.measured_tokens - check.measured_sequences
    assert 100 <= check.measured_sequences < 120
    assert check.packing_efficiency == 1.0
    example = check.examples[0]
    assert example.seen == example.original == "[CLS] the owl sleeps by [SEP]"
    assert [(target.seen, target.expected) for target in example.targets[1:4]] == [
        ("the", "owl"),
        ("owl", "sleep"),
        ("sleep", "s"),
    ]
    assert example.labels == (5, 6, 7, 8, 9, 3, -100)
    assert "next tokens to guess" in _printed(check)


def test_what_is_printed_and_what_json_has(tokenizer: Tokenizer) -> None:
    source = _source(tokenizer, "segment-pair", pair_objective="sop")
    masking = Masking(mask_unit="word")
    tokens = MaskedLanguageModelling(masking, Vocabulary.of(tokenizer))
    check = self_check(
        _pretraining(tokens, SentenceOrderPrediction(), source, budget=240), tokenizer, num_examples=2, token_budget=240
    )
    content = json.loads(json.dumps(check.to_dict()))
    assert content["mask_rate"] == check.mask_rate
    assert content["examples"][1]["pair_label"] in ("in order", "swapped")
    assert len(content["examples"]) == 2
    printed = _printed(check)
    for text in (
        "Self-check: mlm + sop",
        f"{check.mask_rate:.2%}",
        f"{check.packing_efficiency:.2%}",
        "pairs: swapped",
        "real tokens of a budget of 240",
        check.examples[0].seen,
    ):
        assert text in printed


class _Unbalanced:
    """A source whose pairs all have the label 1."""

    def __init__(self, source: SequenceSource) -> None:
        self._source, self.lengths, self.num_cut_sentences = source, source.lengths, 0

    def __len__(self) -> int:
        return len(self._source)

    def build(self, index: int, *, epoch: int) -> TrainingSequence:
        sequence = self._source.build(index, epoch=epoch)
        return TrainingSequence(
            input_ids=sequence.input_ids,
            token_type_ids=sequence.token_type_ids,
            is_special=sequence.is_special,
            pair_label=1 if index < 40 else None,
        )


class _Deaf(MaskedLanguageModelling):
    """Chooses less than its settings say."""

    def prepare(self, run: Any, keys: Any) -> Any:
        masking, self.masking = self.masking, Masking(mlm_probability=0.02)
        guesses = super().prepare(run, keys)
        self.masking = masking
        return guesses


def test_what_is_not_as_it_should_be_is_said(tokenizer: Tokenizer) -> None:
    source = _Unbalanced(_source(tokenizer, "segment-pair"))
    tokens = _Deaf(Masking(), Vocabulary.of(tokenizer))
    check = self_check(_pretraining(tokens, NextSentencePrediction(), source), tokenizer)
    starts = ("mlm_probability is 0.15, but 0.0", "", 'the label "is next" has 0.000 of the pairs instead of half')
    assert check.remarks[0].startswith(starts[0])
    assert any("sequences have nothing to guess: they are short, or mlm_probability is low" in r for r in check.remarks)
    assert starts[2] in check.remarks
    assert any(r.startswith(f"only 40 of {check.measured_sequences} sequences are pairs") for r in check.remarks)
    assert "Note: mlm_probability is 0.15" in _printed(check)


@pytest.mark.parametrize("mask_unit", ["token", "word", "ngram"])
def test_ordinary_settings_need_no_remark(mask_unit: Any, tokenizer: Tokenizer) -> None:
    source = _source(tokenizer, "doc-sentences", max_seq_length=64)
    random = Masking(mask_unit=mask_unit, mlm_probability=0.25, random_token_rate=0.0)
    tokens = MaskedLanguageModelling(random, Vocabulary.of(tokenizer))
    assert self_check(_pretraining(tokens, None, source, budget=512), tokenizer, token_budget=512).remarks == ()
