"""Packed and padded layouts, and the block in the form GPT takes, against the definition one sequence at a time.

Run: .venv/bin/python -m pytest tests/test_models_layouts.py
"""

from __future__ import annotations

import inspect
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import varlen

from reference import one_by_one, padded, ragged
from unmask.models import layouts
from unmask.models.block import TransformerBlock
from unmask.models.layouts import PackedLayout, layout_of
from unmask.packing import PaddedBatch, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unmask.packing import PackedBatch

LENGTHS = [5, 1, 13, 2, 37, 7, 64, 3]
NUM_HEADS, HEAD_DIM = 3, 5
ROUNDING = {"rtol": 1e-10, "atol": 1e-11}  # of float64


def random_states(batch: PackedBatch, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = batch.total_tokens, NUM_HEADS * HEAD_DIM
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(count)]


def in_rectangle(states: Tensor, is_real: Tensor) -> Tensor:
    """(T, D) -> (B, S, D), with noise for padding: no layout may look at it."""
    noise = torch.full((*is_real.shape, states.shape[-1]), 7.0, dtype=states.dtype)
    return noise.index_put((is_real,), states)


def split(states: Tensor, batch: PackedBatch) -> tuple[Tensor, ...]:
    return states.split(batch.cu_seqlens.diff().tolist())


def attend_alone(
    query: Tensor, key: Tensor, value: Tensor, batch: PackedBatch, *, is_causal: bool, head_dim: int = HEAD_DIM
) -> Tensor:
    contexts = []
    for states in zip(*(split(x, batch) for x in (query, key, value)), strict=True):
        by_head = (x.unflatten(-1, (-1, head_dim)).transpose(0, 1) for x in states)
        context = F.scaled_dot_product_attention(*by_head, is_causal=is_causal)
        contexts.append(context.transpose(0, 1).flatten(-2))
    return torch.cat(contexts)


@pytest.mark.parametrize("is_causal", [False, True], ids=["both_ways", "causal"])
@pytest.mark.parametrize("lengths", [[1], [11], LENGTHS], ids=["one_token", "one", "many"])
def test_both_layouts_attend_as_each_sequence_alone(lengths: list[int], is_causal: bool) -> None:
    batch = ragged(lengths)
    rectangle = padded(batch, length=max(lengths) + 3)
    is_real = rectangle.attention_mask.bool()
    states = random_states(batch)
    settings = {"num_heads": NUM_HEADS, "dropout_p": 0.0, "is_causal": is_causal}
    expected = attend_alone(*states, batch, is_causal=is_causal)
    packed = layout_of(batch, training=True).attend(*states, **settings)
    boxes = [in_rectangle(x, is_real) for x in states]
    boxed = layout_of(rectangle, training=True).attend(*boxes, **settings)[is_real]
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = torch.autograd.grad(expected, states, upstream)
    for context in (packed, boxed):
        torch.testing.assert_close(context, expected, **ROUNDING)
        for gradient, alone in zip(torch.autograd.grad(context, states, upstream), gradients, strict=True):
            torch.testing.assert_close(gradient, alone, **ROUNDING)


