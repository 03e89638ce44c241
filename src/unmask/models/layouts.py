"""Where each token stands, and attention over it: the only code that knows packed from padded.

Everything else in a model works on the last axis and never meets padding. A layout is made anew for each forward pass.

Axes: T packed tokens (or (B, S) where padded), B sequences, S padded length, N heads, H head dim, K keys, Q queries of
the sequence that has most.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unmask.models.noise import Noise
from unmask.models.rows import RowPlan, attention_probabilities
from unmask.packing import PackedBatch, PaddedBatch, pad

if TYPE_CHECKING:
    from unmask.models.cache import KeyValueCache

__all__ = ["CachedLayout", "Layout", "PackedLayout", "PaddedLayout", "layout_of"]


def layout_of(batch: PackedBatch | PaddedBatch, *, training: bool, cache: KeyValueCache | None = None) -> Layout:
    """Make the layout of a batch. Its dropout seeds count in training, and on CPU: elsewhere generators are fast.

    Raises:
        ValueError: if there is a cache, and the batch is padded, does not continue its sequences, or is for training.
    """
    if cache is not None:
        if training:
            raise ValueError("a cache of keys and values is for generation: switch the model to eval mode")
        return CachedLayout(cache.extend(batch), cache)
    seeds = batch.dropout_seeds if training and batch.input_ids.is_cpu else None
    return PackedLayout(batch, seeds) if isinstance(batch, PackedBatch) else PaddedLayout(batch, seeds)


class Layout(ABC):
    """The arrangement of one batch's tokens.

    Args:
        batch: the tokens. Where a cache holds their past, their positions go on from it.
        noise: the counted random numbers of this forward pass, or None to draw from torch's generator.
    """

    def __init__(self, batch: PackedBatch | PaddedBatch, noise: Noise | None) -> None:
        self.batch = batch
        self._noise = noise

    def dropout(self, hidden: Tensor, p: float, rows: Tensor | None = None) -> Tensor:
        """Drop each value of (..., D) with probability p, and scale up the rest.

        Where only some tokens are left, (M, D), rows say which, int (M,): the noise is theirs.
        """
        if p == 0.0:
            return hidden
        if self._noise is None:
            return F.dropout(hidden, p)
        return hidden * self._noise.hidden(hidden.shape[-1], p, rows)

    def dropout_add(self, hidden: Tensor, residual: Tensor, p: float, rows: Tensor | None = None) -> Tensor:
        """Compute residual + dropout(hidden), in one pass over memory."""
        if p == 0.0 or self._noise is None:
            return residual + self.dropout(hidden, p)
        return torch.addcmul(residual, hidden, self._noise.hidden(hidden.shape[-1], p, rows))

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, num_heads: int, dropout_p: float, is_causal: bool
    ) -> Tensor:
        """Scaled dot-product attention within each sequence: softmax(Q K^T / sqrt(H)) V.

        Vaswani et al. 2017 (arXiv:1706.03762), section 3.2.1; dropout on the probabilities, as in BERT's code.

        Args:
            query: (T, N * H); key and value likewise.
            num_heads: N.
            dropout_p: probability with which each attention probability is dropped; 0 in evaluation.
            is_causal: whether a token sees only itself and what comes before it.

        Returns:
            The context, (T, N * H).
        """

    @abstractmethod
    def attention_maps(self, query: Tensor, key: Tensor, *, num_heads: int, is_causal: bool) -> Tensor:
        """Compute softmax(Q K^T / sqrt(H)) without dropout, (B, N, S, S). Packed: 0 where there is no token."""


class PackedLayout(Layout):
    """Sequences end to end, hidden states (T, D).

    CUDA runs attention on the packed tokens themselves (`torch.nn.attention.varlen`, half precision, no attention
    dropout). Everywhere else tokens are gathered into rows (`RowPlan`).
    """

    def __init__(self, batch: PackedBatch, dropout_seeds: Tensor | None) -> None:
        lengths = batch.cu_seqlens.diff()
        super().__init__(
            batch,
            None if dropout_seeds is None else Noise(dropout_seeds.repeat_interleave(lengths), batch.position_ids),
        )
        self._cu_seqlens, self._max_seqlen = batch.cu_seqlens, batch.max_seqlen
        self._row_plans: dict[tuple[int, bool], RowPlan] = {}

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, num_heads: int, dropout_p: float, is_causal: bool
    ) -> Tensor:
        if dropout_p == 0.0 and _fits_varlen_attn(query, num_heads) and (varlen_attn := _varlen_attn()):
            states = (x.unflatten(-1, (num_heads, -1)) for x in (query, key, value))  # (T, N, H)
            bounds = (self._cu_seqlens, self._cu_seqlens, self._max_seqlen, self._max_seqlen)
            return varlen_attn(*states, *bounds, is_causal=is_causal).flatten(-2)
        shape = num_heads, is_causal
        if shape not in self._row_plans:
            lengths = self._cu_seqlens.diff().cpu().numpy()
            self._row_plans[shape] = RowPlan(lengths, num_heads=num_heads, is_causal=is_causal, device=query.device)
        factors = None
        if dropout_p and self._noise is not None:
            factors = self._noise.next_attention(num_heads, dropout_p)
        return self._row_plans[shape].attend(query, key, value, dropout_p=dropout_p, factors=factors)

    def attention_maps(self, query: Tensor, key: Tensor, *, num_heads: int, is_causal: bool) -> Tensor:
        lengths = self._cu_seqlens.diff()
        query, key = (_by_head(pad(x, self._cu_seqlens), num_heads) for x in (query, key))  # (B, N, S, H)
        is_real = torch.arange(self._max_seqlen, device=lengths.device) < lengths[:, None]  # (B, S)
        maps = attention_probabilities(query, key, _additive(_may_attend(is_real, is_causal), query.dtype))
        return maps * is_real[:, None, :, None]


class CachedLayout(PackedLayout):
    """Tokens that go on where a cache ends: they attend to what it holds of their sequence, and to one another.

    Args:
        batch: with positions that go on, as `KeyValueCache.extend` gives it.
        cache: the past, which these tokens join.
    """

    def __init__(self, batch: PackedBatch, cache: KeyValueCache) -> None:
        super().__init__(batch, None)
        self._cache, self._calls = cache, 0
        new = batch.cu_seqlens.diff()
        self._is_query = torch.arange(batch.max_seqlen, device=new.device) < new[:, None]  # (B, Q)
        past = cache.starts.to(new.device)
        positions = past[:, None] + torch.arange(batch.max_seqlen, device=new.device)
        keys = torch.arange(int(cache.lengths.max()), device=new.device)
        self._mask = (keys <= positions[..., None])[:, None]  # true = attend, (B, 1, Q, K)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, num_heads: int, dropout_p: float, is_causal: bool
    ) -> Tensor:
        if not is_causal:
            raise ValueError(
                "only a causal model has a use for a cache: here later tokens change what earlier ones see"
            )
        keys, values = self._cache.append(self._calls, key, value, num_heads=num_heads)
        self._calls += 1
        if not self._cache.starts.any():  # nothing came before
            return super().attend(query, key, value, num_heads=num_heads, dropout_p=dropout_p, is_causal=True)
        queries = _by_head(pad(query, self._cu_seqlens), num_heads)  # (B, N, Q, H)
        context = F.scaled_dot_product_attention(queries, keys, values, attn_mask=self._mask)
        return context.transpose(1, 2).flatten(-2)[self._is_query]

    def attention_maps(self, query: Tensor, key: Tensor, *, num_heads: int, is_causal: bool) -> Tensor:
        raise ValueError("attention maps are drawn without a cache")


class PaddedLayout(Layout):
    """Sequences as rows of a rectangle, hidden states (B, S, D): for exported graphs, and to compare with others."""

    def __init__(self, batch: PaddedBatch, dropout_seeds: Tensor | None) -> None:
        shape = batch.input_ids.shape
        super().__init__(
            batch,
            None
            if dropout_seeds is None
            else Noise(dropout_seeds[:, None].expand(shape), batch.position_ids.expand(shape)),
        )
        self._is_real = batch.attention_mask.bool()
        self._masks: dict[bool, Tensor] = {}

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, num_heads: int, dropout_p: float, is_causal: bool
    ) -> Tensor:
        # Spelt out, for graphs: torch writes its own attention with a guard against tokens that may see nothing. There
        # are none here, and the guard takes a third of the time of a long text.
        probabilities = self.attention_maps(query, key, num_heads=num_heads, is_causal=is_causal)
        if dropout_p and self._noise is not None:
            length = query.shape[1]
            factors = self._noise.attention(num_heads, length, dropout_p)[..., :length].transpose(1, 2)  # (B, N, S, S)
            probabilities = probabilities * factors
        elif dropout_p:
            probabilities = F.dropout(probabilities, dropout_p)
        return (probabilities @ _by_head(value, num_heads)).transpose(1, 2).reshape(value.shape)

    def attention_maps(self, query: Tensor, key: Tensor, *, num_heads: int, is_causal: bool) -> Tensor:
        if is_causal not in self._masks:
            self._masks[is_causal] = _additive(_may_attend(self._is_real, is_causal), query.dtype)
        query, key = (_by_head(x, num_heads) for x in (query, key))
        return attention_probabilities(query, key, self._masks[is_causal])


def _by_head(states: Tensor, num_heads: int) -> Tensor:
    return states.view(*states.shape[:2], num_heads, -1).transpose(1, 2)  # (B, S, N * H) -> (B, N, S, H)


def _may_attend(is_real: Tensor, is_causal: bool) -> Tensor:
    """True = attend, bool, (B, 1, 1, S), or (B, 1, S, S) if causal."""
    mask = is_real[:, None, None, :]
    if is_causal:
        places = torch.arange(is_real.shape[-1], device=mask.device)
        mask = mask & (places <= places[:, None])
        # Padding on the left comes before every real token: let it see itself, so that no softmax is over nothing.
        mask = mask | (places == places[:, None])
    return mask


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def _fits_varlen_attn(query: Tensor, num_heads: int) -> bool:
    """Tell whether FlashAttention takes these: half precision, a head dim it has, an Ampere GPU or later."""
    head_dim = query.shape[-1] // num_heads
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and head_dim % 8 == 0
        and head_dim <= 256
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


@functools.cache
def _varlen_attn() -> Any:
    """Find torch's attention on packed tokens, behind one signature, or None where this torch has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    if "is_causal" in inspect.signature(varlen_attn).parameters:  # torch 2.10
        return varlen_attn

    def with_window(*states: Any, is_causal: bool) -> Tensor:  # torch 2.13
        context: Any = varlen_attn(*states, window_size=(-1, 0) if is_causal else (-1, -1))
        return context

    return with_window
