"""Who is to be dialled, and when: the devices that were seen, and the addresses that a person named. Pure but for the
clock."""

from collections.abc import Iterator
from dataclasses import dataclass

import trio

from peer.ports import LanAddress
from protocol.identifiers import DeviceId

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between attempts at one address, which double."""
MOST = 256
"""Advertisements of known devices that are kept; the oldest is forgotten."""


@dataclass(slots=True)
class Attempts:
    """When to dial next, by `trio.current_time()`."""

    due: float
    pause: float = FIRST_PAUSE
    dialling: bool = False

    def failed(self) -> None:
        """Leave twice as much time before the next."""
        self.due = trio.current_time() + self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)

    def went_well(self) -> None:
        """A link came of it, which has ended."""
        self.due, self.pause = trio.current_time() + FIRST_PAUSE, FIRST_PAUSE


@dataclass(slots=True)
class Candidate:
    """Something to dial: a `device` that was seen, or with None whoever is at an address that a person named."""

    device: DeviceId | None
    addresses: tuple[LanAddress, ...]
    attempts: Attempts


class Candidates:
    """All of them."""

    def __init__(self, configured: tuple[LanAddress, ...]) -> None:
        """`configured` addresses are dialled whatever is seen."""
        self.seen: dict[str, Candidate] = {}
        """By the instance names of their advertisements."""
        self._configured = [Candidate(None, (address,), Attempts(0.0)) for address in configured]
        self.changed = trio.Event()
        """Replaced by who waits for it."""

    def note(self, name: str, device: DeviceId, addresses: tuple[LanAddress, ...], courtesy: float) -> None:
        """A device was seen. One that is new is dialled after `courtesy` seconds."""
        before = self.seen.pop(name, None)
        attempts = Attempts(trio.current_time() + courtesy) if before is None else before.attempts
        self.seen[name] = Candidate(device, addresses, attempts)
        while len(self.seen) > MOST:
            self.seen.pop(next(iter(self.seen)))
        self.changed.set()

    def gone(self, name: str) -> None:
        """An advertisement was taken back."""
        self.seen.pop(name, None)

    def renew(self) -> None:
        """What was seen was on another network; what was configured is tried at once."""
        self.seen.clear()
        for candidate in self._configured:
            candidate.attempts.went_well()
        self.changed.set()

    def idle(self) -> Iterator[Candidate]:
        """Those that aren't being dialled, nor linked by way of that."""
        for candidate in [*self.seen.values(), *self._configured]:
            if not candidate.attempts.dialling:
                yield candidate
