"""GPT. Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training" (GPT-1), and 2019, "Language
Models are Unsupervised Multitask Learners" (GPT-2).

A token sees only itself and what comes before it; there are no token types, and no norm on the embeddings. GPT-2 moves
each norm before its part and adds one after the last block. Its new matrices that write to the residual stream start
smaller, by the square root of their number (2019, section 2.3).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from unmask.errors import CheckpointError
from unmask.models import parts
from unmask.models.config import ModelConfig
from unmask.models.encoder import Encoder
from unmask.models.family import Family, Head
from unmask.models.headed import (
    ForCausalLM,
    ForQuestionAnswering,
    ForSequenceClassification,
    ForTokenClassification,
)
from unmask.models.weights import WeightTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from unmask.models.outputs import EncoderOutput
    from unmask.packing import PackedBatch, PaddedBatch

__all__ = ["GPT2", "OPENAI_GPT", "GPTConfig", "GPTModel", "LastTokenClassifier", "OpenAIGPTConfig"]

# What GPT-1's checkpoints call their activations, and our names of them: "gelu" means the approximation.
_AFN = {"swish": "silu", "gelu": "gelu_new", "relu": "relu", "silu": "silu"}


@dataclass(frozen=True, kw_only=True)
class _CommonConfig(ModelConfig):
    """What both say.

    Args:
        embedding_dropout_prob: probability in [0, 1) with which a value of the embeddings is dropped.
    """

    foreign_keys: ClassVar[Mapping[str, str]] = {
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "intermediate_size": "n_inner",
        "max_position_embeddings": "n_positions",
        "embedding_dropout_prob": "embd_pdrop",
        "hidden_dropout_prob": "resid_pdrop",
        "attention_probs_dropout_prob": "attn_pdrop",
        "layer_norm_eps": "layer_norm_epsilon",
    }
    absent: ClassVar[frozenset[str]] = frozenset({"type_vocab_size", "classifier_dropout"})

    hidden_act: str = "gelu_new"
    embedding_dropout_prob: float = 0.1
    type_vocab_size: int = 0
    layer_norm_eps: float = 1e-5
    pad_token_id: int | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        if values.get("n_inner") is None:
            values = {**values, "n_inner": 4 * values.get("n_embd", cls.hidden_size)}
        return super().from_dict(values)


@dataclass(frozen=True, kw_only=True)
class OpenAIGPTConfig(_CommonConfig):
    """The defaults are GPT-1's. The feed-forward part is always four times as wide: no key says so."""

    foreign_keys: ClassVar[Mapping[str, str]] = {**_CommonConfig.foreign_keys, "hidden_act": "afn"}

    model_type: str = "openai-gpt"
    vocab_size: int = 40478

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.intermediate_size != 4 * self.hidden_size:
            raise CheckpointError(
                f"a GPT-1 has an intermediate_size of 4 times n_embd {self.hidden_size}, not {self.intermediate_size}"
            )
        if self.hidden_act not in _AFN.values():
            raise CheckpointError(
                f"a GPT-1 has no activation {self.hidden_act!r}: hidden_act is gelu_new, relu or silu"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        afn = values.get("afn", "gelu")
        if afn not in _AFN:
            raise CheckpointError(f"afn {afn!r} is unknown; it is one of {', '.join(_AFN)}")
        return super().from_dict({**values, "afn": _AFN[afn], "n_inner": None})

    def to_dict(self) -> dict[str, Any]:
        afn = next(theirs for theirs, ours in reversed(_AFN.items()) if ours == self.hidden_act)
        values = {**super().to_dict(), "afn": afn}
        del values["n_inner"]
        return values


@dataclass(frozen=True, kw_only=True)
class GPTConfig(_CommonConfig):
    """The defaults are those of the smallest GPT-2."""

    foreign_keys: ClassVar[Mapping[str, str]] = {**_CommonConfig.foreign_keys, "hidden_act": "activation_function"}
    fixed: ClassVar[Mapping[str, Any]] = {
        **ModelConfig.fixed,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
    }

    model_type: str = "gpt2"
    vocab_size: int = 50257
    max_position_embeddings: int = 1024

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        if (
            self.vocab_size < GPTConfig.vocab_size
        ):  # else Hugging Face's class takes GPT-2's own, which is not a word here
            values = {"bos_token_id": None, "eos_token_id": None} | values
        return values


class GPTModel(Encoder):
    """The decoder of either: word and position embeddings, causal blocks, and in GPT-2 a final norm."""

    def __init__(self, config: GPTConfig | OpenAIGPTConfig) -> None:
        is_second = isinstance(config, GPTConfig)
        super().__init__(
            config,
            embeddings=parts.make_embeddings(
                config, layer_norm_eps=None, hidden_dropout_prob=config.embedding_dropout_prob
            ),
            blocks=parts.make_blocks(config, is_causal=True, norm_first=is_second),
            final_norm=nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if is_second else None,
        )


class LastTokenClassifier(nn.Module):
    """One linear layer without bias on the last token, which has seen all: (B, D) -> (B, num_labels).

    Radford et al. 2018, section 3.2. As in Hugging Face's class there is no dropout before it.
    """

    def __init__(self, hidden_size: int, num_labels: int, *, pad_token_id: int | None) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, num_labels, bias=False)
        self.pad_token_id = pad_token_id

    def rows(self, batch: PackedBatch | PaddedBatch) -> Tensor:
        """The last tokens, told by their id as Hugging Face do: of a text that ends in padding's, the one before."""
        return batch.last_rows(pad_token_id=self.pad_token_id)

    def forward(self, encoded: EncoderOutput) -> Tensor:
        logits: Tensor = self.linear(encoded.last_hidden_state)
        return logits


