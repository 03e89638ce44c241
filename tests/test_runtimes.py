"""Runtimes: any number of sequences in passes of like length, and torch on packed tokens, against transformers.

Run: pytest tests/test_runtimes.py
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from reference import DIFFERENCES, TINY, hf_inputs, hf_model, ours_of, padded
from unmask.models.registry import FAMILIES, build_model
from unmask.packing import pack
from unmask.ragged import Ragged, offsets_of
from unmask.runtimes import SEQUENCE_HEADS, Runtime
from unmask.runtimes.pytorch import TorchRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

TOLERANCE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}
LENGTHS = [5, 1, 13, 2, 37, 7, 64, 3, 13, 1]
CASES = [(name, head) for name, family in FAMILIES.items() for head in family.heads if head != "pre-training"]


def sequences(lengths: list[int] = LENGTHS, *, seed: int = 0, vocab_size: int = 101) -> tuple[Ragged, Ragged]:
    """Random tokens, none of them padding's, the second half of each sequence of another type."""
    rng, offsets = np.random.default_rng(seed), offsets_of(lengths)
    ids = rng.integers(3, vocab_size, offsets[-1])
    types = [[0] * (length - length // 2) + [1] * (length // 2) for length in lengths]
    return Ragged(ids, offsets), Ragged.of(types, np.int64)


def some_rows(lengths: list[int] = LENGTHS) -> Ragged:
    """Of each sequence every third token, and none of every fourth sequence."""
    return Ragged.of([[] if n % 4 == 3 else range(0, length, 3) for n, length in enumerate(lengths)], np.int64)


def tiny_model(model_type: str, head: str) -> nn.Module:
    sizes = {**TINY, **DIFFERENCES.get(model_type, {}), "id2label": dict(enumerate("abcde")), "initializer_range": 0.1}
    if model_type == "openai-gpt":
        sizes["intermediate_size"] = 4 * TINY["hidden_size"]
    family = FAMILIES[model_type]
    kept = {name: value for name, value in sizes.items() if name not in family.config.absent}
    return build_model(family.config(**kept), head, seed=1).eval()


# Runtime


class Counting(Runtime):
    """Gives each token its id and its type, and remembers what it was asked."""

    head, max_seq_length = "token-classification", 99

    def __init__(self) -> None:
        self.passes: list[list[int]] = []

    def run(self, input_ids: Ragged, token_type_ids: Ragged, rows: Ragged | None = None) -> Ragged:
        self.passes.append(input_ids.lengths.tolist())
        values = np.stack((input_ids.values, token_type_ids.values), 1).astype(np.float32)
        outputs = Ragged(values, input_ids.offsets)
        return outputs if rows is None else Ragged.of([own[at] for own, at in zip(outputs, rows, strict=True)])


@pytest.mark.parametrize("tokens_at_once", [1, 20, 10**6])
def test_all_come_back_in_their_order(tokens_at_once: int) -> None:
    ids, types = sequences()
    outputs = Counting().run_all(ids, types, tokens_at_once=tokens_at_once)
    assert outputs.offsets.tolist() == ids.offsets.tolist()
    assert outputs.values.tolist() == np.stack((ids.values, types.values), 1).tolist()
    rows = some_rows()
    asked = Counting().run_all(ids, types, rows, tokens_at_once=tokens_at_once)
    assert asked.lengths.tolist() == rows.lengths.tolist()
    assert [own[:, 0].tolist() for own in asked] == [own[at].tolist() for own, at in zip(ids, rows, strict=True)]


def test_a_pass_has_sequences_of_like_length_and_about_so_many_tokens() -> None:
    runtime = Counting()
    runtime.run_all(*sequences(), tokens_at_once=20)
    assert runtime.passes == [[1, 1, 2, 3, 5, 7], [13], [13], [37], [64]]
    runtime = Counting()
    runtime.run_all(*sequences([512] * 17))
    assert runtime.passes == [[512] * 4] * 4 + [[512]]  # 2,048 tokens


# On torch


@pytest.mark.parametrize(("model_type", "head"), CASES)
def test_a_sequence_has_the_same_answer_alone_and_in_any_batch(model_type: str, head: str) -> None:
    runtime = TorchRuntime(tiny_model(model_type, head), max_seq_length=64)
    assert runtime.head == head
    ids, types = sequences()
    alone = [runtime.run(ids.take([n]), types.take([n])) for n in range(len(ids))]
    expected = Ragged.concatenate(alone)
    lengths = [1] * len(ids) if head in SEQUENCE_HEADS else LENGTHS
    assert expected.lengths.tolist() == lengths
    assert (expected.values.dtype, expected.values.ndim) == (np.float32, 2)
    for tokens_at_once in (1, 20, 10**6):
        outputs = runtime.run_all(ids, types, tokens_at_once=tokens_at_once)
        assert outputs.offsets.tolist() == expected.offsets.tolist()
        np.testing.assert_allclose(outputs.values, expected.values, **TOLERANCE)
    if head in SEQUENCE_HEADS:
        return
    rows = some_rows()
    asked = runtime.run_all(ids, types, rows, tokens_at_once=20)
    assert asked.lengths.tolist() == rows.lengths.tolist()
    chosen = np.concatenate([own[at] for own, at in zip(expected, rows, strict=True)])
    np.testing.assert_allclose(asked.values, chosen, **TOLERANCE)


@pytest.mark.parametrize(
    "class_name",
    [
        *(f"Bert{suffix}" for suffix in ("Model", "ForMaskedLM", "ForNextSentencePrediction", "ForQuestionAnswering")),
        *("RobertaForSequenceClassification", "AlbertForTokenClassification", "ElectraForPreTraining"),
        *("GPT2LMHeadModel", "GPT2ForSequenceClassification", "OpenAIGPTModel"),
    ],
)
def test_answers_are_those_of_transformers(class_name: str, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"type_vocab_size": 0, "n_inner": 47, "pad_token_id": 0} if "GPT" in class_name else {}
    reference = hf_model(class_name, **sizes)
    runtime = TorchRuntime(ours_of(reference, tmp_path / "model"), max_seq_length=64)
    ids, types = sequences()
    rectangle = padded(pack(ids, types))
    with torch.no_grad():
        output = reference(**hf_inputs(rectangle, reference))
    if "last_hidden_state" in output:
        theirs = output.last_hidden_state
    else:
        theirs = output.logits if "logits" in output else torch.stack((output.start_logits, output.end_logits), -1)
    if runtime.head not in SEQUENCE_HEADS:
        theirs = theirs[rectangle.attention_mask.bool()]
    outputs = runtime.run_all(ids, types, tokens_at_once=50)
    np.testing.assert_allclose(outputs.values, theirs.reshape(len(outputs.values), -1), rtol=1e-4, atol=1e-4)


def test_passes_side_by_side_give_what_one_gives_and_leave_the_threads_of_torch_as_they_were() -> None:
    runtime = TorchRuntime(tiny_model("bert", "token-classification"), max_seq_length=64)
    ids, types = sequences()
    num_threads, seen = torch.get_num_threads(), []
    run = runtime.run
    runtime.run = lambda *one: (seen.append((threading.get_ident(), torch.get_num_threads())), run(*one))[1]  # type: ignore[method-assign]
    try:
        torch.set_num_threads(4)
        outputs = runtime.run_all(ids, types, tokens_at_once=60)
        assert torch.get_num_threads() == 4
        assert len(seen) == 3
        assert {threads for _, threads in seen} == {1}  # 4 shared by 3
        assert threading.get_ident() not in {thread for thread, _ in seen}
        seen.clear()
        torch.set_num_threads(1)
        runtime.run_all(ids, types, tokens_at_once=60)
        assert {thread for thread, _ in seen} == {threading.get_ident()}
    finally:
        torch.set_num_threads(num_threads)
    np.testing.assert_allclose(outputs.values, run(ids, types).values, **TOLERANCE)


def test_an_error_in_a_pass_is_told_and_leaves_the_threads_of_torch_as_they_were() -> None:
    runtime = TorchRuntime(tiny_model("bert", "token-classification"), max_seq_length=64)
    num_threads = torch.get_num_threads()
    ids, types = sequences()
    ids.values[50] = 10**6  # no such word
    try:
        torch.set_num_threads(2)
        with pytest.raises(IndexError):
            runtime.run_all(ids, types, tokens_at_once=60)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(num_threads)


def test_threads_may_share_one() -> None:
    """Each asks for texts of its own, all at once."""
    runtime = TorchRuntime(tiny_model("bert", "token-classification"), max_seq_length=64)
    asked = [sequences([1 + (7 * n + k) % 23 for k in range(9)], seed=n) for n in range(24)]
    expected = [runtime.run_all(*own, tokens_at_once=30) for own in asked]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda own: runtime.run_all(*own, tokens_at_once=30), asked))
    for one, other in zip(found, expected, strict=True):
        assert one.offsets.tolist() == other.offsets.tolist()
        np.testing.assert_allclose(one.values, other.values, **TOLERANCE)


def test_a_sequence_without_a_token_is_refused() -> None:
    runtime = TorchRuntime(tiny_model("bert", "encoder"), max_seq_length=64)
    with pytest.raises(ValueError, match="every sequence needs at least one token"):
        runtime.run_all(*sequences([3, 0]))
