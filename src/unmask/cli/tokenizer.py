"""`unmask tokenizer train` and `unmask tokenizer report`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line is made from these annotations
from typing import TYPE_CHECKING

from tyro.conf import Positional  # noqa: TC002 - likewise

from unmask.cli.arguments import parse_with_json, print_json
from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
