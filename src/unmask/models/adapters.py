"""LoRA: train a small difference to chosen matrices, and keep it apart. Hu et al. 2021 (arXiv:2106.09685), section 4.

h = W x becomes W x + (alpha / r) B A x, where A has r rows and B r columns; only A and B are trained. B starts at zero,
so the start is the base model exactly; merged into W, nothing of it is left in a forward pass. The folder of an adapter
is that of the library PEFT:

    adapter_config.json         which layers, rank and alpha
    adapter_model.safetensors   A and B of each, and the whole head, under Hugging Face's names

What of a model is trained at all is the business of `unmask.training.tuning`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.errors import CheckpointError, SettingsError
from unmask.files import new_folder, write_json
from unmask.models.registry import FAMILIES, config_of, encoder_of, has_head, is_of_head, table_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

__all__ = [
    "LoRALinear",
    "LoRATarget",
    "add_lora",
    "load_lora",
    "lora_layers",
    "lora_state_dict",
    "merge_lora",
    "save_lora",
]

LoRATarget = Literal["query", "key", "value", "attention_output", "intermediate", "output", "all"]

_PLACES: dict[str, str] = {  # where each linear layer of a block is
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "attention_output": "attention.output",
    "intermediate": "feed_forward.intermediate",
    "output": "feed_forward.output",
}
_CONFIG, _WEIGHTS, _PREFIX = "adapter_config.json", "adapter_model.safetensors", "base_model.model."
_JOINT = re.compile(r"(.*\.c_attn)\.(query|key|value)")  # one layer in GPT's checkpoints, three of ours
_PARTS = ("query", "key", "value")
_TASK_TYPES = {  # PEFT's name of what a model is asked, by the end of its class
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "LMHeadModel": "CAUSAL_LM",
}


class LoRALinear(nn.Module):
    """A linear layer with an adapter beside it: (..., in) -> (..., out).

    The layer's own parameters keep their names, `weight` (out, in) and `bias` (out,); new are `lora_A` (r, in) and
    `lora_B` (out, r), float32.

    Args:
        linear: the layer, whose parameters are taken over, not copied.
        rank: r.
        alpha: the difference is scaled by alpha / r.
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        out_features, in_features = linear.weight.shape
        self.rank, self.alpha = rank, alpha
        self.lora_A = nn.Parameter(torch.zeros(rank, in_features, device=self.weight.device))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank, device=self.weight.device))
        self.train(linear.training)

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank

    def forward(self, hidden: Tensor) -> Tensor:
        difference = F.linear(F.linear(hidden, self.lora_A) * self.scaling, self.lora_B)
        return F.linear(hidden, self.weight, self.bias) + difference

    def merged(self) -> nn.Linear:
        """Make the plain layer that computes the same."""
        out_features, in_features = self.weight.shape
        linear = nn.Linear(in_features, out_features, bias=self.bias is not None, device="meta")
        with torch.no_grad():
            weight = self.weight.double() + self.scaling * (self.lora_B.double() @ self.lora_A.double())
        linear.weight = nn.Parameter(weight.to(self.weight.dtype), requires_grad=self.weight.requires_grad)
        linear.bias = self.bias
        return linear.train(self.training)


