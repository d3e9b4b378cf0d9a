"""The rounds: each from nothing, in an office of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.lan.clock import flush
from bench.measuring import Say
from bench.network import Line
from bench.office import HOME_DELAY, MBIT, Office, link_rate, office
from bench.sampling import sampling
from bench.spreading import new_file, spread, verify_all
from bench.swarm.figures import Received, Round, moments
from bench.words import counted

ORIGIN = "origin"
FILE = "new.bin"


@dataclass(frozen=True)
class Setting:
    """`receivers`: how many at most; `size` in bytes, `rate` and `uplink` in Mbit/s."""

    receivers: int
    size: int
    rate: float
    uplink: float
    runs: int


async def measure(setting: Setting, place: Path, told: Callable[[Round], None], say: Say) -> None:
    """All rounds: in each run with one receiver, then with all."""
    for run in range(1, setting.runs + 1):
        for receivers in sorted({1, setting.receivers}):
            say(f"run {run}  {counted(receivers, 'receiver')}: setting up")
            told(await _round(setting, run, receivers, place / f"swarm-{run}-{receivers}"))


async def _round(setting: Setting, run: int, receivers: int, place: Path) -> Round:
    names = [ORIGIN, *(f"receiver-{number:02}" for number in range(1, receivers + 1))]
    line = Line(rate=setting.uplink * MBIT, delay=HOME_DELAY)
    async with office(place, names, link_rate(setting.rate), line) as made:
        await made.open()
        await trio.to_thread.run_sync(flush, place)
        found = await _spread(setting, run, made)
    await trio.to_thread.run_sync(_make_room, place)
    return found


async def _spread(setting: Setting, run: int, made: Office) -> Round:
    origin, *receivers = made.devices
    assert origin.machine is not None
    assert made.uplink is not None
    save = new_file(FILE, setting.size)
    wire, uplink = origin.machine.carried(), made.uplink.carried()
    async with sampling(made.devices) as samples:
        spread_ = await spread(save, origin, receivers)
        sent = origin.machine.carried().since(wire).sent
        to_cloud = made.uplink.carried().since(uplink).sent
    await verify_all(save, origin.folder, receivers)
    last = samples.taken[-1].moved
    return Round(
        run=run,
        size=setting.size,
        writing=spread_.writing,
        seconds=spread_.seconds,
        origin_lan_out=last[ORIGIN]["lan_out"],
        origin_sent=sent,
        uplink_sent=to_cloud,
        received=tuple(
            Received(each.name, last[each.name]["lan_in"], last[each.name]["cloud_in"]) for each in receivers
        ),
        moments=moments(samples.taken, ORIGIN, spread_.saved),
    )


def _make_room(place: Path) -> None:
    """Remove what is large of a round that has ended."""
    for file in place.glob(f"*/Shoal/{FILE}"):
        file.unlink()
