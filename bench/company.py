"""Devices of one account that work together: how they come to it, and waiting for them."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import trio

from bench.failures import BenchFailed
from bench.parts import Device, Tracker
from bench.programs import Programs

EMAIL = "bench@example.org"
PLAN = "premium"
"""The free plan holds no two versions of a file of 1,000 MiB."""
LOOK_SECONDS = 0.05
CONNECT_SECONDS = 60.0
SETTLE_SECONDS = 900.0


async def join_all(devices: Sequence[Device], tracker: Tracker) -> None:
    """Sign up with the first device, and log in with all others at once."""
    password = secrets.token_urlsafe(24)
    first, *others = devices
    await first.join("signup", EMAIL, password, tracker)
    await tracker.give_plan(EMAIL, PLAN)
    async with trio.open_nursery() as nursery:
        for device in others:
            nursery.start_soon(device.join, "login", EMAIL, password, tracker)


async def start_all(devices: Sequence[Device]) -> None:
    """Start their daemons at once; return when all have reached the tracker."""
    async with trio.open_nursery() as nursery:
        for device in devices:
            nursery.start_soon(device.start)


async def connected(programs: Programs, devices: Sequence[Device], seconds: float = CONNECT_SECONDS) -> None:
    """Return when each has found all others on the LAN."""

    async def are() -> bool:
        return all([(await device.status()).peers == len(devices) - 1 for device in devices])

    if not await _until(are, programs, seconds):
        raise BenchFailed(f"the devices did not find each other on the LAN within {seconds:g} s", *_logs(devices))


async def settled(programs: Programs, devices: Sequence[Device], seconds: float = SETTLE_SECONDS) -> None:
    """Return when all say that everything is in place and in the cloud, at the same revision."""
    if not await _until(partial(_at_rest, devices), programs, seconds):
        said = [f"{device.name}: {await device.status()}" for device in devices]
        raise BenchFailed(f"not in the cloud within {seconds:g} s: {'; '.join(said)}", *_logs(devices))


async def _at_rest(devices: Sequence[Device]) -> bool:
    statuses = [await device.status() for device in devices]
    return all(status.done for status in statuses) and len({status.revision for status in statuses}) == 1


async def _until(condition: Callable[[], Awaitable[bool]], programs: Programs, seconds: float) -> bool:
    """Whether it came true in time."""
    with trio.move_on_after(seconds):
        while not await condition():
            programs.check()
            await trio.sleep(LOOK_SECONDS)
        return True
    return False


def _logs(devices: Sequence[Device]) -> list[Path]:
    return [device.running.log for device in devices if device.running is not None]
