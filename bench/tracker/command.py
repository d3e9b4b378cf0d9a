"""`shoal-bench tracker`."""

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import trio
from rich.console import Console

from bench.failures import BenchFailed, failure_of
from bench.interrupts import until_signal
from bench.lan import facts, profiling
from bench.machine import check_machine
from bench.options import JSON_OPTION, SCALE_OPTION
from bench.tracker.figures import Measure
from bench.tracker.outcome import Outcome, as_json
from bench.tracker.pairs import PAIR_NAMES, PAIRS
from bench.tracker.prepared import scaled
from bench.tracker.report import Printer
from bench.tracker.session import Plan, Session
from bench.tracker.works import WORK_NAMES, WORKS

NEED = 2 << 30
"""Bytes to be free for temporary files."""
LONGEST_SOCKET = "shoal-pg-xxxxxxxx/.s.PGSQL.65535"
_WIDTH = 140


@click.command("tracker")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(min=1), help="How often all is done.")
@click.option("--only", "works", multiple=True, type=click.Choice(WORK_NAMES), help="Only this; may be repeated.")
@click.option(
    "--pair", "pairs", multiple=True, type=click.Choice(PAIR_NAMES), help="Only on this pair; may be repeated."
)
@click.option(
    "--watchers",
    default=100,
    show_default=True,
    type=click.IntRange(1, 5000),
    help="WebSockets that wait for the same notice.",
)
@SCALE_OPTION
@click.option(
    "--profile",
    type=click.Path(file_okay=False, path_type=Path),
    help="Record the tracker with py-spy, if that is installed, into this folder.",
)
@JSON_OPTION
@click.pass_context
def tracker(
    context: click.Context,
    runs: int,
    works: tuple[str, ...],
    pairs: tuple[str, ...],
    watchers: int,
    scale: float,
    profile: Path | None,
    json_file: Path | None,
) -> None:
    """What one tracker process does on loopback, on SQLite and on PostgreSQL, beside what these do by themselves.

    Starts everything itself, with its data below TMPDIR. Exits 1 when something that is expected at full scale is
    missed.
    """
    printer = Printer(Console(width=_WIDTH))
    chosen = tuple(pair for pair in PAIRS if not pairs or pair.name in pairs)
    left_out = {pair.name: why for pair in chosen if (why := pair.missing()) is not None}
    plan = Plan(
        pairs=tuple(pair for pair in chosen if pair.name not in left_out),
        works=tuple(work for work in WORKS if not works or work.name in works),
        runs=runs,
        sizes=scaled(scale, watchers),
        profile=profiling.folder_for(profile, printer.say),
    )
    context.exit(trio.run(partial(measure, plan, left_out, printer, json_file)))


async def measure(plan: Plan, left_out: dict[str, str], printer: Printer, json_file: Path | None) -> int:
    """Measure until the end or a signal; the exit code. Ends what it started and removes what it made."""
    code = await until_signal(partial(_attempt, plan, left_out, printer, json_file), printer.say)
    if code > 128:
        printer.say("everything is stopped and removed", "bold")
    return code


@dataclass
class _Found:
    """What there is so far."""

    measures: list[Measure] = field(default_factory=list)
    grounds: dict[str, tuple[str, str]] = field(default_factory=dict)


async def _attempt(plan: Plan, left_out: dict[str, str], printer: Printer, json_file: Path | None) -> int:
    """The exit code. What was measured before something went wrong is shown and written as well."""
    found = _Found()
    try:
        if not plan.pairs:
            raise BenchFailed(f"nothing to measure: {'; '.join(left_out.values())}")
        check_machine(NEED, LONGEST_SOCKET)
        machine = facts.look(Path(tempfile.gettempdir()))
    except BenchFailed as error:
        printer.say(f"the measurement can't begin: {error}", "bold red")
        return 1
    printer.beginning(machine, plan, left_out)
    failure = await failure_of(partial(_measure_all, plan, printer, found))
    outcome = Outcome(machine, plan, left_out, found.grounds, found.measures, None if failure is None else str(failure))
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(outcome), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    printer.end(outcome)
    return 0 if outcome.is_well else 1


async def _measure_all(plan: Plan, printer: Printer, found: _Found) -> None:
    """Fill `found`, in a temporary folder that is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="shoal-bench-"))

    def told(measure: Measure) -> None:
        printer.measured(measure)
        found.measures.append(measure)

    session = Session(plan, place, told)
    found.grounds = session.grounds
    try:
        failure = await failure_of(session.run)
        if isinstance(failure, BenchFailed):
            printer.logs(failure.logs)
        if failure is not None:
            raise failure
    finally:
        shutil.rmtree(place)
