"""Asking again, when a store says that this may help.

Safe for every call: objects are immutable, so a put whose answer was lost finds its own bytes there, and deleting what
isn't there is fine.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from protocol.ports import Machine
from storage.errors import SlowDown, TryAgain
from storage.interface import PAGE, Storage, Stored

T = TypeVar("T")

ATTEMPTS = 8
FIRST_S, LONGEST_S = 0.1, 5.0
"""The n-th pause is uniform between 0 and FIRST_S * 2ⁿ, at most LONGEST_S: full jitter (Brooker, "Exponential Backoff
And Jitter", AWS 2015)."""
HOLD_S = 1.0
"""How long a store that says "slow down", and not for how long, is left alone by everybody."""
PATIENCE_S = 20.0
"""No attempt begins later than this after the first: a device that waits for an answer gives up after 30 s."""

_log = logging.getLogger("shoal.storage")


class RetryingStorage:
    """A `Storage` around another, asked again after each `TryAgain`, at most ATTEMPTS times and for PATIENCE_S.

    After a `SlowDown` no call of anybody begins before the time that the store asked for. A call that can't wait that
    long fails at once with a `SlowDown`. Cancellation takes hold at any time, in pauses as well.
    """

    def __init__(self, machine: Machine, storage: Storage) -> None:
        self._machine = machine
        self._storage = storage
        self._resume = -float("inf")
        """Nothing is asked before this (trio's clock)."""

    async def put(self, key: str, data: bytes) -> None:
        await self._run(partial(self._storage.put, key, data))

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return await self._run(partial(self._storage.get, key, offset, length))

    async def size(self, key: str) -> int:
        return await self._run(partial(self._storage.size, key))

    async def delete(self, key: str) -> None:
        await self._run(partial(self._storage.delete, key))

    async def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[Stored]:
        return await self._run(partial(self._storage.page, prefix, after, limit))

    async def _run(self, call: Callable[[], Awaitable[T]]) -> T:
        latest, bound, attempt = trio.current_time() + PATIENCE_S, FIRST_S, 1
        while True:
            await self._hold_back(latest, bound)
            try:
                return await call()
            except TryAgain as error:
                self._take_note(error)
                pause = self._share() * bound
                if attempt == ATTEMPTS or trio.current_time() + pause > latest:
                    raise
                _log.info("asking again in %.1f s: %s", pause, error)
            await trio.sleep(pause)
            attempt, bound = attempt + 1, min(2 * bound, LONGEST_S)

    async def _hold_back(self, latest: float, spread: float) -> None:
        """Wait for as long as the store wants no calls; then a little, so that those who waited don't come as one."""
        while (resume := self._resume) > trio.current_time():  # it may move on meanwhile
            if resume > latest:
                left = resume - trio.current_time()
                raise SlowDown(f"the storage wants to be left alone for {left:.0f} s more", left)
            await trio.sleep_until(resume + self._share() * spread)

    def _take_note(self, error: TryAgain) -> None:
        if isinstance(error, SlowDown):
            seconds = HOLD_S if error.seconds is None else error.seconds
            self._resume = max(self._resume, trio.current_time() + seconds)

    def _share(self) -> float:
        """Uniform between 0 and 1."""
        return int.from_bytes(self._machine.random_bytes(4), "big") / (1 << 32)
