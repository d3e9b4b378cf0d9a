"""The seams to the machine that every part of Shoal shares: time, randomness and threads.

Nothing in `peer/` or `tracker/` asks the machine for these directly. Whoever builds a part hands it a `Machine`, so
that a simulation replays a whole system from one seed (design §2, "Ports"). Monotonic time is not a port: it is
`trio.current_time()`, which trio's own MockClock already replaces.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import trio

T = TypeVar("T")


class Now(Protocol):
    """The wall clock."""

    def __call__(self) -> int:
        """Nanoseconds since 1970-01-01 UTC. May jump in either direction."""
        ...


class RandomBytes(Protocol):
    """A source of unpredictable bytes: keys, marks and identifiers all come from here."""

    def __call__(self, count: int, /) -> bytes:
        """Exactly `count` fresh bytes."""
        ...


class Offload(Protocol):
    """Runs a blocking function where it can't hold up the event loop."""

    def __call__(self, function: Callable[[], T], limiter: trio.CapacityLimiter, /) -> Awaitable[T]:
        """Call `function` under `limiter` and return what it returns, or raise what it raises.

        Cancellation waits for the function to end: what it did to the disk or a database is then known.
        """
        ...


@dataclass(frozen=True, slots=True)
class Machine:
    """The shared ports, bundled so that they travel as one argument."""

    now: Now
    random_bytes: RandomBytes
    offload: Offload
