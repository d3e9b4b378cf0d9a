"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

JSON_OPTION = click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file too."
)
PLOT_OPTION = click.option(
    "--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), help="Draw the figures: a PNG."
)
SCALE_OPTION = click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Shrink the works, for a first look; nothing is judged then.",
)
RUNS_OPTION = click.option(
    "--runs", default=3, show_default=True, type=click.IntRange(min=1), help="How often all is done."
)


def link_options(rate: float, uplink: float) -> Callable[[Command], Command]:
    """`--rate` of each device's link and `--uplink` from their LAN, with these defaults in Mbit/s."""
    of_links = click.option(
        "--rate",
        default=rate,
        show_default=True,
        type=click.FloatRange(1),
        help="Mbit/s of each device's link, each way.",
    )
    of_uplink = click.option(
        "--uplink",
        default=uplink,
        show_default=True,
        type=click.FloatRange(0.1),
        help="Mbit/s from the LAN to the tracker, each way.",
    )
    return lambda command: of_links(of_uplink(command))
