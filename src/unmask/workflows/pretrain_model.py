"""The model that a pretraining run begins with: a new one of some size, or one that has been pretrained before."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from unmask.errors import CheckpointError, SettingsError
from unmask.models.registry import FAMILIES, FAMILY_NAMES, build_model, empty_model, encoder_of, read_model_config
from unmask.pretraining.objectives import TOKEN_OBJECTIVES, GeneratorAndDiscriminator
from unmask.tokenization import Tokenizer
from unmask.workflows.loading import find_model, load, load_tokenizer, refuse_larger_vocabulary
from unmask.workflows.new_tokens import grow_vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from unmask.models.config import ModelConfig
    from unmask.workflows.pretrain_settings import PretrainSettings

__all__ = ["Beginning", "begin", "generator_config", "head_of", "make_model", "new_config"]

# Layers, hidden size, attention heads, width of the feed-forward part. Devlin et al. 2019 (arXiv:1810.04805), section
# 3, and Turc et al. 2019 (arXiv:1908.08962), section 3.
_SIZES = {
    "tiny": (2, 128, 2, 512),
    "mini": (4, 256, 4, 1024),
    "small": (4, 512, 8, 2048),
    "medium": (8, 512, 8, 2048),
    "base": (12, 768, 12, 3072),
    "large": (24, 1024, 16, 4096),
}
_GPT_DROPOUT = "embedding_dropout_prob"  # a third probability, which only GPT's config has


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a run begins with, before any new token.

    Args:
        family: as users type it.
        tokenizer: of the model.
        config: its sizes.
        folder: where it is; None for a new model.
    """

    family: str
    tokenizer: Tokenizer
    config: ModelConfig
    folder: Path | None = None


def begin(settings: PretrainSettings) -> tuple[PretrainSettings, Beginning]:
    """Find family, tokenizer and sizes, and fill in the settings that follow from them; no weights are read.

    Raises:
        CheckpointError: nothing usable is found under the name of the model or the tokenizer, or they do not fit.
        SettingsError: no tokenizer is named, sizes contradict one another, or the family cannot learn what is asked.
    """
    if settings.model is None:
        if settings.tokenizer is None:
            raise SettingsError(
                "tokenizer is missing: name the folder of one for a new model (unmask tokenizer train makes them), or "
                "give --model, a model to go on from"
            )
        tokenizer = load_tokenizer(settings.tokenizer)
        family: str = settings.family or "bert"
        settings = settings.for_family(family, is_new=True)
        config = new_config(settings, family, tokenizer)
        _refuse_longer_sequences(settings, config)
        return settings, Beginning(family=family, tokenizer=tokenizer, config=config)
    folder = find_model(settings.model)
    config = read_model_config(folder)
    tokenizer = Tokenizer.from_folder(folder)
    refuse_larger_vocabulary(tokenizer, config, folder)
    family = "gpt" if config.model_type == "openai-gpt" else _family_of(config)
    _refuse_longer_sequences(settings, config)
    beginning = Beginning(family=family, tokenizer=tokenizer, config=config, folder=folder)
    return settings.for_family(family, is_new=False), beginning


def head_of(settings: PretrainSettings) -> str:
    """Tell which head is trained and kept: a key of `unmask.models.registry.HEADS`."""
    return TOKEN_OBJECTIVES[settings.token_objective].head if settings.pair_objective is None else "pre-training"


def new_config(settings: PretrainSettings, family: str, tokenizer: Tokenizer) -> ModelConfig:
    """Make the configuration of a new model.

    Raises:
        CheckpointError: the tokenizer lacks what the family needs.
        SettingsError: a size outside its range, or one that the family does not have.
    """
    kind = FAMILIES[FAMILY_NAMES[family]].config
    layers, hidden, heads, intermediate = _SIZES[settings.size or "mini"]
    if settings.hidden_size is not None:
        hidden, intermediate = settings.hidden_size, 4 * settings.hidden_size
    values: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size,
        "num_hidden_layers": settings.num_hidden_layers or layers,
        "hidden_size": hidden,
        "num_attention_heads": settings.num_attention_heads or heads,
        "intermediate_size": settings.intermediate_size or intermediate,
        "max_position_embeddings": settings.max_position_embeddings or settings.max_seq_length,
        "extra": {
            name: token_id
            for name in ("bos_token_id", "eos_token_id")
            if (token_id := getattr(tokenizer, name)) is not None
        },
    }
    if family != "gpt":
        if tokenizer.pad_token_id is None:
            raise CheckpointError(
                f"{settings.tokenizer}: the tokenizer has no padding token, which every {family} has: train one for "
                f"this family (unmask tokenizer train --family {family})"
            )
        values["pad_token_id"] = tokenizer.pad_token_id
    if family == "roberta":  # Liu et al. 2019, in fairseq: one type, and positions from padding_idx + 1
        values["type_vocab_size"] = 1
        values["max_position_embeddings"] += values["pad_token_id"] + 1
    names = {field.name for field in fields(kind)}
    if "embedding_size" in names:
        values["embedding_size"] = settings.embedding_size or _usual_embedding_size(family, hidden)
    elif settings.embedding_size is not None:
        raise SettingsError(
            f"embedding_size is {settings.embedding_size}, and in {family} it is hidden_size: only albert and electra "
            "have it apart"
        )
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"):
        if (value := getattr(settings, name)) is not None:
            values[name] = value
    if _GPT_DROPOUT in names and settings.hidden_dropout_prob is not None:
        values[_GPT_DROPOUT] = settings.hidden_dropout_prob
    try:
        return kind(**values)
    except CheckpointError as error:
        raise SettingsError(str(error)) from error


