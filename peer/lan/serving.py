"""What this device gives to others on the LAN: word of what it holds, and chunks.

Each request is held against the newest list of members. Of a workspace that is not the other's, this device says what
it says of what it doesn't have, and ends the link with who doesn't stop asking.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, TypeAlias

import trio

from peer.lan.bitmaps import has
from peer.lan.link import Blame, Link, LinkEnded, Numbered
from peer.lan.neighbours import Neighbours, fitting
from peer.members import Members
from peer.synchronizer.context import Context
from peer.synchronizer.holdings import Holdings, Place, Reader, Stored
from peer.synchronizer.lists import ChunkList
from peer.synchronizer.prefetching import Prefetching
from protocol.errors import WrongRoot
from protocol.identifiers import VersionId, WorkspaceId
from protocol.lan_frames import Put
from protocol.lan_messages import MAX_GET_BYTES, Ask, Get, Holding, Offer
from protocol.names import RESERVED

Held: TypeAlias = tuple[Place, bytes | None]
"""Where a version is, and the bitmap of its chunks that are there, None for all."""
Fill = Callable[[list[int], Put], memoryview]
"""`RecordSender.fill` for one request."""
THREADS = 2
"""That read and seal for others."""


class Serving:
    """Answers on all links; see `peer.lan.link.Host`."""

    def __init__(
        self, context: Context, members: Members, neighbours: Neighbours, prefetching: Prefetching | None = None
    ) -> None:
        """`neighbours` is told of what the others say, `prefetching` of what they offer."""
        self._prefetching = prefetching
        self._context = context
        self._members = members
        self._neighbours = neighbours
        self._limiter = trio.CapacityLimiter(THREADS)

    def news(self, link: Link) -> None:
        """See `Host`."""
        self._neighbours.news()

    def offered(self, link: Link, offer: Offer) -> None:
        """See `Host`."""
        if self._prefetching is not None and self._may(link, offer.workspace):
            self._prefetching.offered(link, offer)

    def shared(self, link: Link) -> None:
        """See `Host`."""
        self._neighbours.shared()

    def holding(self, link: Link, ask: Ask) -> Holding:
        """See `Host`."""
        may = self._may(link, ask.workspace)
        held = dict.fromkeys(self._context.makeable(self._context.holdings.places(ask.versions)) if may else ())
        absent = tuple(version for version in ask.versions if version not in held)
        shares = self._context.partials.shares(absent) if may else ()
        return Holding(workspace=ask.workspace, held=tuple(held), absent=absent, shares=fitting(shares))

    def _may(self, link: Link, workspace: WorkspaceId) -> bool:
        may = self._members.may_read(link.device, workspace)
        if not may and self._members.fresh:
            self._members.doubt()  # this device may not have heard yet
            link.trespass()
        return may

    async def answer(self, link: Link, gets: Sequence[Numbered]) -> list[memoryview]:
        """See `Host`."""
        context, fill = self._context, link.channel.records_out.fill
        may = {get.workspace: self._may(link, get.workspace) for get, _ in gets}
        versions = [version for get, _ in gets if may[get.workspace] for version, _, _ in get.parts]
        places = context.holdings.places(versions)
        under_way = context.partials.places(version for version in versions if version not in places)
        offered = context.offers.lists(version for version in versions if version not in places)
        lists = context.lists.get_many([*places, *under_way]) | {each: found[1] for each, found in offered.items()}
        places = places | {version: place for version, (place, _) in offered.items()}
        held = {version: (place, None) for version, place in places.items()} | under_way
        wanted = [_chunks(get, lists, held if may[get.workspace] else {}) for get, _ in gets]
        fills = [partial(fill, counter, get.request) for get, counter in gets]
        sealed = await context.machine.offload(lambda: _seal(context.holdings, wanted, fills), self._limiter)
        for place in sealed.unread:  # a file is not as LOCAL says
            if place.parent[:1] != (RESERVED,):
                context.look_again(place.parent)
        context.doubt(sealed.wrong)
        context.counters["lan_out"] += sealed.given
        return sealed.frames


def _chunks(get: Get, lists: Mapping[VersionId, ChunkList], held: Mapping[VersionId, Held]) -> list[Stored | None]:
    """What a request is for; None for those that can't be had here."""
    chunks: list[Stored | None] = []
    for version, first, count in get.parts:
        chunks += _stored(first, count, lists.get(version), held.get(version))
    _check_size(chunks)
    return chunks


def _stored(first: int, count: int, listed: ChunkList | None, held: Held | None) -> list[Stored | None]:
    """`count` chunks of a version's list; None for those that can't be had here."""
    if listed is None or held is None:
        return [None] * count
    place, bitmap = held
    known = [
        Stored(listed.refs[index], place, listed.offsets[index]) if bitmap is None or has(bitmap, index) else None
        for index in range(first, min(first + count, len(listed.refs)))
    ]
    return [*known, *[None] * (count - len(known))]


def _check_size(chunks: Sequence[Stored | None]) -> None:
    weights = [chunk.ref.weight for chunk in chunks if chunk is not None]
    if len(weights) > 1 and sum(weights) > MAX_GET_BYTES:
        raise LinkEnded("it asks for too much at once", Blame.DEVICE)


class _Sealed(NamedTuple):
    """Records, how many bytes of sealed chunks are in them, and which files didn't give what they should."""

    frames: list[memoryview]
    given: int
    wrong: Set[Place] = frozenset()
    unread: Set[Place] = frozenset()


def _seal(holdings: Holdings, wanted: Sequence[Sequence[Stored | None]], fills: Sequence[Fill]) -> _Sealed:
    """The records of these chunks, each made by its `fill`. Runs in a thread."""
    with _reading(holdings) as reader:
        made = [_record(reader, chunks, fill) for chunks, fill in zip(wanted, fills, strict=True)]
        sealed = _Sealed([frame for frame, _ in made], sum(given for _, given in made))
        return sealed if reader is None else sealed._replace(wrong=reader.wrong, unread=reader.unread)


def _record(reader: Reader | None, chunks: Sequence[Stored | None], fill: Fill) -> tuple[memoryview, int]:
    lengths = [0 if chunk is None else chunk.ref.sealed_length for chunk in chunks]
    given = 0

    def put(number: int, room: memoryview) -> bool:
        nonlocal given
        chunk = chunks[number]
        held = reader is not None and chunk is not None and reader.seal(chunk, room)
        given += len(room) if held else 0
        return held

    return fill(lengths, put), given


@contextmanager
def _reading(holdings: Holdings) -> Iterator[Reader | None]:
    """None while the folder is away; the synchronizer says so."""
    with ExitStack() as stack:
        try:
            reader = stack.enter_context(holdings.reading())
        except WrongRoot:
            reader = None
        yield reader
