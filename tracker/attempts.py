"""Counting failed logins, so that a password can't be guessed at speed.

After TRIES failures an address is refused for a minute, right password or not; each further failure after that minute
starts another. Memory is bounded: the address longest without a failure is forgotten first. Kept in this process only.
"""

from collections import OrderedDict
from dataclasses import dataclass

TRIES = 10
PAUSE_S = 60.0
REMEMBERED = 10_000


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Attempts:
    """Failures by key; `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._failures: OrderedDict[bytes, _Failures] = OrderedDict()

    def pause(self, key: bytes, now: float) -> float:
        """How many seconds this key must still wait; 0 when it may try."""
        failures = self._failures.get(key)
        if failures is None or failures.count < TRIES:
            return 0.0
        return max(0.0, failures.last + PAUSE_S - now)

    def failed(self, key: bytes, now: float) -> None:
        """Note a failure."""
        failures = self._failures.setdefault(key, _Failures(0, now))
        failures.count, failures.last = failures.count + 1, now
        self._failures.move_to_end(key)
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, key: bytes) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)
