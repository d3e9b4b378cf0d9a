"""Options that can also be given in the environment, named alike everywhere: `--tracker-ca` is SHOAL_TRACKER_CA."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def option(name: str, *parameter: str, **attributes: Any) -> Callable[[F], F]:
    """`click.option` with its environment variable; `parameter` when the function calls it otherwise."""
    variable = "SHOAL_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *parameter, envvar=variable, show_envvar=True, **attributes)
