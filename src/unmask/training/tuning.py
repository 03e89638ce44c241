"""What of a model is trained: all of it, adapters, biases or the head alone; and which layers slower than others.

    report = apply_tuning(model, Tuning(tune="lora", lora_rank=8))
    train(model, objective, settings, lr_factors=report.lr_factors, run_folder=...)
    merge_lora(model)

A parameter that is not trained has `requires_grad` false: it has no gradient, no moments, and no weight decay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from unmask.errors import SettingsError
from unmask.models.adapters import LoRATarget, add_lora
from unmask.models.registry import encoder_of, is_of_head, name_in_encoder, named_parameters

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import nn

    from unmask.models.encoder import Encoder

__all__ = ["TuneMode", "Tuning", "TuningReport", "apply_tuning"]

TuneMode = Literal["all", "lora", "bitfit", "head"]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What of a pretrained model is trained.

    Args:
        tune: "all" parameters; "lora" keeps them and trains small matrices beside them (Hu et al. 2021); "bitfit"
            trains the biases alone (Ben Zaken et al. 2022); "head" what stands on the encoder. The head is always
            trained. All but "all" want a learning rate some 10 to 50 times higher, such as 5e-4.
        lora_rank: rank of the matrices that "lora" trains; 1 or more.
        lora_alpha: what they compute is scaled by lora_alpha / lora_rank; positive.
        lora_targets: the linear layers of each block that get such matrices: query, key, value, attention_output,
            intermediate, output, or all.
        frozen_layers: so many of the lowest layers stay as they are, and with them the embeddings.
        freeze_embeddings: whether the embeddings stay as they are, whatever the layers do.
        layer_decay: each layer learns at this fraction of the rate of the one above it, the embeddings slowest, the
            head and the highest layer at the full rate (Sun et al. 2019); in (0, 1], 1 for the same rate everywhere.

    Raises:
        SettingsError: a value outside its range, or two that contradict one another.
    """

    tune: TuneMode = "all"
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_targets: tuple[LoRATarget, ...] = ("query", "value")
    frozen_layers: int = 0
    freeze_embeddings: bool = False
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        known = get_args(LoRATarget)
        for name, rule, is_met in (
            ("tune", f"one of {', '.join(get_args(TuneMode))}", self.tune in get_args(TuneMode)),
            ("lora_rank", "1 or more", self.lora_rank >= 1),
            ("lora_alpha", "positive and finite", 0 < self.lora_alpha < math.inf),
            ("lora_targets", f"some of {', '.join(known)}", self.lora_targets and set(self.lora_targets) <= set(known)),
            ("frozen_layers", "0 or more", self.frozen_layers >= 0),
            ("layer_decay", "in (0, 1]", 0 < self.layer_decay <= 1),
        ):
            if not is_met:
                raise SettingsError(f"{name} is {getattr(self, name)!r}: it must be {rule}")
        usual = {field.name: field.default for field in fields(Tuning)}
        given = [name for name in usual if getattr(self, name) != usual[name]]
        idle = [name for name in given if name.startswith("lora_") and self.tune != "lora"]
        if self.tune == "head":
            idle += [name for name in given if name in ("frozen_layers", "freeze_embeddings", "layer_decay")]
        if idle:
            raise SettingsError(
                f"{idle[0]} is {getattr(self, idle[0])!r}, which says nothing where tune is {self.tune!r}: leave it "
                "out, or tune something else"
            )


@dataclass(frozen=True, kw_only=True)
class TuningReport:
    """What is trained of a model.

    Args:
        tune: how.
        num_trainable: parameters that are trained.
        num_total: all parameters, those of adapters included.
        lr_factors: for each parameter that is trained, by name, the fraction of the learning rate it learns at.
    """

    tune: TuneMode
    num_trainable: int
    num_total: int
    lr_factors: Mapping[str, float]

    @property
    def fraction(self) -> float:
        """Which part of the parameters is trained, in (0, 1]."""
        return self.num_trainable / self.num_total

    def summary(self) -> str:
        """Say it in a sentence."""
        return f"{self.num_trainable:,} of {self.num_total:,} parameters are trained ({self.fraction:.2%})"

    def to_dict(self) -> dict[str, Any]:
        """What a run's record keeps of it."""
        return {"tune": self.tune, "num_trainable": self.num_trainable, "num_total": self.num_total}


