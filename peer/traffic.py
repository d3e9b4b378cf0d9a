"""The traffic with the tracker: how fast file contents may go up and come down, how much of them one request takes, and
whether they have to wait. Commits, deltas and notices never do; the LAN knows no limits.

    Pace       keeps what passes to a rate
    Fit        how much to put into one request, so that it takes about two seconds
    Traffic    all of it together, for one device
"""

from dataclasses import dataclass, field

import trio

from protocol.errors import Unreachable
from protocol.identifiers import PACK_TARGET

SECONDS = 2.0
"""That one request with contents is to take at most: what comes behind it on a slow line waits so long."""
LEAST, FIRST = 64 << 10, 1 << 20
"""Bytes in one request with contents: at least so many, and so many until it is known how fast the line is."""
BURST = 0.1
"""Seconds of a rate that may be made up for after a pause."""
PIECES = 16
"""A body passes in so many pieces a second, or more, when there is a limit."""


class Withheld(Unreachable):
    """File contents are not to be moved now."""


@dataclass(frozen=True, slots=True)
class TrafficOptions:
    """What a person decides about the traffic with the tracker: bytes a second each way, None for as many as there can
    be; whether contents wait while the machine runs on battery, or its connection is a metered one."""

    upload: int | None = None
    download: int | None = None
    pause_on_battery: bool = False
    pause_on_metered: bool = False

    @property
    def spares(self) -> bool:
        """Whether contents may have to wait."""
        return self.pause_on_battery or self.pause_on_metered


class Pace:
    """Keeps what passes to a rate, in bytes a second; any number of tasks share it, first come, first served."""

    def __init__(self, rate: int) -> None:
        """Nothing has passed yet."""
        self.rate = rate
        self.piece = max(4096, rate // PIECES)
        """Bytes that may pass in one go without being felt."""
        self._free_at = float("-inf")

    def count(self, size: int) -> float:
        """So many bytes pass; the seconds until they might. Whoever can't wait is made up for by those who can."""
        now = trio.current_time()
        begins = max(self._free_at, now - BURST)
        self._free_at = begins + size / self.rate
        return max(0.0, begins - now)

    async def keep(self, size: int) -> None:
        """Wait until so many bytes may pass."""
        await trio.sleep(self.count(size))


class Fit:
    """How many bytes to put into one request, learnt from how long requests took. Pure."""

    def __init__(self, limit: int | None = None) -> None:
        """`limit` in bytes a second, if there is one."""
        self._most = PACK_TARGET if limit is None else max(LEAST, min(PACK_TARGET, int(limit * SECONDS)))
        self.size = min(FIRST, self._most)

    def took(self, size: int, seconds: float) -> None:
        """A request of `size` bytes took so long. A much smaller one than could have been says nothing about the line:
        most of it was waiting for the answer."""
        if 2 * size >= self.size:
            fitting = self._most if seconds <= 0 else int(size / seconds * SECONDS)
            self.size = max(LEAST, min(fitting, 2 * self.size, self._most))

    def failed(self) -> None:
        """A request came to nothing: it may have been too much for the line, and would be again and again."""
        self.size = max(LEAST, self.size // 4)


@dataclass(slots=True)
class Traffic:
    """What there is to know about the traffic with the tracker."""

    options: TrafficOptions = field(default_factory=TrafficOptions)
    up: Fit = field(init=False)
    down: Fit = field(init=False)
    withheld: str | None = None
    """Why file contents wait, None when they don't."""

    def __post_init__(self) -> None:
        """Make what follows from the options."""
        self.up, self.down = Fit(self.options.upload), Fit(self.options.download)

    @property
    def requests(self) -> int:
        """For contents under way at once, on the way down. With a limit one after the other: each is done sooner."""
        return 3 if self.options.download is None else 1

    def require(self) -> None:
        """`Withheld` while contents wait."""
        if self.withheld is not None:
            raise Withheld(f"file contents wait: {self.withheld}")


def pace(rate: int | None) -> Pace | None:
    """A pace, where there is a limit."""
    return None if rate is None else Pace(rate)