@pytest.mark.parametrize("is_causal", [False, True], ids=["both_ways", "causal"])
def test_attention_maps_are_what_attention_weighs_values_by(is_causal: bool) -> None:
    batch = ragged(LENGTHS)
    rectangle = padded(batch)
    is_real = rectangle.attention_mask.bool()
    query, key, value = (x.detach() for x in random_states(batch))
    packed = layout_of(batch, training=False)
    maps = packed.attention_maps(query, key, num_heads=NUM_HEADS, is_causal=is_causal)
    assert maps.shape == (len(LENGTHS), NUM_HEADS, 64, 64)
    sums = maps.sum(-1)
    torch.testing.assert_close(sums, is_real[:, None].expand_as(sums).double())  # 1 for a token, else 0
    is_pair = is_real[:, None, :, None] & is_real[:, None, None, :]
    if is_causal:
        is_pair = is_pair & torch.ones(64, 64).tril().bool()
    assert torch.equal(maps > 0, is_pair.expand_as(maps))
    by_head = in_rectangle(value, is_real).unflatten(-1, (NUM_HEADS, HEAD_DIM)).transpose(1, 2)
    context = (maps @ by_head).transpose(1, 2).flatten(-2)[is_real]
    settings = {"num_heads": NUM_HEADS, "dropout_p": 0.0, "is_causal": is_causal}
    torch.testing.assert_close(context, packed.attend(query, key, value, **settings), **ROUNDING)
    boxes = (in_rectangle(x, is_real) for x in (query, key))
    in_box = layout_of(rectangle, training=False).attention_maps(*boxes, num_heads=NUM_HEADS, is_causal=is_causal)
    torch.testing.assert_close(in_box * is_real[:, None, :, None], maps, **ROUNDING)


def test_one_layout_serves_layers_of_other_shapes() -> None:
    batch = ragged(LENGTHS)
    states = [x.detach() for x in random_states(batch)]
    layout = PackedLayout(batch, None)
    for num_heads, is_causal in ((3, False), (3, True), (5, True), (3, False)):
        context = layout.attend(*states, num_heads=num_heads, dropout_p=0.0, is_causal=is_causal)
        expected = attend_alone(*states, batch, is_causal=is_causal, head_dim=15 // num_heads)
        torch.testing.assert_close(context, expected, **ROUNDING)


@pytest.mark.parametrize("dropout_p", [0.0, 1e-6], ids=["quiet", "counted"])
def test_padding_on_the_left_of_causal_attention_harms_no_token(dropout_p: float) -> None:
    states = [torch.randn(1, 6, 15, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    mask = torch.tensor([[0, 0, 1, 1, 1, 1]])
    rectangle = replace(PaddedBatch.of(torch.ones(1, 6, dtype=torch.int64), mask), dropout_seeds=torch.tensor([5]))
    layout = layout_of(rectangle, training=True)
    context = layout.attend(*states, num_heads=3, dropout_p=dropout_p, is_causal=True)
    assert context.isfinite().all()
    assert layout.attention_maps(*states[:2], num_heads=3, is_causal=True).isfinite().all()
    alone = attend_alone(*(x[0, 2:] for x in states), pack([[1] * 4]), is_causal=True)
    torch.testing.assert_close(context[0, 2:], alone, rtol=1e-5, atol=1e-5)


def test_first_and_last_rows_by_hand() -> None:
    batch = ragged([2, 1, 3])
    assert batch.first_rows.tolist() == [0, 2, 3]
    assert padded(batch).first_rows.tolist() == [0, 3, 6]
    assert batch.last_rows(pad_token_id=None).tolist() == [1, 2, 5]
    assert padded(batch).last_rows(pad_token_id=None).tolist() == [1, 3, 8]
    ending = pack([[5, 0], [0], [7, 0, 0]])  # in the token that stands for padding
    assert ending.last_rows(pad_token_id=0).tolist() == [0, 2, 3]
    assert padded(ending).last_rows(pad_token_id=0).tolist() == [0, 3, 6]


@pytest.mark.parametrize("has_seeds", [True, False], ids=["counted", "drawn"])
def test_dropout_drops_scales_and_adds(has_seeds: bool) -> None:
    batch = ragged(LENGTHS, seeds=has_seeds)
    values, residual = torch.full((batch.total_tokens, 51), 3.0), torch.full((batch.total_tokens, 51), 10.0)
    torch.manual_seed(0)
    dropped = layout_of(batch, training=True).dropout(values, 0.25)
    assert dropped.unique().tolist() == [0, 4]
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    torch.manual_seed(0)
    summed = layout_of(batch, training=True).dropout_add(values, residual, 0.25)
    assert torch.equal(summed, residual + dropped)
    pooled = layout_of(batch, training=True).dropout(values[: len(LENGTHS)], 0.25, batch.first_rows)
    assert pooled.unique().tolist() == [0, 4]
    if has_seeds:
        assert torch.equal(pooled, dropped[batch.cu_seqlens[:-1]])
    quiet = layout_of(batch, training=True)
    assert quiet.dropout(values, 0.0) is values
    assert torch.equal(quiet.dropout_add(values, residual, 0.0), values + residual)
    assert torch.equal(quiet.dropout(values, 0.0, batch.first_rows), values)


def test_packed_and_padded_drop_the_same() -> None:
    batch = ragged(LENGTHS, seeds=True)
    rectangle = padded(batch, length=70)
    is_real = rectangle.attention_mask.bool()
    hidden, *states = (x.detach() for x in random_states(batch, 4))
    results = []
    for one, make in ((batch, lambda x: x), (rectangle, lambda x: in_rectangle(x, is_real))):
        layout = layout_of(one, training=True)
        settings = {"num_heads": NUM_HEADS, "dropout_p": 0.3, "is_causal": True}
        made = [layout.dropout(make(hidden), 0.2), layout.attend(*map(make, states), **settings)]
        made.append(layout.dropout_add(make(hidden), make(states[0]), 0.1))
        results.append([x if one is batch else x[is_real] for x in made])
    for packed, in_box in zip(*results, strict=True):
        torch.testing.assert_close(packed, in_box, **ROUNDING)


def test_seeds_count_in_training_only() -> None:
    values = torch.ones(sum(LENGTHS), 6)
    batch = ragged(LENGTHS, seeds=True)
    counted = [layout_of(batch, training=True).dropout(values, 0.5) for _ in range(2)]
    drawn = [layout_of(batch, training=False).dropout(values, 0.5) for _ in range(2)]
    assert torch.equal(*counted)
    assert not torch.equal(*drawn)


class ReferenceBlock:
    """GPT-2's block, formula by formula, on one sequence (S, D). Radford et al. 2019, section 2.3."""

    def __init__(self, block: TransformerBlock, *, eps: float) -> None:
        self.weights, self.eps = dict(block.named_parameters()), eps

    def linear(self, hidden: Tensor, name: str) -> Tensor:
        return hidden @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, hidden: Tensor, name: str) -> Tensor:
        centred = hidden - hidden.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return centred / scale * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def __call__(self, hidden: Tensor) -> Tensor:
        normed = self.norm(hidden, "attention_norm")
        query, key, value = (
            self.linear(normed, f"attention.{name}").view(len(hidden), NUM_HEADS, HEAD_DIM).transpose(0, 1)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(1, 2) / math.sqrt(HEAD_DIM)
        is_future = torch.ones(len(hidden), len(hidden)).triu(1).bool()
        context = scores.masked_fill(is_future, -math.inf).softmax(-1) @ value
        hidden = hidden + self.linear(context.transpose(0, 1).flatten(1), "attention.output")
        inner = self.linear(self.norm(hidden, "feed_forward_norm"), "feed_forward.intermediate")
        gelu = inner * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3))) / 2
        return hidden + self.linear(gelu, "feed_forward.output")


