"""`shoal history`, `restore` and `rewind`: what the running daemon knows of the past, and brings back."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
import trio

from peer.cli.homes import home_at
from peer.cli.options import option
from peer.cli.render import counted, shown, size_text
from peer.cli.times import PastTime, local_time
from peer.control import ask
from peer.system.home_files import located
from protocol.errors import Problem

WAIT_S = 600.0
"""For an answer: a large change of the past takes the tracker a while."""
_WORDS = (
    ("restored", "comes back", "come back"),
    ("moved", "is moved", "are moved"),
    ("changed", "gets its content of then", "get their contents of then"),
    ("deleted", "is deleted", "are deleted"),
)


@click.command()
@click.argument("path", type=click.Path(readable=False))
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def history(home: str | None, path: str, as_json: bool) -> None:
    """List what happened to PATH, also if it is deleted by now. Version 1 is the oldest."""
    answer = _ask(home, "history", path=located(path))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for line in _history_lines(answer):
        click.echo(line)


@click.command()
@click.argument("path", type=click.Path(readable=False))
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="As shoal history numbers them.")
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def restore(home: str | None, path: str, version: int | None, as_json: bool) -> None:
    """Bring back a version of PATH, or what was deleted there last: a file, or a folder with all in it."""
    answer = _ask(home, "restore", path=located(path), version=version)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if answer["revision"] is None:
        click.echo("nothing to do: that is what is there")
    else:
        click.echo(f"restored {shown(answer['path'])} ({counted(answer['files'], 'file')})")
    if answer["not_here"] is not None:
        click.echo(f"but not on this device: {shown(answer['not_here'])}")


@click.command()
@click.option(
    "--to", "since", type=PastTime(), required=True, metavar="TIME", help='As "2026-11-29 14:30" or "2 hours ago".'
)
@click.argument("folder", type=click.Path(readable=False), required=False)
@click.option("--yes", is_flag=True, help="Don't ask.")
@option("--json", "as_json", is_flag=True, help="Print one JSON document: what would change, with --yes what did.")
@click.pass_obj
def rewind(home: str | None, since: dict[str, int], folder: str | None, yes: bool, as_json: bool) -> None:
    """Make FOLDER, or everything, what it was at TIME, in one step that can itself be rewound."""
    where = None if folder is None else located(folder)
    preview = _ask(home, "rewind", path=where, **since)
    if not as_json:
        for line in _preview_lines(preview):
            click.echo(line)
    answer = preview
    if any(preview["counts"].values()) and (yes or (not as_json and _agrees())):
        then = {"revision": preview["revision"], "agreed": preview["plan"], "apply": True}
        answer = _ask(home, "rewind", path=where, **then)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif answer["done"]:
        click.echo(f"done; to take it back: shoal rewind --to {answer['undo']}{f' {shown(folder)}' if folder else ''}")


def _agrees() -> bool:
    """`Problem` for a no."""
    try:
        agreed = click.confirm("Go on?")
    except click.Abort:  # nobody is there to answer
        click.echo("")
        agreed = False
    if not agreed:
        raise Problem("nothing was changed")
    return True


def _ask(home: str | None, command: str, /, **arguments: Any) -> Any:
    """The running daemon's answer; `NoDaemon` when there is none."""
    control = home_at(home).control_socket

    async def work() -> Any:
        with trio.move_on_after(WAIT_S):
            return await ask(control, command, **arguments)
        raise Problem(f"the daemon did not answer within {WAIT_S:g} s; shoal history tells what was done")

    return trio.run(work)


# Lines ---------------------------------------------------------------------------------------------------------------


def _history_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    rows = answer["rows"]
    mixed = len({row["kind"] for row in rows}) > 1
    for row in rows:
        yield _row_line(row, "a folder" if mixed and row["kind"] == "folder" else None)
    gone = answer.get("deleted")
    if gone:
        yield "deleted in it (shoal restore PATH brings back):"
        for row in gone:
            slash = "/" if row["kind"] == "folder" else ""
            yield f"  {local_time(row['time'])}  {shown(row['name'])}{slash}  by {shown(row['device'])}"
    elif not rows:
        yield "nothing was deleted in it"


def _row_line(row: Mapping[str, Any], kind: str | None) -> str:
    number = "" if row["version"] is None else str(row["version"])
    notes = [] if row["size"] is None else [size_text(row["size"])]
    if kind is not None:
        notes.append(kind)
    if row["path"] is not None and row["what"] != "changed":
        notes.append(f"as {shown(row['path'])}")
    if row["version"] is not None and not row["in_the_cloud"]:
        notes.append("not in the cloud: can't be restored")
    if row["current"]:
        notes.append("what is there now")
    told = f"{number:>4}  {local_time(row['time'])}  {row['what']:<8}  by {shown(row['device'])}"
    return "  ".join([told, *(["(" + ", ".join(notes) + ")"] if notes else [])])


def _preview_lines(preview: Mapping[str, Any]) -> Iterator[str]:
    counts = preview["counts"]
    if not any(counts.values()):
        yield f"nothing to change: it is as it was after {local_time(preview['time'])}"
    else:
        yield f"back to how it was after the change at {local_time(preview['time'])}:"
    for what, one, several in _WORDS:
        if counts[what]:
            yield f"  {counted(counts[what], 'item')} {one if counts[what] == 1 else several}"
    for row in preview["paths"]:
        yield f"    {row['what']:<8}  {shown(row['path'])}"
    more = sum(counts.values()) - len(preview["paths"])
    if more > 0:
        yield f"    and {more} more"
    if preview["left"]:
        stays = "stays as it is" if preview["left"] == 1 else "stay as they are"
        yield f"  {counted(preview['left'], 'item')} {stays}: not in the cloud, or nowhere to go"
    if preview["unsynced"]:
        yield f"  {counted(preview['unsynced'], 'change')} here not synced yet: nothing of that is lost"