_FUSED = re.compile(r"(.*\bh\.\d+\.attn\.c_attn)\.(weight|bias)")
_TRANSPOSED = re.compile(r".*\bh\.\d+\.(attn|mlp)\.(c_proj|c_fc)\.weight")
_COUNTED = re.compile(r".*\bh\.\d+\.attn\.(bias|masked_bias)")  # the causal mask, which older checkpoints hold
_PARTS = ("query", "key", "value")


def _to_plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take query, key and value apart, and turn matrices so that outputs come first, as in a linear layer."""
    plain: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if _COUNTED.fullmatch(name):
            continue
        if fused := _FUSED.fullmatch(name):
            rows = tensor.t() if tensor.dim() == 2 else tensor
            for part, rows_of_part in zip(_PARTS, rows.tensor_split(3), strict=True):
                plain[f"{fused[1]}.{part}.{fused[2]}"] = rows_of_part.clone(memory_format=torch.contiguous_format)
        elif _TRANSPOSED.fullmatch(name) and tensor.dim() == 2:
            plain[name] = tensor.t().contiguous()
        else:
            plain[name] = tensor
    return plain


def _from_plain(plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name, tensor in plain.items():
        module, _, parameter = name.rpartition(".")
        module, _, part = module.rpartition(".")
        if module.endswith("attn.c_attn") and part in _PARTS:
            if part == _PARTS[0]:
                rows = torch.cat([plain[f"{module}.{other}.{parameter}"] for other in _PARTS])
                weights[f"{module}.{parameter}"] = rows.t() if parameter == "weight" else rows
        else:
            weights[name] = tensor.t() if _TRANSPOSED.fullmatch(name) else tensor
    return weights


def _weights(embeddings: dict[str, str]) -> WeightTable:
    return WeightTable(
        base_prefix="transformer.",
        modules={
            **embeddings,
            "blocks.{}.attention.query": "h.{}.attn.c_attn.query",
            "blocks.{}.attention.key": "h.{}.attn.c_attn.key",
            "blocks.{}.attention.value": "h.{}.attn.c_attn.value",
            "blocks.{}.attention.output": "h.{}.attn.c_proj",
            "blocks.{}.attention_norm": "h.{}.ln_1",
            "blocks.{}.feed_forward.intermediate": "h.{}.mlp.c_fc",
            "blocks.{}.feed_forward.output": "h.{}.mlp.c_proj",
            "blocks.{}.feed_forward_norm": "h.{}.ln_2",
            "final_norm": "ln_f",
        },
        heads={
            "classifier.linear": "score",
            "token_classifier.linear": "classifier",
            "qa_outputs": "qa_outputs",
        },
        redundant=("lm_head.weight", "position_ids"),  # the word embeddings, and positions that are only counted
        to_plain=_to_plain,
        from_plain=_from_plain,
    )


_GPT2_WEIGHTS = _weights({"embeddings.word": "wte", "embeddings.position": "wpe"})
_OPENAI_GPT_WEIGHTS = _weights({"embeddings.word": "tokens_embed", "embeddings.position": "positions_embed"})


def _token_dropout_p(config: GPTConfig) -> float:
    """The probability before the classifier of tokens, as Hugging Face's class finds it: GPT-2's own keys have none."""
    given = (config.extra.get(key) for key in ("classifier_dropout", "hidden_dropout"))
    return next((float(p) for p in given if p is not None), 0.1)


# Hugging Face have these heads for GPT-2 alone.
_GPT2_HEADS = {
    "token-classification": Head(
        architecture="GPT2ForTokenClassification",
        build=lambda c: ForTokenClassification(
            c, GPTModel(c), parts.make_token_classifier(c, dropout_p=_token_dropout_p(c))
        ),
    ),
    "question-answering": Head(
        architecture="GPT2ForQuestionAnswering",
        build=lambda c: ForQuestionAnswering(c, GPTModel(c), parts.make_qa_outputs(c)),
    ),
}


def _heads(name: str, more: Mapping[str, Head]) -> dict[str, Head]:
    return {
        "encoder": Head(architecture=f"{name}Model", build=GPTModel),
        "sequence-classification": Head(
            architecture=f"{name}ForSequenceClassification",
            build=lambda c: ForSequenceClassification(
                c, GPTModel(c), LastTokenClassifier(c.hidden_size, c.num_labels, pad_token_id=c.pad_token_id)
            ),
        ),
        **more,
        "causal-lm": Head(architecture=f"{name}LMHeadModel", build=lambda c: ForCausalLM(c, GPTModel(c))),
    }


def _initial_std(config: GPTConfig, name: str) -> float:
    writes_residual = name.endswith(("attention.output.weight", "feed_forward.output.weight"))
    return config.initializer_range / (math.sqrt(2 * config.num_hidden_layers) if writes_residual else 1)


OPENAI_GPT = Family(config=OpenAIGPTConfig, weights=lambda config: _OPENAI_GPT_WEIGHTS, heads=_heads("OpenAIGPT", {}))
GPT2 = Family(
    config=GPTConfig, weights=lambda config: _GPT2_WEIGHTS, heads=_heads("GPT2", _GPT2_HEADS), initial_std=_initial_std
)
