"""How the demo fails."""

from pathlib import Path

TAIL_LINES = 15


class DemoFailed(Exception):
    """One line says what went wrong; the logs may say why."""

    def __init__(self, reason: str, *logs: Path) -> None:
        """`logs` are shown by their last lines."""
        super().__init__(reason)
        self.logs = logs


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
