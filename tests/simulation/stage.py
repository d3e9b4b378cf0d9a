"""A stage: the tracker and some devices, and a scene that is told what to do when, hour by hour.

Where the simulations by seed let anything happen, a scene makes one thing happen. Nothing fails but what it says.
"""

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from protocol.breaker import Limits
from protocol.names import RESERVED
from tests.simulation.accounts import DEVICES, EMAIL, engine_of, prepared
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.host import TrackerHost
from tests.simulation.lan import Air
from tests.simulation.log import EventLog, taking_in_logs
from tests.simulation.machine import WallClock, simulated_machine
from tests.simulation.network import Weather
from tests.simulation.world import seeded_scheduler

UPLOADS = frozenset({"/v1/pack"})
HOUR = 3600.0
NOTICED = 5.0
"""Seconds after which a save has been noticed."""
LONG = 300.0
"""Seconds in which what should happen without delay has happened."""


class Stage:
    """Everything there is. Devices are on one LAN unless taken off it."""

    def __init__(self, nursery: trio.Nursery, log: EventLog, seed: int = 1) -> None:
        label = f"stage {seed}" if seed > 1 else "stage"
        self.log = log
        self.air = Air()
        self.weather = Weather()
        self._nursery = nursery
        kept = prepared()
        self.clock = WallClock()
        """The tracker's."""
        self.host = TrackerHost(simulated_machine(f"{label}/tracker", now=self.clock), engine_of(kept.database), log)
        self.devices = {
            name: SimulatedDevice(
                name, f"{label}/{name}", credentials, self.host, self.weather, self.air, log, _nothing, _nothing
            )
            for name, credentials in zip(DEVICES, kept.credentials, strict=True)
        }

    def limit(self, limits: Limits) -> None:
        """How much may be deleted or overwritten unasked. Devices that run learn it in a while."""
        self.host.limit(EMAIL, limits)

    async def begin(self, *names: str) -> list[SimulatedDevice]:
        """Start the tracker and these devices, and wait until they have met."""
        await self.raise_tracker()
        for name in names:
            self.devices[name].disk.user.mkdir(FOLDER)
            self.devices[name].disk.volume.journal.sync()
            self.start(self.devices[name])
        chosen = [self.devices[name] for name in names]
        await self.until(lambda: all(self._has_met(device, len(names) - 1) for device in chosen))
        return chosen

    async def raise_tracker(self) -> None:
        """Start the tracker."""
        await self._nursery.start(self.host.run)

    async def restart_tracker(self) -> None:
        """Start the tracker once it has ended."""
        await self.host.died.wait()
        await self.raise_tracker()

    def start(self, device: SimulatedDevice) -> None:
        """Switch a device on."""
        self._nursery.start_soon(device.run)

    def _has_met(self, device: SimulatedDevice, others: int) -> bool:
        return device.settled and device.peer is not None and len(device.peer.context.neighbours.links) == others

    def cut_off(self, device: SimulatedDevice, paths: frozenset[str] = frozenset()) -> None:
        """These paths to the tracker are cut off from a device, and no others."""
        device.cut_off_from(paths)

    def part_lan(self) -> None:
        """Nobody reaches anybody on the LAN any more."""
        self.air.weather.up = False
        self.air.cut_all()

    @staticmethod
    def _equal(first: SimulatedDevice, *others: SimulatedDevice) -> bool:
        return all(visible(other) == visible(first) for other in others)

    async def until(self, condition: Callable[[], object], seconds: float = LONG, *, every: float = 1.0) -> None:
        """Wait for something to become true."""
        deadline = trio.current_time() + seconds
        while True:
            if condition():
                return
            if trio.current_time() > deadline:
                reports = "\n".join(device.report() for device in self.devices.values())
                raise AssertionError(f"not within {seconds:g} s\n{reports}\n" + "\n".join(list(self.log.lines)[-60:]))
            await trio.sleep(every)

    async def pass_time(self, seconds: float) -> None:
        """Nothing in particular happens."""
        await trio.sleep(seconds)

    async def all_well(self, *devices: SimulatedDevice, seconds: float = LONG) -> None:
        """Everything is synced and in the cloud, nothing waits in `.shoal`, and the tracker is consistent."""
        await trio.sleep(NOTICED)
        await self.until(lambda: all(device.settled for device in devices) and self._equal(*devices), seconds)
        await self.until(lambda: not any(left_behind(device) for device in devices), seconds)
        assert await self.host.check() == []
        assert not self.log.errors


def _nothing(*_: object) -> None:
    pass


def save(device: SimulatedDevice, name: str, content: bytes) -> None:
    """Somebody saves a file."""
    device.disk.user.save(f"{FOLDER}/{name}", content)


def visible(device: SimulatedDevice) -> dict[str, bytes]:
    """The files in the folder, by path."""
    tree = device.disk.user.tree(FOLDER)
    return {path: entry[1] for path, entry in tree.items() if entry[0] == "file" and path.split("/")[0] != RESERVED}


def left_behind(device: SimulatedDevice) -> list[str]:
    """What waits in `.shoal`."""
    return [path for path in device.disk.user.tree(f"{FOLDER}/{RESERVED}") if path.count("/") == 1]


def not_durable(device: SimulatedDevice) -> int:
    """How many files are not in the cloud, as the device knows."""
    assert device.peer is not None
    return device.peer.context.store.not_durable_count()


def once_at(device: SimulatedDevice, call: str, act: Callable[[], None]) -> list[bool]:
    """Somebody acts just before the first such system call of the device; the list tells whether that has come."""
    acted, before_call = list[bool](), device.disk.before_call
    assert before_call is not None

    def before(name: str, arguments: tuple[object, ...]) -> None:
        before_call(name, arguments)
        if name == call and not acted:
            acted.append(True)
            act()

    device.disk.before_call = before
    return acted


def perform(scene: Callable[[Stage], Awaitable[None]], *, echo: bool = False, seed: int = 1) -> None:
    """Run a scene to its end. Delays, ids and the order of tasks follow from `seed`."""
    log = EventLog(keep=True, echo=echo)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await scene(Stage(nursery, log, seed))
            nursery.cancel_scope.cancel()

    prepared()
    with seeded_scheduler(seed), taking_in_logs(log):
        trio.run(main, clock=MockClock(autojump_threshold=0))
