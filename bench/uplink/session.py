"""The turns: each from nothing, in an office of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.company import settled
from bench.lan.clock import flush
from bench.lan.works import KIB
from bench.measuring import Say
from bench.network import Line
from bench.office import HOME_DELAY, MBIT, Office, link_rate, office
from bench.parts import Device
from bench.sampling import sampling
from bench.spreading import new_file, spread, verify_all
from bench.uplink.figures import FREE, LIMITED, Turn, moments

AUTHOR, PEER = "author", "peer"
FILE = "large.bin"
SMALL_FILES = 5
"""Saved one after the other, each when the last has arrived: at rest, and again while the large one goes up."""


@dataclass(frozen=True)
class Setting:
    """`size` in bytes, `rate` of the LAN and `uplink` in Mbit/s."""

    size: int
    rate: float
    uplink: float
    runs: int


async def measure(setting: Setting, place: Path, told: Callable[[Turn], None], say: Say) -> None:
    """All turns: in each run with the uplink, then without a limit."""
    for run in range(1, setting.runs + 1):
        for name in (LIMITED, FREE):
            say(f"run {run}  {name}: setting up")
            told(await _turn(setting, run, name, place / f"uplink-{run}-{name}"))


async def _turn(setting: Setting, run: int, name: str, place: Path) -> Turn:
    line = Line(rate=setting.uplink * MBIT, delay=HOME_DELAY) if name == LIMITED else None
    async with office(place, (AUTHOR, PEER), link_rate(setting.rate), line) as made:
        await made.open()
        turn = await _measure(setting, run, name, made, place)
    for file in place.glob(f"*/Shoal/{FILE}"):
        file.unlink()
    return turn


async def _measure(setting: Setting, run: int, name: str, made: Office, place: Path) -> Turn:
    author, peer = made.devices
    at_rest = await _small_files("rest", author, peer)
    await settled(made.programs, made.devices)
    await trio.to_thread.run_sync(flush, place)
    save = new_file(FILE, setting.size)
    async with sampling(made.devices) as samples:
        large = await spread(save, author, [peer])
        meanwhile = await _small_files("meanwhile", author, peer)
        under_way = (await author.status()).not_durable > 0
        await settled(made.programs, made.devices)
    await verify_all(save, author.folder, [peer])
    last = samples.taken[-1]
    return Turn(
        run=run,
        uplink=name,
        size=setting.size,
        writing=large.writing,
        seconds=large.seconds[0],
        small_at_rest=at_rest,
        small_meanwhile=meanwhile,
        under_way=under_way,
        durable_seconds=last.at - large.saved,
        from_lan=last.moved[PEER]["lan_in"],
        from_cloud=last.moved[PEER]["cloud_in"],
        moments=moments(samples.taken, AUTHOR, PEER, large.saved),
    )


async def _small_files(label: str, author: Device, peer: Device) -> tuple[float, ...]:
    """Seconds that each took."""
    took = []
    for number in range(SMALL_FILES):
        (seconds,) = (await spread(new_file(f"{label}-{number}.txt", KIB), author, [peer])).seconds
        took.append(seconds)
    return tuple(took)
