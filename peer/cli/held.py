"""`shoal held`, `approve` and `reject`: what is too big a surprise to go on unasked, and the answer."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
import trio

from peer.cli.account import home_at
from peer.cli.options import option
from peer.cli.render import counted, moment, shown
from peer.cli.status import command


@click.command()
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def held(home: str | None, as_json: bool) -> None:
    """Show the deletes and overwrites that wait for `shoal approve` or `shoal reject`."""
    answer = trio.run(command, home_at(home).control_socket, "held", None)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for line in _lines(answer["held"]):
        click.echo(line)


def _lines(groups: list[Mapping[str, Any]]) -> Iterator[str]:
    if not groups:
        yield "nothing is held"
        return
    for group in groups:
        yield f"{counted(group['files'], 'file')} {shown(group['text'])}, held since {moment(group['since_ms'])}:"
        yield from (f"  {shown(path)}" for path in group["paths"])
        more = group["files"] - len(group["paths"])
        if more > 0:
            yield f"  and {more} more"
    yield "shoal approve lets this through, shoal reject undoes it"


@click.command()
@click.pass_obj
def approve(home: str | None) -> None:
    """Let through all that is held."""
    answer = trio.run(command, home_at(home).control_socket, "approve", None)
    click.echo(f"approved: {counted(answer['files'], 'file')}")


@click.command()
@click.pass_obj
def reject(home: str | None) -> None:
    """Undo all that is held: what was deleted or overwritten comes back; edits are kept as conflict copies."""
    answer = trio.run(command, home_at(home).control_socket, "reject", None)
    click.echo(f"rejected: {counted(answer['files'], 'file')}")
