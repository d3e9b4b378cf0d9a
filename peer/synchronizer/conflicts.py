"""The names of conflict copies, and of what is restored where something else is now."""

from collections.abc import Callable
from datetime import UTC, datetime

from protocol.identifiers import MAX_NAME_BYTES

MAX_SUFFIX = 40
"""An extension longer than this, in characters, is taken for part of the name."""

COPY = "conflicted copy, "
"""How what stands in brackets in the name of a conflict copy begins."""


def conflict_name(name: str, device: str, now_ns: int, taken: Callable[[str], bool]) -> str:
    """`name (conflicted copy, DEVICE, DATE).ext`, numbered if that is taken, never longer than a name may be."""
    device = "".join(c for c in device if c.isprintable() and c != "/")[:40]
    return free_name(name, f"{COPY}{device}, {_date(now_ns)}", taken)


def restored_name(name: str, now_ns: int, taken: Callable[[str], bool]) -> str:
    """The same, for what comes back and finds its name taken: `name (restored, DATE).ext`."""
    return free_name(name, f"restored, {_date(now_ns)}", taken)


def free_name(name: str, note: str, taken: Callable[[str], bool]) -> str:
    """`name (note).ext`, numbered if that is taken, never longer than a name may be."""
    stem, ending = _split(name)
    number = 1
    while True:
        count = "" if number == 1 else f" {number}"
        tail = f" ({note}{count}){ending}"
        candidate = shorten(stem, MAX_NAME_BYTES - len(tail.encode())) + tail
        if not taken(candidate):
            return candidate
        number += 1


def ends_of_copies(name: str) -> tuple[str, str]:
    """How the names of all conflict copies of a file begin and end, unless it is so long that they are shortened."""
    stem, ending = _split(name)
    return f"{stem} ({COPY}", f"){ending}"


def _split(name: str) -> tuple[str, str]:
    """What comes before the extension, and that with its dot."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem and len(suffix) <= MAX_SUFFIX else (name, "")


def _date(now_ns: int) -> str:
    return datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y-%m-%d")


def shorten(text: str, limit: int) -> str:
    """The longest beginning of `text` that takes at most `limit` bytes of UTF-8."""
    return text.encode()[:limit].decode("utf-8", "ignore")
