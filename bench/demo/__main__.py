"""`python -m bench.demo [--keep]`. Exits 0 when everything is equal, checked and in the cloud, else 1."""

import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import click
import trio
from rich.console import Console

from bench.demo.scenario import Scenario
from bench.demo.screen import Screen
from bench.demo.tree import Scale
from bench.demo.where import tell_where
from bench.failures import BenchFailed, failure_of
from bench.interrupts import until_signal
from bench.machine import check_machine
from bench.programs import Program, programs

DEFAULT = Scale()
FREE_BYTES = 2 << 30
LONGEST_SOCKET = "shoal-demo-xxxxxxxx/desktop/home/control"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--keep", is_flag=True, help="Leave everything running at the end, and tell where to look.")
@click.option("--files", default=DEFAULT.files, show_default=True, type=click.IntRange(min=1))
@click.option("--directories", default=DEFAULT.directories, show_default=True, type=click.IntRange(min=1))
@click.option("--big", "big_mib", default=DEFAULT.big_bytes >> 20, show_default=True, help="MiB of the big file.")
def main(keep: bool, files: int, directories: int, big_mib: int) -> None:
    """Watch a real tree travel sealed from one device to another, and back."""
    sys.exit(trio.run(demonstrate, Scale(files, directories, big_mib << 20), keep, Screen(Console())))


async def demonstrate(scale: Scale, keep: bool, screen: Screen) -> int:
    """Run the demo until its end or a signal; the exit code. Ends what it started and removes what it made."""
    code = await until_signal(partial(_attempt, scale, keep, screen), screen.say)
    if code > 128:
        screen.say("everything is stopped and removed", "bold")
    return code


async def _attempt(scale: Scale, keep: bool, screen: Screen) -> int:
    """The exit code. With `keep` everything is left as it is in the end, well or not, unless this is cancelled."""
    place: Path | None = None
    kept: list[Program] = []
    began = trio.current_time()
    try:
        check_machine(FREE_BYTES * scale.big_bytes // DEFAULT.big_bytes, LONGEST_SOCKET)
        place = Path(tempfile.mkdtemp(prefix="shoal-demo-"))
        failure = await failure_of(partial(_play, place, scale, screen, kept if keep else None))
    except (BenchFailed, OSError) as error:
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
    """Play the scenario on a LAN, and its first part without one. Its programs are stopped, unless there is a list to
    hand them to."""
    async with programs(place / "logs") as running:
        scenario = Scenario(place, scale, screen, running)
        failure = await failure_of(partial(_play_both, scenario, scale, screen))
        if kept is not None:
            kept += running.release()
            tell_where(screen, scenario, kept)
    if failure is not None:
        raise failure


async def _play_both(scenario: Scenario, scale: Scale, screen: Screen) -> None:
    await _play_one(scenario, screen)
    screen.say("\nonce more with --no-lan: everything has to go through the tracker", "bold")
    alone = scenario.place / "without-lan"
    alone.mkdir()
    async with programs(alone / "logs") as running:
        await _play_one(Scenario(alone, scale, screen, running, lan=False), screen)


async def _play_one(scenario: Scenario, screen: Screen) -> None:
    """Play it, and show its table as far as it came."""
    failure = await failure_of(scenario.run)
    if scenario.rows:
        screen.table(scenario.rows)
    if isinstance(failure, BenchFailed):
        screen.logs(failure.logs)
    if failure is not None:
        raise failure


if __name__ == "__main__":
    main()
