"""`shoal exclude` and `shoal include`: what is kept on this device."""

import json
from typing import Any

import click
import trio

from peer.cli.homes import home_at
from peer.cli.options import option
from peer.cli.render import excluded_lines
from peer.cli.status import command
from peer.system.home_files import located


@click.command()
@click.argument("path", required=False, type=click.Path(readable=False))
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def exclude(home: str | None, path: str | None, as_json: bool) -> None:
    """Take PATH off this device only, or list what is excluded."""
    control = home_at(home).control_socket
    if path is None:
        answer: list[dict[str, Any]] = trio.run(command, control, "excluded", None)
    else:
        answer = [trio.run(lambda: command(control, "exclude", None, path=located(path)))]
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for line in excluded_lines(answer):
        click.echo(line)
    if path is None and not answer:
        click.echo("nothing is excluded on this device")


@click.command()
@click.argument("path", type=click.Path(readable=False))
@click.pass_obj
def include(home: str | None, path: str) -> None:
    """Have an excluded PATH on this device again."""
    control = home_at(home).control_socket
    trio.run(lambda: command(control, "include", None, path=located(path)))
    click.echo("included: it is being fetched")
