"""`shoal run`: the daemon, in the foreground."""

import dataclasses
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import click
import trio

from peer.cli.account import home_at
from peer.cli.options import option
from peer.home import Home
from peer.logs import LEVELS, logging_to
from peer.system.home_files import absolute, default_folder

STOP_SECONDS = 9
"""How long a stop may take. After that the kernel ends it, which costs no more than any crash."""


@click.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False))
@option("--insecure-http", is_flag=True, help="Take plain http beyond this machine (tests only; remembered).")
@option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="How much to log.")
@click.pass_obj
def run(home: str | None, folder: str | None, insecure_http: bool, log_level: str) -> None:
    """Keep FOLDER (~/Shoal when none is given) in sync until stopped."""
    place = home_at(home)
    root = default_folder() if folder is None else absolute(folder)
    place.credentials()  # nothing is made for somebody who has not logged in
    from peer.daemon import run_daemon

    place.prepare()
    with place.lock(), logging_to(place.log_folder, log_level):
        if insecure_http:
            _allow_plain_http(place)
        code = trio.run(_until_stopped, lambda: run_daemon(place, root, announce=_announce))
    click.get_current_context().exit(code)


def _allow_plain_http(home: Home) -> None:
    credentials = home.credentials()
    if not credentials.tracker.insecure_http:
        tracker = dataclasses.replace(credentials.tracker, insecure_http=True)
        home.save_credentials(dataclasses.replace(credentials, tracker=tracker))


def _announce(line: str) -> None:
    """Say something on stdout; a daemon outlives whoever was listening."""
    with suppress(OSError):
        click.echo(line)


async def _until_stopped(daemon: Callable[[], Awaitable[int | None]]) -> int:
    """Run `daemon` until it ends (its result) or SIGTERM or SIGINT cancels it (0)."""
    code: int | None = 0

    async def stop_on_signal() -> None:
        async for _ in signals:
            signal.alarm(STOP_SECONDS)
            nursery.cancel_scope.cancel()

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal)
            code = await daemon()
            nursery.cancel_scope.cancel()
        signal.alarm(0)
    return code or 0
