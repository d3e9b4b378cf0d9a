"""`shoal-bench uplink`."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
import trio

from bench.lan.report import time_text
from bench.measuring import Plan, Say, conduct
from bench.office import LONGEST_SOCKET, check_office
from bench.options import JSON_OPTION, PLOT_OPTION, RUNS_OPTION, SCALE_OPTION, link_options
from bench.uplink.figures import Turn, Uplink
from bench.uplink.session import SMALL_FILES, Setting, measure

SIZE, RATE, UPLINK = 100_000_000, 1000.0, 20.0
"""What the expectation is for; links in Mbit/s."""


@click.command("uplink")
@RUNS_OPTION
@link_options(RATE, UPLINK)
@SCALE_OPTION
@JSON_OPTION
@PLOT_OPTION
@click.pass_context
def uplink(
    context: click.Context,
    runs: int,
    rate: float,
    uplink: float,
    scale: float,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """How long another device on the LAN waits for a file that its author's uplink takes long to carry.

    Once with that uplink, once without any limit; and how long small files take meanwhile. Each device is a network
    namespace of its own. Needs root. Exits 1 when what is expected at full scale is missed.
    """
    setting = Setting(max(1_000_000, round(SIZE * scale)), rate, uplink, runs)
    judged = (setting.size, rate, uplink) == (SIZE, RATE, UPLINK)
    found = Uplink(judged, asdict(setting))

    async def work(place: Path, say: Say) -> None:
        def told(turn: Turn) -> None:
            found.turns.append(turn)
            say(f"run {turn.run}  {turn.uplink}: on the peer after {time_text(turn.seconds)}")

        await measure(setting, place, told, say)

    plan = Plan(
        says=[
            f"a new file of {setting.size / 10**6:g} MB, and {SMALL_FILES} small ones before and meanwhile; 2 devices",
            f"each link of the LAN: {rate:g} Mbit/s each way; to the tracker: {uplink:g} Mbit/s, 20 ms one way",
            "no limit: the tracker is on the LAN, on a link as fast as the machine",
        ],
        check=partial(check_office, "uplink"),
        need=6 * setting.size + (256 << 20),
        socket=LONGEST_SOCKET,
        work=work,
        json_file=json_file,
        plot_file=plot_file,
    )
    context.exit(trio.run(conduct, plan, found))
