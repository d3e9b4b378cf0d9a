"""An office: devices of one account on a LAN, each a machine of its own, and a tracker beyond their uplink."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.certificates import self_signed
from bench.company import connected, join_all, settled, start_all
from bench.failures import BenchFailed
from bench.network import Line, Machine, Network, SlowLine, check_network, network
from bench.network.lan import Uplink
from bench.parts import Device, Tracker
from bench.programs import Programs, programs, watched

MBIT = 10**6
LONGEST_SOCKET = "shoal-bench-xxxxxxxx/offload-00-0/receiver-00/home/control"
HOME_DELAY = 0.02
"""Seconds from a home to a server, one way."""


def check_office(who: str) -> None:
    """`BenchFailed`, in one line, when `who` can't have an office here."""
    check_network(who)
    if shutil.which("openssl") is None:
        raise BenchFailed(f"{who} needs openssl, for the tracker's certificate")


@dataclass(frozen=True)
class Office:
    """All of it. Where the tracker is on the LAN there is no uplink.

    The author is one more device of the account, beside the tracker, if it was asked for.
    """

    network: Network
    programs: Programs
    tracker: Tracker
    devices: tuple[Device, ...]
    line: SlowLine | None
    uplink: Uplink | None
    author: Device | None = None

    async def open(self) -> None:
        """Start all devices; return when they have met and are at rest."""
        await start_all(self.devices)
        await connected(self.programs, self.devices)
        await settled(self.programs, self.devices)


@asynccontextmanager
async def office(
    place: Path,
    names: Sequence[str],
    rate: str | None,
    line: Line | None,
    *,
    whole_packets: bool = False,
    author: bool = False,
) -> AsyncIterator[Office]:
    """An office below `place`, which is made: devices that have joined and don't run yet.

    `rate` is of each device's link; without a `line` the tracker is on the LAN, on a link without any limit.
    `whole_packets`: see `Network.machine`. `BenchFailed` when a program ends by itself meanwhile.
    """
    place.mkdir()
    with network() as made:
        async with programs(place / "logs") as running, watched(running):
            cloud, slow = _cloud(made, line, whole_packets=whole_packets)
            certificate = self_signed(place, cloud.address)
            tracker = Tracker(running, place / "tracker", machine=cloud, certificate=certificate)
            await tracker.start()
            machines = [made.machine(name, rate, whole_packets=whole_packets) for name in names]
            devices = [Device(running, each.name, place / each.name, machine=each) for each in machines]
            beside = Device(running, "author", place / "author", ["--no-lan"], machine=cloud) if author else None
            await join_all([*devices, *([beside] if beside else [])], tracker)
            yield Office(made, running, tracker, tuple(devices), slow, made.uplink() if slow else None, beside)


def _cloud(made: Network, line: Line | None, *, whole_packets: bool) -> tuple[Machine, SlowLine | None]:
    if line is None:
        return made.machine("cloud", whole_packets=whole_packets), None
    return made.far_machine("cloud", line)


def link_rate(mbit: float) -> str:
    """A link's rate in `tc`'s words."""
    return f"{mbit * MBIT:.0f}bit"
