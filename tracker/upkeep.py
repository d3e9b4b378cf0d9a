"""What a serving tracker does by itself: it withdraws versions that nobody uploads any more (design §6, rule d), and
forgets the oldest failed logins, and parts of commits that nobody closed."""

import logging

import trio

from protocol.errors import Refused
from tracker.attempts import forget_oldest
from tracker.clock import now_ms
from tracker.metadata.staging import forget_staged
from tracker.metadata.withdraw import withdraw_stalled
from tracker.publishing import publish_record
from tracker.services import Services

ROUND_S = 600.0
"""Seconds between two rounds."""

_log = logging.getLogger("shoal.tracker.upkeep")


async def look_after(services: Services) -> None:
    """One round at once, then one every ROUND_S, until cancelled. What fails is logged and tried again then."""
    while True:
        try:
            await withdraw_forsaken(services)
            await services.database.transact(forget_oldest)
            await services.database.transact(forget_staged, now_ms(services.machine))
        except Refused as error:
            _log.warning("the upkeep has to wait: %s", error)
        except Exception:  # noqa: BLE001 a task boundary: a defect in the upkeep must not end the server
            _log.exception("the upkeep failed")
        await trio.sleep(ROUND_S)


async def withdraw_forsaken(services: Services) -> None:
    """Withdraw all versions that made no progress for too long, some at a time, and tell subscribers."""
    while True:
        done = await services.database.transact(withdraw_stalled, now_ms(services.machine))
        if done is None:
            return
        _log.info("workspace %s: %d versions that nobody uploads are withdrawn", done.workspace.hex(), done.versions)
        if done.record is not None:
            publish_record(services, done.record)
