"""Gathering chunks from several sources: devices on the LAN first, the cloud for what they can't give.

    Pool      which chunks are still to be had, who has been asked for them, who can't give them; pure
    gather    some tasks for each source take from the pool, ask, and hand on what comes

A chunk goes to the next source when one is gone, turns out not to hold it, or is silent while another has nothing to
do. What comes is verified before it is used, so nothing is lost by asking two.
"""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from peer.synchronizer.jobs import Wanted
from protocol.chunks import OVERHEAD
from protocol.errors import CannotOpen, Malformed, Unreachable

HEDGE = 2.0
"""Seconds without an answer after which what was asked of a source may be asked of another as well."""
MOST_CHUNKS = 512
"""In one request."""

Sealed = Callable[[], Sequence[memoryview]]
"""Opens an answer, once, in a thread: sealed chunks in the order in which they were asked for, empty where not held.
They may be opened in their place."""


class Source(Protocol):
    """Somebody to ask for chunks."""

    is_cloud: bool
    parallel: int
    """Requests under way at once."""

    @property
    def most(self) -> int:
        """Sealed bytes in one request; a single chunk may have more."""
        ...

    def gives(self, wanted: Wanted) -> bool:
        """Whether it says that it holds a chunk."""
        ...

    async def ask(self, wanted: Sequence[Wanted]) -> Sealed:
        """Ask for chunks. `Unreachable` when no answer comes."""
        ...

    def lacks(self, wanted: Sequence[Wanted]) -> None:
        """It turned out not to hold these."""
        ...

    def spoilt(self, error: CannotOpen | Malformed) -> None:
        """What it sent is no answer, or a chunk in it isn't what its id says."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an answer: the chunks that weren't in it, and what was wrong with it."""

    missing: Sequence[Wanted] = ()
    wrong: CannotOpen | Malformed | None = None


Use = Callable[[Source, Sequence[Wanted], Sealed], Awaitable[Outcome]]
"""Verifies and uses what came."""


