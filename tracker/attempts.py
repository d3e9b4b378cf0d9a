"""Counting failed logins, so that a password can't be guessed at speed, whichever process is asked.

After TRIES failures an address is refused for a minute, right password or not; each further failure after that minute
starts another. What is kept is bounded: the address longest without a failure is forgotten first.
"""

from sqlalchemy import Connection, delete, insert, select, update

from tracker.schema import failures

TRIES = 10
PAUSE_MS = 60_000
REMEMBERED = 10_000
"""Addresses, after each round of upkeep."""


def pause(connection: Connection, key: bytes, now: int) -> int:
    """How many milliseconds this key must still wait; 0 when it may try."""
    found = connection.execute(select(failures.c.times, failures.c.last_ms).where(failures.c.key == key)).one_or_none()
    if found is None or found.times < TRIES:
        return 0
    left: int = found.last_ms + PAUSE_MS - now
    return min(PAUSE_MS, max(0, left))  # also with a clock that was set back


def note_failure(connection: Connection, key: bytes, now: int) -> None:
    """Count a failure."""
    counted = update(failures).where(failures.c.key == key).values(times=failures.c.times + 1, last_ms=now)
    if connection.execute(counted).rowcount == 0:
        connection.execute(insert(failures), [{"key": key, "times": 1, "last_ms": now}])


def forget(connection: Connection, key: bytes) -> None:
    """Forget a key's failures."""
    connection.execute(delete(failures).where(failures.c.key == key))


def forget_oldest(connection: Connection, remembered: int = REMEMBERED) -> None:
    """Forget all but so many of the latest."""
    oldest = select(failures.c.last_ms).order_by(failures.c.last_ms.desc()).offset(remembered).limit(1)
    connection.execute(delete(failures).where(failures.c.last_ms <= oldest.scalar_subquery()))
