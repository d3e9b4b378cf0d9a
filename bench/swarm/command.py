"""`shoal-bench swarm`."""

from functools import partial
from pathlib import Path

import click
import trio

from bench.lan.report import time_text
from bench.lan.works import MIB
from bench.measuring import Plan, Say, conduct
from bench.office import LONGEST_SOCKET, check_office
from bench.options import JSON_OPTION, PLOT_OPTION, RUNS_OPTION, SCALE_OPTION, link_options
from bench.swarm.figures import Round, Swarm
from bench.swarm.session import Setting, measure
from bench.words import counted, sized

RECEIVERS, SIZE, RATE, UPLINK = 8, 1000 * MIB, 200.0, 20.0
"""What the expectations are for; links in Mbit/s."""


@click.command("swarm")
@click.argument("receivers", metavar="[N]", default=RECEIVERS, type=click.IntRange(1, 50))
@RUNS_OPTION
@link_options(RATE, UPLINK)
@SCALE_OPTION
@JSON_OPTION
@PLOT_OPTION
@click.pass_context
def swarm(
    context: click.Context,
    receivers: int,
    runs: int,
    rate: float,
    uplink: float,
    scale: float,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """One device has a new file: how long until N others on its LAN have it, and what that costs it.

    First with one receiver, then with N. Each device is a network namespace of its own, with a link of its own to a
    bridge, and they share an uplink to the tracker. Needs root. Exits 1 when something that is expected at full scale
    is missed.
    """
    setting = Setting(receivers, max(MIB, round(SIZE * scale)), rate, uplink, runs)
    judged = (receivers, setting.size, rate, uplink) == (RECEIVERS, SIZE, RATE, UPLINK)
    found = Swarm(
        receivers, judged, {"receivers": receivers, "size": setting.size, "rate": rate, "uplink": uplink, "runs": runs}
    )

    async def work(place: Path, say: Say) -> None:
        def told(round_: Round) -> None:
            found.rounds.append(round_)
            say(line_of(round_))

        await measure(setting, place, told, say)

    plan = Plan(
        says=_says(setting),
        check=partial(check_office, "swarm"),
        need=(receivers + 4) * setting.size + (256 << 20),
        socket=LONGEST_SOCKET,
        work=work,
        json_file=json_file,
        plot_file=plot_file,
    )
    context.exit(trio.run(conduct, plan, found))


def _says(setting: Setting) -> list[str]:
    who = counted(setting.receivers, "receiver")
    return [
        f"a new file of {sized(setting.size)} on one device; first one receiver, then {who}",
        f"each link: {setting.rate:g} Mbit/s each way; to the tracker: {setting.uplink:g} Mbit/s, 20 ms one way",
    ]


def line_of(round_: Round) -> str:
    """A round in one line."""
    who = counted(round_.receivers, "receiver")
    return f"run {round_.run}  {who}: last after {time_text(round_.last)}, origin sent {round_.copies:.2f} copies"
