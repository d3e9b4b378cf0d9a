"""The scenes, one after the other in one office.

The author is beside the tracker, beyond the uplink, and is gone when the file is in the cloud.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import trio

from bench.company import connected, settled, start_all
from bench.failures import BenchFailed
from bench.lan.clock import flush
from bench.lan.works import Save
from bench.measuring import Say
from bench.network import Line
from bench.office import HOME_DELAY, MBIT, Office, link_rate, office
from bench.offload.figures import Scene, Taken
from bench.parts import Device
from bench.sampling import Counters, counters_of
from bench.spreading import arrivals, new_file, verify_all

UPLOAD_SECONDS = 300.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Setting:
    """`size` in bytes, `rate` of each device's link and `uplink` in Mbit/s."""

    devices: int
    size: int
    rate: float
    uplink: float
    runs: int


async def measure(setting: Setting, place: Path, told: Callable[[Scene], None], say: Say) -> None:
    """All scenes in each run."""
    for run in range(1, setting.runs + 1):
        say(f"run {run}  setting up")
        await _run(setting, run, place / f"offload-{run}", told)


async def _run(setting: Setting, run: int, place: Path, told: Callable[[Scene], None]) -> None:
    names = [f"device-{number:02}" for number in range(1, setting.devices + 1)]
    line = Line(rate=setting.uplink * MBIT, delay=HOME_DELAY)
    async with office(place, names, link_rate(setting.rate), line, author=True) as made:
        await made.open()
        stage = _Stage(setting, run, made)
        for scene in (stage.running, stage.started, stage.one_by_one):
            told(await scene())
            await trio.to_thread.run_sync(flush, place)
    for file in place.glob("*/Shoal/*.bin"):
        file.unlink()


class _Stage:
    """One run's scenes."""

    def __init__(self, setting: Setting, run: int, made: Office) -> None:
        """All devices run and have met, and the author runs as well."""
        assert made.author is not None
        self._setting, self._run, self._office = setting, run, made
        self._author = made.author

    async def running(self) -> Scene:
        """All run, and have met; they wait for it while it is uploaded."""
        devices = self._office.devices
        await connected(self._office.programs, devices)
        await self._author.start()

        async def begin(_: Save) -> None:
            await self._author.stop()

        return await self._scene("running", devices, begin)

    async def started(self) -> Scene:
        """They start all at once, when it is in the cloud."""
        await self._stop_all()
        await self._author.start()

        async def begin(_: Save) -> None:
            await self._author.stop()
            await start_all(self._office.devices)

        return await self._scene("started", self._office.devices, begin)

    async def one_by_one(self) -> Scene:
        """The first has it when the others start."""
        await self._stop_all()
        await self._author.start()
        first, *others = self._office.devices

        async def begin(save: Save) -> None:
            await self._author.stop()
            await first.start()
            await arrivals(save, [first], perf_counter())
            await start_all(others)

        return await self._scene("one by one", self._office.devices, begin)

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for device in self._office.devices:
                nursery.start_soon(device.stop)

    async def _scene(self, name: str, devices: Sequence[Device], begin: Callable[[Save], Awaitable[None]]) -> Scene:
        """Put the file in the cloud, let it begin, and wait until all devices have it."""
        made = self._office
        assert made.uplink is not None
        save = new_file(f"{name}.bin", self._setting.size)
        before, wire = {device.name: counters_of(device) for device in devices}, made.uplink.carried()
        await self._upload(save)
        began = perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin, save)
            seconds = await arrivals(save, devices, began)
        taken = made.uplink.carried().since(wire).received
        await settled(made.programs, devices)
        await verify_all(save, self._author.folder, devices)
        moved = [Taken(each.name, **_difference(before[each.name], counters_of(each))) for each in devices]
        return Scene(self._run, name, self._setting.size, seconds, tuple(moved), taken)

    async def _upload(self, save: Save) -> None:
        """Return when the author says that all of it is in the cloud."""
        before = (await self._author.status()).revision
        await trio.to_thread.run_sync(save.write, self._author.folder)
        with trio.move_on_after(UPLOAD_SECONDS):
            while True:
                status = await self._author.status()
                if status.done and status.revision > before:
                    return
                await trio.sleep(LOOK_SECONDS)
        raise BenchFailed(f"the author's file is not in the cloud within {UPLOAD_SECONDS:g} s: {status}")


def _difference(before: Counters, after: Counters) -> Mapping[str, int]:
    return {name: after[name] - before[name] for name in ("lan_in", "cloud_in")}
