"""Training sequences. Run alone: `.venv/bin/python -m pytest tests/test_pretraining_formats.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

from unmask.errors import DataError, SettingsError
from unmask.pretraining.formats import SequenceSource, StoredText, all_documents, make_source, split_documents
from unmask.pretraining.pairs import PairMaker
from unmask.pretraining.pieces import Pieces
from unmask.tokenization import Tokenizer
from unmask.tokenization.template import SequenceTemplate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CLS, SEP, EOS = 0, 1, 2
PAIR_FORMATS = ("segment-pair", "sentence-pair")
LOSSLESS_FORMATS = ("full-sentences", "doc-sentences", "blocks")


@dataclass(frozen=True)
class Store:
    """A store in memory."""

    tokens: NDArray[np.uint16]
    sentence_starts: NDArray[np.int64]
    document_starts: NDArray[np.int64]

    @classmethod
    def of(cls, documents: list[list[int]], first_token: int = 10) -> Store:
        """Take the length of every sentence of every document; tokens are numbered on from `first_token`."""
        lengths = [length for document in documents for length in document]
        return cls(
            np.arange(first_token, first_token + sum(lengths), dtype=np.uint16),
            np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            np.concatenate([[0], np.cumsum([len(document) for document in documents])]).astype(np.int64),
        )


def _tokenizer(vocab: dict[str, int], post_processor: Any = None) -> Tokenizer:
    backend = Backend(models.WordLevel(vocab, unk_token="word"))
    if post_processor is not None:
        backend.post_processor = post_processor
    return Tokenizer(backend)


@pytest.fixture(scope="module")
def bert() -> Tokenizer:
    template = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return _tokenizer({"[CLS]": CLS, "[SEP]": SEP, "word": 3}, template)


@pytest.fixture(scope="module")
def gpt() -> Tokenizer:
    tokenizer = _tokenizer({"word": 3, "<|endoftext|>": EOS})
    tokenizer.eos_token_id = EOS  # type: ignore[attr-defined]
    return tokenizer


def _source(format: Any, store: StoredText, tokenizer: Tokenizer, **settings: Any) -> SequenceSource:
    settings = {"max_seq_length": 8, "seed": 5, **settings}
    return make_source(format, store, all_documents(store), tokenizer, **settings)


def _ids(source: SequenceSource, *, epoch: int = 0) -> list[list[int]]:
    return [source.build(index, epoch=epoch).input_ids.tolist() for index in range(len(source))]


def _random_store(seed: int, *, longest: int = 23, num_documents: int | None = None) -> Store:
    """Documents of 0 to 12 sentences of 0 to `longest` tokens, two with text at least."""
    generator = np.random.default_rng(seed)
    count = num_documents or int(generator.integers(2, 31))
    documents = [generator.integers(0, longest, size=generator.integers(0, 13)).tolist() for _ in range(count)]
    return Store.of([[3, 5], *documents, [7, 2, 1]])


# --- each format, by hand ---------------------------------------------------------------------------------------------


def test_full_sentences_cross_documents_with_a_separator_between_them(bert: Tokenizer) -> None:
    store = Store.of([[2, 3], [1], [4, 2]])  # 10-11 12-14 | 15 | 16-19 20-21
    source = _source("full-sentences", store, bert, max_seq_length=10)
    # Eight tokens: two sentences, a separator, one sentence make seven; the next sentence would need a separator and
    # four more. It begins the second sequence, with no separator before it.
    assert _ids(source) == [
        [CLS, 10, 11, 12, 13, 14, SEP, 15, SEP],
        [CLS, 16, 17, 18, 19, 20, 21, SEP],
    ]
    assert source.lengths.tolist() == [9, 8]
    first = source.build(0, epoch=3)
    assert np.flatnonzero(first.is_special).tolist() == [0, 6, 8]
    assert first.pair_label is None
    assert not first.token_type_ids.any()
    assert (first.input_ids.dtype, first.token_type_ids.dtype, first.is_special.dtype) == (np.int64, np.int64, np.bool_)


def test_without_a_separator_token_full_sentences_have_none(bert: Tokenizer) -> None:
    store = Store.of([[2, 1], [3], [4, 2]])
    assert _ids(_source("full-sentences", store, _tokenizer({"word": 3}), max_seq_length=6)) == [
        [10, 11, 12, 13, 14, 15],
        [16, 17, 18, 19, 20, 21],
    ]


def test_doc_sentences_end_with_their_document(bert: Tokenizer) -> None:
    store = Store.of([[2, 3, 4], [1], [6]])
    source = _source("doc-sentences", store, bert, max_seq_length=8)
    assert _ids(source) == [
        [CLS, 10, 11, 12, 13, 14, SEP],
        [CLS, 15, 16, 17, 18, SEP],
        [CLS, 19, SEP],
        [CLS, 20, 21, 22, 23, 24, 25, SEP],
    ]
    assert source.lengths.tolist() == [7, 6, 3, 8]


def test_blocks_are_full_and_close_each_document(gpt: Tokenizer) -> None:
    store = Store.of([[2, 3], [1], [4, 1]])
    source = _source("blocks", store, gpt, max_seq_length=6)
    assert _ids(source) == [[10, 11, 12, 13, 14, EOS], [15, EOS, 16, 17, 18, 19], [20, EOS]]
    assert source.lengths.tolist() == [6, 6, 2]
    assert source.build(1, epoch=0).is_special.tolist() == [False, True, False, False, False, False]


def test_blocks_of_a_family_with_a_template_are_wrapped(bert: Tokenizer) -> None:
    assert _ids(_source("blocks", Store.of([[2, 3], [2]]), bert, max_seq_length=5)) == [
        [CLS, 10, 11, 12, SEP],
        [CLS, 13, 14, SEP, SEP],  # the first document ends: a vocabulary without an end-of-text token has [SEP]
        [CLS, 15, 16, SEP, SEP],
    ]


def test_sentence_pairs_are_neighbours(bert: Tokenizer) -> None:
    store = Store.of([[2, 1, 3], [2], [1, 2]])  # 10-11 12 13-15 | 16-17 | 18 19-20
    source = _source("sentence-pair", store, bert, max_seq_length=9)
    assert _ids(source) == [
        [CLS, 10, 11, SEP, 12, SEP],
        [CLS, 12, SEP, 13, 14, 15, SEP],  # an odd number: the last once more with the one before it
        [CLS, 16, 17, SEP],  # nothing to pair it with
        [CLS, 18, SEP, 19, 20, SEP],
    ]
    assert source.lengths.tolist() == [6, 7, 4, 6]
    assert source.build(1, epoch=0).token_type_ids.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert source.build(1, epoch=0).pair_label is None


def test_segment_pairs_part_a_chunk_at_a_sentence(bert: Tokenizer) -> None:
    # Room for 9 tokens. 2 + 3 + 4 reach it; 5 and 1 are left, and the document ends; the last is too short to part.
    store = Store.of([[2, 3, 4, 5, 1], [4]])
    source = _source("segment-pair", store, bert, max_seq_length=12, short_seq_probability=0.0)
    assert source.lengths.tolist() == [12, 9, 6]
    seen = {tuple(source.build(0, epoch=epoch).input_ids.tolist()) for epoch in range(50)}
    assert seen == {
        (CLS, 10, 11, SEP, *range(12, 19), SEP),
        (CLS, *range(10, 15), SEP, *range(15, 19), SEP),
    }
    assert _ids(source)[1:] == [[CLS, *range(19, 24), SEP, 24, SEP], [CLS, *range(25, 29), SEP]]


def test_a_chunk_leaves_no_sentence_alone(bert: Tokenizer) -> None:
    # Room for 9 tokens: 3 + 3 + 3 would leave the last 3 alone.
    source = _source("segment-pair", Store.of([[3, 3, 3, 3]]), bert, max_seq_length=12, short_seq_probability=0.0)
    assert _ids(source) == [
        [CLS, 10, 11, 12, SEP, 13, 14, 15, SEP],
        [CLS, 16, 17, 18, SEP, 19, 20, 21, SEP],
    ]


def test_short_sequences_are_as_many_as_asked_for(bert: Tokenizer) -> None:
    store = Store.of([[1] * 30_000])
    room = 50
    source = _source("segment-pair", store, bert, max_seq_length=room + 3, short_seq_probability=0.1)
    texts = source.lengths - 3
    is_short = texts < room  # targets are 2 ... 50, so one of 49 short ones is as long as the rest
    expected = 0.1 * 48 / 49
    assert abs(is_short.mean() - expected) < 4 * np.sqrt(expected / len(texts))
    assert abs(texts[is_short].mean() - 25.5) < 4 * 14 / np.sqrt(is_short.sum())
    assert texts.min() == 2
    assert (_source("segment-pair", store, bert, max_seq_length=53, short_seq_probability=0.0).lengths == 53).all()
    assert texts.sum() == 30_000


def test_long_sentences_are_cut_and_nothing_is_lost(bert: Tokenizer) -> None:
    store = Store.of([[13, 2], [6]])
    source = _source("doc-sentences", store, bert, max_seq_length=8)
    assert source.num_cut_sentences == 1
    assert _ids(source) == [
        [CLS, *range(10, 16), SEP],
        [CLS, *range(16, 22), SEP],
        [CLS, 22, 23, 24, SEP],
        [CLS, *range(25, 31), SEP],
    ]
    assert _source("doc-sentences", store, bert, max_seq_length=15).num_cut_sentences == 0


# --- pairs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", PAIR_FORMATS)
def test_half_of_the_second_texts_come_from_other_documents(format: str, bert: Tokenizer) -> None:
    store = _random_store(3, num_documents=150)
    source = _source(format, store, bert, max_seq_length=37, pair_objective="nsp")
    ends = store.sentence_starts[store.document_starts[1:]] + 10  # tokens are numbered through, so they tell
    labels = []
    for epoch in range(5):
        for index in range(len(source)):
            sequence = source.build(index, epoch=epoch)
            texts = ~sequence.is_special
            first, second = (sequence.input_ids[texts & (sequence.token_type_ids == kind)] for kind in (0, 1))
            documents = [set(np.searchsorted(ends, text, side="right").tolist()) for text in (first, second)]
            if sequence.pair_label is None:
                assert not len(second)
                continue
            assert min(len(first), len(second)) > 0
            assert len(documents[0]) == len(documents[1]) == 1
            assert (documents[0] == documents[1]) == (sequence.pair_label == 0)
            assert (np.diff(first) == 1).all()
            assert (np.diff(second) == 1).all()
            labels.append(sequence.pair_label)
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / np.sqrt(len(labels))  # four standard deviations of a binomial


@pytest.mark.parametrize("format", PAIR_FORMATS)
def test_half_of_the_pairs_are_swapped(format: str, bert: Tokenizer) -> None:
    store = _random_store(4, num_documents=150)
    source = _source(format, store, bert, max_seq_length=37, pair_objective="sop")
    labels = []
    for epoch in range(5):
        for index in range(len(source)):
            sequence = source.build(index, epoch=epoch)
            texts = ~sequence.is_special
            first, second = (sequence.input_ids[texts & (sequence.token_type_ids == kind)] for kind in (0, 1))
            if sequence.pair_label is not None:
                assert (first[0] > second[0]) == (sequence.pair_label == 1)
                labels.append(sequence.pair_label)
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / np.sqrt(len(labels))


def test_the_length_of_a_pair_does_not_tell_its_label(bert: Tokenizer) -> None:
    generator = np.random.default_rng(0)
    store = Store.of([generator.integers(5, 40, size=60).tolist() for _ in range(40)])
    source = _source("segment-pair", store, bert, max_seq_length=128, pair_objective="nsp")
    lengths: list[list[int]] = [[], []]
    for epoch in range(3):
        for index in range(len(source)):
            sequence = source.build(index, epoch=epoch)
            if sequence.pair_label is not None:
                lengths[sequence.pair_label].append(len(sequence.input_ids))
    assert np.mean(lengths[1]) == pytest.approx(np.mean(lengths[0]), rel=0.03)
    total = sum(map(sum, lengths))
    assert total > 0.98 * 3 * source.lengths.sum()


def test_the_lengths_of_two_texts_do_not_tell_whether_they_are_swapped(bert: Tokenizer) -> None:
    generator = np.random.default_rng(0)
    store = Store.of([generator.integers(8, 45, size=60).tolist() for _ in range(30)])
    source = _source("segment-pair", store, bert, max_seq_length=128, pair_objective="sop")
    differences: list[list[int]] = [[], []]  # of the first text's length and the second's, by label
    for epoch in range(4):
        for index in range(len(source)):
            sequence = source.build(index, epoch=epoch)
            if sequence.pair_label is not None:
                second = int(sequence.token_type_ids.sum()) - 1  # its [SEP] has its type
                differences[sequence.pair_label].append(len(sequence.input_ids) - 3 - 2 * second)
    assert min(map(len, differences)) > 600
    # Where both were cut the room is halved, and the odd token is the same text's whatever the label.
    halved = [[difference for difference in those if abs(difference) == 1] for those in differences]
    assert min(map(len, halved)) > 50
    shares = [float(np.mean([difference == 1 for difference in those])) for those in halved]
    assert shares[0] == pytest.approx(shares[1], abs=0.1)


def test_a_negative_is_drawn_from_every_other_document(bert: Tokenizer) -> None:
    store = Store.of([[2, 3], [2, 3], [2, 3], [2, 3]])
    source = _source("sentence-pair", store, bert, max_seq_length=9, pair_objective="nsp")
    seen = {index: set() for index in range(4)}
    for epoch in range(200):
        for index in range(4):
            sequence = source.build(index, epoch=epoch)
            seen[index].add((int(sequence.input_ids[-2]) - 10) // 5)
    assert seen == {index: {0, 1, 2, 3} for index in range(4)}  # its own document by the positives


def test_pairs_are_cut_like_the_original(bert: Tokenizer) -> None:
    """Google's `truncate_seq_pair`, word for word of its logic: pop one token after another off the longer text."""
    template = SequenceTemplate.of(bert)
    for first_length in range(1, 12):
        for second_length in range(1, 12):
            store = Store.of([[first_length, second_length]])
            pieces = Pieces.of(store, all_documents(store), max_length=100)
            maker = PairMaker(
                pieces=pieces, template=template, max_seq_length=10, pair_objective=None, seed=1, one_piece=False
            )
            first, second = list(range(first_length)), list(range(second_length))
            while len(first) + len(second) > 7:
                (first if len(first) > len(second) else second).pop()
            fronts = set()
            for epoch in range(30):
                sequence, label = maker.make(0, 2, index=0, epoch=epoch)
                types = sequence.token_type_ids[~sequence.is_special]
                assert [(types == 0).sum(), (types == 1).sum()] == [len(first), len(second)]
                assert label is None
                fronts.add(int(sequence.input_ids[1]))
            if first_length - len(first) == 1:  # cut at the front, or at the back
                assert fronts == {10, 11}
            elif first_length == len(first):
                assert fronts == {10}


