"""`shoal-bench lan`."""

import json
import shutil
import tempfile
from functools import partial
from pathlib import Path

import click
import trio
from rich.console import Console

from bench.failures import BenchFailed, failure_of
from bench.interrupts import until_signal
from bench.lan import facts, profiling
from bench.lan.figures import Measure
from bench.lan.outcome import Outcome, as_json
from bench.lan.report import Printer
from bench.lan.rivals import RIVAL_NAMES, RIVALS
from bench.lan.session import Plan, Session
from bench.lan.works import WORK_NAMES, scaled
from bench.machine import check_machine
from bench.options import JSON_OPTION, PLOT_OPTION, SCALE_OPTION
from bench.plots import check_plots

LONGEST_SOCKET = "shoal-bench-xxxxxxxx/shoal/receiver/home/control"
_WIDTH = 140


@click.command("lan")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(min=1), help="How often each does each work.")
@click.option("--only", "works", multiple=True, type=click.Choice(WORK_NAMES), help="Only this work; may be repeated.")
@click.option(
    "--rival", "names", multiple=True, type=click.Choice(RIVAL_NAMES), help="Only this rival; may be repeated."
)
@SCALE_OPTION
@click.option(
    "--profile",
    type=click.Path(file_okay=False, path_type=Path),
    help="Record shoal's processes with py-spy, if that is installed, into this folder.",
)
@JSON_OPTION
@PLOT_OPTION
@click.pass_context
def lan(
    context: click.Context,
    runs: int,
    works: tuple[str, ...],
    names: tuple[str, ...],
    scale: float,
    profile: Path | None,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Time from saving to having it on another device, and what that costs, beside what else there is.

    Everything happens on this machine, in a folder of its own below TMPDIR. Exits 1 when something that is expected of
    shoal at full scale is missed.
    """
    printer = Printer(Console(width=_WIDTH))
    chosen = tuple(rival for rival in RIVALS if not names or rival.name in names)
    left_out = {rival.name: why for rival in chosen if (why := rival.missing()) is not None}
    rivals = tuple(rival for rival in chosen if rival.name not in left_out)
    plan = Plan(rivals, runs, works, scaled(scale), profiling.folder_for(profile, printer.say))
    context.exit(trio.run(partial(measure, plan, left_out, printer, json_file, plot_file)))


async def measure(
    plan: Plan, left_out: dict[str, str], printer: Printer, json_file: Path | None, plot_file: Path | None = None
) -> int:
    """Measure until the end or a signal; the exit code. Ends what it started and removes what it made."""
    code = await until_signal(partial(_attempt, plan, left_out, printer, json_file, plot_file), printer.say)
    if code > 128:
        printer.say("everything is stopped and removed", "bold")
    return code


async def _attempt(
    plan: Plan, left_out: dict[str, str], printer: Printer, json_file: Path | None, plot_file: Path | None = None
) -> int:
    """The exit code. What was measured before something went wrong is shown and written as well."""
    measures: list[Measure] = []
    try:
        if not plan.rivals:
            raise BenchFailed(f"nothing to measure: {'; '.join(left_out.values())}")
        if plot_file is not None:
            check_plots()
        check_machine(plan.sizes.needed, LONGEST_SOCKET)
        machine = facts.look(Path(tempfile.gettempdir()))
        rivals = {rival.name: rival.describe() for rival in plan.rivals}
    except BenchFailed as error:
        printer.say(f"the measurement can't begin: {error}", "bold red")
        return 1
    printer.beginning(machine, plan, rivals, left_out)
    failure = await failure_of(partial(_measure_all, plan, printer, measures))
    outcome = Outcome(machine, plan, rivals, left_out, measures, None if failure is None else str(failure))
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(outcome), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    printer.end(outcome)
    if plot_file is not None and outcome.failure is None:
        _draw(outcome, plot_file)
    return 0 if outcome.is_well else 1


def _draw(outcome: Outcome, file: Path) -> None:
    from bench.lan.plot import draw

    draw(outcome, file)


async def _measure_all(plan: Plan, printer: Printer, measures: list[Measure]) -> None:
    """Fill `measures`, in a temporary folder that is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="shoal-bench-"))

    def told(measure: Measure, counts: bool) -> None:
        printer.measured(measure, counts)
        if counts:
            measures.append(measure)

    try:
        failure = await failure_of(Session(plan, place, told).run)
        if isinstance(failure, BenchFailed):
            printer.logs(failure.logs)
        if failure is not None:
            raise failure
    finally:
        shutil.rmtree(place)
