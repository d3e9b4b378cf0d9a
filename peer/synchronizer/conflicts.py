"""The names of conflict copies, and of what is restored where something else is now."""

from collections.abc import Callable
from datetime import UTC, datetime

from protocol.identifiers import MAX_NAME_BYTES

MAX_SUFFIX = 40
"""An extension longer than this, in characters, is taken for part of the name."""


def conflict_name(name: str, device: str, now_ns: int, taken: Callable[[str], bool]) -> str:
    """`name (conflicted copy, DEVICE, DATE).ext`, numbered if that is taken, never longer than a name may be."""
    device = "".join(c for c in device if c.isprintable() and c != "/")[:40]
    return free_name(name, f"conflicted copy, {device}, {_date(now_ns)}", taken)


def restored_name(name: str, now_ns: int, taken: Callable[[str], bool]) -> str:
    """The same, for what comes back and finds its name taken: `name (restored, DATE).ext`."""
    return free_name(name, f"restored, {_date(now_ns)}", taken)


def free_name(name: str, note: str, taken: Callable[[str], bool]) -> str:
    """`name (note).ext`, numbered if that is taken, never longer than a name may be."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > MAX_SUFFIX:
        stem, dot, suffix = name, "", ""
    number = 1
    while True:
        count = "" if number == 1 else f" {number}"
        tail = f" ({note}{count}){dot}{suffix}"
        candidate = shorten(stem, MAX_NAME_BYTES - len(tail.encode())) + tail
        if not taken(candidate):
            return candidate
        number += 1


def _date(now_ns: int) -> str:
    return datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y-%m-%d")


def shorten(text: str, limit: int) -> str:
    """The longest beginning of `text` that takes at most `limit` bytes of UTF-8."""
    return text.encode()[:limit].decode("utf-8", "ignore")