def test_without_a_pair_objective_the_second_text_always_follows(bert: Tokenizer) -> None:
    store = _random_store(7)
    for format in PAIR_FORMATS:
        source = _source(format, store, bert, max_seq_length=100)
        for index in range(len(source)):
            sequence = source.build(index, epoch=1)
            text = sequence.input_ids[~sequence.is_special]
            assert (np.diff(text) > 0).all()  # with a gap where tokens were cut off between the two
            assert len(text) == 97 or (np.diff(text) == 1).all()
            assert sequence.pair_label is None


# --- what holds for any text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("format", LOSSLESS_FORMATS)
def test_every_token_is_in_one_sequence_of_an_epoch(format: str, seed: int, bert: Tokenizer) -> None:
    store = _random_store(seed)
    source = _source(format, store, bert, max_seq_length=3 + seed)
    tokens: list[int] = []
    for index in range(len(source)):
        sequence = source.build(index, epoch=0)
        assert len(sequence.input_ids) == source.lengths[index] <= 3 + seed
        tokens += sequence.input_ids[~sequence.is_special].tolist()
    assert tokens == store.tokens.tolist()


@pytest.mark.parametrize("seed", [0, 1, 2, 5, 9, 13, 19])
@pytest.mark.parametrize("pair_objective", [None, "nsp", "sop"])
@pytest.mark.parametrize("format", PAIR_FORMATS)
def test_pairs_fit_their_bounds(format: str, pair_objective: str | None, seed: int, bert: Tokenizer) -> None:
    store = _random_store(seed)
    source = _source(format, store, bert, max_seq_length=5 + 2 * seed, pair_objective=pair_objective)
    for epoch in range(3):
        for index in range(len(source)):
            length = len(source.build(index, epoch=epoch).input_ids)
            assert length <= source.lengths[index] <= 5 + 2 * seed
            assert pair_objective == "nsp" or length == source.lengths[index]


