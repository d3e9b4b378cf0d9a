"""Shoal: a tracker and two devices, on loopback."""

import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.company import connected, join_all, settled, start_all
from bench.failures import BenchFailed
from bench.lan.rivals.base import READY_SECONDS, SETTLE_SECONDS, Rival, Running
from bench.lan.usage import Daemon, Measured
from bench.lan.works import Saved
from bench.machine import program
from bench.parts import Device, Tracker
from bench.programs import Programs, environment

LAN_OPTION = "--lan-interface"


class Shoal:
    """See `Running`."""

    def __init__(self, programs: Programs, tracker: Tracker, sender: Device, receiver: Device) -> None:
        """All three run."""
        assert tracker.running is not None
        assert sender.running is not None
        assert receiver.running is not None
        self._programs = programs
        self._sender, self._receiver = sender, receiver
        self.source, self.target = sender.folder, receiver.folder
        parts = {"sender": sender.running, "receiver": receiver.running, "tracker": tracker.running}
        self.processes: Mapping[str, Measured] = {name: Daemon(part.process.pid) for name, part in parts.items()}

    async def saved(self, files: Sequence[Saved]) -> None:
        """The sender will notice."""

    async def settle(self) -> None:
        """Return when both say that all is in place and in the cloud."""
        await settled(self._programs, (self._sender, self._receiver), SETTLE_SECONDS)

    async def counters(self) -> dict[str, int]:
        """The devices' own counters: of the sender what went to the cloud, of the receiver what came from where."""
        for device in (self._sender, self._receiver):
            await device.status()
        sender, receiver = self._sender.moved, self._receiver.moved
        return {
            "lan_in": receiver["lan_in"],
            "cloud_in": receiver["cloud_in"],
            "cloud_out": sender["cloud_out"],
        }


@asynccontextmanager
async def _start(place: Path, programs: Programs) -> AsyncIterator[Running]:
    lan = [LAN_OPTION, "127.0.0.1"] if has_lan() else []
    tracker = Tracker(programs, place / "tracker")
    sender = Device(programs, "sender", place / "sender", lan)
    receiver = Device(programs, "receiver", place / "receiver", lan)
    devices = (sender, receiver)
    await tracker.start()
    await join_all(devices, tracker)
    await start_all(devices)
    if lan:
        await connected(programs, devices, READY_SECONDS)
    shoal = Shoal(programs, tracker, sender, receiver)
    await shoal.settle()
    yield shoal


def has_lan() -> bool:
    """Whether this Shoal's devices can be told where to look for one another."""
    command = [program("shoal"), "run", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout
    return LAN_OPTION in said


def missing() -> str | None:
    """Why there can be none."""
    try:
        for name in ("shoal", "shoal-tracker"):
            program(name)
    except BenchFailed as error:
        return str(error)
    return None


def version() -> str:
    """Of this Shoal."""
    command = [program("shoal"), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout.strip()


def _describe() -> str:
    way = (
        f"devices with {LAN_OPTION} 127.0.0.1" if has_lan() else f"no {LAN_OPTION} yet, so all goes through the tracker"
    )
    return f"{version()}; a tracker with its data in a folder, two devices; {way}"


def _moved(counters: Mapping[str, int]) -> int:
    return counters["lan_in"] + counters["cloud_in"]


SHOAL = Rival("shoal", missing, _describe, _start, _moved)
