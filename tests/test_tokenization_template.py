"""Special tokens around ids. Run alone: `.venv/bin/python -m pytest tests/test_tokenization_template.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

from unmask.errors import CheckpointError
from unmask.ragged import Ragged
from unmask.tokenization import Tokenizer
from unmask.tokenization.template import SequenceTemplate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_WORDS = ["the", "owl", "sleeps", "by", "day", "and", "hunts"]


def _tokenizer(post_processor: Any, specials: tuple[str, ...]) -> Tokenizer:
    vocab = {token: index for index, token in enumerate([*specials, *_WORDS])}
    backend = Backend(models.WordLevel(vocab, unk_token="the"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if post_processor is not None:
        backend.post_processor = post_processor
    return Tokenizer(backend)


def _bert() -> Tokenizer:
    template = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    return _tokenizer(template, ("[CLS]", "[SEP]"))


def _roberta() -> Tokenizer:
    return _tokenizer(processors.RobertaProcessing(("</s>", 1), ("<s>", 0)), ("<s>", "</s>"))


def _gpt() -> Tokenizer:
    return _tokenizer(None, ())


def test_bert_has_one_separator_after_each_text() -> None:
    template = SequenceTemplate.of(_bert())
    assert (template.num_special(), template.num_special(pair=True)) == (2, 3)
    ids, types, is_special = template.pair(np.array([2, 3, 4], dtype=np.uint16), np.array([5, 6], dtype=np.uint16))
    assert ids.tolist() == [0, 2, 3, 4, 1, 5, 6, 1]
    assert types.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert is_special.tolist() == [True, False, False, False, True, False, False, True]
    assert (ids.dtype, types.dtype, is_special.dtype) == (np.int64, np.int64, np.bool_)


def test_roberta_has_two_separators_between_the_texts_and_no_types() -> None:
    template = SequenceTemplate.of(_roberta())
    assert (template.num_special(), template.num_special(pair=True)) == (2, 4)
    ids, types, is_special = template.pair(np.array([2, 3]), np.array([5]))
    assert ids.tolist() == [0, 2, 3, 1, 1, 5, 1]
    assert not types.any()
    assert np.flatnonzero(is_special).tolist() == [0, 3, 4, 6]


def test_gpt_adds_nothing() -> None:
    template = SequenceTemplate.of(_gpt())
    assert (template.num_special(), template.num_special(pair=True)) == (0, 0)
    assert template.single(np.array([2, 0])).input_ids.tolist() == [2, 0]
    assert template.pair(np.array([2, 0]), np.array([1])).input_ids.tolist() == [2, 0, 1]


@pytest.mark.parametrize("build", [_bert, _roberta, _gpt])
def test_many_texts_and_pairs_are_wrapped_as_each_alone(build: Callable[[], Tokenizer]) -> None:
    template = SequenceTemplate.of(build())
    first = Ragged.of([[2, 3, 4], [], [5], [6, 6]], np.int64)
    second = Ragged.of([[6], [2, 2], [], [3]], np.int64)
    for together, alone, texts in (
        (template.singles(first), map(template.single, first), (first,)),
        (template.pairs(first, second), map(template.pair, first, second), (first, second)),
    ):
        made = list(alone)
        assert [ids.tolist() for ids in together.input_ids] == [one.input_ids.tolist() for one in made]
        assert [types.tolist() for types in together.token_type_ids] == [one.token_type_ids.tolist() for one in made]
        assert len(together.first_rows) == len(texts)
        for rows, text in zip(together.first_rows, texts, strict=True):
            for ids, row, own in zip(together.input_ids, rows, text, strict=True):
                assert ids[row : row + len(own)].tolist() == own.tolist()


@pytest.mark.parametrize("build", [_bert, _roberta, _gpt])
def test_ids_are_wrapped_as_the_tokenizer_wraps_their_text(build: Callable[[], Tokenizer]) -> None:
    _check_against_encode(build(), "the owl sleeps by day", "and hunts")


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["bert-base-cased", "bert-base-uncased", "koelectra-v2"])
def test_public_wordpiece_vocabularies(data_dir: Path, name: str) -> None:
    tokenizer = Tokenizer.from_folder(data_dir / "vocab" / name)
    _check_against_encode(tokenizer, "The owl sleeps by day,", "and hunts by night.")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "post_processor"),
    [
        ("roberta-base", processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)),
        ("gpt2", processors.ByteLevel(trim_offsets=False)),
    ],
)
def test_public_byte_level_vocabularies(data_dir: Path, name: str, post_processor: Any) -> None:
    folder = data_dir / "vocab" / name
    backend = Backend(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = post_processor
    _check_against_encode(Tokenizer(backend), "The owl sleeps by day,", "and hunts by night.")


def test_a_template_that_turns_the_pair_round_is_an_error() -> None:
    template = processors.TemplateProcessing(single="$A", pair="$B $A", special_tokens=[])
    with pytest.raises(CheckpointError, match="does not keep a pair in order and in one piece"):
        SequenceTemplate.of(_tokenizer(template, ()))


def _check_against_encode(tokenizer: Tokenizer, first: str, second: str) -> None:
    template = SequenceTemplate.of(tokenizer)
    ids, pair_ids = (np.array(tokenizer.encode(text, add_special_tokens=False).input_ids) for text in (first, second))
    for expected, got, num_special in [
        (tokenizer.encode(first), template.single(ids), template.num_special()),
        (tokenizer.encode(first, second), template.pair(ids, pair_ids), template.num_special(pair=True)),
    ]:
        assert got.input_ids.tolist() == expected.input_ids
        assert got.token_type_ids.tolist() == expected.token_type_ids
        assert got.is_special.tolist() == [bool(special) for special in expected.special_tokens_mask]
        assert num_special == sum(expected.special_tokens_mask)
