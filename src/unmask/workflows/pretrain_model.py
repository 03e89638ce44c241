"""The model that a pretraining run begins with: a new one of some size, or one that has been pretrained before."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from unmask.errors import CheckpointError, SettingsError
from unmask.models.registry import FAMILIES, FAMILY_NAMES, build_model, read_model_config
from unmask.pretraining.objectives import GeneratorAndDiscriminator
from unmask.workflows.loading import load, load_tokenizer
from unmask.workflows.new_tokens import grow_vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from unmask.models.config import ModelConfig
    from unmask.tokenization import Tokenizer
    from unmask.workflows.loading import Pretrained
    from unmask.workflows.pretrain_settings import PretrainSettings

__all__ = ["Beginning", "begin", "generator_config", "make_model", "new_config"]

_HEADS = {"mlm": "masked-lm", "rtd": "replaced-token", "clm": "causal-lm"}

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
_SIZE_NAMES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a run begins with, before any new token.

    Args:
        family: as users type it.
        tokenizer: of the model.
        config: its sizes.
        pretrained: where it comes from; None for a new model.
    """

    family: str
    tokenizer: Tokenizer
    config: ModelConfig
    pretrained: Pretrained | None = None
