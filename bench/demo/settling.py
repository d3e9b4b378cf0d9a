"""Waiting until two devices agree: by their own word, and by what is in their folders."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import trio

from bench.compare import differences, listing
from bench.demo.screen import Phase
from bench.failures import BenchFailed
from bench.parts import Device
from bench.programs import Programs

T = TypeVar("T")

PHASE_SECONDS = 120.0
"""For any one phase: what takes longer has failed."""
SHOWN = 3
"""Differences named in a failure."""
_LOOK_SECONDS = 0.2


async def in_thread(function: Callable[[], T]) -> T:
    """File work away from the loop."""
    return await trio.to_thread.run_sync(function)


async def settle(programs: Programs, devices: Sequence[Device], shown: Phase, since: Sequence[Counter[str]]) -> None:
    """Return when all devices say that everything is in place and in the cloud, and their folders list alike.

    The folders count because a device can't know of a change before its watcher has told it, and because a demo should
    not take anybody's word. `since` is what the devices had moved at the beginning.
    """
    with trio.move_on_after(PHASE_SECONDS):
        while not (await _all_done(devices, shown, since) and not await _differences(devices)):
            programs.check()
            await trio.sleep(_LOOK_SECONDS)
        return
    said = [f"{device.name}: {await device.status()}" for device in devices]
    problem = f"not equal and in the cloud within {PHASE_SECONDS:g} s: {'; '.join(said)}"
    raise BenchFailed(summary(problem, await _differences(devices)), *logs(devices))


async def _all_done(devices: Sequence[Device], shown: Phase, since: Sequence[Counter[str]]) -> bool:
    statuses = []
    for device, before in zip(devices, since, strict=True):
        status = await device.status()
        shown.show(device.name, status, (device.moved - before).total())
        statuses.append(status)
    return all(status.done for status in statuses) and len({status.revision for status in statuses}) == 1


async def _differences(devices: Sequence[Device]) -> list[str]:
    """How the folders differ, as far as names, times and modes tell."""
    one, other = devices
    try:
        left = await in_thread(partial(listing, one.folder, contents=False))
        right = await in_thread(partial(listing, other.folder, contents=False))
    except OSError as error:
        return [f"a folder changes while it is looked at: {error.strerror}"]
    return list(differences(left, right, one.name, other.name))


async def settle_alone(programs: Programs, device: Device) -> None:
    """Return when `device` has sent something and says that all of it is in the cloud."""
    revision = (await device.status()).revision
    with trio.move_on_after(PHASE_SECONDS):
        while not ((status := await device.status()).done and status.revision > revision):
            programs.check()
            await trio.sleep(_LOOK_SECONDS)
        return
    raise BenchFailed(f"{device.name} is {await device.status()} after {PHASE_SECONDS:g} s", *logs([device]))


def summary(problem: str, lines: Sequence[str]) -> str:
    """One line: the problem with the first differences."""
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join([problem, *islice(lines, SHOWN)]) + more


def logs(devices: Sequence[Device]) -> list[Path]:
    """The logs of those that run."""
    return [device.running.log for device in devices if device.running is not None]
