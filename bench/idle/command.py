"""`shoal-bench scan` and `shoal-bench idle`."""

import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import click
import trio
from rich.console import Console

from bench.failures import BenchFailed, failure_of, tail
from bench.idle.figures import FILES, Found, Start, as_json, lines_of
from bench.idle.session import measure_rest, measure_starts, prepared
from bench.interrupts import until_signal
from bench.lan import facts
from bench.lan.report import machine_line
from bench.machine import check_machine
from bench.options import JSON_OPTION
from bench.parts import Device
from bench.tables import expectations

NEED = 4 << 30
"""Bytes to be free for temporary files."""
LONGEST_SOCKET = "shoal-bench-xxxxxxxx/home/control"
_FILES = click.option(
    "--files", default=FILES, show_default=True, type=click.IntRange(min=1), help="In the folder. Fewer are not judged."
)
Work = Callable[[Device, Found, Callable[[str], None]], Awaitable[None]]


@click.command("scan")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(min=1), help="How often it is started.")
@_FILES
@JSON_OPTION
@click.pass_context
def scan(context: click.Context, runs: int, files: int, json_file: Path | None) -> None:
    """How long a device with many files takes to start when nothing has changed.

    Exits 1 when something that is expected is missed.
    """

    async def work(device: Device, found: Found, say: Callable[[str], None]) -> None:
        def told(start: Start) -> None:
            found.starts.append(start)
            say(*lines_of([start], []))

        await measure_starts(device, runs, told)

    context.exit(trio.run(partial(_measure, work, files, json_file)))


@click.command("idle")
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(min=1), help="How long it rests.")
@_FILES
@JSON_OPTION
@click.pass_context
def idle(context: click.Context, seconds: float, files: int, json_file: Path | None) -> None:
    """What CPU and memory a device with many files takes while nothing happens.

    Exits 1 when something that is expected is missed.
    """

    async def work(device: Device, found: Found, say: Callable[[str], None]) -> None:
        found.rests.append(await measure_rest(device, seconds))
        say(*lines_of([], found.rests))

    context.exit(trio.run(partial(_measure, work, files, json_file)))


async def _measure(work: Work, files: int, json_file: Path | None) -> int:
    """Measure until the end or a signal; the exit code. Ends what it started and removes what it made."""
    console = Console(width=120)

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    async def attempt() -> int:
        return await _attempt(work, files, json_file, console, say)

    return await until_signal(attempt, say)


async def _attempt(
    work: Work, files: int, json_file: Path | None, console: Console, say: Callable[[str, str], None]
) -> int:
    try:
        check_machine(NEED, LONGEST_SOCKET)
    except BenchFailed as error:
        say(f"the measurement can't begin: {error}", "bold red")
        return 1
    found = Found(facts.look(Path(tempfile.gettempdir())), files)
    say(machine_line(found.facts), "bold")
    say(f"a device with {files:,} files that are all in the cloud; preparing them takes a while", "")
    failure = await failure_of(partial(_in_a_place, work, found, say))
    found.failure = None if failure is None else str(failure)
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(found), indent=1) + "\n", encoding="utf-8")
    console.print(expectations("What is expected", found.verdicts))
    if found.failure is not None:
        say(f"the measurement failed: {found.failure}", "bold red")
    return 0 if found.is_well else 1


async def _in_a_place(work: Work, found: Found, say: Callable[[str, str], None]) -> None:
    """In a temporary folder that is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="shoal-bench-"))

    async def measure() -> None:
        async with prepared(place, found.files) as (device, _):
            await work(device, found, lambda text: say(text, ""))

    try:
        failure = await failure_of(measure)
        for log in failure.logs if isinstance(failure, BenchFailed) else ():
            say("\n".join(tail(log)), "")
        if failure is not None:
            raise failure
    finally:
        shutil.rmtree(place)
