"""The families and their heads, and how a checkpoint becomes a model and back.

A family adds one entry here. Nothing else in the house asks which family a model is of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unmask import hub
from unmask.errors import CheckpointError
from unmask.models import albert, bert, electra, gpt, roberta
from unmask.models.config import ModelConfig
from unmask.models.embeddings import WordEmbedding
from unmask.models.encoder import Encoder
from unmask.models.weights import LoadReport, WeightTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from unmask.models.family import Family

__all__ = [
    "FAMILIES",
    "FAMILY_NAMES",
    "HEADS",
    "build_model",
    "config_of",
    "empty_model",
    "encoder_of",
    "export_weights",
    "has_head",
    "is_of_head",
    "load_model",
    "name_in_encoder",
    "named_parameters",
    "read_model_config",
    "saved_head",
    "table_of",
]

HEADS = (
    "encoder",
    "sequence-classification",
    "token-classification",
    "question-answering",
    "masked-lm",
    "next-sentence",
    "pre-training",
    "replaced-token",
    "causal-lm",
)

FAMILIES: dict[str, Family] = {
    "bert": bert.BERT,
    "roberta": roberta.ROBERTA,
    "albert": albert.ALBERT,
    "electra": electra.ELECTRA,
    "gpt2": gpt.GPT2,
    "openai-gpt": gpt.OPENAI_GPT,
}
"""Each family by the model_type of its config.json."""

FAMILY_NAMES = {"bert": "bert", "roberta": "roberta", "albert": "albert", "electra": "electra", "gpt": "gpt2"}
"""What users call a family of which they want a new model, and its model_type."""


def read_model_config(folder: Path) -> ModelConfig:
    """Read the config.json of a model folder.

    Raises:
        CheckpointError: if it is missing, its family is unknown, or a value is out of range.
    """
    values = hub.read_config(folder)
    model_type = values.get("model_type")
    if model_type not in FAMILIES:
        raise CheckpointError(
            f"{folder / 'config.json'}: model_type {model_type!r} is not a family unmask knows; "
            f"it knows {', '.join(FAMILIES)}"
        )
    try:
        return FAMILIES[model_type].config.from_dict(values)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error


def saved_head(config: ModelConfig) -> str:
    """Tell which head a checkpoint was saved with: a key of `HEADS`."""
    for name, head in FAMILIES[config.model_type].heads.items():
        if head.architecture in config.architectures:
            return name
    return "encoder"


def empty_model(config: ModelConfig, head: str) -> nn.Module:
    """Make a model without memory for its weights, on torch's meta device.

    Raises:
        CheckpointError: if the family has no such head.
    """
    heads = FAMILIES[config.model_type].heads
    if head not in heads:
        raise CheckpointError(f"{config.model_type} has no {head!r} head; it has {', '.join(heads)}")
    with torch.device("meta"):
        return heads[head].build(config)


def build_model(config: ModelConfig, head: str, *, seed: int = 0) -> nn.Module:
    """Make a model with new weights: normal with the config's initializer_range, as BERT's code draws them.

    Raises:
        CheckpointError: if the family has no such head.
    """
    model = empty_model(config, head)
    _fill_new_weights(model, config, {name for name, _ in model.named_parameters()}, seed)
    return model


def load_model(
    folder: Path,
    head: str | None = None,
    *,
    id2label: dict[int, str] | None = None,
    allow_new_head: bool = False,
    seed: int = 0,
) -> tuple[nn.Module, LoadReport]:
    """Load a checkpoint in Hugging Face's layout into our model, in float32.

    Args:
        folder: holds config.json and the weights.
        head: a key of `HEADS`; None takes what the checkpoint was saved with.
        id2label: label names for a new classifier, instead of the checkpoint's own.
        allow_new_head: whether weights of a head may be new, to be trained; the encoder's may never be missing.
        seed: of the new weights.

    Returns:
        The model and what fitted.

    Raises:
        CheckpointError: if the checkpoint cannot be read or does not fit.
    """
    config = read_model_config(folder)
    table = FAMILIES[config.model_type].weights(config)
    if id2label is not None:
        # What the old head was trained for, and all that our tasks remember of it, says nothing of the new one.
        kept = {
            key: value for key, value in config.extra.items() if key != "problem_type" and not key.startswith("unmask_")
        }
        config = replace(config, id2label=id2label, extra=kept)
    head = head or saved_head(config)
    if head in ("masked-lm", "pre-training", "causal-lm") and config.extra.get("tie_word_embeddings") is False:
        raise CheckpointError(
            f"{folder}: its {head} head is not tied to the word embeddings (tie_word_embeddings is false in "
            "config.json), which unmask does not compute"
        )
    model = empty_model(config, head)
    report = _fill(model, table, hub.read_weights(folder), source=str(folder))
    new = {*report.missing, *(name for name, _, _ in report.misshaped)}
    own_names = {foreign: own for own, foreign in _names(model, table)}
    may_be_new = allow_new_head and has_head(model)  # an encoder alone is never new, its pooler neither
    refused = {name for name in new if not may_be_new or not is_of_head(model, own_names[name])}
    if refused:
        raise CheckpointError(_misfit(folder, report, head, refused))
    _fill_new_weights(model, config, {own_names[name] for name in new}, seed)
    return model, report


def encoder_of(model: nn.Module) -> Encoder:
    """Find the encoder of a model with a head, or of one that is an encoder."""
    encoder = model.encoder if has_head(model) else model
    assert isinstance(encoder, Encoder)
    return encoder


def config_of(model: nn.Module) -> ModelConfig:
    """Find the config of a model of any family."""
    config = model.config
    assert isinstance(config, ModelConfig)
    return config


def table_of(model: nn.Module) -> WeightTable:
    """Find the table of names of a model's family."""
    config = config_of(model)
    return FAMILIES[config.model_type].weights(config)


