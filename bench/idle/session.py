"""A tracker, one device without a LAN, and a folder of many small files that are all synced and in the cloud."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bench.failures import BenchFailed
from bench.idle.figures import Rest, Start
from bench.lan.usage import Daemon
from bench.parts import Device, Tracker
from bench.programs import Programs, programs
from peer.control import ask
from peer.home import CONTROL_SOCKET

PASSWORD = "correct horse battery staple"
EACH = 100
"""Files in a directory."""
PREPARE_SECONDS, START_SECONDS = 1800.0, 120.0
LOOK_SECONDS = 0.02
SETTLE_SECONDS = 5.0
"""After which what a start leaves to be done is done."""


@asynccontextmanager
async def prepared(place: Path, files: int) -> AsyncIterator[tuple[Device, Programs]]:
    """The device, stopped, with everything in place; the tracker runs."""
    async with programs(place / "logs") as running:
        tracker = Tracker(running, place / "tracker")
        await tracker.start()
        device = Device(running, "device", place, ["--no-lan"])
        await device.join("signup", "bench@example.org", PASSWORD, tracker)
        await trio.to_thread.run_sync(_write, device.folder, files)
        await device.start()
        await device.confirm_durable(PREPARE_SECONDS)
        await device.stop()
        yield device, running


def _write(folder: Path, files: int) -> None:
    for number in range(files):
        directory = folder / f"{number // EACH // 100:03}" / f"{number // EACH % 100:02}"
        if number % EACH == 0:
            directory.mkdir(parents=True)
        (directory / f"file {number}.txt").write_bytes(b"%d\n" % number * 10)
    os.sync()


async def measure_starts(device: Device, runs: int, told: Callable[[Start], None]) -> None:
    """Start it again and again."""
    for _ in range(runs):
        told(await _start(device))
        await device.stop()


async def _start(device: Device) -> Start:
    """Start it, and wait until it says that it is synced."""
    began = trio.current_time()
    await device.start()
    assert device.running is not None
    daemon = Daemon(device.running.process.pid)
    with trio.move_on_after(START_SECONDS):
        await _done(device)
        synced, usage = trio.current_time() - began, await daemon.used()
        return Start(await _scan_seconds(device), synced, usage.cpu_seconds, usage.peak_bytes)
    raise BenchFailed(f"not synced within {START_SECONDS:g} s of its start", device.running.log)


async def _done(device: Device) -> None:
    while True:
        if (await device.status()).done:
            return
        await trio.sleep(LOOK_SECONDS)


async def _scan_seconds(device: Device) -> float:
    answer = await ask(str(device.home / CONTROL_SOCKET), "status")
    return float(answer["scan_seconds"])


async def measure_rest(device: Device, seconds: float) -> Rest:
    """Leave it alone, then have it look at everything once."""
    start = await _start(device)
    assert device.running is not None
    daemon = Daemon(device.running.process.pid)
    await trio.sleep(SETTLE_SECONDS)
    daemon.reset()
    began = trio.current_time()
    await trio.sleep(seconds)
    lasted, rest = trio.current_time() - began, await daemon.used()
    resident = _resident_bytes(daemon.pid)
    daemon.reset()
    await device.confirm_durable(START_SECONDS)
    look = await daemon.used()
    await device.stop()
    return Rest(lasted, rest.cpu_seconds, look.cpu_seconds, resident, max(start.peak_bytes, look.peak_bytes))


def _resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))