@pytest.mark.parametrize("format", PAIR_FORMATS)
def test_what_one_epoch_does_not_show_another_does(format: str, bert: Tokenizer) -> None:
    generator = np.random.default_rng(0)
    store = Store.of([generator.integers(5, 40, size=40).tolist() for _ in range(50)])
    source = _source(format, store, bert, max_seq_length=128, pair_objective="nsp")
    seen: set[int] = set()
    for epoch in range(8):
        for index in range(len(source)):
            sequence = source.build(index, epoch=epoch)
            seen |= set(sequence.input_ids[~sequence.is_special].tolist())
    assert len(seen) > 0.99 * len(store.tokens)


@pytest.mark.parametrize(
    ("format", "pair_objective"),
    [
        *((format, objective) for format in PAIR_FORMATS for objective in ("nsp", "sop", None)),
        *((f, None) for f in LOSSLESS_FORMATS),
    ],
)
def test_a_sequence_is_a_function_of_seed_epoch_and_index(
    format: str, pair_objective: str | None, bert: Tokenizer
) -> None:
    store = _random_store(11)

    def build(order: list[tuple[int, int]], seed: int) -> dict[tuple[int, int], tuple[list[int], int | None]]:
        source = _source(format, store, bert, max_seq_length=31, pair_objective=pair_objective, seed=seed)
        sequences = {(index, epoch): source.build(index, epoch=epoch) for index, epoch in order if index < len(source)}
        return {place: (s.input_ids.tolist(), s.pair_label) for place, s in sequences.items()}

    order = [(index, epoch) for epoch in range(3) for index in range(40)]
    forth, back = build(order, 2**64 - 1), build(order[::-1], 2**64 - 1)
    assert forth == back
    if format in PAIR_FORMATS and pair_objective:
        assert forth != build(order, 1)
        assert [forth[index, 0] for index in range(9)] != [forth[index, 1] for index in range(9)]


