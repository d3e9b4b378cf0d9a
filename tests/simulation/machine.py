"""What a process of the simulation has instead of a machine: seeded randomness, a clock that jumps, no threads.

Wall time follows `trio.current_time()`, which trio's MockClock moves. Thread work runs where it is asked for: MockClock
takes a task that waits for a thread for idle, and jumps.
"""

from collections.abc import Callable
from random import Random
from typing import TypeVar

import trio
from blake3 import blake3

from protocol.ports import Machine, RandomBytes

T = TypeVar("T")

START_NS = 1_800_000_000_000_000_000
"""The wall clock when a simulation begins: 2027-01-15."""
_TICK_NS = 1_000
_BACK_NS = 1_000_000_000
"""A clock that says less than before by so much was put back."""
SLOW_THREAD = 0.05
"""One in so many thread hops takes a while, so that other tasks come in between."""


class WallClock:
    """The wall clock of one machine, in nanoseconds since 1970 UTC. It may jump."""

    def __init__(self) -> None:
        self.present: Callable[[], float] = trio.current_time
        """Seconds; another where threads ask, which trio's own is not for."""
        self._ahead_ns = 0

    def __call__(self) -> int:
        return START_NS + self._ahead_ns + round(self.present() * 1e9)

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock, or a time server does."""
        self._ahead_ns += round(seconds * 1e9)


class FileClock:
    """A file system's clock. Like a kernel's with fine-grained times it doesn't give the same time twice, unless the
    wall clock was put back: with equal times and sizes nobody could tell two states of a file apart."""

    def __init__(self, wall: WallClock | None = None) -> None:
        self._wall = WallClock() if wall is None else wall
        self._last = 0

    def __call__(self) -> int:
        now = self._wall()
        self._last = now if now < self._last - _BACK_NS else max(now, self._last + _TICK_NS)
        return self._last


def seeded_bytes(seed: str) -> RandomBytes:
    """BLAKE3 of `seed` in counter mode: the n-th call takes up where the one before ended."""
    source = blake3(seed.encode())
    at = 0

    def random_bytes(count: int, /) -> bytes:
        nonlocal at
        at += count
        return source.digest(length=count, seek=at - count)

    return random_bytes


def simulated_machine(
    seed: str,
    alive: Callable[[], None] = lambda: None,
    *,
    now: WallClock | None = None,
    slow: float = SLOW_THREAD,
) -> Machine:
    """A machine whose every random byte and delay follows from `seed`. `alive` is called at both ends of each thread
    hop, and raises if the process is dead by then."""
    rng = Random(f"{seed}/threads")

    async def offload(function: Callable[[], T], _: trio.CapacityLimiter, /) -> T:
        alive()
        if rng.random() < slow:
            with trio.CancelScope(shield=True):  # as a real thread, it can't be cancelled
                await trio.sleep(rng.expovariate(50))
        else:
            await trio.lowlevel.checkpoint()
        alive()
        return function()

    return Machine(now=WallClock() if now is None else now, random_bytes=seeded_bytes(seed), offload=offload)
