"""The names of conflict copies."""

from collections.abc import Callable
from datetime import UTC, datetime

from protocol.identifiers import MAX_NAME_BYTES

MAX_SUFFIX = 40
"""An extension longer than this, in characters, is taken for part of the name."""


def conflict_name(name: str, device: str, now_ns: int, taken: Callable[[str], bool]) -> str:
    """`name (conflicted copy, DEVICE, DATE).ext`, numbered if that is taken, never longer than a name may be."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > MAX_SUFFIX:
        stem, dot, suffix = name, "", ""
    date = datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y-%m-%d")
    device = "".join(c for c in device if c.isprintable() and c != "/")[:40]
    number = 1
    while True:
        count = "" if number == 1 else f" {number}"
        tail = f" (conflicted copy, {device}, {date}{count}){dot}{suffix}"
        candidate = shorten(stem, MAX_NAME_BYTES - len(tail.encode())) + tail
        if not taken(candidate):
            return candidate
        number += 1


def shorten(text: str, limit: int) -> str:
    """The longest beginning of `text` that takes at most `limit` bytes of UTF-8."""
    return text.encode()[:limit].decode("utf-8", "ignore")
