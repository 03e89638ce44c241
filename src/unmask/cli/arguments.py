"""From what was typed to typed values: the signature of a function is its command line and its help."""

from __future__ import annotations

import inspect
import json
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["name_first", "parse", "parse_with_json", "print_json", "recipe_arguments"]

Result = TypeVar("Result")


def parse(call: Callable[..., Result], arguments: Sequence[str], *, command: str, more_help: str = "") -> Result:
    """Call a function, or make a dataclass, with the arguments a user typed; a usage error exits with 2."""
    doc = (inspect.getdoc(call) or "").partition("\nArgs:")[0].strip()
    return tyro.cli(
        call, prog=f"unmask {command}", args=list(arguments), description=f"{doc}\n\n{more_help}".strip("\n")
    )


def parse_with_json(
    call: Callable[..., Result],
    arguments: Sequence[str],
    *,
    command: str,
    more_help: str = "",
    printed: str = "one JSON object",
) -> tuple[Result, bool]:
    """Parse likewise, and tell whether `--json` was asked for."""
    rest = [argument for argument in arguments if argument != "--json"]
    more_help = f"{more_help}\n\n--json prints {printed}, for scripts.".strip("\n")
    return parse(call, rest, command=command, more_help=more_help), len(rest) < len(arguments)


def print_json(content: Any) -> None:
    """Print one JSON object, or list, for scripts."""
    json.dump(content, sys.stdout, ensure_ascii=False, indent=2)
    print()


def name_first(arguments: Sequence[str], flag: str = "--task") -> list[str]:
    """Give the first argument its flag, if it stands without one: so the task may be named first."""
    return [flag, *arguments] if arguments and not arguments[0].startswith("-") else list(arguments)


def recipe_arguments(arguments: Sequence[str], keep: Callable[[str], bool] = lambda setting: True) -> list[str]:
    """Put the settings of `--config recipe.yaml` before the other arguments, which override them.

    Args:
        arguments: as a user typed them.
        keep: whether to take up a setting, by its name, as Python writes it; may raise.

    Raises:
        SettingsError: the recipe cannot be read.
    """
    from unmask.workflows.recipes import load_recipe

    own, rest = [], list(arguments)
    for place, argument in enumerate(rest):
        name, _, path = argument.partition("=")
        if name == "--config":
            if not path and place + 1 == len(rest):
                raise SettingsError("--config is missing the name of a recipe, such as recipes/cola.yaml")
            path = path or rest.pop(place + 1)
            del rest[place]
            for setting, value in load_recipe(path).items():
                own += _flag(setting.replace("_", "-"), value) if keep(setting.replace("-", "_")) else []
            break
    return own + rest


def _flag(name: str, value: Any) -> list[str]:
    if value is None:
        return [f"--{name}", "None"]
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
