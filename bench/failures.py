"""How the demo and the measurements fail."""

from collections.abc import Awaitable, Callable
from pathlib import Path

TAIL_LINES = 15


class BenchFailed(Exception):
    """One line says what went wrong; the logs may say why."""

    def __init__(self, reason: str, *logs: Path) -> None:
        """`logs` are shown by their last lines."""
        super().__init__(reason)
        self.logs = logs


async def failure_of(work: Callable[[], Awaitable[None]]) -> Exception | None:
    """The first of what went wrong; None when all went well."""
    failure: Exception | None = None
    try:
        await work()
    except* Exception as group:  # noqa: BLE001  the edge of the program: whatever it is becomes one line
        failure = _first(group)
        if not isinstance(failure, BenchFailed | OSError):
            failure = BenchFailed(f"by a defect of its own: {failure!r}")
    return failure


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


def tail(log: Path) -> list[str]:
    """The last lines of a log, fit for a terminal."""
    try:
        lines = log.read_text("utf-8", "backslashreplace").splitlines()
    except OSError as error:
        return [f"(no log: {error.strerror})"]
    return [printable(line) for line in lines[-TAIL_LINES:]] or ["(empty)"]


def printable(text: str) -> str:
    """`text` without what a terminal would obey; bytes that are not UTF-8 are spelled out."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