def gpt_block(dropout: float = 0.0) -> TransformerBlock:
    torch.manual_seed(0)
    block = TransformerBlock(
        hidden_size=NUM_HEADS * HEAD_DIM,
        num_attention_heads=NUM_HEADS,
        intermediate_size=23,
        hidden_act="gelu_new",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        layer_norm_eps=1e-3,
        is_causal=True,
        norm_first=True,
    ).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return block


def test_a_causal_pre_norm_block_is_gpts() -> None:
    batch = ragged(LENGTHS)
    rectangle = padded(batch, length=66)
    is_real = rectangle.attention_mask.bool()
    block = gpt_block()
    (hidden,) = random_states(batch, 1)
    reference = ReferenceBlock(block, eps=1e-3)
    inputs = [hidden, *block.parameters()]
    upstream = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.cat([reference(one) for one in split(hidden, batch)])
    gradients = torch.autograd.grad(expected, inputs, upstream)
    packed = block(hidden, layout_of(batch, training=True))
    boxed = block(in_rectangle(hidden, is_real), layout_of(rectangle, training=True))[is_real]
    singles = zip(one_by_one(batch), split(hidden, batch), strict=True)
    alone = torch.cat([block(one, layout_of(single, training=True)) for single, one in singles])
    names = ["hidden", *(name for name, _ in block.named_parameters())]
    for output in (packed, boxed, alone):
        torch.testing.assert_close(output, expected, **ROUNDING)
        ours = torch.autograd.grad(output, inputs, upstream)
        for name, gradient, theirs in zip(names, ours, gradients, strict=True):
            torch.testing.assert_close(gradient, theirs, **ROUNDING, msg=lambda text, name=name: f"{name}: {text}")


