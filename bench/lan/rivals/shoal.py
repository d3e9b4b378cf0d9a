"""Shoal: a tracker and two devices, on loopback."""

import secrets
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bench.failures import BenchFailed
from bench.lan.rivals.base import LOOK_SECONDS, READY_SECONDS, SETTLE_SECONDS, Rival, Running
from bench.lan.usage import Daemon, Measured
from bench.lan.works import Saved
from bench.machine import program
from bench.parts import Device, Tracker
from bench.programs import Programs, environment

EMAIL = "bench@example.org"
PLAN = "premium"
"""The free plan holds no two versions of the bulk file."""
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
        with trio.move_on_after(SETTLE_SECONDS):
            while not await self._at_rest():
                self._programs.check()
                await trio.sleep(LOOK_SECONDS)
            return
        said = [f"{device.name}: {await device.status()}" for device in self._devices]
        raise BenchFailed(f"not in the cloud within {SETTLE_SECONDS:g} s: {'; '.join(said)}")

    async def _at_rest(self) -> bool:
        statuses = [await device.status() for device in self._devices]
        return all(status.done for status in statuses) and len({status.revision for status in statuses}) == 1

    @property
    def _devices(self) -> tuple[Device, Device]:
        return self._sender, self._receiver

    async def counters(self) -> dict[str, int]:
        """The devices' own counters: of the sender what went to the cloud, of the receiver what came from where."""
        for device in self._devices:
            await device.status()
        sender, receiver = self._sender.moved, self._receiver.moved
        return {
            "lan_in": receiver["lan_in"],
            "cloud_in": receiver["cloud_in"],
            "cloud_out": sender["cloud_out"],
        }

    async def connected(self) -> None:
        """Return when both have found each other on the LAN."""
        with trio.move_on_after(READY_SECONDS):
            while not all([(await device.status()).peers for device in self._devices]):
                self._programs.check()
                await trio.sleep(LOOK_SECONDS)
            return
        logs = [device.running.log for device in self._devices if device.running is not None]
        raise BenchFailed(f"the devices did not find each other on the LAN within {READY_SECONDS:g} s", *logs)


@asynccontextmanager
async def _start(place: Path, programs: Programs) -> AsyncIterator[Running]:
    lan = [LAN_OPTION, "127.0.0.1"] if has_lan() else []
    tracker = Tracker(programs, place / "tracker")
    sender = Device(programs, "sender", place / "sender", lan)
    receiver = Device(programs, "receiver", place / "receiver", lan)
    password = secrets.token_urlsafe(24)
    await tracker.start()
    await sender.join("signup", EMAIL, password, tracker)
    await tracker.give_plan(EMAIL, PLAN)
    await receiver.join("login", EMAIL, password, tracker)
    for device in (sender, receiver):
        await device.start()
    shoal = Shoal(programs, tracker, sender, receiver)
    if lan:
        await shoal.connected()
    await shoal.settle()
    yield shoal


def has_lan() -> bool:
    """Whether this Shoal's devices can be told where to look for one another."""
    command = [program("shoal"), "run", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout
    return LAN_OPTION in said


def _missing() -> str | None:
    try:
        for name in ("shoal", "shoal-tracker"):
            program(name)
    except BenchFailed as error:
        return str(error)
    return None


def _describe() -> str:
    command = [program("shoal"), "--version"]
    version = subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout.strip()
    way = (
        f"devices with {LAN_OPTION} 127.0.0.1" if has_lan() else f"no {LAN_OPTION} yet, so all goes through the tracker"
    )
    return f"{version}; a tracker with its data in a folder, two devices; {way}"


def _moved(counters: Mapping[str, int]) -> int:
    return counters["lan_in"] + counters["cloud_in"]


SHOAL = Rival("shoal", _missing, _describe, _start, _moved)
