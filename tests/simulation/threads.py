"""The second mode of the simulation: thread work in real threads, on a clock that runs by itself, each call of a port
up to 5 ms late. What is between two calls of one thread then really runs beside all else.

A simulated disk belongs to the trio thread: a call from another goes there, waits its turn, and does so after its
delay. The clock runs `SPEED` times as fast as a real one: what waits a minute would take one otherwise.
"""

import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

import trio

from protocol.ports import Machine
from tests.simulation.disk import SimulatedDisk
from tests.simulation.machine import WallClock

T = TypeVar("T")
SPEED = 25.0
LATE = 0.005
"""Real seconds by which a call is late at most."""


class ThreadedDisk:
    """A simulated disk for one process with threads. `alive` raises when that process is dead: no thread that it leaves
    behind has any effect."""

    def __init__(self, disk: SimulatedDisk, rng: Random, alive: Callable[[], None]) -> None:
        self._disk = disk
        self._rng = rng
        self._alive = alive

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._disk, name)

        def now(*arguments: Any) -> Any:
            self._alive()
            return call(*arguments)

        def later(*arguments: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                return now(*arguments)
            time.sleep(self._rng.uniform(0, LATE))
            return trio.from_thread.run_sync(now, *arguments)

        return later


def threaded_machine(rng: Random, alive: Callable[[], None], now: WallClock) -> Machine:
    """A machine with real threads, any of which may ask its clock."""
    now.present = trio.lowlevel.current_clock().current_time

    async def offload(function: Callable[[], T], limiter: trio.CapacityLimiter, /) -> T:
        alive()
        await late(rng)
        result = await trio.to_thread.run_sync(function, limiter=limiter)
        alive()
        return result

    return Machine(now=now, random_bytes=rng.randbytes, offload=offload)


def late_machine(machine: Machine, rng: Random) -> Machine:
    """The same without threads, its calls late all the same: a database in memory is for one thread."""

    async def offload(function: Callable[[], T], limiter: trio.CapacityLimiter, /) -> T:
        await late(rng)
        return await machine.offload(function, limiter)

    return Machine(now=machine.now, random_bytes=machine.random_bytes, offload=offload)


async def late(rng: Random) -> None:
    """Let up to `LATE` real seconds pass."""
    await trio.sleep(rng.uniform(0, LATE) * SPEED)
