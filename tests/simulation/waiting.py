"""Waiting for what the other parts of a simulation are to bring about, and may not."""

from collections.abc import Callable

import trio

_POLL, _TRIES = 0.2, 100


async def until(done: Callable[[], bool]) -> bool:
    """Wait for something, not for ever, as much else is going on; whether it came."""
    for _ in range(_TRIES):
        if done():
            return True
        await trio.sleep(_POLL)
    return False
