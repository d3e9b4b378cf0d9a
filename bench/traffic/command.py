"""`shoal-bench traffic`."""

from dataclasses import asdict
from pathlib import Path

import click
import trio

from bench.failures import BenchFailed
from bench.measuring import Plan, Say, conduct
from bench.office import LONGEST_SOCKET, check_office
from bench.options import JSON_OPTION, PLOT_OPTION, RUNS_OPTION, SCALE_OPTION
from bench.traffic.figures import Measure, Traffic
from bench.traffic.rivals import RIVAL_NAMES, RIVALS
from bench.traffic.session import Setting, measure
from bench.traffic.updates import UPDATE_NAMES, UPDATES, Sizes, scaled

NEED = 1 << 30
"""Bytes to be free for temporary files."""


@click.command("traffic")
@RUNS_OPTION
@click.option("--only", "updates", multiple=True, type=click.Choice(UPDATE_NAMES), help="Only this; may be repeated.")
@click.option(
    "--rival", "names", multiple=True, type=click.Choice(RIVAL_NAMES), help="Only this rival; may be repeated."
)
@SCALE_OPTION
@JSON_OPTION
@PLOT_OPTION
@click.pass_context
def traffic(
    context: click.Context,
    runs: int,
    updates: tuple[str, ...],
    names: tuple[str, ...],
    scale: float,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """How many bytes go over the wire for one update: a small file, many, an edit, frequent appends.

    Counted at the network interfaces of both devices, each a network namespace of its own. Needs root. Exits 1 when
    something that is expected of shoal at full scale is missed.
    """
    chosen = tuple(rival for rival in RIVALS if not names or rival.name in names)
    left_out = {rival.name: why for rival in chosen if (why := rival.missing()) is not None}
    rivals = tuple(rival for rival in chosen if rival.name not in left_out)
    what = tuple(update for update in UPDATES if not updates or update.name in updates)
    setting = Setting(rivals, what, scaled(scale), runs)
    described = {rival.name: rival.describe() for rival in rivals}
    found = Traffic(setting.sizes == Sizes(), asdict(setting.sizes) | {"runs": runs}, described, left_out)

    def check() -> None:
        check_office("traffic")
        if not rivals:
            raise BenchFailed(f"nothing to measure: {'; '.join(left_out.values())}")

    async def work(place: Path, say: Say) -> None:
        def told(one: Measure) -> None:
            found.measures.append(one)
            say(f"run {one.run}  {one.rival:10} {one.update:8} {one.most:>12,} bytes")

        await measure(setting, place, told)

    says = [f"{name:10} {told}" for name, told in described.items()]
    says += [f"{name:10} left out: {why}" for name, why in left_out.items()]
    says += [f"{update.name:10} {update.what(setting.sizes)}" for update in what]
    plan = Plan(says, check, NEED, LONGEST_SOCKET, work, json_file, plot_file)
    context.exit(trio.run(conduct, plan, found))