def add_lora(
    model: nn.Module,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[LoRATarget] = ("query", "value"),
    first_block: int = 0,
    seed: int = 0,
) -> None:
    """Put an adapter beside chosen linear layers of each block; what the model computes stays the same to the bit.

    A is uniform within 1 / sqrt(in), as in the authors' code; B is zero. Dropout before an adapter there is none. A
    block that several layers share (ALBERT) has one adapter, which they share too.

    Args:
        model: of any family, with a head or an encoder alone; changed in place.
        rank: r, at most the smaller side of each matrix.
        alpha: the difference is scaled by alpha / r.
        targets: which of a block's linear layers; "all" means all six.
        first_block: blocks before this one, of the distinct ones, get none.
        seed: of A.

    Raises:
        SettingsError: rank is larger than a matrix, or a target is unknown.
        ValueError: the model has adapters.
    """
    if lora_layers(model):
        raise ValueError("the model has LoRA adapters: merge them before adding others")
    if unknown := set(targets) - set(get_args(LoRATarget)):
        raise SettingsError(f"lora_targets has {min(unknown)!r}: they are {', '.join(get_args(LoRATarget))}")
    places = [place for target, place in _PLACES.items() if target in targets or "all" in targets]
    generator = torch.Generator().manual_seed(seed)
    for block in encoder_of(model).blocks[first_block:]:
        for place in places:
            linear = block.get_submodule(place)
            assert isinstance(linear, nn.Linear)
            largest = min(linear.weight.shape)
            if rank > largest:
                raise SettingsError(f"lora_rank is {rank}: this model's {place} has at most rank {largest}")
            layer = LoRALinear(linear, rank=rank, alpha=alpha)
            in_features = linear.weight.shape[1]
            bound = 1 / math.sqrt(in_features)  # kaiming_uniform_ with a = sqrt(5)
            values = torch.empty(rank, in_features).uniform_(-bound, bound, generator=generator)
            layer.lora_A.data.copy_(values)
            block.set_submodule(place, layer)


def merge_lora(model: nn.Module) -> None:
    """Add each adapter to its matrix and take it away: plain layers again, with the same results up to rounding."""
    for name, layer in lora_layers(model).items():
        model.set_submodule(name, layer.merged())


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """Find the layers with adapters, by name; empty for a model without."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


# What is saved


def lora_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Give A and B of each adapter and the head's parameters, under the names that PEFT saves them by.

    GPT's checkpoints hold query, key and value as one layer. Its A is theirs one below the other, its B has theirs in
    blocks: of rank 2 r where two of them have adapters, and the same difference.
    """
    tensors: dict[str, Tensor] = {}
    for name, parts in _by_foreign_name(model).items():
        a, b = (parts[""].lora_A, parts[""].lora_B) if "" in parts else _joined(parts)
        tensors |= {f"{_PREFIX}{name}.lora_A.weight": a, f"{_PREFIX}{name}.lora_B.weight": b}
    table, is_headed = table_of(model), has_head(model)
    for own, parameter in model.named_parameters():
        if is_of_head(model, own):
            tensors[_PREFIX + table.to_foreign(own, has_head=is_headed)] = parameter
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def save_lora(model: nn.Module, folder: Path, *, base_model: str, replace: bool = False) -> None:
    """Write a folder with the adapters and the head, which PEFT loads onto the base model: whole or not at all.

    Args:
        model: with adapters.
        folder: where it will be.
        base_model: what the adapters belong to: a hub id, or a folder.
        replace: take the place of a folder that is there.

    Raises:
        DataError: the folder exists and replace is false, or the disk is full or read-only.
        ValueError: the model has no adapters.
    """
    from safetensors.torch import save_file

    config, tensors = _adapter_config(model, base_model), lora_state_dict(model)
    with new_folder(folder, replace=replace) as partial:
        write_json(partial / _CONFIG, config)
        save_file(tensors, partial / _WEIGHTS, metadata={"format": "pt"})


