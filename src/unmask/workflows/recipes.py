"""Recipes: settings in a file, which flags and arguments override."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unmask.errors import SettingsError

__all__ = ["load_recipe"]


def load_recipe(path: str | Path) -> dict[str, Any]:
    """Read a recipe: `finetune(**load_recipe("recipes/cola.yaml"), seed=3)`.

    Args:
        path: a YAML file of settings by name.

    Raises:
        SettingsError: the file is missing, or is not a mapping of names.
    """
    import yaml

    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: the recipe cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the recipe is not YAML: {error}") from error
    if not isinstance(recipe, dict) or not all(isinstance(name, str) for name in recipe):
        raise SettingsError(f"{path}: a recipe is a list of settings, a line each, such as `epochs: 3`")
    return {name: _number(value) for name, value in recipe.items()}


def _number(value: Any) -> Any:
    """Read 2e-5 as the number it is: YAML 1.1 takes it for a word."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", value) else value