def generator_config(config: ModelConfig, size: float) -> ModelConfig:
    """Make the sizes of the generator of an ELECTRA, as a fraction of its discriminator's.

    Clark et al. 2020 (arXiv:2003.10555), section 3.2 and table 6: its hidden states, feed-forward parts and heads are
    that fraction; embeddings, which both share, and layers are the discriminator's. Families whose embeddings are as
    wide as their hidden states get that fraction of the layers instead.
    """
    if "embedding_size" not in {field.name for field in fields(config)}:
        return replace(config, num_hidden_layers=max(1, round(config.num_hidden_layers * size)))
    heads = max(1, round(config.num_attention_heads * size))
    return replace(
        config,
        num_attention_heads=heads,
        hidden_size=heads * max(1, round(config.hidden_size * size / heads)),
        intermediate_size=max(1, round(config.intermediate_size * size)),
    )


def make_model(settings: PretrainSettings, beginning: Beginning, tokenizer: Tokenizer) -> tuple[nn.Module, list[str]]:
    """Make the model that is trained: for rtd a `GeneratorAndDiscriminator`.

    Args:
        settings: filled in by `begin`.
        beginning: what `begin` found.
        tokenizer: the beginning's, with new tokens.

    Returns:
        The model, and what there is to say of where it comes from.

    Raises:
        CheckpointError: the checkpoint does not fit.
    """
    head = head_of(settings)
    if beginning.folder is None:
        config = replace(beginning.config, vocab_size=tokenizer.vocab_size)
        model, said = build_model(config, head, seed=settings.seed), [f"a new {beginning.family}: {_describe(config)}"]
        if head != "replaced-token":
            return model, said
        generator = _new_generator(config, settings)
    else:
        pretrained = load(beginning.folder, head=head, allow_new_head=True, seed=settings.seed)
        model, said = pretrained.model.train(), [pretrained.report.summary()]
        if head != "replaced-token":
            grow_vocabulary(model, beginning.tokenizer, tokenizer)
            return model, said
        beside = beginning.folder.with_name("generator")  # where a run of ours keeps it
        if beginning.folder.name == "model" and (beside / "config.json").is_file():
            loaded = load(beside, head="masked-lm")
            generator = loaded.model.train()
            said.append(loaded.report.summary())
        else:
            generator = _new_generator(pretrained.config, settings)
    said.append(f"its generator: {_describe(generator.config)}, on the same embeddings")  # type: ignore[arg-type]
    try:
        both = GeneratorAndDiscriminator(generator, model)
    except ValueError as error:
        raise CheckpointError(f"{beginning.folder}: the generator beside it is not its own ({error})") from error
    if beginning.folder is not None:
        grow_vocabulary(both, beginning.tokenizer, tokenizer)
    return both, said


def _refuse_longer_sequences(settings: PretrainSettings, config: ModelConfig) -> None:
    longest = encoder_of(empty_model(config, "encoder")).embeddings.max_seq_length
    if settings.max_seq_length > longest:
        raise SettingsError(
            f"max_seq_length is {settings.max_seq_length}, and this model takes {longest} tokens at most: give less, "
            "or for a new model more max_position_embeddings"
        )


def _new_generator(config: ModelConfig, settings: PretrainSettings) -> nn.Module:
    return build_model(generator_config(config, settings.generator_size), "masked-lm", seed=settings.seed ^ 1)


def _family_of(config: ModelConfig) -> str:
    return next(family for family, model_type in FAMILY_NAMES.items() if model_type == config.model_type)


def _usual_embedding_size(family: str, hidden_size: int) -> int:
    # Lan et al. 2020, table 1: 128 for every size. Clark et al. 2020, table 6: 128 of 256, and 768 of 768.
    if family == "albert":
        return min(128, max(1, hidden_size // 2))
    return max(1, hidden_size // 2) if hidden_size <= 512 else hidden_size


def _describe(config: ModelConfig) -> str:
    return (
        f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, {config.num_attention_heads} heads, "
        f"{config.vocab_size:,} words"
    )