def test_a_split_reads_its_own_documents_only(bert: Tokenizer) -> None:
    store = Store.of([[2, 3], [4], [], [5, 0, 1], [6]])
    documents = np.array([[0, 2], [3, 6]])  # the first and the fourth
    source = make_source("full-sentences", store, documents, bert, max_seq_length=20, seed=0)
    assert _ids(source) == [[CLS, *range(10, 15), SEP, *range(19, 25), SEP]]


def test_a_real_store_gives_its_text_back(tmp_path: Path) -> None:
    from unmask.pretraining.building import build_store

    backend = Backend(models.WordLevel({"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "a": 3, "b": 4, ".": 5}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    backend.add_special_tokens(["[CLS]", "[SEP]"])
    tokenizer = Tokenizer(backend)
    (tmp_path / "text.txt").write_text("a a b.\nb b.\n\nb a.\n")
    store = build_store(tmp_path / "store", [tmp_path / "text.txt"], tokenizer, language="none")
    assert _ids(_source("full-sentences", store, tokenizer, max_seq_length=20)) == [
        [0, 3, 3, 4, 5, 4, 4, 5, 1, 4, 3, 5, 1],
    ]
    pairs = _source("sentence-pair", store, tokenizer, max_seq_length=20, pair_objective="sop")
    seen = {tuple(pairs.build(0, epoch=epoch).input_ids.tolist()) for epoch in range(30)}
    assert seen == {(0, 3, 3, 4, 5, 1, 4, 4, 5, 1), (0, 4, 4, 5, 1, 3, 3, 4, 5, 1)}
    train, dev = split_documents(store, dev_fraction=0.3, seed=0)
    assert (train.tolist(), dev.tolist()) == ([[0, 1]], [[1, 2], [2, 3]])  # of two documents, for the negatives


@pytest.mark.parametrize("seed", range(30))
def test_the_parts_of_a_split_hold_each_sentence_once(seed: int) -> None:
    store = _random_store(seed)
    dev_fraction = (0.01, 0.1, 0.5, 0.9)[seed % 4]
    train, dev = split_documents(store, dev_fraction=dev_fraction, seed=seed)
    sentences = sorted(number for part in (train, dev) for first, last in part for number in range(first, last))
    assert sentences == list(range(len(store.sentence_starts) - 1))
    for part in (train, dev):
        assert (np.diff(part[:, 0]) >= 0).all()
    num_dev = sum(int(store.sentence_starts[last] - store.sentence_starts[first]) for first, last in dev)
    assert 0 < num_dev < len(store.tokens)
    again = split_documents(store, dev_fraction=dev_fraction, seed=seed)
    assert (train.tolist(), dev.tolist()) == (again[0].tolist(), again[1].tolist())


def test_short_documents_are_held_back_whole() -> None:
    store = Store.of([[3, 4]] * 1000)
    train, dev = split_documents(store, dev_fraction=0.1, seed=0)
    assert (len(train), len(dev)) == (900, 100)
    assert dev.tolist() != split_documents(store, dev_fraction=0.1, seed=1)[1].tolist()


def test_the_only_document_is_cut_near_its_end() -> None:
    train, dev = split_documents(Store.of([[2] * 50]), dev_fraction=0.1, seed=0)
    assert (train.tolist(), dev.tolist()) == ([[0, 45]], [[45, 50]])


def test_of_few_long_documents_two_are_cut_near_their_ends() -> None:
    train, dev = split_documents(Store.of([[2] * 50] * 4), dev_fraction=0.1, seed=0)
    assert (train[:, 1] - train[:, 0]).tolist().count(40) == 2
    assert (dev[:, 1] - dev[:, 0]).tolist() == [10, 10]


def test_fifteen_million_words_take_seconds(bert: Tokenizer) -> None:
    import time

    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 47, size=900_000)  # 21 million tokens
    starts = np.concatenate([[0], np.cumsum(lengths)])
    store = Store(np.ones(starts[-1], np.uint16), starts, np.arange(0, 900_001, 30))
    for format in (*PAIR_FORMATS, *LOSSLESS_FORMATS):
        began = time.perf_counter()
        source = _source(format, store, bert, max_seq_length=128)
        assert time.perf_counter() - began < 10  # 0.1 to 0.5 s on one core
        assert source.lengths.sum() > 19_000_000


# --- what users can do wrong ------------------------------------------------------------------------------------------


def test_one_document_has_no_negatives(bert: Tokenizer) -> None:
    for documents in ([[3, 4, 5]], [[3, 4, 5], [], [0]]):
        with pytest.raises(DataError, match=r"negatives from other documents, and there is only one here: part the"):
            _source("segment-pair", Store.of(documents), bert, pair_objective="nsp")


@pytest.mark.parametrize("format", PAIR_FORMATS)
def test_documents_of_one_sentence_have_no_pairs(format: str, bert: Tokenizer) -> None:
    store = Store.of([[3], [4], [5]])
    for objective in ("nsp", "sop"):
        with pytest.raises(DataError, match=f"{objective} needs documents of two sentences or more, and every"):
            _source(format, store, bert, pair_objective=objective)
    assert len(_source(format, store, bert)) == 3


@pytest.mark.parametrize("format", [*PAIR_FORMATS, *LOSSLESS_FORMATS])
def test_an_empty_text_is_an_error(format: str, bert: Tokenizer) -> None:
    for documents in ([], [[]], [[0, 0], []]):
        with pytest.raises(DataError, match="the text is empty: there is no token to train on"):
            _source(format, Store.of(documents), bert)


@pytest.mark.parametrize("format", LOSSLESS_FORMATS)
def test_a_format_without_pairs_has_no_pair_objective(format: str, bert: Tokenizer) -> None:
    with pytest.raises(SettingsError, match=f"the format {format} has none: use segment-pair or sentence-pair"):
        _source(format, Store.of([[3]]), bert, pair_objective="nsp")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_seq_length": 4}, "max_seq_length is 4, but the format segment-pair needs 5 at least: 3 special tokens"),
        ({"short_seq_probability": 1.5}, "short_seq_probability is 1.5, but must lie between 0 and 1"),
        ({"seed": -1}, r"a seed must lie between 0 and 2\*\*64 - 1, not at -1"),
        ({"pair_objective": "nps"}, "pair objective is 'nps', but must be nsp, sop or none"),
    ],
)
def test_settings_outside_their_range(settings: dict[str, Any], message: str, bert: Tokenizer) -> None:
    with pytest.raises(SettingsError, match=message):
        _source("segment-pair", Store.of([[3, 4], [5, 6]]), bert, **settings)


def test_a_format_that_is_none(bert: Tokenizer) -> None:
    with pytest.raises(SettingsError, match="format is 'lines', but must be one of segment-pair, sentence-pair, full-"):
        _source("lines", Store.of([[3]]), bert)


@pytest.mark.parametrize("dev_fraction", [0.0, 1.0, -0.1, float("nan")])
def test_the_fraction_for_dev_lies_between_0_and_1(dev_fraction: float) -> None:
    with pytest.raises(SettingsError, match=f"must lie between 0 and 1, not at {dev_fraction}"):
        split_documents(Store.of([[1, 2]]), dev_fraction=dev_fraction, seed=0)


def test_one_sentence_cannot_be_parted() -> None:
    with pytest.raises(DataError, match="one sentence cannot be parted into train and dev"):
        split_documents(Store.of([[100]]), dev_fraction=0.1, seed=0)
