"""Times as people give them: to the tracker's clock, or by an age, which no wrong clock of the device's can spoil."""

import re
from datetime import datetime
from typing import Any

import click

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_SHORT = {unit[0]: unit for unit in _UNITS}
_AGE = re.compile(r"(\d{1,9})\s*([a-z]+?)s?(?:\s+ago)?", re.IGNORECASE)
_REVISION = re.compile(r"@(\d{1,18})")
_MOST_MS = 1 << 61


class PastTime(click.ParamType):  # type: ignore[type-arg]  # older releases of click know no argument
    """A time in the past: as `{"time_ms": …}`, `{"ago_ms": …}` or `{"revision": …}`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """See `click.ParamType`."""
        if isinstance(value, dict):
            return value
        found = parsed_time(str(value).strip())
        if found is None:
            self.fail(
                f'{value!r} is no time: try "2026-11-29 14:30", "2026-11-29T14:30:00Z" or "10 minutes ago"', param
            )
        return found


def parsed_time(text: str) -> dict[str, int] | None:
    """ISO 8601, in this machine's time zone unless it names one; an age, as `10 minutes ago` or `10m`; or `@N`, just
    after revision N. None for anything else."""
    if revision := _REVISION.fullmatch(text):
        return {"revision": int(revision[1])}
    if age := _AGE.fullmatch(text):
        return _age(int(age[1]), age[2].lower())
    try:
        moment = datetime.fromisoformat(text)
        milliseconds = round(moment.astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None
    return {"time_ms": milliseconds} if milliseconds >= 0 else None


def _age(number: int, unit: str) -> dict[str, int] | None:
    unit = _SHORT.get(unit, "minute" if unit == "min" else unit)
    milliseconds = number * _UNITS.get(unit, 0) * 1000
    return {"ago_ms": milliseconds} if unit in _UNITS and milliseconds < _MOST_MS else None


def local_time(iso: str) -> str:
    """A time of the tracker's for a person, in this machine's time zone."""
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S")