def test_a_causal_pre_norm_block_drops_the_same_in_every_layout() -> None:
    batch = ragged(LENGTHS, seeds=True)
    rectangle = padded(batch, length=66)
    is_real = rectangle.attention_mask.bool()
    block = gpt_block(dropout=0.2).train()
    hidden = random_states(batch, 1)[0].detach()
    packed = block(hidden, layout_of(batch, training=True))
    boxed = block(in_rectangle(hidden, is_real), layout_of(rectangle, training=True))[is_real]
    singles = zip(one_by_one(batch), split(hidden, batch), strict=True)
    alone = torch.cat([block(one, layout_of(single, training=True)) for single, one in singles])
    torch.testing.assert_close(boxed, packed, **ROUNDING)
    torch.testing.assert_close(alone, packed, **ROUNDING)
    assert not torch.allclose(packed, block.eval()(hidden, layout_of(batch, training=False)))


def test_settings_that_make_no_block_are_refused() -> None:
    sizes = {"hidden_size": 10, "intermediate_size": 3, "layer_norm_eps": 0.1}
    sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    with pytest.raises(ValueError, match="hidden_size 10 is not a multiple of num_attention_heads 3"):
        TransformerBlock(**sizes, num_attention_heads=3, hidden_act="relu")
    with pytest.raises(ValueError, match="hidden_act 'swish' is unknown; it is one of gelu, gelu_new, "):
        TransformerBlock(**sizes, num_attention_heads=2, hidden_act="swish")


# On CUDA: the machine of these tests has none, so a tensor that says it is there stands in for one.


class OnCuda(Tensor):
    is_cuda = property(lambda self: True)


@pytest.fixture
def put_varlen_attn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Replace torch's function, or its module by nothing, on an Ampere GPU."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))

    def put(function: Any) -> None:
        if function is None:
            monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
        else:
            monkeypatch.setattr(varlen, "varlen_attn", function)
        layouts._varlen_attn.cache_clear()

    yield put
    layouts._varlen_attn.cache_clear()


def half_states(batch: PackedBatch, dtype: torch.dtype = torch.bfloat16, head_dim: int = 8) -> list[Tensor]:
    torch.manual_seed(0)
    return list(torch.randn(3, batch.total_tokens, NUM_HEADS * head_dim).to(dtype))


