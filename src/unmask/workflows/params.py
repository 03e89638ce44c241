"""Count models' parameters, part by part, and what a forward pass costs: from their configs alone.

unmask params bert-base-uncased albert-base-v2
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unmask import hub
from unmask.errors import SettingsError
from unmask.models.flops import forward_flops
from unmask.models.registry import FAMILIES, empty_model, encoder_of, named_parameters, read_model_config
from unmask.models.sizes import published_config

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.config import ModelConfig

__all__ = ["ModelSize", "ParameterInfo", "params"]

_USUAL_LENGTH = 128


@dataclass(frozen=True, kw_only=True)
class ParameterInfo:
    """One named tensor of a model.

    Args:
        name: Hugging Face's.
        shape: its axes, as a checkpoint has them.
        num_parameters: numbers in it.
    """

    name: str
    shape: tuple[int, ...]
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """A model's parameters, part by part.

    Where embeddings are narrower or wider than hidden states (ALBERT, ELECTRA), a projection stands between the two.
    Published figures count it with whichever part they speak of, and so does this: with the embeddings and with the
    encoder. The total counts it once.

    Args:
        model: the name it was asked for by.
        model_type: its family, as config.json names it.
        head: a key of `unmask.models.registry.HEADS`.
        embeddings: of words, positions and token types, their norm and the projection.
        projection: of the projection; 0 where there is none.
        encoder: of the projection, all distinct blocks, and GPT-2's last norm.
        pooler: 0 where the head needs none.
        heads: of what stands on the encoder; matrices it borrows from the embeddings are not counted again.
        total: all of them.
        memory_bytes: of the weights in float32.
        seq_length: tokens of the sequences that the next figure is for.
        flops_per_token: operations of a forward pass for each token; see `unmask.models.flops`.
        tensors: every tensor of a checkpoint.
    """

    model: str
    model_type: str
    head: str
    embeddings: int
    projection: int
    encoder: int
    pooler: int
    heads: int
    total: int
    memory_bytes: int
    seq_length: int
    flops_per_token: float
    tensors: tuple[ParameterInfo, ...]


def params(
    *models: str | Path, head: str = "encoder", num_labels: int | None = None, seq_length: int | None = None
) -> list[ModelSize]:
    """Count parameters by part, memory and forward FLOPs per token, from each model's config alone, without weights.

    Args:
        models: folders that hold a config.json, hub ids, "minilm", or the names of published sizes, which need no
            network: bert-base-uncased, roberta-large, albert-base-v2, electra-small-discriminator, gpt2, ...
        head: "encoder" counts no head; others are "sequence-classification", "token-classification",
            "question-answering", "masked-lm", "next-sentence", "pre-training", "replaced-token" and "causal-lm", where
            the family has them.
        num_labels: labels of a classifier; None takes those of the config.
        seq_length: tokens of the sequences for which FLOPs are counted; None takes 128, or what a model takes at most.

    Raises:
        CheckpointError: there is no config.json, it cannot be used, or the family has no such head.
        SettingsError: there is no model, num_labels or seq_length is less than 1, or seq_length is more than a model
            takes.
    """
    if not models:
        raise SettingsError("no model: name one or more, such as bert-base-uncased")
    if num_labels is not None and num_labels < 1:
        raise SettingsError(f"num_labels is {num_labels}: it must be 1 or more")
    if seq_length is not None and seq_length < 1:
        raise SettingsError(f"seq_length is {seq_length}: it must be 1 or more")
    return [_measure(model, head, num_labels, seq_length) for model in models]


def _measure(model: str | Path, head: str, num_labels: int | None, seq_length: int | None) -> ModelSize:
    config = _find_config(model)
    if num_labels is not None:
        config = replace(config, id2label={label: f"LABEL_{label}" for label in range(num_labels)})
    outline = empty_model(config, head)
    encoder = encoder_of(outline)
    longest = encoder.embeddings.max_seq_length
    if seq_length is None:
        seq_length = min(_USUAL_LENGTH, longest)
    elif seq_length > longest:
        raise SettingsError(f"seq_length is {seq_length}, and {model} takes sequences of {longest} tokens at most")
    projection = _count(encoder.projection)
    return ModelSize(
        model=str(model),
        model_type=config.model_type,
        head=head,
        embeddings=_count(encoder.embeddings) + projection,
        projection=projection,
        encoder=_count(encoder.blocks) + _count(encoder.final_norm) + projection,
        pooler=_count(encoder.pooler),
        heads=_count(outline) - _count(encoder),
        total=_count(outline),
        memory_bytes=4 * _count(outline),
        seq_length=seq_length,
        flops_per_token=forward_flops(config, head).per_token_at(seq_length),
        tensors=_list_tensors(outline, config),
    )


def _find_config(model: str | Path) -> ModelConfig:
    """Read a folder's config where there is one, else take a published size, else ask the hub."""
    if isinstance(model, str) and not Path(model).exists() and (config := published_config(model)):
        return config
    return read_model_config(hub.resolve(model, with_weights=False))


def _count(part: nn.Module | None) -> int:
    return 0 if part is None else sum(parameter.numel() for parameter in part.parameters())


def _list_tensors(outline: nn.Module, config: ModelConfig) -> tuple[ParameterInfo, ...]:
    plain, from_plain = dict(named_parameters(outline)), FAMILIES[config.model_type].weights(config).from_plain
    return tuple(
        ParameterInfo(name=name, shape=tuple(tensor.shape), num_parameters=tensor.numel())
        for name, tensor in (plain if from_plain is None else from_plain(plain)).items()
    )