def load_lora(model: nn.Module, folder: Path) -> None:
    """Put the adapters and the head of a folder, ours or PEFT's, onto their base model.

    An adapter of GPT's joint layer becomes one each of query, key and value. What of it is zero in one of them, as in
    the folders that `save_lora` writes, is left out of that one.

    Args:
        model: the base model with the head that was trained; changed in place.
        folder: as `save_lora` writes it.

    Raises:
        CheckpointError: a file is missing or damaged, the adapter is of another model or of a kind that unmask does
            not compute; the model is then as it was.
        ValueError: the model has adapters.
    """
    if lora_layers(model):
        raise ValueError("the model has LoRA adapters: merge them before loading others")
    config, tensors = _read(folder)
    table, is_headed = table_of(model), has_head(model)
    pairs: dict[str, dict[str, Tensor]] = {}
    head: dict[str, Tensor] = {}
    own_parameters = dict(model.named_parameters())
    for key, tensor in tensors.items():
        name = key.removeprefix(_PREFIX)
        if found := re.fullmatch(r"(.*)\.lora_([AB])\.weight", name):
            pairs.setdefault(found[1], {})[found[2]] = tensor.to(torch.float32)
        elif not table.is_redundant(name):
            own = table.to_own(name, has_head=is_headed, wanted=own_parameters)
            if own is None or own not in own_parameters or own_parameters[own].shape != tensor.shape:
                raise CheckpointError(f"{folder}: {key}, of shape {tuple(tensor.shape)}, has no place in this model")
            head[own] = tensor.to(torch.float32)
    layers: dict[str, LoRALinear] = {}
    for name, pair in pairs.items():
        layers |= _layers_of(model, name, pair, _scaling(config, name, pair), folder)
    for own, layer in layers.items():
        model.set_submodule(own, layer)
    with torch.no_grad():
        for own, tensor in head.items():
            own_parameters[own].copy_(tensor)


def _joined(parts: dict[str, LoRALinear]) -> tuple[Tensor, Tensor]:
    """Make one adapter of those of query, key and value: A of shape (sum of ranks, in), B (3 out, sum of ranks)."""
    layers = [parts[part] for part in _PARTS if part in parts]
    blocks = torch.block_diag(*(layer.lora_B for layer in layers)).split(layers[0].lora_B.shape[0])
    rows = dict(zip((part for part in _PARTS if part in parts), blocks, strict=True))
    nothing = torch.zeros_like(blocks[0])
    return torch.cat([layer.lora_A for layer in layers]), torch.cat([rows.get(part, nothing) for part in _PARTS])


def _adapter_config(model: nn.Module, base_model: str) -> dict[str, Any]:
    """What PEFT must be told, under its keys."""
    layers = _by_foreign_name(model)
    if not layers:
        raise ValueError("the model has no LoRA adapters to save")
    table, is_headed = table_of(model), has_head(model)
    names = {table.to_foreign(own, has_head=is_headed) for own, _ in model.named_parameters()}
    modules = {_without_part(name.rpartition(".")[0]) for name in names}
    head = {
        table.to_foreign(own, has_head=is_headed).removeprefix(table.base_prefix).partition(".")[0]
        for own, _ in model.named_parameters()
        if is_of_head(model, own)
    }
    config = config_of(model)
    sizes = {  # rank and alpha of each
        name: (rank := sum(layer.rank for layer in parts.values()), rank * next(iter(parts.values())).scaling)
        for name, parts in layers.items()
    }
    usual = Counter(sizes.values()).most_common(1)[0][0]
    others = {
        suffix: size
        for size in sorted(set(sizes.values()) - {usual})
        for suffix in _suffixes({name for name in sizes if sizes[name] == size}, modules)
    }
    architecture = FAMILIES[config.model_type].heads[str(model.head)].architecture
    return {
        "peft_type": "LORA",
        "task_type": next((kind for end, kind in _TASK_TYPES.items() if architecture.endswith(end)), None),
        "base_model_name_or_path": base_model,
        "r": usual[0],
        "lora_alpha": usual[1],
        "rank_pattern": {suffix: rank for suffix, (rank, _) in others.items()},
        "alpha_pattern": {suffix: alpha for suffix, (_, alpha) in others.items()},
        "lora_dropout": 0.0,
        "target_modules": _suffixes(set(layers), modules),
        "modules_to_save": sorted(head) or None,
        "bias": "none",
        "fan_in_fan_out": table.from_plain is not None,  # GPT's matrices are stored with inputs first
        "use_rslora": False,
        "use_dora": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _suffixes(wanted: set[str], modules: Collection[str]) -> list[str]:
    """Find the shortest ends of names that say which modules are meant, and no others."""
    others = [f".{name}" for name in modules if name not in wanted]
    found = set()
    for name in wanted:
        words = name.split(".")
        ends = (".".join(words[-count:]) for count in range(1, len(words) + 1))
        found.add(next(end for end in ends if not any(other.endswith(f".{end}") for other in others)))
    return sorted(found)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read both files, and refuse what is not LoRA as it is computed here."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / _CONFIG).read_bytes())
        tensors = dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: no adapter can be read here ({error}); it is a folder with {_CONFIG} and {_WEIGHTS}"
        ) from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise CheckpointError(f"{folder / _CONFIG}: peft_type is {kind!r}; unmask reads LORA")
    for key, plain in (("use_dora", (None, False)), ("bias", (None, "none")), ("lora_bias", (None, False))):
        if config.get(key) not in plain:
            raise CheckpointError(f"{folder / _CONFIG}: {key} is {config[key]!r}, which unmask does not compute")
    return config, tensors


