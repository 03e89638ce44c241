"""The names of weights in public checkpoints and in our models, both ways, and what fits of a checkpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from rich.table import Table
    from torch import Tensor

__all__ = ["LoadReport", "WeightTable"]

_LEGACY = {"gamma": "weight", "beta": "bias"}  # LayerNorm's parameters in checkpoints converted from TensorFlow
_ENCODER = "encoder."  # where a model with a head keeps its encoder


@dataclass(frozen=True, kw_only=True)
class WeightTable:
    """One family's table of names, read in both directions.

    Args:
        base_prefix: what Hugging Face puts before the encoder's names in a model with a head, such as "bert.".
        modules: our name of each of the encoder's modules, and theirs; {} stands for the number of a layer.
        heads: the same for the modules of heads.
        redundant: their names for tensors that repeat others or can be computed; they are not read.
        to_plain: for a family whose checkpoints store a tensor otherwise than one of ours (GPT-2 fuses query, key and
            value, and transposes), makes of a checkpoint's tensors plain ones: those whose names the table holds.
        from_plain: the way back, of the tensors under the table's names to those of a checkpoint.
    """

    base_prefix: str
    modules: Mapping[str, str]
    heads: Mapping[str, str]
    redundant: tuple[str, ...] = ()
    to_plain: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    from_plain: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None

    def to_foreign(self, name: str, *, has_head: bool) -> str:
        """Translate our name of a parameter into Hugging Face's.

        Raises:
            KeyError: if the table does not know the module.
        """
        if not has_head:
            return _translate(name, self.modules)
        if name.startswith(_ENCODER):
            return self.base_prefix + _translate(name.removeprefix(_ENCODER), self.modules)
        return _translate(name, self.heads)

    def to_own(self, name: str, *, has_head: bool, wanted: Container[str] = ()) -> str | None:
        """Translate a checkpoint's name of a parameter into ours for a model with or without a head.

        Encoders saved alone lack the prefix: both forms are understood. None for a name that is not ours, and for one
        of a head where the model has none. Heads may share a name there (the "classifier" of texts and that of tokens):
        then it is the one among the wanted names, those of the model's parameters.
        """
        module, _, parameter = name.rpartition(".")
        name = f"{module}.{_LEGACY.get(parameter, parameter)}"
        prefix = _ENCODER if has_head else ""
        try:
            return prefix + _translate(name.removeprefix(self.base_prefix), _reversed(self.modules))
        except KeyError:
            pass
        if not has_head:
            return None
        module, _, parameter = name.rpartition(".")
        owners = [f"{ours}.{parameter}" for ours, theirs in self.heads.items() if theirs == module]
        return next((own for own in owners if own in wanted), owners[0] if owners else None)

    def is_redundant(self, name: str) -> bool:
        return name.removeprefix(self.base_prefix) in self.redundant


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What of a checkpoint went into a model. Names are Hugging Face's.

    Args:
        source: the folder.
        num_loaded: tensors that went in.
        missing: tensors of the model that the checkpoint lacks: they are new.
        unused: tensors of the checkpoint that the model has no place for.
        misshaped: name, shape in the checkpoint, shape in the model.
    """

    source: str
    num_loaded: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def is_exact(self) -> bool:
        return self.is_complete and not self.unused

    @property
    def is_complete(self) -> bool:
        return not self.missing and not self.misshaped

    def to_table(self) -> Table:
        """Draw the table that `unmask` prints when a checkpoint and a model differ."""
        from rich.table import Table

        table = Table("weight", "what of it")
        for column in table.columns:
            column.overflow = "fold"
        for name in self.missing:
            table.add_row(name, "not in the checkpoint: new, must be trained")
        for name, theirs, ours in self.misshaped:
            table.add_row(
                name, f"{_shape(theirs)} in the checkpoint, {_shape(ours)} in the model: new, must be trained"
            )
        for name in self.unused:
            table.add_row(name, "in the checkpoint, not in this model: left out")
        return table

    def summary(self) -> str:
        """Say in a sentence what the table shows."""
        new = [*self.missing, *(name for name, _, _ in self.misshaped)]
        said = f"{self.num_loaded} tensors loaded from {self.source}"
        if new:
            modules = sorted({name.rpartition(".")[0] for name in new})
            they = "layer {} is" if len(modules) == 1 else "layers {} are"
            said += f"; the {they.format(', '.join(modules))} new and must be trained"
        if self.unused:
            said += f"; {len(self.unused)} left out ({', '.join(self.unused[:3])}{', ...' * (len(self.unused) > 3)})"
        return said


def _translate(name: str, table: Mapping[str, str]) -> str:
    module, _, parameter = name.rpartition(".")
    if module in table:
        return f"{table[module]}.{parameter}"
    number = re.search(r"(?<=\.)\d+(?=\.)", module)
    if number is None:
        raise KeyError(module)
    pattern = f"{module[: number.start()]}{{}}{module[number.end() :]}"
    return f"{table[pattern].format(number[0])}.{parameter}"


def _reversed(table: Mapping[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in table.items()}


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
