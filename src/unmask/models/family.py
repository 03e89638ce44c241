"""What a family's file says of it, so that the registry can build, load and save its models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from unmask.models.config import ModelConfig
    from unmask.models.weights import WeightTable

__all__ = ["Family", "Head"]


@dataclass(frozen=True, kw_only=True)
class Head:
    """One thing that models of a family can be asked.

    Args:
        architecture: the class as config.json names it: Hugging Face's name, or one after its pattern where it has no
            such class.
        build: makes the model of a config.
    """

    architecture: str
    build: Callable[[Any], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family of models.

    Args:
        config: reads its config.json.
        weights: its table of names, for the sizes of a config.
        heads: for each head it has, a key of `unmask.models.registry.HEADS`.
        initial_std: standard deviation of a new matrix, by our name of it; None means the config's initializer_range.
    """

    config: type[ModelConfig]
    weights: Callable[[Any], WeightTable]
    heads: Mapping[str, Head]
    initial_std: Callable[[Any, str], float] | None = None
