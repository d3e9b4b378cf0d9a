"""`shoal status`, `explain`, `pause` and `resume`: what a person asks of a running daemon."""

import json
import sys
from collections.abc import Callable
from typing import Any

import click
import trio

from peer.cli.explanation import explanation_lines
from peer.cli.homes import home_at
from peer.cli.options import Seconds, option
from peer.cli.render import Status, headline, is_now, progress_text, status_lines
from peer.control import NoDaemon, ask
from peer.system.home_files import located
from protocol.errors import Malformed, Problem

ANSWER_SECONDS = 30.0
"""For a command that has nothing to wait for."""
START_SECONDS = 30.0
"""How long `--wait-...` waits for a daemon that was only just started."""
_LOOK_SECONDS = 0.5
_KNOCK_SECONDS = 0.05
_ATTENTION = ("error", "held")


@click.command()
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@option("--watch", is_flag=True, help="Keep showing it, until interrupted.")
@option("--wait-synced", is_flag=True, help="Return when this device and the tracker agree.")
@option("--wait-durable", is_flag=True, help="Return when everything is in the cloud.")
@option("--timeout", type=Seconds(min=0), metavar="S", help="Give up after S seconds.")
@click.pass_obj
def status(
    home: str | None, as_json: bool, watch: bool, wait_synced: bool, wait_durable: bool, timeout: float | None
) -> None:
    """Show what is synced, what is in the cloud, and what is wrong."""
    if watch + wait_synced + wait_durable > 1:
        raise click.UsageError("--watch, --wait-synced and --wait-durable exclude one another")
    if watch and as_json:
        raise click.UsageError("--json prints one document: it does not go with --watch")
    path = home_at(home).control_socket
    if watch:
        _watch(path, timeout)
        return
    wait = "synced" if wait_synced else "durable" if wait_durable else None
    _print_status(trio.run(_status, path, wait, timeout), as_json=as_json)


def _print_status(answer: Status, *, as_json: bool) -> None:
    if as_json:
        _print_json(answer)
        return
    for line in status_lines(answer):
        click.echo(line)
    if answer["state"] in _ATTENTION:
        raise Problem(headline(answer))


def _print_json(answer: Any) -> None:
    click.echo(json.dumps(answer, indent=2, default=bytes.hex))


async def _status(path: str, wait: str | None, timeout: float | None) -> Status:
    """The status, when it is what is waited for. `Problem` when that takes longer than `timeout` seconds."""
    if wait is None:
        return await _ask_status(path, timeout)
    with trio.move_on_after(float("inf") if timeout is None else timeout):
        await _started(path)
        await ask(path, "wait", what=wait)
        return await _ask_status(path, None)
    now = await _ask_status(path, None)
    if timeout == 0 and is_now(wait, now):
        return now
    doubt = "not known for certain to be" if is_now(wait, now) else "not"
    raise Problem(f"{doubt} {wait} within {timeout:g} s: {headline(now)}")


async def _ask_status(path: str, timeout: float | None) -> Status:
    answer = await command(path, "status", timeout)
    if not isinstance(answer, dict):
        raise Malformed("the daemon's status is no status")
    return answer


async def _started(path: str) -> None:
    """Return when the daemon has started. `NoDaemon` when there is none after `START_SECONDS`."""
    give_up_at = trio.current_time() + START_SECONDS
    while True:
        try:
            if (await _ask_status(path, None))["state"] != "starting":
                return
        except NoDaemon:
            if trio.current_time() >= give_up_at:
                raise
        await trio.sleep(_KNOCK_SECONDS)


async def command(control: str, name: str, timeout: float | None, /, **arguments: Any) -> Any:
    """The daemon's answer to a command that has nothing to wait for; `Problem` when it takes too long."""
    seconds = ANSWER_SECONDS if timeout is None else timeout
    with trio.move_on_after(seconds):
        return await ask(control, name, **arguments)
    raise Problem(f"the daemon did not answer within {seconds:g} s")


# Watching ------------------------------------------------------------------------------------------------------------


def _watch(path: str, timeout: float | None) -> None:
    try:
        if sys.stdout.isatty():
            _watch_live(path, timeout)
        else:
            trio.run(_follow, path, timeout, _print_changes())
    except KeyboardInterrupt:
        return  # how watching ends


def _print_changes() -> Callable[[Status], None]:
    """For a pipe: a line whenever what there is to say has changed."""
    last: str | None = None

    def show(answer: Status) -> None:
        nonlocal last
        progress = progress_text(answer)
        line = f"{headline(answer)}  {progress}" if progress else headline(answer)
        if line != last:
            click.echo(line)
            sys.stdout.flush()
        last = line

    return show


def _watch_live(path: str, timeout: float | None) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:

        def show(answer: Status) -> None:
            first, *rest = status_lines(answer)
            style = "bold red" if answer["state"] in _ATTENTION else "bold"
            live.update(Group(Text(first, style), *(Text(line) for line in rest)), refresh=True)

        trio.run(_follow, path, timeout, show)


async def _follow(path: str, timeout: float | None, show: Callable[[Status], None]) -> None:
    with trio.move_on_after(float("inf") if timeout is None else timeout):
        while True:
            show(await _ask_status(path, None))
            await trio.sleep(_LOOK_SECONDS)


# Single commands -----------------------------------------------------------------------------------------------------


@click.command()
@click.argument("path", type=click.Path(readable=False))
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def explain(home: str | None, path: str, as_json: bool) -> None:
    """Tell why PATH is (not) synced, and where its bytes came from."""
    control = home_at(home).control_socket
    whole = located(path).encode("utf-8", "surrogateescape")
    answer = trio.run(lambda: command(control, "explain", None, path=whole))
    if as_json:
        _print_json(answer)
        return
    for line in explanation_lines(answer):
        click.echo(line)


@click.command()
@click.pass_obj
def pause(home: str | None) -> None:
    """Stop syncing until `shoal resume`."""
    trio.run(command, home_at(home).control_socket, "pause", None)
    click.echo("paused")


@click.command()
@click.pass_obj
def resume(home: str | None) -> None:
    """Go on syncing."""
    trio.run(command, home_at(home).control_socket, "resume", None)
    click.echo("resumed")
