"""Which chunks are still to be had, who is asked for which of them, and who can't give them; pure.

Each source has three queues, and is asked for what is in the first that has anything for it:

    own      this device's share of what nobody on the LAN has yet who is fetching it too; all that such a device has
    spare    the others' shares of that, one request at a time: whoever is done with its own helps out
    common   what a device that is fetching it has as well, and is better asked for

So several devices that fetch the same take each chunk about once from who has it whole, and the rest from each other.
Where nobody else fetches, everything is this device's own. The cloud may be far: of it nothing is asked that is not
this device's own until nothing has moved for long; and nothing that the LAN has, unless the LAN is silent.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain, islice
from typing import Protocol

from peer.synchronizer.jobs import Wanted
from protocol.errors import CannotOpen, Malformed

HEDGE = 2.0
"""Seconds without an answer after which what was asked of a source may be asked of another as well."""
ALONE, SOON_ALONE, SLOWER = 15.0, 5.0, 4
"""Seconds in which nothing has moved, after which a device doesn't wait for others any more: a request of one that
shares a slow line may take some. Where its own requests took less than a quarter of that, so many times as long is
enough; without any, the second."""
AGAIN = 1.0
"""Seconds after which what a device couldn't give that is fetching it as well is asked of it once more."""
MOST_CHUNKS = 512
"""In one request."""
MOST_BYTES = 48 << 20
"""Bytes in clear asked of all sources together and not here yet. Of a source of which nothing is asked some may be
asked all the same."""
CROWDED = 2
"""Requests under way to who has it whole while others fetch the same: what it sends is to be spread."""
AHEAD = 16
"""So many chunks are looked at to find those that the fewest devices have."""


class Candidate(Protocol):
    """Somebody to ask for chunks, as far as choosing goes."""

    is_cloud: bool
    parallel: int
    """Requests under way at once."""

    @property
    def most(self) -> int:
        """How much the chunks of one request may weigh, in bytes; a single chunk may weigh more."""
        ...

    def gives(self, wanted: Wanted) -> bool:
        """Whether it says that it holds a chunk."""
        ...

    def fetches(self, wanted: Wanted) -> bool:
        """Whether it is still fetching the version itself."""
        ...


class Company(Protocol):
    """Who else on the LAN is fetching the same."""

    def turn(self, wanted: Wanted, *, from_cloud: bool) -> bool | None:
        """Whether a chunk is in this device's share; None when there is nobody to share it with."""
        ...

    def order(self, wanted: Wanted) -> int:
        """In which order to help out: each device has another."""
        ...


class Alone:
    """Nobody else is fetching anything."""

    def turn(self, wanted: Wanted, *, from_cloud: bool) -> bool | None:
        """See `Company`."""
        return None

    def order(self, wanted: Wanted) -> int:
        """See `Company`."""
        return 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an answer: the chunks that weren't in it, and what was wrong with it."""

    missing: Sequence[Wanted] = ()
    wrong: CannotOpen | Malformed | None = None


class _Rank(IntEnum):
    OWN, SPARE, COMMON = range(3)


@dataclass(slots=True)
class _Asking:
    """What a source is asked for and is to be asked for. Its queues may also have what is done with, or isn't to be
    asked of it any more."""

    queues: tuple[deque[Wanted], ...] = field(default_factory=lambda: tuple(deque() for _ in _Rank))
    requests: int = 0
    heard: float = 0.0  # when it last answered, or was asked after a rest
    hedged: float = float("-inf")  # when it was last seen whether it could stand in for others