def has_head(model: nn.Module) -> bool:
    """Tell whether something stands on a model's encoder; without, the model is an encoder."""
    return not isinstance(model, Encoder)


def name_in_encoder(model: nn.Module, name: str) -> str | None:
    """Give the name that a parameter has inside the encoder; None for one of the head."""
    if not has_head(model):
        return name
    return name.removeprefix("encoder.") if name.startswith("encoder.") else None


def is_of_head(model: nn.Module, name: str) -> bool:
    """Tell whether a parameter stands above the blocks: in the head, or in the pooler, which heads train.

    Checkpoints saved with a masked LM head alone have no pooler.
    """
    inside = name_in_encoder(model, name)
    return inside is None or inside.startswith("pooler.")


def named_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield a model's parameters under their Hugging Face names, in order."""
    names = dict(_names(model, table_of(model)))
    for own, parameter in model.named_parameters():
        yield names[own], parameter


def export_weights(model: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give a model's config.json and its weights under their Hugging Face names, as `hub.save_model_folder` takes them.

    Raises:
        ValueError: if a word embedding is still restricted to the rows of one training set, or adapters are not merged.
    """
    if any(isinstance(module, WordEmbedding) and module.unseen is not None for module in model.modules()):
        raise ValueError("release the word embedding before saving the model")
    if any(name.endswith(".lora_A") for name, _ in model.named_parameters()):
        raise ValueError("merge the LoRA adapters before saving the model, or save them alone")
    config, from_plain = config_of(model), table_of(model).from_plain
    assert isinstance(model.head, str)
    architecture = FAMILIES[config.model_type].heads[model.head].architecture
    plain = {name: parameter.detach().cpu() for name, parameter in named_parameters(model)}
    weights = plain if from_plain is None else from_plain(plain)
    config = replace(config, architectures=(architecture,))
    return config.to_dict(), {name: tensor.contiguous() for name, tensor in weights.items()}


def _names(model: nn.Module, table: WeightTable) -> list[tuple[str, str]]:
    is_headed = has_head(model)
    return [(own, table.to_foreign(own, has_head=is_headed)) for own, _ in model.named_parameters()]


def _fill(model: nn.Module, table: WeightTable, weights: Mapping[str, Tensor], *, source: str) -> LoadReport:
    """Put the tensors that fit where they belong."""
    is_headed, wanted = has_head(model), dict(model.named_parameters())
    foreign_names = dict(_names(model, table))
    fitting: dict[str, Tensor] = {}
    unused, misshaped, found = [], [], set()
    for foreign, tensor in (weights if table.to_plain is None else table.to_plain(weights)).items():
        if table.is_redundant(foreign):
            continue
        own = table.to_own(foreign, has_head=is_headed, wanted=wanted)
        if own is None or own not in wanted:
            unused.append(foreign)
            continue
        found.add(own)
        if tensor.shape == wanted[own].shape:
            fitting[own] = tensor.to(torch.float32)
        else:
            misshaped.append((foreign_names[own], tuple(tensor.shape), tuple(wanted[own].shape)))
    model.load_state_dict(fitting, strict=False, assign=True)
    return LoadReport(
        source=source,
        num_loaded=len(fitting),
        missing=tuple(foreign_names[own] for own in wanted if own not in found),
        unused=tuple(unused),
        misshaped=tuple(misshaped),
    )


def _fill_new_weights(model: nn.Module, config: ModelConfig, names: set[str], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    initial_std = FAMILIES[config.model_type].initial_std
    for path, module in model.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            own = f"{path}.{name}" if path else name
            if own not in names:
                continue
            values = torch.empty(parameter.shape)
            if name == "bias":
                values.zero_()
            elif isinstance(module, nn.LayerNorm):
                values.fill_(1.0)
            else:
                std = config.initializer_range if initial_std is None else initial_std(config, own)
                values.normal_(std=std, generator=generator)
                if isinstance(module, WordEmbedding) and config.pad_token_id is not None:
                    values[config.pad_token_id] = 0.0
            setattr(module, name, nn.Parameter(values))


def _misfit(folder: Path, report: LoadReport, head: str, refused: set[str]) -> str:
    """Say in one message what does not fit and what to do."""
    misshaped = [entry for entry in report.misshaped if entry[0] in refused]
    if misshaped:
        name, theirs, ours = misshaped[0]
        more = f" (and {len(misshaped) - 1} more)" if len(misshaped) > 1 else ""
        return (
            f"{folder}: {name} has shape {theirs}, but config.json asks for {ours}{more}; "
            "the config and the weights are not of the same model"
        )
    missing = [name for name in report.missing if name in refused]
    names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return (
        f"{folder}: {len(missing)} weights that the {head} model needs are not in this checkpoint ({names}); "
        "train that head first, or choose a checkpoint that has it"
    )
