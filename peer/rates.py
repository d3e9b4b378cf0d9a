"""Rates as people write them: `500k` and `2M` are bytes a second, `20Mbit` is bits a second.

    RATE = NUMBER [k|M|G] [B|bit] [/s]

A prefix is a power of 1000, in either case: rates of networks are told so. `kb` and `Mb` are refused, as they mean bits
to one person and bytes to the next.
"""

import math
import re

LEAST_RATE = 10_000
"""Bytes a second; below that a chunk takes longer than a tracker waits for it."""
EXAMPLES = "500k or 2M (bytes a second), 20Mbit (bits a second)"

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(B|bit|)(?:/s)?", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}
_UNITS = ("B/s", "kB/s", "MB/s", "GB/s")


def read_rate(text: str) -> int:
    """Bytes a second; `ValueError` with a line for a person when that is none, or less than LEAST_RATE."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a rate: {EXAMPLES}.")
    number, prefix, unit = match.groups()
    rate = float(number) * 1000 ** _POWERS[prefix.lower()] / (8 if unit == "bit" else 1)
    if not LEAST_RATE <= rate < math.inf:
        raise ValueError(f"{text!r} is too little: at least {rate_text(LEAST_RATE)} are needed, as {EXAMPLES}.")
    return int(rate)


def rate_text(rate: int) -> str:
    """A rate in bytes a second, for a person."""
    power = min(3, max(0, len(str(rate)) - 1) // 3)
    return f"{rate / 1000**power:.3g} {_UNITS[power]}"
