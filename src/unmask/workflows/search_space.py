"""Spaces of settings to search: what may be tried for each setting, as people write it, and all points of a grid.

    learning_rate=5e-5,3e-5,2e-5        one of these; what stands after = is a list as YAML has it
    learning_rate=1e-5..1e-4:log        any number from the first to the second; with :log, as often small as large
    epochs=2..4                         any whole number, both ends included

A file of a space has the same in YAML, a setting a line: `epochs: 2..4`, `global_batch_size: [16, 32]`.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from unmask.errors import SettingsError
from unmask.workflows.recipes import load_recipe
from unmask.workflows.settings import FinetuneSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PAPER_GRID", "Choices", "Range", "Space", "parse_space"]

PAPER_GRID = ("global_batch_size=16,32", "learning_rate=5e-5,3e-5,2e-5", "epochs=2,3,4")
"""What Devlin et al. (2019), appendix A.3, found to work well across all tasks: 18 points."""

_NUMBER = r"[-+]?[\d.]+(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})\s*(?P<log>:\s*log)?")
_OTHER_NAMES = {"batch_size": "global_batch_size", "lr": "learning_rate"}  # what the papers write

_SAME_FOR_ALL = {
    name: why
    for names, why in (
        ("seed seeds", "the best of several seeds is the luckiest: try each point with one, and the best with several"),
        (
            "task train dev dev_fraction dev_seed test metric_for_best labels score_range answer_rules",
            "trials with another one cannot be compared",
        ),
        (
            "column_names text_column text_pair_column label_column label_separator text_unit tag_scheme repair_spans "
            "skip_empty data_dir",
            "it says how the files are read, which is the same for all trials",
        ),
        (
            "output_dir overwrite resume check save_steps log_steps device",
            "it has no part in how well a model learns",
        ),
    )
    for name in names.split()
}
"""Settings that cannot be searched, and why."""

_IN_THE_LOSS = ("class_weights", "label_smoothing", "label_scheme")
"""Settings that make another loss: its values do not compare."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Any number between two.

    Args:
        low: the least, included.
        high: the greatest, included.
        log: drawn evenly on a logarithmic scale: as often between 1e-5 and 1e-4 as between 1e-4 and 1e-3.
        whole: whole numbers only.
    """

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def probes(self) -> tuple[float, ...]:
        """Values that tell whether the settings take all of it."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.low!r}..{self.high!r}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """One of several values, in the order they were written."""

    values: tuple[Any, ...]

    @property
    def probes(self) -> tuple[Any, ...]:
        return self.values

    def __str__(self) -> str:
        return json.dumps(self.values, ensure_ascii=False)[1:-1]


@dataclass(frozen=True)
class Space:
    """What may be tried, by the name of the setting, in the order it was written."""

    of: Mapping[str, Range | Choices]

    @property
    def is_grid(self) -> bool:
        """Whether it has finitely many points because each setting has choices."""
        return all(isinstance(part, Choices) for part in self.of.values())

    def grid(self) -> list[dict[str, Any]]:
        """All points of a grid, the last setting changing fastest."""
        choices = [part.values for part in self.of.values() if isinstance(part, Choices)]
        return [dict(zip(self.of, values, strict=True)) for values in itertools.product(*choices)]

    def to_text(self) -> tuple[str, ...]:
        """The space as `parse_space` takes it."""
        return tuple(f"{name}={part}" for name, part in self.of.items())

    def check(self, settings: FinetuneSettings) -> None:
        """Make sure that settings take every value, and of a grid every point.

        Raises:
            SettingsError: a value is outside its range, or contradicts the other settings.
        """
        if "epochs" in self.of and settings.max_steps is not None:
            raise SettingsError(
                f"max_steps is {settings.max_steps}, so epochs changes nothing: leave max_steps out, or search it"
            )
        if settings.metric_for_best == "loss" and (names := [name for name in _IN_THE_LOSS if name in self.of]):
            raise SettingsError(
                f"space: {names[0]} cannot be searched by the loss, which it makes another one: choose by a score, "
                "with --metric-for-best"
            )
        for point in self.probes:
            try:
                dataclasses.replace(settings, **point)
            except SettingsError as error:
                raise SettingsError(f"space: {error}") from error

    @property
    def probes(self) -> list[dict[str, Any]]:
        """Points that tell whether all can be tried: of a grid every one; else each setting at its ends or choices,
        the others at their first.
        """
        if self.is_grid:
            return self.grid()
        first = {name: part.probes[0] for name, part in self.of.items()}
        return [first | {name: value} for name, part in self.of.items() for value in part.probes]


def parse_space(space: tuple[str, ...] | Mapping[str, Any]) -> Space:
    """Read a space.

    Args:
        space: entries like `epochs=2,3,4`, or the name of one YAML file, or what such a file holds. Nothing at all is
            `PAPER_GRID`.

    Raises:
        SettingsError: there is no such setting, it cannot be searched, or has no such values.
    """
    if isinstance(space, tuple) and len(space) == 1 and "=" not in space[0]:
        space = load_recipe(space[0])
        if not space:
            raise SettingsError("space: the file names no setting: a line of it is like `epochs: [2, 3, 4]`")
    entries = space.items() if not isinstance(space, tuple) else map(_split, space or PAPER_GRID)
    hints = _searchable()
    parts: dict[str, Range | Choices] = {}
    for written, what in entries:
        name = _name(written, hints)
        if name in parts:
            raise SettingsError(f"space: {name} is there twice")
        parts[name] = _parse(name, what, hints[name])
    return Space(parts)


def _split(entry: str) -> tuple[str, str]:
    name, sign, what = entry.partition("=")
    if not sign or not what.strip():
        raise SettingsError(f"space: {entry!r} is not like learning_rate=5e-5,3e-5 or learning_rate=1e-5..1e-4:log")
    return name.strip(), what.strip()


def _searchable() -> dict[str, Any]:
    """The settings of a fine-tuning run by name, each with its type."""
    hints = get_type_hints(FinetuneSettings)
    return {field.name: hints[field.name] for field in dataclasses.fields(FinetuneSettings)}


def _name(written: str, hints: Mapping[str, Any]) -> str:
    name = written.removeprefix("--").replace("-", "_")
    name = _OTHER_NAMES.get(name, name)
    if name not in hints:
        close = get_close_matches(name, hints, n=1)
        hint = f"; did you mean {close[0]}?" if close else ": unmask finetune --help lists them"
        raise SettingsError(f"space: there is no setting {written!r}{hint}")
    if name in _SAME_FOR_ALL:
        raise SettingsError(f"space: {name} cannot be searched: {_SAME_FOR_ALL[name]}")
    return name


def _parse(name: str, what: Any, hint: Any) -> Range | Choices:
    """Read what may be tried for one setting: text in the grammar above, a list, or one value."""
    if isinstance(what, str):
        if match := _RANGE.fullmatch(what.strip()):
            return _range(name, match["low"], match["high"], log=match["log"] is not None, hint=hint)
        what = _list(name, what)
    values = tuple(_typed(name, value, hint) for value in (what if isinstance(what, list | tuple) else [what]))
    if not values:
        raise SettingsError(f"space: {name} has no values to try")
    # Compared as JSON, where true is not 1.
    if len({json.dumps(value) for value in values}) < len(values):
        raise SettingsError(f"space: {name} has the same value twice: {Choices(values)}")
    return Choices(values)


def _list(name: str, text: str) -> list[Any]:
    import yaml

    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError as error:
        raise SettingsError(f"space: {name}={text} is no list of values: {error}") from error
    return values if isinstance(values, list) else [text]


def _range(name: str, low: str, high: str, *, log: bool, hint: Any) -> Range:
    kinds = _options(hint)
    whole = int in kinds and float not in kinds
    if not whole and float not in kinds:
        raise SettingsError(f"space: {name} is no number, so it has no range: name its values, such as a,b")
    first, last = (_typed(name, _number(name, end), int if whole else float) for end in (low, high))
    if not first < last:
        raise SettingsError(f"space: {name}={low}..{high} is empty: the smaller number stands first")
    if log and first <= 0:
        raise SettingsError(f"space: {name}={low}..{high}:log begins at {low}: a logarithmic range begins above 0")
    return Range(low=first, high=last, log=log, whole=whole)


def _number(name: str, text: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f"space: {name} begins or ends at {text!r}, which is not a number") from error


def _options(hint: Any) -> tuple[Any, ...]:
    # What stands beside a Literal makes a typing.Union, all else a UnionType.
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _typed(name: str, value: Any, hint: Any) -> Any:
    """Give a value, as YAML has it, the type of its setting.

    Raises:
        SettingsError: it cannot have it.
    """
    options = _options(hint)
    if type(None) in options and value in (None, "None", "none"):
        return None
    for option in options:
        is_it, typed = _as(value, option)
        if is_it:
            return typed
    raise SettingsError(f"space: {name} cannot be {value!r}: it is {' or '.join(map(_say, options))}")


def _as(value: Any, kind: Any) -> tuple[bool, Any]:
    """Whether a value is of a kind, and the value as that."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if get_origin(kind) is Literal:
        return value in get_args(kind), value
    if get_origin(kind) is tuple:
        members = list(value) if isinstance(value, list | tuple) else [value]
        kinds = get_args(kind)
        kinds = kinds[:1] * len(members) if kinds[-1] is ... else kinds
        typed = [_as(member, each) for member, each in zip(members, kinds, strict=False)]
        return len(members) == len(kinds) and all(is_it for is_it, _ in typed), tuple(member for _, member in typed)
    if kind is float:
        if isinstance(value, str) and re.fullmatch(_NUMBER, value):  # 2e-5 is a word to YAML 1.1
            value, is_number = _number("", value), True
        return is_number and math.isfinite(value), float(value) if is_number else value
    if kind is int:
        return is_number and math.isfinite(value) and value == int(value), int(value) if is_number else value
    if kind is str:
        return isinstance(value, str) or is_number, str(value)
    return kind is bool and isinstance(value, bool), value


def _say(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return "a list"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "None"}[kind]
