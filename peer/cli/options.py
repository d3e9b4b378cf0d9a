"""Options that can also be given in the environment, named alike everywhere: `--tracker-ca` is SHOAL_TRACKER_CA."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """A length of time; click takes NaN for one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType`."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


def option(name: str, *parameter: str, **attributes: Any) -> Callable[[F], F]:
    """`click.option` with its environment variable; `parameter` when the function calls it otherwise."""
    variable = "SHOAL_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *parameter, envvar=variable, show_envvar=True, **attributes)
