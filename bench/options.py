"""Options that several commands share."""

from pathlib import Path

import click

JSON_OPTION = click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file too."
)
SCALE_OPTION = click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Shrink the works, for a first look; nothing is judged then.",
)
