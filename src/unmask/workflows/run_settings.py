"""What every run is told, whatever it trains, and how a run that goes on keeps it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from unmask.errors import DataError, SettingsError
from unmask.training import FREE_TO_CHANGE, TrainingSettings, is_main_process
from unmask.workflows.run_folder import command_of, refuse_used_folder

__all__ = ["RunSettings", "read_settings", "resolve_settings", "with_types"]


@dataclass(frozen=True, kw_only=True)
class RunSettings(TrainingSettings):
    """Train, and leave a run folder.

    Args:
        output_dir: the run folder.
        overwrite: replace a run that is in the output folder.
        resume: go on with the run in the output folder, with its own settings, from its newest checkpoint.
        data_dir: folder in which relative paths of data are also looked for; None is the variable UNMASK_DATA_DIR.

    Raises:
        SettingsError: a value outside its range, or two that contradict one another.
    """

    command: ClassVar[str]
    """The command that makes such runs."""

    may_change: ClassVar[tuple[str, ...]] = (*FREE_TO_CHANGE, "data_dir")
    """Settings that a resumed run may have otherwise."""

    recorded: ClassVar[tuple[str, ...]] = ("task",)
    """What a run's config.json may hold that is no setting."""

    output_dir: Path | None = None
    overwrite: bool = False
    resume: bool = False
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overwrite and self.resume:
            raise SettingsError("overwrite and resume contradict one another: give one of the two")

    @property
    def training(self) -> TrainingSettings:
        """What the training loop is told of these settings."""
        names = [field.name for field in dataclasses.fields(TrainingSettings)]
        return TrainingSettings(**{name: getattr(self, name) for name in names})


Settings = TypeVar("Settings", bound=RunSettings)


def resolve_settings(settings: Settings) -> Settings:
    """Make sure that the run folder is free; a run that is resumed keeps the settings it has.

    Raises:
        SettingsError: there is no output_dir, or a setting is not what the run began with.
        DataError: the folder cannot be used, or its settings cannot be read.
    """
    if settings.output_dir is None:
        raise SettingsError("output_dir is missing: name the run folder, such as --output-dir runs/mine")
    if is_main_process():  # the others may find what the first has just opened
        refuse_used_folder(
            settings.output_dir, overwrite=settings.overwrite, resume=settings.resume, command=settings.command
        )
    config_file = settings.output_dir / "config.json"
    if not settings.resume or not config_file.is_file():
        return settings
    recorded = read_settings(type(settings), config_file)
    own: dict[str, Any] = {"resume": True, "overwrite": False, "output_dir": settings.output_dir}
    for field in dataclasses.fields(settings):
        given, before = getattr(settings, field.name), getattr(recorded, field.name)
        if field.name in own or given in (before, field.default):
            continue
        if field.name in settings.may_change:
            own[field.name] = given
        else:
            raise SettingsError(
                f"{field.name} is {given!r}, but the run in {settings.output_dir} has {before!r}: "
                "leave it out to resume, or start another run"
            )
    return dataclasses.replace(recorded, **own)


def read_settings(kind: type[Settings], config_file: Path) -> Settings:
    """Read the settings of a run.

    Raises:
        DataError: they are of another version, or of another command's run.
    """
    try:
        values = json.loads(config_file.read_bytes())
        command = command_of(values)
        if command == kind.command:
            names = {field.name for field in dataclasses.fields(kind)}
            return kind(**with_types(kind, {n: v for n, v in values.items() if n in names or n not in kind.recorded}))
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"no settings that this version can resume ({error}): start again", path=config_file) from error
    raise DataError(f"this run is one of unmask {command}: resume it with that command", path=config_file)


def with_types(kind: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Give values, as JSON, recipes and people write them, the types of the fields; one file is a list of one."""
    hints = get_type_hints(kind)
    return {name: _typed(value, hints.get(name)) for name, value in values.items()}


def _typed(value: Any, hint: Any) -> Any:
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if value is None or isinstance(value, bool):
        return value
    if Path in options:
        return Path(value)
    for option in options:
        if get_origin(option) is tuple:
            members = [value] if isinstance(value, str | Path) else value
            if isinstance(members, Mapping):  # as scikit-learn writes class weights
                members = [f"{name}={part}" for name, part in members.items()]
            if isinstance(members, list | tuple):
                return tuple(map(str, members)) if get_args(option)[0] is str else tuple(members)
    return str(value) if str in options else value