class Pool:
    """The chunks still to be had. Times are seconds by any clock that doesn't jump."""

    def __init__(self, wanted: Iterable[Wanted], sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._near: deque[Wanted] = deque()  # a device on the LAN says that it holds these
        self._far: deque[Wanted] = deque()  # only the cloud may
        self._asked: dict[Wanted, dict[Source, float]] = {}
        self._refused: defaultdict[Wanted, set[Source]] = defaultdict(set)
        self._done: set[Wanted] = set()
        self._heard: dict[Source, float] = {}  # when each last answered, or was asked after a rest
        self.lost: list[Wanted] = []
        """What nobody can give."""
        for each in wanted:
            self._route(each)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to ask for or to wait for."""
        return not (self._near or self._far or self._asked)

    def take(self, source: Source, now: float) -> list[Wanted]:
        """What `source` is to be asked for next; nothing when there is nothing for it now."""
        batch = self._next(source) or self._hedge(source, now)
        if batch and not any(source in asked for asked in self._asked.values()):
            self._heard[source] = now
        for each in batch:
            self._asked.setdefault(each, {})[source] = now
        return batch

    def _next(self, source: Source) -> list[Wanted]:
        queue = self._far if source.is_cloud else self._near
        batch, passed = list[Wanted](), list[Wanted]()
        room = source.most
        while queue and len(batch) < MOST_CHUNKS:
            each = queue[0]
            if not self._can(source, each):
                passed.append(queue.popleft())
                continue
            room -= each.ref.length + OVERHEAD
            if batch and room < 0:
                break
            batch.append(queue.popleft())
        queue.extendleft(reversed(passed))
        return batch

    def _hedge(self, source: Source, now: float) -> list[Wanted]:
        """What is asked of, or waits for, others that have all been silent for too long."""
        batch, room = list[Wanted](), source.most
        silent = {each for each, heard in self._heard.items() if now - heard >= HEDGE}
        late = [each for each, asked in self._asked.items() if source not in asked and asked.keys() <= silent]
        if source.is_cloud and silent >= {each for each in self._sources if not each.is_cloud}:
            late += self._near
        for each in late[:MOST_CHUNKS]:
            if self._can(source, each):
                room -= each.ref.length + OVERHEAD
                if batch and room < 0:
                    break
                batch.append(each)
        for each in batch:
            if each in self._near:
                self._near.remove(each)
        return batch

    def _can(self, source: Source, wanted: Wanted) -> bool:
        return source not in self._refused[wanted] and source.gives(wanted)

    def answered(self, source: Source, batch: Iterable[Wanted], outcome: Outcome, now: float) -> None:
        """`source` has answered; all but the missing are done with, unless something was wrong."""
        self._heard[source] = now
        missing = set(batch if outcome.wrong is not None else outcome.missing)
        for each in batch:
            if each in missing:
                self._refused[each].add(source)
                self._asked.get(each, {}).pop(source, None)
                if each in self._asked and not self._asked[each]:
                    del self._asked[each]
                    self._route(each)
            else:
                self._done.add(each)
                self._asked.pop(each, None)

    def gone(self, source: Source) -> None:
        """`source` gives nothing any more."""
        if source in self._sources:
            self._sources.remove(source)
        asked = [each for each, asked in self._asked.items() if source in asked]
        self.answered(source, asked, Outcome(wrong=_GONE), 0.0)
        self._heard.pop(source)
        self.reroute()

    def reroute(self) -> None:
        """Sources may no longer hold what they said they did."""
        waiting = [*self._near, *self._far]
        self._near.clear()
        self._far.clear()
        for each in waiting:
            self._route(each)

    def _route(self, wanted: Wanted) -> None:
        if wanted in self._done:
            return
        able = [source for source in self._sources if self._can(source, wanted)]
        if any(not source.is_cloud for source in able):
            self._near.append(wanted)
        elif able:
            self._far.append(wanted)
        else:
            self.lost.append(wanted)


_GONE = Malformed("it is gone")


async def gather(wanted: Sequence[Wanted], sources: Sequence[Source], use: Use) -> list[Wanted]:
    """Get all that can be had, and have it used; what can't be is returned. `Unreachable` when it is the cloud that
    could have given it and didn't answer."""
    gathering = _Gathering(Pool(wanted, sources), use)
    async with trio.open_nursery() as nursery:
        for source in sources:
            for _ in range(source.parallel):
                nursery.start_soon(gathering.work, source, nursery.cancel_scope)
    if gathering.pool.lost and gathering.cloud_failure is not None:
        raise gathering.cloud_failure
    return gathering.pool.lost


class _Gathering:
    def __init__(self, pool: Pool, use: Use) -> None:
        self.pool = pool
        self.cloud_failure: Unreachable | None = None
        self._use = use
        self._changed = trio.Event()

    async def work(self, source: Source, whole: trio.CancelScope) -> None:
        """Ask one source until it is gone, or nothing is left: then others don't wait for their answers either."""
        while not self.pool.finished:
            batch = self.pool.take(source, trio.current_time())
            if not batch:
                await self._wait()
            elif not await self._ask(source, batch):
                self._tell()
                return
        whole.cancel()

    async def _ask(self, source: Source, batch: list[Wanted]) -> bool:
        try:
            sealed = await source.ask(batch)
            outcome = await self._use(source, batch, sealed)
        except Unreachable as error:
            if source.is_cloud:
                self.cloud_failure = error
            self.pool.gone(source)
            return False
        self.pool.answered(source, batch, outcome, trio.current_time())
        if outcome.wrong is not None:
            source.spoilt(outcome.wrong)
            self.pool.gone(source)
            return False
        if outcome.missing:
            source.lacks(outcome.missing)
            self.pool.reroute()
            self._tell()
        return True

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait(self) -> None:
        with trio.move_on_after(HEDGE / 4) as waiting:
            await self._changed.wait()
        if waiting.cancelled_caught:
            self.pool.reroute()