class FakeVarlenAttn:
    """Torch's function by its definition, with the signature of either release; keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def of_torch_2_10(
        self, query, key, value, cu_seq_q, cu_seq_k, max_q: int, max_k: int, is_causal: bool = False
    ) -> Tensor:
        self.calls.append({"is_causal": is_causal, "max": (max_q, max_k)})
        return self.attend(query, key, value, cu_seq_q, cu_seq_k, is_causal=is_causal)

    def of_torch_2_13(
        self, query, key, value, cu_seq_q, cu_seq_k, max_q: int, max_k: int, *, window_size: tuple[int, int] = (-1, -1)
    ) -> Tensor:
        self.calls.append({"window_size": window_size, "max": (max_q, max_k)})
        return self.attend(query, key, value, cu_seq_q, cu_seq_k, is_causal=window_size == (-1, 0))

    @staticmethod
    def attend(query, key, value, cu_seq_q, cu_seq_k, *, is_causal: bool) -> Tensor:
        assert query.shape[1:] == (NUM_HEADS, 8)
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
        lengths = cu_seq_q.diff().tolist()
        contexts = []
        for states in zip(query.split(lengths), key.split(lengths), value.split(lengths), strict=True):
            context = F.scaled_dot_product_attention(*(x.transpose(0, 1) for x in states), is_causal=is_causal)
            contexts.append(context.transpose(0, 1))
        return torch.cat(contexts)


@pytest.mark.parametrize("is_causal", [False, True], ids=["both_ways", "causal"])
@pytest.mark.parametrize("release", ["of_torch_2_10", "of_torch_2_13"])
def test_on_cuda_half_precision_goes_to_the_packed_kernel(put_varlen_attn, release: str, is_causal: bool) -> None:
    fake = FakeVarlenAttn()
    put_varlen_attn(getattr(fake, release))
    batch = ragged(LENGTHS)
    states = half_states(batch)
    layout = PackedLayout(batch, None)
    settings = {"num_heads": NUM_HEADS, "dropout_p": 0.0, "is_causal": is_causal}
    context = layout.attend(*(x.as_subclass(OnCuda) for x in states), **settings).as_subclass(Tensor)
    keyword = {
        "of_torch_2_10": {"is_causal": is_causal},
        "of_torch_2_13": {"window_size": (-1, 0) if is_causal else (-1, -1)},
    }
    assert fake.calls == [keyword[release] | {"max": (64, 64)}]
    expected = attend_alone(*states, batch, is_causal=is_causal, head_dim=8)
    torch.testing.assert_close(context, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("dtype", "dropout_p", "head_dim", "capability"),
    [
        (torch.float32, 0.0, 8, (9, 0)),
        (torch.float64, 0.0, 8, (9, 0)),
        (torch.bfloat16, 0.1, 8, (9, 0)),
        (torch.bfloat16, 0.0, 11, (9, 0)),
        (torch.bfloat16, 0.0, 264, (9, 0)),
        (torch.float16, 0.0, 8, (7, 5)),
    ],
    ids=["float32", "float64", "attention_dropout", "odd_head", "wide_head", "turing"],
)
def test_on_cuda_what_the_packed_kernel_cannot_do_goes_to_rows(
    put_varlen_attn, monkeypatch: pytest.MonkeyPatch, dtype, dropout_p: float, head_dim: int, capability
) -> None:
    fake = FakeVarlenAttn()
    put_varlen_attn(fake.of_torch_2_13)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    batch = ragged(LENGTHS)
    states = [x.as_subclass(OnCuda) for x in half_states(batch, dtype, head_dim)]
    context = PackedLayout(batch, None).attend(*states, num_heads=NUM_HEADS, dropout_p=dropout_p, is_causal=False)
    assert not fake.calls
    assert context.dtype == dtype


def test_on_cuda_without_the_packed_kernel_rows_serve(put_varlen_attn) -> None:
    put_varlen_attn(None)
    assert layouts._varlen_attn() is None
    batch = ragged(LENGTHS)
    states = half_states(batch)
    on_cuda = [x.as_subclass(OnCuda) for x in states]
    context = PackedLayout(batch, None).attend(*on_cuda, num_heads=NUM_HEADS, dropout_p=0.0, is_causal=True)
    expected = attend_alone(*(x.double() for x in states), batch, is_causal=True, head_dim=8)
    torch.testing.assert_close(context.as_subclass(Tensor).double(), expected, rtol=0.02, atol=0.02)


def test_the_call_fits_the_torch_that_is_installed() -> None:
    parameters = inspect.signature(varlen.varlen_attn)
    causal = {"is_causal": True} if "is_causal" in parameters.parameters else {"window_size": (-1, 0)}
    parameters.bind("query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k", **causal)
    assert list(parameters.parameters)[3:7] == ["cu_seq_q", "cu_seq_k", "max_q", "max_k"]