def apply_tuning(model: nn.Module, tuning: Tuning, *, new: Collection[str] = (), seed: int = 0) -> TuningReport:
    """Add the adapters, and mark what is trained; before the optimizer is made, and before a run is resumed.

    - The head, and whatever is new, is always trained. The pooler counts as part of the head, except for BitFit, where
      as in its authors' code of an old pooler only the bias learns.
    - BitFit (Ben Zaken, Goldberg and Ravfogel 2022, arXiv:2106.10199, section 3) trains all biases, those of norms
      too.
    - The rates of layers are those of Sun et al. 2019 (arXiv:1905.05583), "layer-wise decreasing layer rate": with L
      layers, layer l of 1 ... L learns at layer_decay ** (L - l) times the rate, the embeddings and what projects them
      at layer_decay ** L. A block that several layers share (ALBERT) takes the rate of the highest.

    Args:
        model: as loaded, with its head and without adapters; changed in place.
        tuning: what to train.
        new: Hugging Face's names of parameters that no checkpoint held (`LoadReport.missing` and the names in
            `LoadReport.misshaped`).
        seed: of the adapters' first values.

    Raises:
        SettingsError: the model has fewer layers than are to stay frozen, or they share weights with others, or
            nothing is left to train.
    """
    num_layers = encoder_of(model).config.num_hidden_layers
    first_trained = tuning.frozen_layers + 1 if tuning.frozen_layers else int(tuning.freeze_embeddings)
    num_frozen_blocks = _count_frozen_blocks(encoder_of(model), tuning)
    foreign_names = (foreign for foreign, _ in named_parameters(model))
    own_names = dict(zip(foreign_names, (own for own, _ in model.named_parameters()), strict=True))
    new_names = {own_names[foreign] for foreign in new}
    if tuning.tune == "lora":
        add_lora(
            model,
            rank=tuning.lora_rank,
            alpha=tuning.lora_alpha,
            targets=tuning.lora_targets,
            first_block=num_frozen_blocks,
            seed=seed,
        )
    lr_factors = {}
    for name, parameter in model.named_parameters():
        layer = _layer_of(model, name)
        is_trained = layer >= first_trained and _is_trained(model, name, tuning.tune)
        parameter.requires_grad_(is_trained or name in new_names)
        if parameter.requires_grad:
            lr_factors[name] = tuning.layer_decay ** max(0, num_layers - layer)
    if not lr_factors:
        raise SettingsError(f"tune is {tuning.tune!r}, and this model has nothing of the kind: tune all, or lora")
    return TuningReport(
        tune=tuning.tune,
        num_trainable=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        num_total=sum(parameter.numel() for parameter in model.parameters()),
        lr_factors=lr_factors,
    )


def _is_trained(model: nn.Module, name: str, tune: TuneMode) -> bool:
    """Tell whether a way to tune trains a parameter, were nothing frozen."""
    if is_of_head(model, name) and not (tune == "bitfit" and name_in_encoder(model, name) is not None):
        return True
    parameter = name.rpartition(".")[2]
    return {
        "all": True,
        "lora": parameter in ("lora_A", "lora_B"),
        "bitfit": parameter == "bias",
        "head": False,
    }[tune]


def _layer_of(model: nn.Module, name: str) -> int:
    """Tell the highest layer that a parameter is part of: 0 for embeddings, 1 ... L, and L + 1 for what is above."""
    words = (name_in_encoder(model, name) or "").split(".")
    if words[0] in ("embeddings", "projection"):
        return 0
    encoder = encoder_of(model)
    if words[0] == "blocks":
        return max(_layers_of_block(encoder, int(words[1])))
    return encoder.config.num_hidden_layers + 1


def _layers_of_block(encoder: Encoder, block: int) -> list[int]:
    """Tell which layers a block computes, from 1: one, or several where they share it.

    One that none uses, as where an ALBERT has more groups than layers, counts as the last.
    """
    num_layers = encoder.config.num_hidden_layers
    blocks_a_layer = len(encoder.order) // num_layers
    layers = [step // blocks_a_layer + 1 for step, used in enumerate(encoder.order) if used == block]
    return layers or [num_layers]


def _count_frozen_blocks(encoder: Encoder, tuning: Tuning) -> int:
    """Count the blocks below the layers that are trained, and see to it that freezing them is possible."""
    num_layers, wanted = encoder.config.num_hidden_layers, tuning.frozen_layers
    problem = ""
    if wanted > num_layers:
        problem = f"this model has {num_layers} layers"
    elif wanted == num_layers and tuning.tune in ("lora", "bitfit"):
        problem = f"these are all layers of this model, so nothing is left for tune {tuning.tune!r}"
    blocks = [_layers_of_block(encoder, block) for block in range(len(encoder.blocks))]
    if any(min(layers) <= wanted < max(layers) for layers in blocks):
        problem = "this model's layers share their weights with layers above them"
    if problem:
        raise SettingsError(f"frozen_layers is {wanted}: {problem}; freeze fewer")
    return sum(max(layers) <= wanted for layers in blocks)
