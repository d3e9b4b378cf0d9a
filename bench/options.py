"""Options that several commands share."""

from pathlib import Path

import click

JSON_OPTION = click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file too."
)
