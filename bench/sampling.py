"""The devices' own counters, while something is measured."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio

from bench.failures import BenchFailed
from bench.parts import Device

EVERY_SECONDS = 0.5
COUNTERS = ("lan_in", "lan_out", "cloud_in", "cloud_out")
Counters = Mapping[str, int]
"""Bytes by `COUNTERS`."""


@dataclass(frozen=True)
class Sample:
    """What each device has moved since sampling began, by its name."""

    at: float  # a moment of `time.perf_counter`
    moved: Mapping[str, Counters]


class Samples:
    """All of them, the first from before. A device that is too busy to answer counts as of its last answer."""

    def __init__(self, devices: Sequence[Device], before: Mapping[str, Counters]) -> None:
        self._devices, self._before = devices, before
        self.taken: list[Sample] = []
        self.take()

    def take(self) -> Sample:
        """One more."""
        now = {device.name: _difference(self._before[device.name], counters_of(device)) for device in self._devices}
        self.taken.append(Sample(time.perf_counter(), now))
        return self.taken[-1]

    async def keep_on(self) -> None:
        """One after the other, until cancelled."""
        while True:
            await trio.sleep(EVERY_SECONDS)
            self.take()


@asynccontextmanager
async def sampling(devices: Sequence[Device]) -> AsyncIterator[Samples]:
    """Sample while the block lasts; the last sample, taken when it ends well, is of that moment at each device."""
    await _ask_all(devices)
    samples = Samples(devices, {device.name: counters_of(device) for device in devices})
    async with trio.open_nursery() as nursery:
        for device in devices:
            nursery.start_soon(_ask_again_and_again, device)
        nursery.start_soon(samples.keep_on)
        yield samples
        nursery.cancel_scope.cancel()
    await _ask_all(devices)
    samples.take()


def counters_of(device: Device) -> Counters:
    """Bytes that it has moved, as of the last answer to a question for its status."""
    return {name: device.moved[name] for name in COUNTERS}


def _difference(before: Counters, after: Counters) -> Counters:
    return {name: after[name] - before[name] for name in COUNTERS}


async def _ask_all(devices: Sequence[Device]) -> None:
    for device in devices:
        await device.status()


async def _ask_again_and_again(device: Device) -> None:
    while True:
        await trio.sleep(EVERY_SECONDS)
        with suppress(BenchFailed):  # too busy; whoever watches the programs tells of one that has ended
            await device.status()
