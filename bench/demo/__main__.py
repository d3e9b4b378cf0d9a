"""`python -m bench.demo [--keep]`. Exits 0 when everything is equal, checked and in the cloud, else 1."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
import trio
from rich.console import Console

from bench.demo.failures import DemoFailed
from bench.demo.machine import FREE_BYTES, check_machine
from bench.demo.programs import Program, programs
from bench.demo.scenario import Scenario
from bench.demo.screen import Screen
from bench.demo.tree import Scale
from bench.demo.where import tell_where

DEFAULT = Scale()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--keep", is_flag=True, help="Leave everything running at the end, and tell where to look.")
@click.option("--files", default=DEFAULT.files, show_default=True, type=click.IntRange(min=1))
@click.option("--directories", default=DEFAULT.directories, show_default=True, type=click.IntRange(min=1))
@click.option("--big", "big_mib", default=DEFAULT.big_bytes >> 20, show_default=True, help="MiB of the big file.")
def main(keep: bool, files: int, directories: int, big_mib: int) -> None:
    """Watch a real tree travel sealed from one device to another, and back."""
    code = 1
    # rich ends the program this way when nobody reads its output any more.
    with suppress(SystemExit):
        code = trio.run(demonstrate, Scale(files, directories, big_mib << 20), keep, Screen(Console()))
    sys.exit(code)


async def demonstrate(scale: Scale, keep: bool, screen: Screen) -> int:
    """Run the demo until its end or a signal; the exit code. Ends what it started and removes what it made."""
    code = 0
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:

        async def listen() -> None:
            nonlocal code
            async for number in signals:
                if code == 0:
                    screen.say("interrupted: stopping")
                code = 128 + number
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            code = await _attempt(scale, keep, screen)
            nursery.cancel_scope.cancel()
    if code > 128:
        screen.say("everything is stopped and removed", "bold")
    return code


async def _attempt(scale: Scale, keep: bool, screen: Screen) -> int:
    """The exit code. With `keep` everything is left as it is in the end, well or not, unless this is cancelled."""
    place: Path | None = None
    kept: list[Program] = []
    began = trio.current_time()
    try:
        check_machine(FREE_BYTES * scale.big_bytes // DEFAULT.big_bytes)
        place = Path(tempfile.mkdtemp(prefix="shoal-demo-"))
        failure = await _failure_of(partial(_play, place, scale, screen, kept if keep else None))
    except (DemoFailed, OSError) as error:
        failure = error
    finally:
        if place is not None and not kept:
            with screen.busy("removing what was made"):
                shutil.rmtree(place)
    if failure is not None:
        screen.say(f"the demo failed: {failure}", "bold red")
        return 1
    screen.say(f"all is well, after {trio.current_time() - began:.0f} s", "bold green")
    return 0


async def _play(place: Path, scale: Scale, screen: Screen, kept: list[Program] | None) -> None:
    """Run the scenario, show its table, and stop its programs, unless there is a list to hand them to."""
    async with programs(place / "logs") as running:
        scenario = Scenario(place, scale, screen, running)
        failure = await _failure_of(scenario.run)
        if scenario.rows:
            screen.table(scenario.rows)
        if isinstance(failure, DemoFailed):
            screen.logs(failure.logs)
        if kept is not None:
            kept += running.release()
            tell_where(screen, scenario, kept)
    if failure is not None:
        raise failure


async def _failure_of(work: Callable[[], Awaitable[None]]) -> Exception | None:
    """The first of what went wrong; None when all went well."""
    failure: Exception | None = None
    try:
        await work()
    except* Exception as group:  # noqa: BLE001  the edge of the program: whatever it is becomes one line
        failure = _first(group)
        if not isinstance(failure, DemoFailed | OSError):
            failure = DemoFailed(f"by a defect of its own: {failure!r}")
    return failure


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


if __name__ == "__main__":
    main()