class Pool:
    """The chunks still to be had. Times are seconds by any clock that doesn't jump."""

    def __init__(self, wanted: Iterable[Wanted], sources: Iterable[Candidate], company: Company) -> None:
        self._company = company
        self._asking: dict[Candidate, _Asking] = {source: _Asking() for source in sources}
        self._waiting: dict[Wanted, None] = dict.fromkeys(wanted)
        self._asked: dict[Wanted, dict[Candidate, float]] = {}
        self._bytes = 0
        self._refused: defaultdict[Wanted, dict[Candidate, float]] = defaultdict(dict)  # until when
        self._now = 0.0
        self._done: set[Wanted] = set()
        self._moved = float("-inf")  # when anything last came, was asked for, or became known
        self._patient = True  # others are waited for
        self._longest: float | None = None  # seconds that a request of the cloud took
        self.lost: list[Wanted] = []
        """What nobody can give."""
        self._route_all()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to ask for or to wait for."""
        return not (self._waiting or self._asked)

    @property
    def sources(self) -> list[Candidate]:
        """Those that are there."""
        return list(self._asking)

    def has_room(self, source: Candidate) -> bool:
        """Whether one more request may be made of it."""
        asking = self._asking.get(source)
        return asking is not None and asking.requests < source.parallel

    # Asking

    def take(self, source: Candidate, now: float) -> list[Wanted]:
        """What `source` is to be asked for next; nothing when there is nothing for it now."""
        asking, self._now = self._asking[source], now
        if asking.requests and self._bytes >= MOST_BYTES:
            return []
        batch = self._next(source, asking) or self._hedge(source, asking, now)
        if not batch:
            return []
        if not asking.requests:
            asking.heard = now
        asking.requests += 1
        self._moved = now
        for each in batch:
            self._waiting.pop(each, None)
            self._bytes += each.ref.length
            self._asked.setdefault(each, {})[source] = now
        return batch

    def _next(self, source: Candidate, asking: _Asking) -> list[Wanted]:
        for rank in _Rank:
            if asking.queues[rank] and (rank is _Rank.OWN or self._helps_out(source, asking, rank)):
                batch = self._batch(source, asking, rank)
                if batch:
                    return batch
        return []

    def _helps_out(self, source: Candidate, asking: _Asking, rank: _Rank) -> bool:
        """Whether it is to be asked for what is better had elsewhere."""
        if source.is_cloud:
            return rank is _Rank.SPARE and not self._patient
        return not asking.requests

    def _batch(self, source: Candidate, asking: _Asking, rank: _Rank) -> list[Wanted]:
        batch, room, queue = list[Wanted](), source.most, asking.queues[rank]
        if len(self._asking) > 2 and not source.is_cloud:
            self._rarest_first(queue)
        while queue and len(batch) < MOST_CHUNKS:
            each = queue[0]
            if each not in self._waiting or not self._can(source, each):
                queue.popleft()
                continue
            now_in = self._rank(source, each)
            if now_in is not rank:
                asking.queues[now_in].append(queue.popleft())
                continue
            room -= each.ref.weight
            if (batch and room < 0) or (asking.requests >= CROWDED and self._is_crowded(source, each)):
                break
            batch.append(queue.popleft())
        return batch

    def _rarest_first(self, queue: deque[Wanted]) -> None:
        """Sort what comes next by how many have it; what is equal stays in order."""
        near = [source for source in self._asking if not source.is_cloud]
        ahead = [queue.popleft() for _ in range(min(AHEAD, len(queue)))]
        ahead.sort(key=lambda each: sum(source.gives(each) for source in near))
        queue.extendleft(reversed(ahead))

    def _is_crowded(self, source: Candidate, each: Wanted) -> bool:
        shared = self._company.turn(each, from_cloud=source.is_cloud) is not None
        return shared and not source.is_cloud and not source.fetches(each)

    def _hedge(self, source: Candidate, asking: _Asking, now: float) -> list[Wanted]:
        """What is asked of others that have all been silent for too long or, if `source` is on the LAN and has nothing
        to do, are slow with it; of the cloud also what waits for such."""
        if now - asking.hedged < HEDGE / 4 or (asking.requests and not source.is_cloud):
            return []
        asking.hedged = now
        silent = {each for each, their in self._asking.items() if their.requests and now - their.heard >= HEDGE}
        late: Iterable[Wanted] = (
            each
            for each, asked in self._asked.items()
            if source not in asked
            and (asked.keys() <= silent or (not source.is_cloud and now - min(asked.values()) >= HEDGE))
        )
        if source.is_cloud and silent:
            late = chain(late, (each for each in self._waiting if (near := self._near(each)) and near <= silent))
        batch, room = list[Wanted](), source.most
        for each in islice((each for each in late if self._can(source, each)), MOST_CHUNKS):
            room -= each.ref.weight
            if batch and room < 0:
                break
            batch.append(each)
        return batch

    # What has come of it

    def answered(self, source: Candidate, batch: Sequence[Wanted], outcome: Outcome, now: float) -> None:
        """`source` has answered; all but the missing are done with, unless something was wrong."""
        if source.is_cloud:
            asked = [self._asked[each][source] for each in batch if source in self._asked.get(each, {})]
            self._longest = max(self._longest or 0.0, now - min(asked, default=now))
        self._ended(source, batch)
        if source in self._asking:
            self._asking[source].heard = now
        self._moved = self._now = now
        missing = set(batch if outcome.wrong is not None else outcome.missing)
        for each in batch:
            if each in missing:
                # A file that is just being put into place can't be read for a moment.
                self._refused[each][source] = now + AGAIN if source.fetches(each) else float("inf")
                self._unasked(source, each)
            else:
                self._done.add(each)
                self._asked.pop(each, None)
                self._waiting.pop(each, None)
        if missing:
            self._route_all()

    def failed(self, source: Candidate, batch: Sequence[Wanted]) -> None:
        """No answer came from `source`, and none will."""
        self._ended(source, batch)
        self.gone(source)

    def _ended(self, source: Candidate, batch: Sequence[Wanted]) -> None:
        self._bytes -= sum(each.ref.length for each in batch)
        if source in self._asking:
            self._asking[source].requests -= 1

    def _unasked(self, source: Candidate, each: Wanted) -> None:
        asked = self._asked.get(each, {})
        asked.pop(source, None)
        if each in self._asked and not asked:
            del self._asked[each]
            self._waiting[each] = None

    def gone(self, source: Candidate) -> None:
        """`source` gives nothing any more."""
        self._asking.pop(source, None)
        for each in [each for each, asked in self._asked.items() if source in asked]:
            self._unasked(source, each)
        self._route_all()

    # What becomes known

    def joined(self, source: Candidate) -> None:
        """One more source is there."""
        self._asking[source] = _Asking()
        self._route_all()

    def offered(self, source: Candidate, chunks: Iterable[Wanted], now: float) -> None:
        """`source` has these as well now."""
        for each in chunks:
            self._moved, self._patient = now, True
            if each in self._waiting and self._can(source, each):
                self._asking[source].queues[self._rank(source, each)].append(each)

    def look_again(self, now: float) -> None:
        """Sources may no longer hold what they said they did, or hold it again; others may have begun to fetch, or have
        given up."""
        self._now = now
        if not self._asked and now - self._moved >= self._patience():
            self._patient = False
        self._route_all()

    def _patience(self) -> float:
        """How long the others may be silent: they share the line with this device."""
        return SOON_ALONE if self._longest is None else min(ALONE, max(HEDGE, SLOWER * self._longest))

    # Choosing queues

    def _route_all(self) -> None:
        for asking in self._asking.values():
            for queue in asking.queues:
                queue.clear()
        for each in list(self._waiting):
            self._route(each)
        for asking in self._asking.values():
            spare = sorted(asking.queues[_Rank.SPARE], key=self._company.order)
            asking.queues[_Rank.SPARE].clear()
            asking.queues[_Rank.SPARE].extend(spare)

    def _route(self, each: Wanted) -> None:
        able = [source for source in self._asking if self._can(source, each)]
        for source in able:
            self._asking[source].queues[self._rank(source, each)].append(each)
        if not able and not (self._patient and self._may_come(each)):
            del self._waiting[each]
            self.lost.append(each)

    def _may_come(self, each: Wanted) -> bool:
        """Whether somebody is fetching it who may have it soon."""
        return self._company.turn(each, from_cloud=True) is not None

    def _rank(self, source: Candidate, each: Wanted) -> _Rank:
        if source.is_cloud:
            if self._near(each):
                return _Rank.COMMON
        elif source.fetches(each):
            return _Rank.OWN
        turn = self._company.turn(each, from_cloud=source.is_cloud)
        if turn is None:
            return _Rank.OWN
        if any(other.fetches(each) for other in self._near(each)):
            return _Rank.COMMON
        return _Rank.OWN if turn else _Rank.SPARE

    def _near(self, each: Wanted) -> set[Candidate]:
        """Who on the LAN can give it."""
        return {source for source in self._asking if not source.is_cloud and self._can(source, each)}

    def _can(self, source: Candidate, each: Wanted) -> bool:
        return self._refused.get(each, {}).get(source, 0.0) <= self._now and source.gives(each)
