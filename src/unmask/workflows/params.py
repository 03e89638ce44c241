"""Count a model's parameters, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unmask import hub
from unmask.errors import SettingsError
from unmask.models.registry import empty_model, named_parameters, read_model_config, saved_head

__all__ = ["ParameterInfo", "params"]


@dataclass(frozen=True, kw_only=True)
class ParameterInfo:
    """One named tensor of a model.

    Args:
        name: Hugging Face's.
        shape: its axes.
        num_parameters: numbers in it.
    """

    name: str
    shape: tuple[int, ...]
    num_parameters: int


def params(model: str, /, *, head: str | None = None, num_labels: int | None = None) -> list[ParameterInfo]:
    """List a model's parameters under their Hugging Face names, from its config.json alone: no weights are read.

    Args:
        model: a folder that holds a config.json, a hub id, or "minilm".
        head: "encoder", "sequence-classification", "masked-lm", "next-sentence" or "pre-training"; None takes the one
            the checkpoint was saved with.
        num_labels: labels of a classifier; None takes those of the config.

    Raises:
        CheckpointError: there is no config.json, or it cannot be used.
        SettingsError: num_labels is less than 1.
    """
    if num_labels is not None and num_labels < 1:
        raise SettingsError(f"num_labels is {num_labels}: it must be 1 or more")
    config = read_model_config(hub.resolve(model, with_weights=False))
    if num_labels is not None:
        config = replace(config, id2label={label: f"LABEL_{label}" for label in range(num_labels)})
    outline = empty_model(config, head or saved_head(config))
    return [
        ParameterInfo(name=name, shape=tuple(parameter.shape), num_parameters=parameter.numel())
        for name, parameter in named_parameters(outline)
    ]
