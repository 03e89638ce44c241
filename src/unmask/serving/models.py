"""The models a server has, what each can be asked, and by which name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.errors import CheckpointError, SettingsError
from unmask.pipelines import TASKS_OF_HEAD, Pipeline, open_model, pipeline_class
from unmask.ragged import Ragged
from unmask.serving.batcher import Batcher
from unmask.serving.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unmask.pipelines import OpenModel
    from unmask.runtimes import RuntimeName
    from unmask.serving.metrics import Metrics
    from unmask.serving.settings import ServeSettings

__all__ = ["Models", "ServedModel", "named_models", "open_models"]


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model, its pipelines by their tasks, and what computes them."""

    name: str
    model: OpenModel
    pipelines: Mapping[str, Pipeline[Any, Any, Any]]
    batcher: Batcher


class Models:
    """The models of a server.

    Args:
        opened: each model by its name, one at least.
        settings: the limits of each queue.
        metrics: where their threads count.

    Raises:
        CheckpointError: a model cannot do what its head is for.
    """

    def __init__(self, opened: Mapping[str, OpenModel], settings: ServeSettings, metrics: Metrics) -> None:
        self.by_name = {
            name: ServedModel(
                name=name,
                model=model,
                pipelines={task: pipeline_class(task)(model) for task in TASKS_OF_HEAD[model.runtime.head]},
                batcher=Batcher(model.runtime, settings, metrics, name=name),
            )
            for name, model in opened.items()
        }

    @property
    def full_batcher(self) -> Batcher | None:
        """One that takes no request, if none does."""
        for served in self.by_name.values():
            if not served.batcher.is_full:
                return None
        return served.batcher

    def abandon(self, error: Exception) -> None:
        """Answer all requests that wait or are in work with an error."""
        for served in self.by_name.values():
            served.batcher.abandon(error)

    def find(self, name: str | None, task: str | None = None) -> ServedModel:
        """Find the model that a request is for.

        Args:
            name: as the request has it; None takes the first that can be asked.
            task: what it is asked, a key of `PIPELINES`; None is what any model knows.

        Raises:
            Refusal: there is no such model, or it is for something else.
        """
        if name is not None and name not in self.by_name:
            raise Refusal(404, "NotFound", f"there is no model of this name; there are {', '.join(self.by_name)}")
        candidates = self.by_name.values() if name is None else [self.by_name[name]]
        for served in candidates:
            if task is None or task in served.pipelines:
                return served
        there_are = "; ".join(f"{served.name} does {' and '.join(served.pipelines)}" for served in candidates)
        raise Refusal(422, "Validation", f"no model here does {task}: {there_are}")


def named_models(models: str | Path | Iterable[str | Path] | Mapping[str, str | Path]) -> dict[str, str | Path]:
    """Give each model a name: the one in `NAME=MODEL`, or else that of its folder.

    Raises:
        SettingsError: there is no model, or two have one name.
    """
    if isinstance(models, Mapping):
        named = list(models.items())
    else:
        named = [_named(model) for model in ([models] if isinstance(models, str | Path) else models)]
    if not named:
        raise SettingsError("no model is named: give a run folder, a model folder, a hub id or minilm")
    for name, model in named:
        if twins := [str(other) for its, other in named if its == name and other is not model]:
            raise SettingsError(f"two models are called {name} ({model} and {twins[0]}): name one, as NAME={model}")
    return dict(named)


def open_models(
    models: Mapping[str, str | Path], *, runtime: RuntimeName = "torch", device: str | None = None
) -> dict[str, OpenModel]:
    """Load each model, and compute something with it, so that a damaged one is found now, and the first client waits
    no longer than the next.

    Raises:
        CheckpointError: a model cannot be loaded, or gives no numbers.
        SettingsError: there is no such device or runtime.
    """
    opened = {name: open_model(model, runtime=runtime, device=device) for name, model in models.items()}
    for name, model in opened.items():
        if model.pretrained is not None:
            _check_weights(name, model)
        length = min(32, model.runtime.max_seq_length)
        input_ids = Ragged.of([[0] * length, [0]], np.int64)
        outputs = model.runtime.run(input_ids, Ragged(np.zeros_like(input_ids.values), input_ids.offsets))
        if not np.isfinite(outputs.values).all():
            raise CheckpointError(f"{name} ({model.folder}): it computes no numbers (NaN): its weights are damaged")
    return opened


def _check_weights(name: str, model: OpenModel) -> None:
    """Look for numbers that are none in what texts have yet to touch."""
    import torch

    assert model.pretrained is not None
    for weight, values in model.pretrained.model.named_parameters():
        if not torch.isfinite(values).all():
            raise CheckpointError(f"{name} ({model.folder}): {weight} holds NaN or infinity: its weights are damaged")


def _named(model: str | Path) -> tuple[str, str | Path]:
    name, equals, path = str(model).partition("=")
    if equals and name and path and not Path(model).exists():
        return name, path
    return Path(model).name or Path(model).resolve().name, model