def _scaling(config: dict[str, Any], name: str, pair: dict[str, Tensor]) -> float:
    patterns: dict[str, float] = config.get("alpha_pattern") or {}
    alphas = (alpha for pattern, alpha in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", name))
    alpha: float = next(alphas, config.get("lora_alpha", 8))
    rank = len(pair["A"]) if "A" in pair else 1
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _layers_of(
    model: nn.Module, name: str, pair: dict[str, Tensor], scaling: float, folder: Path
) -> dict[str, LoRALinear]:
    """Make the layers, by our names, that an adapter of a checkpoint's layer becomes."""
    if pair.keys() != {"A", "B"}:
        raise CheckpointError(f"{folder}: the adapter of {name} is not whole, it has lora_{min(pair)} alone")
    table, is_headed = table_of(model), has_head(model)
    modules, wanted = dict(model.named_modules()), dict(model.named_parameters())
    is_joint = _JOINT.fullmatch(f"{name}.query") is not None
    names = [f"{name}.{part}" for part in _PARTS] if is_joint else [name]
    layers = {}
    for foreign, rows in zip(names, pair["B"].tensor_split(len(names)), strict=True):
        own = (table.to_own(f"{foreign}.weight", has_head=is_headed, wanted=wanted) or "").removesuffix(".weight")
        linear = modules.get(own)
        if not isinstance(linear, nn.Linear):
            raise CheckpointError(f"{folder}: {name} has an adapter, and this model has no such layer")
        if (rows.shape[0], pair["A"].shape[1]) != linear.weight.shape or rows.shape[1] != len(pair["A"]):
            raise CheckpointError(
                f"{folder}: the adapter of {name} is {tuple(pair['B'].shape)} by {tuple(pair['A'].shape)}, and does "
                f"not fit this model's layer, {tuple(linear.weight.shape)}"
            )
        used = rows.any(dim=0) if is_joint else torch.ones(len(pair["A"]), dtype=torch.bool)
        rank = int(used.sum())
        if rank:
            layer = LoRALinear(linear, rank=rank, alpha=scaling * rank)
            layer.lora_A.data.copy_(pair["A"][used])
            layer.lora_B.data.copy_(rows[:, used])
            layers[own] = layer
    return layers


def _by_foreign_name(model: nn.Module) -> dict[str, dict[str, LoRALinear]]:
    """Give the layers with adapters by the names of a checkpoint, and where several are one layer there, by part."""
    table, is_headed = table_of(model), has_head(model)
    layers: dict[str, dict[str, LoRALinear]] = {}
    for own, layer in lora_layers(model).items():
        name = table.to_foreign(f"{own}.weight", has_head=is_headed).removesuffix(".weight")
        joint = _without_part(name)
        layers.setdefault(joint, {})["" if joint == name else name.rpartition(".")[2]] = layer
    return layers


def _without_part(name: str) -> str:
    joint = _JOINT.fullmatch(name)
    return joint[1] if joint else name
