"""The LAN before the cloud: three machines on a bridge, and a tracker at the far end of a slow line.

A large file is on both peers long before the line could carry it up once, and neither takes it from the cloud.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from bench.certificates import self_signed
from bench.network import Line
from tests.support.lan_lab import Network, SlowLine
from tests.support.processes import LOOK, PATIENCE, DeviceProgram, Lab, TrackerProgram, settled, until

NAMES = ("one", "two", "three")
ETHERNET = "1gbit"
UPLINK = Line(rate=20e6, delay=0.02)
MB = 1_000_000
SIZE = 100 * MB
"""It takes 40 s over the uplink, 0.8 s over one machine's Ethernet."""
SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Office:
    """Devices of one account, not yet running, each on a machine of its own."""

    tracker: TrackerProgram
    uplink: SlowLine
    devices: tuple[DeviceProgram, ...]


@pytest.fixture
async def office(lab: Lab, network: Network, tmp_path: Path) -> Office:
    cloud, uplink = network.far_machine("tracker", UPLINK)
    tracker = lab.tracker(machine=cloud, certificate=self_signed(tmp_path, cloud.address))
    await tracker.start()
    machines = {name: network.machine(name, rate=ETHERNET) for name in NAMES}
    return Office(tracker, uplink, tuple(await lab.devices(tracker, *NAMES, machines=machines)))


async def met(device: DeviceProgram, *others: DeviceProgram) -> None:
    """Wait until a device is connected to exactly these others."""
    names, seen = {other.name for other in others}, set[str]()
    with trio.move_on_after(PATIENCE):
        while True:
            seen = {peer["name"] for peer in (await device.status())["peers"]}
            if seen == names:
                return
            await trio.sleep(LOOK)
    raise AssertionError(f"{device.name} has met {seen} within {PATIENCE:g} s, not {names}")


async def counted(device: DeviceProgram) -> dict[str, int]:
    """The bytes it has moved so far."""
    counters: dict[str, int] = (await device.status())["bytes"]
    return counters


def not_durable(status: dict[str, Any]) -> int:
    """How many files are not in the cloud yet."""
    (home,) = status["workspaces"]
    return int(home["not_durable"])


async def spread(office: Office, aside: Path) -> None:
    """Let a file appear on the first device, and hold what becomes of it to what the LAN promises."""
    author, *others = office.devices
    content = os.urandom(SIZE)
    with aside.open("wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    await settled(*office.devices)
    before = [await counted(device) for device in others]
    begun = trio.current_time()
    aside.rename(author.folder / "film")
    await until(lambda: all((device.folder / "film").exists() for device in others), 60)
    took = trio.current_time() - begun
    assert [not_durable(await device.status()) for device in office.devices] == [1, 1, 1]
    for device in others:
        assert (device.folder / "film").read_bytes() == content
    assert took <= SECONDS, f"on both peers after {took:.1f} s"
    office.uplink.change(Line(rate=1e9, delay=0.001))
    await settled(*office.devices, seconds=60)
    for device, then in zip(others, before, strict=True):
        now = await counted(device)
        assert now["lan_in"] - then["lan_in"] >= SIZE
        assert now["cloud_in"] - then["cloud_in"] < MB
    await office.tracker.check()


async def test_a_large_file_is_on_both_peers_while_it_goes_up(office: Office, tmp_path: Path) -> None:
    one, two, three = office.devices
    for device in office.devices:
        await device.start(lan=True)
    await met(one, two, three)
    await met(two, one, three)
    await met(three, one, two)
    await spread(office, tmp_path / "aside")


async def test_the_same_without_multicast(office: Office, network: Network, tmp_path: Path) -> None:
    network.drop_multicast()
    one, two, three = office.devices
    assert one.machine is not None
    machine = one.machine
    await one.start(lan=True)
    await until(lambda: len(machine.listening()) == 1)
    (port,) = machine.listening()
    for device in (two, three):
        await device.start("--lan-peer", f"{machine.address}:{port}", lan=True)
    await met(one, two, three)
    await spread(office, tmp_path / "aside")
    # Nobody has found anybody but by that option.
    await met(two, one)
    await met(three, one)
