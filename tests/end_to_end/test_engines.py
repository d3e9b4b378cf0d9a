"""A tracker of two processes on PostgreSQL and S3, each part of it killed while files are on their way."""

import random
from collections.abc import Callable, Iterator

import pytest
import trio

from tests.support.postgres import PostgresServer, postgres_server
from tests.support.processes import DeviceProgram, Lab, TrackerProgram, contents, settled, until, write
from tests.support.relay import Relay, port_of
from tests.support.seaweed import SeaweedServer, seaweed_server

RATE = 2_500_000
"""Bytes a second from the first device: slow enough for there to be a middle."""
HALF = 2_500_000
"""Bytes, of what is saved at a time."""
PATIENCE = 90
"""Seconds: devices ask less and less often while something is away, and SeaweedFS takes its time to come back."""


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server to kill."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def seaweed(monkeypatch: pytest.MonkeyPatch) -> Iterator[SeaweedServer]:
    """An S3 server to kill, for which programs have the credentials."""
    with seaweed_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
async def tracker(lab: Lab, postgres: PostgresServer, seaweed: SeaweedServer) -> TrackerProgram:
    """Two workers on both."""
    made = lab.tracker()
    made.database, made.storage = postgres.url(), seaweed.url("tracker")
    await made.start("--workers", "2")
    return made


def files_of(device: DeviceProgram) -> dict[str, bytes]:
    """The files of a device, by their paths."""
    return {path: content for path, content in contents(device.folder).items() if content != b"/"}


class Scene:
    """Two devices, and all that should be in their folders."""

    def __init__(self, one: DeviceProgram, two: DeviceProgram, uplink: Relay) -> None:
        self.one, self.two, self.uplink = one, two, uplink
        self.random = random.Random(4)
        self.expected: dict[str, bytes] = {}
        self.durable: set[str] = set()
        """The files that were said to be in the cloud when something was killed."""

    def save(self, folder: str) -> None:
        """New files of all sizes, and one that is there in another version."""
        files = {f"{folder}/{number}": self.random.randbytes(300 << number) for number in range(14)}
        for path, content in {**files, "edited again and again": self.random.randbytes(100_000)}.items():
            write(self.one.folder / path, content)
            self.expected[path] = content

    async def in_the_middle(self, carried: int) -> None:
        """Wait until half of what was saved has left the device, which had sent so much before; note what is said to be
        in the cloud."""
        await until(lambda: self.carried() > carried + HALF, what=lambda: "no half was sent", seconds=PATIENCE)
        for path in self.expected:
            if "in the cloud: yes" in await self.one.explain(path):
                self.durable.add(path)

    def carried(self) -> int:
        """What the first device has sent and received, in bytes."""
        return sum(map(len, self.uplink.streams))

    async def settle(self) -> None:
        """Both devices have everything, and say so."""
        await settled(self.one, self.two, seconds=PATIENCE)
        assert files_of(self.two) == self.expected


@pytest.mark.timeout(300)
async def test_every_part_may_be_killed_in_the_middle(
    lab: Lab, tracker: TrackerProgram, postgres: PostgresServer, seaweed: SeaweedServer, nursery: trio.Nursery
) -> None:
    relay = Relay(port_of(tracker.url))
    await nursery.start(relay.run)
    relay.rate = RATE
    one, two, three = await lab.devices(tracker, "one", "two", "three", via={"one": relay.url})
    scene = Scene(one, two, relay)
    await one.start()
    await two.start()

    async def killed(name: str, kill: Callable[[], None]) -> None:
        carried = scene.carried()
        scene.save(name)
        await scene.in_the_middle(carried)
        kill()
        scene.save(f"{name}, while it is away")

    await killed("SeaweedFS", seaweed.kill)
    await trio.to_thread.run_sync(seaweed.restart)
    await scene.settle()
    await killed("PostgreSQL", postgres.kill)
    await trio.to_thread.run_sync(postgres.start)
    await scene.settle()
    await killed("the tracker", tracker.kill)
    await tracker.start("--workers", "2")
    await scene.settle()

    await tracker.check()
    for device in (one, two):
        assert await device.state() == "synced"
        device.kill()
    # Now only the cloud has it all.
    await three.start()
    await three.wait("durable", PATIENCE)
    assert files_of(three) == scene.expected
    assert len(scene.durable) >= 12
