"""The LAN before the cloud, but not for ever: when contents stay off the uplink because devices on the LAN want them.

Pure: whoever asks says what time it is, in seconds by any clock that doesn't jump.
"""

from protocol.identifiers import VersionId

LAN_ALONE = 10.0
"""Seconds for which nothing at all goes to the cloud while devices on the LAN are being served: many small files that
follow one another would take twice as long. Then only what is waited for is held, until the LAN has been at rest for as
long, all in all: devices that ask again and again don't keep the rest from the cloud."""
LAN_LONGEST = 300.0
"""Seconds for which a version stays off the uplink as devices on the LAN wait for it. Who waits for longer gets it all
the same; it must not be able to keep it from the cloud."""


class Precedence:
    """What has been left to the LAN so far."""

    def __init__(self) -> None:
        self._left = LAN_ALONE
        self._at = 0.0
        self._busy = self._alone = self._spent = False
        self._waiting: dict[VersionId, float] = {}

    def is_alone(self, *, busy: bool, now: float) -> bool:
        """Whether nothing goes to the cloud now; `busy` is whether devices on the LAN want anything."""
        elapsed, self._at = now - self._at, now
        if self._alone:
            self._left -= elapsed
        elif not self._busy:
            self._left = min(LAN_ALONE, self._left + elapsed)
        self._spent = self._left <= 0 or (self._spent and self._left < LAN_ALONE)
        self._busy, self._alone = busy, busy and not self._spent
        return self._alone

    def keeps(self, version: VersionId, *, wanted: bool, now: float) -> bool:
        """Whether a version stays off the uplink; `wanted` is whether a device on the LAN waits for it."""
        if not wanted:
            self._waiting.pop(version, None)
            return False
        return now - self._waiting.setdefault(version, now) < LAN_LONGEST

    def forget(self) -> None:
        """Nothing is left to go to the cloud."""
        self._waiting.clear()
