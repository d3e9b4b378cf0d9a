"""Gathering chunks from several sources: devices on the LAN first, the cloud for what they can't give.

    Pool (peer/synchronizer/pool.py)   which chunks are still to be had, and who is asked for which; pure
    gather                             asks, hands on what comes, and tells the pool what has become known

A chunk goes to the next source when one is gone, turns out not to hold it, or is silent while another has nothing to
do. What comes is verified before it is used, so nothing is lost by asking two.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import trio

from peer.synchronizer.jobs import Wanted
from peer.synchronizer.pool import HEDGE, Candidate, Company, Outcome, Pool
from protocol.errors import CannotOpen, Malformed, Unreachable

Sealed = Callable[[], Sequence[memoryview]]
"""Opens an answer, once, in a thread: sealed chunks in the order in which they were asked for, empty where not held.
They may be opened in their place."""


class Source(Candidate, Protocol):
    """Somebody to ask for chunks."""

    async def ask(self, wanted: Sequence[Wanted]) -> Sealed:
        """Ask for chunks. `Unreachable` when no answer comes."""
        ...

    def lacks(self, wanted: Sequence[Wanted]) -> None:
        """It turned out not to hold these."""
        ...

    def spoilt(self, error: CannotOpen | Malformed) -> None:
        """What it sent is no answer, or a chunk in it isn't what its id says."""
        ...


class Swarm(Company, Protocol):
    """All that can be asked, and all who fetch the same."""

    def sources(self) -> Sequence[Source]:
        """Who can be asked now; the same object for the same source each time."""
        ...

    def offers(self, source: Source) -> Iterable[Wanted]:
        """What a source has got since this was last asked."""
        ...

    def shifts(self) -> bool:
        """Whether others have begun to fetch the same, or ceased to, since this was last asked."""
        ...

    async def news(self) -> None:
        """Wait until there may be anything new of these three."""
        ...


Use = Callable[[Source, Sequence[Wanted], Sealed], Awaitable[Outcome]]
"""Verifies and uses what came."""


async def gather(wanted: Sequence[Wanted], swarm: Swarm, use: Use) -> list[Wanted]:
    """Get all that can be had, and have it used; what can't be is returned. `Unreachable` when it is the cloud that
    could have given it and didn't answer."""
    return await _Gathering(wanted, swarm, use).run()


class _Gathering:
    def __init__(self, wanted: Sequence[Wanted], swarm: Swarm, use: Use) -> None:
        self._swarm = swarm
        self._use = use
        self._sources = list(swarm.sources())
        self._pool = Pool(wanted, self._sources, swarm)
        self._cloud_failure: Unreachable | None = None
        self._changed = trio.Event()
        self._heard = False  # of anything new around

    async def run(self) -> list[Wanted]:
        """Until nothing is left; then nobody's answer is waited for."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            while not self._pool.finished:
                self._ask_all(nursery)
                await self._wait()
            nursery.cancel_scope.cancel()
        if self._pool.lost and self._cloud_failure is not None:
            raise self._cloud_failure
        return self._pool.lost

    def _ask_all(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        for source in self._sources:
            while self._pool.has_room(source) and (batch := self._pool.take(source, now)):
                nursery.start_soon(self._ask, source, batch)

    async def _ask(self, source: Source, batch: Sequence[Wanted]) -> None:
        try:
            sealed = await source.ask(batch)
            outcome = await self._use(source, batch, sealed)
        except Unreachable as error:
            if source.is_cloud:
                self._cloud_failure = error
            self._pool.failed(source, batch)
        else:
            self._pool.answered(source, batch, outcome, trio.current_time())
            if outcome.wrong is not None:
                source.spoilt(outcome.wrong)
                self._pool.gone(source)
            elif outcome.missing:
                source.lacks(outcome.missing)
                self._pool.look_again(trio.current_time())
        self._changed.set()

    async def _listen(self) -> None:
        while True:
            await self._swarm.news()
            self._heard = True
            self._changed.set()

    async def _wait(self) -> None:
        """Until there may be something to do. Now and then there is though nobody said so."""
        with trio.move_on_after(HEDGE / 4) as waiting:
            await self._changed.wait()
        self._changed = trio.Event()
        if self._heard:
            self._heard = False
            self._look_around()
        elif waiting.cancelled_caught:
            self._pool.look_again(trio.current_time())

    def _look_around(self) -> None:
        known, there = self._sources, list(self._swarm.sources())
        self._sources = there
        for source in there:
            if source not in known:
                self._pool.joined(source)
            self._pool.offered(source, self._swarm.offers(source), trio.current_time())
        if self._swarm.shifts():
            self._pool.look_again(trio.current_time())
