"""The event log of a simulation: who did what when, the same for the same seed in any process.

    12.345678 laptop  disk rename('5', 'ab…')

What the programs log themselves goes in too. Lines are hashed as they come, and kept only when somebody wants them.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import trio
from blake3 import blake3

from tests.simulation.counts import SIGNS

ACTOR: ContextVar[str] = ContextVar("actor", default="world")
"""Whose process the running task belongs to."""
_LOGGERS = ("peer", "tracker", "shoal.tracker")
_LAST_LINES = 400


class EventLog:
    """Hashes lines, keeps the last ones, and all of them if `keep`."""

    def __init__(self, *, keep: bool = False, echo: bool = False) -> None:
        self.lines: deque[str] = deque(maxlen=None if keep else _LAST_LINES)
        self.errors: list[str] = []
        """What a program logged as an error."""
        self.count = 0
        self.happened: Counter[str] = Counter()
        """How often each of what `counts.py` names has come about."""
        self.now: Callable[[], float] = trio.current_time
        """The time; another where threads log, which trio's own is not for."""
        self._echo = echo
        self._hasher = blake3()

    @property
    def hash(self) -> str:
        """Of all lines so far, in hex."""
        return self._hasher.hexdigest()

    def note(self, actor: str, text: str) -> None:
        """One event."""
        line = f"{self.now():12.6f} {actor:8} {text}"
        self._hasher.update(line.encode("utf-8", "backslashreplace") + b"\n")
        self.count += 1
        self.lines.append(line)
        if self._echo:
            print(line)


class _Handler(logging.Handler):
    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 logging must not end the simulation, but a bad call must show
            text = f"a log call that can't be formatted: {record.msg!r}"
            self._log.errors.append(text)
        first = text.splitlines()[0]
        for sign, event in SIGNS.items():
            if sign in first:
                self._log.happened[event] += 1
        self._log.note(ACTOR.get(), f"{record.levelname.lower()}: {first}")
        if record.levelno >= logging.ERROR:
            self._log.errors.append(f"{ACTOR.get()}: {text}")


@contextmanager
def taking_in_logs(log: EventLog) -> Iterator[None]:
    """What the programs log meanwhile goes into the event log, and nowhere else."""
    handler = _Handler(log)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before: list[Any] = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def brief(value: object) -> str:
    """An argument of a call, short enough for a line."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes {blake3(bytes(value)).hexdigest()[:8]}>"
    return repr(value)
