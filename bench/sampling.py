"""The devices' own counters, while something is measured."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from bench.parts import Device

EVERY_SECONDS = 0.5
COUNTERS = ("lan_in", "lan_out", "cloud_in", "cloud_out")
Counters = Mapping[str, int]
"""Bytes by `COUNTERS`."""


@dataclass(frozen=True)
class Sample:
    """What each device has moved since the first sample, by its name."""

    at: float  # a moment of `time.perf_counter`
    moved: Mapping[str, Counters]


@dataclass
class Samples:
    """All of them, the first from before."""

    devices: Sequence[Device]
    taken: list[Sample] = field(default_factory=list)
    _before: dict[str, Counters] = field(default_factory=dict)

    async def take(self) -> Sample:
        """One more."""
        now = {}
        for device in self.devices:
            await device.status()
            counters = {name: device.moved[name] for name in COUNTERS}
            before = self._before.setdefault(device.name, counters)
            now[device.name] = {name: counters[name] - before[name] for name in COUNTERS}
        sample = Sample(time.perf_counter(), now)
        self.taken.append(sample)
        return sample

    async def keep_on(self) -> None:
        """One after the other, until cancelled."""
        while True:
            await trio.sleep(EVERY_SECONDS)
            await self.take()


@asynccontextmanager
async def sampling(devices: Sequence[Device]) -> AsyncIterator[Samples]:
    """Sample while the block lasts; the last is taken when it ends well."""
    samples = Samples(devices)
    await samples.take()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(samples.keep_on)
        yield samples
        nursery.cancel_scope.cancel()
    await samples.take()
