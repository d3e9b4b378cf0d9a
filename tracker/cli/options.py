"""Options that several commands share. Each has an environment variable and may stand in the configuration file."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tracker.system.opening import Locations, default_data

F = TypeVar("F", bound=Callable[..., Any])


def _read_config(context: click.Context, _: click.Parameter, file: Path | None) -> Path | None:
    """Make the file's values the defaults of the options of the same names (with - or _)."""
    if file is not None:
        try:
            values = tomllib.loads(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise click.BadParameter(f"{file} can't be read: {error}") from None
        known = {parameter.name for parameter in context.command.params}
        named = {name.replace("-", "_"): value for name, value in values.items()}
        strange = named.keys() - known - _names_of(context.find_root().command, context)
        if strange:
            raise click.BadParameter(f"{file} sets {', '.join(sorted(strange))}, which no command knows")
        context.default_map = {name: value for name, value in named.items() if name in known}
    return file


def _names_of(command: click.Command, context: click.Context) -> set[str]:
    """The options of a command and of all below it: one file may serve them all."""
    names = {parameter.name for parameter in command.params}
    if isinstance(command, click.Group):
        inside = (command.get_command(context, name) for name in command.list_commands(context))
        names.update(*(_names_of(each, context) for each in inside if each is not None))
    return names


def located(function: F) -> F:
    """Add --data, --database, --storage and --config."""
    options = (
        click.option(
            "--data",
            type=click.Path(file_okay=False, path_type=Path),
            envvar="SHOAL_DATA",
            default=default_data,
            show_default="$XDG_DATA_HOME/shoal-tracker",
            help="The tracker's folder.",
        ),
        click.option("--database", envvar="SHOAL_DATABASE", metavar="URL", help="sqlite:///FILE [in the data folder]"),
        click.option(
            "--storage",
            envvar="SHOAL_STORAGE",
            metavar="URL",
            help="file:///DIR or s3://BUCKET[/PREFIX][?endpoint=URL] [in the data folder]",
        ),
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            envvar="SHOAL_CONFIG",
            is_eager=True,
            expose_value=False,
            callback=_read_config,
            help="A TOML file with values for these options.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def as_json(function: F) -> F:
    """Add --json."""
    return click.option("--json", "json_", is_flag=True, envvar="SHOAL_JSON", help="Print one JSON document.")(function)


def locations(data: Path, database: str | None, storage: str | None) -> Locations:
    """The shared options as one value."""
    return Locations(data, database, storage)
