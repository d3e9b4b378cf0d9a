"""`shoal-bench offload`."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
import trio

from bench.lan.report import time_text
from bench.measuring import Plan, Say, conduct
from bench.office import LONGEST_SOCKET, check_office
from bench.offload.figures import Offload, Scene
from bench.offload.session import Setting, measure
from bench.options import JSON_OPTION, RUNS_OPTION, SCALE_OPTION, link_options

DEVICES, SIZE, RATE, UPLINK = 4, 100_000_000, 1000.0, 100.0
"""What the expectations are for, of any number of devices; links in Mbit/s."""
SCENES = 3


@click.command("offload")
@click.argument("devices", metavar="[N]", default=DEVICES, type=click.IntRange(2, 50))
@RUNS_OPTION
@link_options(RATE, UPLINK)
@SCALE_OPTION
@JSON_OPTION
@click.pass_context
def offload(
    context: click.Context, devices: int, runs: int, rate: float, uplink: float, scale: float, json_file: Path | None
) -> None:
    """What N devices of a user on one LAN take from the cloud, all together, for one file that is only there.

    While all run, when all start at the same moment, and when the first already has it. Each device is a network
    namespace of its own. Needs root. Exits 1 when something that is expected at full scale is missed.
    """
    setting = Setting(devices, max(1_000_000, round(SIZE * scale)), rate, uplink, runs)
    judged = (setting.size, rate, uplink) == (SIZE, RATE, UPLINK)
    found = Offload(judged, asdict(setting))

    async def work(place: Path, say: Say) -> None:
        def told(scene: Scene) -> None:
            found.scenes.append(scene)
            last = time_text(max(scene.seconds))
            say(f"run {scene.run}  {scene.name}: {scene.copies:.3f} copies from the cloud, last after {last}")

        await measure(setting, place, told, say)

    plan = Plan(
        says=[
            f"files of {setting.size / 10**6:g} MB that are in the cloud only; {devices} devices on one LAN",
            f"each link: {rate:g} Mbit/s each way; to the tracker: {uplink:g} Mbit/s, 20 ms one way",
        ],
        check=partial(check_office, "offload"),
        need=SCENES * (devices + 4) * setting.size + (256 << 20),
        socket=LONGEST_SOCKET,
        work=work,
        json_file=json_file,
    )
    context.exit(trio.run(conduct, plan, found))
