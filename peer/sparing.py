"""Sparing the battery and a metered connection, for who has asked for it: file contents wait meanwhile."""

import logging
from collections.abc import Callable

import trio

from peer.ports import Conditions
from peer.traffic import Traffic

log = logging.getLogger(__name__)
LOOK = 10.0
"""Seconds between looks at what the machine says."""
BATTERY, METERED = "this machine runs on battery", "this machine's connection is metered"


async def spare(conditions: Conditions, traffic: Traffic, changed: Callable[[], None]) -> None:
    """Withhold file contents while the conditions are such, until cancelled; `changed` is told when that begins or
    ends."""
    while True:
        why = await _why(conditions, traffic)
        if why != traffic.withheld:
            log.info("file contents go to and from the tracker again" if why is None else f"file contents wait: {why}")
            traffic.withheld = why
            changed()
        await trio.sleep(LOOK)


async def _why(conditions: Conditions, traffic: Traffic) -> str | None:
    if traffic.options.pause_on_battery and await conditions.on_battery():
        return BATTERY
    if traffic.options.pause_on_metered and await conditions.is_metered():
        return METERED
    return None
