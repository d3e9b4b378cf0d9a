"""`shoal held`, `approve` and `reject`: what is too big a surprise to go on unasked, and the answer."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import click
import trio

from peer.cli.homes import home_at
from peer.cli.options import option
from peer.cli.render import counted, moment, shown
from peer.cli.status import command

FOLDERS = 10
"""So many folders are shown."""


@click.command()
@option("--all", "everything", is_flag=True, help="List all files, not only the first.")
@option("--json", "as_json", is_flag=True, help="Print one JSON document, with all files.")
@click.pass_obj
def held(home: str | None, everything: bool, as_json: bool) -> None:
    """Show the deletes and overwrites that wait for `shoal approve` or `shoal reject`."""
    groups = trio.run(_ask, home_at(home).control_socket, everything or as_json)
    if as_json:
        click.echo(json.dumps({"held": groups}, indent=2))
        return
    for line in held_lines(groups, everything=everything):
        click.echo(line)


async def _ask(control: str, everything: bool) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = (await command(control, "held", None))["held"]
    for group in groups if everything else ():
        group["paths"] = sorted([path async for path in _paths(control, group["direction"], group["change"])])
    return groups


async def _paths(control: str, direction: str, change: str) -> AsyncIterator[str]:
    skip: int | None = 0
    while skip is not None:
        page = await command(control, "held paths", None, direction=direction, change=change, skip=skip)
        for path in page["paths"]:
            yield path
        skip = page["next"]


def held_lines(groups: Sequence[Mapping[str, Any]], *, everything: bool) -> Iterator[str]:
    """What is held, for a person."""
    if not groups:
        yield "nothing is held"
        return
    for group in groups:
        yield f"{counted(group['files'], 'file')} {shown(group['text'])}, held since {moment(group['since_ms'])}:"
        yield from _folder_lines(group["folders"])
        more = group["files"] - len(group["paths"])
        yield f"  {'all' if more <= 0 else 'the first'} of them:"
        yield from (f"    {shown(path)}" for path in group["paths"])
        if more > 0 and not everything:
            yield f"    and {more} more: shoal held --all lists them"
    yield "shoal approve lets this through, shoal reject undoes it"


def _folder_lines(folders: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for folder in folders[:FOLDERS]:
        where = f"{shown(folder['path'])}/" if folder["path"] else "(in no folder)"
        yield f"  {where}  {counted(folder['files'], 'file')}"
    if more := folders[FOLDERS:]:
        yield f"  and {counted(sum(folder['files'] for folder in more), 'file')} in {len(more)} more folders"


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
