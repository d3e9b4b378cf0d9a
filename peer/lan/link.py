"""A link: an established connection to one device, and all that goes on over it.

    reader    takes frames: answers to our requests come in the order of the requests, what the device asks for goes to
              the server, what it says is remembered
    server    makes answers, some in one go and two such goes at a time, and sends them in the order in which they were
              asked for
    writer    sends control messages, so that the reader never waits for the other side to read
    keeper    pings when nothing is said; ends a link that is silent, that owes an answer for too long, or is too old

What the other side does wrong ends the link, and `Blame` says whose fault it was: where the path altered bytes it is
dialled again, a device that lies or stalls is left alone for a while.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias, TypeVar

import trio

from peer.lan.channel import Channel, Record, one_line
from protocol.errors import CannotOpen, Malformed, ShoalError, Unreachable, first_of
from protocol.identifiers import VersionId, WorkspaceId
from protocol.lan_messages import Ask, Bye, Control, Done, Get, Hello, Holding, Offer, Part, Ping, Pong, Share

T = TypeVar("T")

REQUESTS = 16
"""Requests of ours under way at once on a link, about 1 MiB each."""
MOST_REQUESTS = 16
"""Requests of the other side that may wait here; one more is a flood."""
GOES, ANSWERS = 2, 4
"""So many threads make answers for a link, each so many, of about 1 MiB, before it hands them over: waking a thread
and looking up where things are takes as long as it takes to seal some of them."""
MOST_MESSAGES = 256
"""Control messages waiting to be sent; one more, and the other side takes nothing any more."""
PATIENCE = 5.0
"""Seconds for which nothing may come while an answer is due."""
LONGEST_ANSWER = 60.0
"""Seconds that one answer, of about 1 MiB, may take to come: less than that is a trickle, which only keeps the link."""
TRESPASSES = 64
"""Messages about workspaces that aren't the device's user's which are answered as if these didn't exist: the lists of
members on both sides need not be the same at once. One more is no mistake."""
QUIET, SILENT = 10.0, 25.0
"""Seconds without a word after which this side pings, and after which the other side is taken to be gone."""
OLDEST = 3600.0
"""Seconds that a link lives; the next one has fresh keys."""
MESSAGES, MESSAGES_BURST = 200.0, 2000.0
"""Control messages that are taken from a device: so many a second, and so many at once."""
REMEMBERED, SHARES = 20_000, 2000
"""Versions in each list that is kept of a device, and those of which it has only a part; the oldest are forgotten."""


class Blame(Enum):
    """Whose fault it is that a link ended."""

    NOBODY = "nobody"
    PATH = "the path"
    DEVICE = "the device"


class LinkEnded(Unreachable):
    """The link is over."""

    def __init__(self, reason: str, blame: Blame = Blame.NOBODY) -> None:
        super().__init__(reason)
        self.blame = blame


Numbered: TypeAlias = tuple[Get, int]
"""A request, and the counter of the record that answers it."""


class Host(Protocol):
    """What a link needs of this device."""

    def holding(self, link: "Link", ask: Ask) -> Holding:
        """What this device holds of what `link` asks for."""
        ...

    async def answer(self, link: "Link", gets: Sequence[Numbered]) -> list[memoryview]:
        """The records that answer, each as a whole frame. `LinkEnded` when one asks for too much."""
        ...

    def news(self, link: "Link") -> None:
        """The device has said what it holds, or what it waits for no longer."""
        ...

    def offered(self, link: "Link", offer: Offer) -> None:
        """The device offers what it is about to announce."""
        ...

    def shared(self, link: "Link") -> None:
        """The device has said how much it has of something."""
        ...


class Remembered:
    """A bounded set of versions; the oldest are forgotten."""

    def __init__(self) -> None:
        self._items: OrderedDict[VersionId, None] = OrderedDict()

    def add(self, versions: Iterable[VersionId]) -> None:
        """Remember these."""
        self._items.update(dict.fromkeys(versions))
        while len(self._items) > REMEMBERED:
            self._items.popitem(last=False)

    def drop(self, versions: Iterable[VersionId]) -> None:
        """Forget these."""
        for version in versions:
            self._items.pop(version, None)

    def __contains__(self, version: VersionId) -> bool:
        return version in self._items


@dataclass(slots=True)
class _Due:
    """An answer that is to come."""

    request: int
    over: trio.Event = field(default_factory=trio.Event)
    record: Record | None = None


class Link:
    """One device, for as long as the connection to it lasts. `run` has to be running for anything else to work."""

    def __init__(self, channel: Channel, workspace: WorkspaceId, host: Host) -> None:
        """Over a channel on which hellos were exchanged."""
        self.channel = channel
        self.device = channel.device
        self.opened_at = trio.current_time()
        self.asked, self.held, self.absent = Remembered(), Remembered(), Remembered()
        """What the device was asked about, what of that it holds, and what it doesn't."""
        self.shares: OrderedDict[VersionId, bytes] = OrderedDict()
        """Bitmaps of the chunks that it has of versions which it doesn't hold whole; the oldest are forgotten."""
        self.again: dict[VersionId, float] = {}
        """What of that it couldn't give after all, and when to ask once more."""
        self.owed, self.waits_for = Remembered(), Remembered()
        """What the device asked for in vain, and what it asked for and hasn't said to be done with."""
        self.wanted_at = float("-inf")
        """When the device last asked for anything."""
        self.ended: LinkEnded | None = None
        self._workspace = workspace
        self._host = host
        self._scope = trio.CancelScope()
        self._free = trio.Semaphore(REQUESTS)
        self._due: deque[_Due] = deque()
        self._due_since = 0.0
        self._requests = 0
        self._gets, self._to_serve = trio.open_memory_channel[Get](MOST_REQUESTS)  # full: the device floods
        self._outbox, self._to_send = trio.open_memory_channel[Control](MOST_MESSAGES)  # full: it takes nothing
        self._budget, self._budget_at = MESSAGES_BURST, self.opened_at
        self._trespasses = 0

    # Life

    async def run(self) -> LinkEnded:
        """Live until it ends; why it did."""
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    for task in (self._read, self._serve, self._write, self._keep, self._close_when_cancelled):
                        nursery.start_soon(task)
            except* ShoalError as group:
                self._over(_verdict(group))
        self._over(LinkEnded("it was closed"))
        assert self.ended is not None
        return self.ended

    def end(self, reason: str, blame: Blame = Blame.NOBODY) -> None:
        """End it from this side."""
        self._over(LinkEnded(reason, blame))
        self._scope.cancel()

    def _over(self, ended: LinkEnded) -> None:
        self.ended = self.ended or ended
        self.channel.close()
        for due in self._due:
            due.over.set()
            self._free.release()
        self._due.clear()

    async def _close_when_cancelled(self) -> None:
        """Sending is shielded; this is what cuts it short."""
        try:
            await trio.sleep_forever()
        finally:
            self.channel.close()

    async def _keep(self) -> None:
        number = 0
        while True:
            now, channel = trio.current_time(), self.channel
            if now - self.opened_at > OLDEST:
                raise LinkEnded("it is an hour old")
            if now - channel.heard_at > SILENT:
                raise LinkEnded("it is silent", Blame.PATH)
            if self._due and now - max(channel.heard_at, self._due_since) > PATIENCE:
                raise LinkEnded("it owes an answer", Blame.PATH)
            if self._due and now - self._due_since > LONGEST_ANSWER:
                raise LinkEnded("it is too slow", Blame.PATH)
            if now - min(channel.said_at, channel.heard_at) > QUIET:
                number += 1
                self.post(Ping(number=number))
            await trio.sleep(min(PATIENCE, QUIET) / 4)

    # Saying

    def post(self, message: Control) -> None:
        """Say something, in the order of posting. Never waits; a device that doesn't read loses the link."""
        try:
            self._outbox.send_nowait(message)
        except trio.WouldBlock:
            self.end("it takes nothing any more", Blame.DEVICE)

    async def _write(self) -> None:
        async for message in self._to_send:
            await self.channel.say(message, *_at_hand(self._to_send, MOST_MESSAGES))

    # Asking for chunks

    async def get(self, requests: Sequence[Sequence[Part]]) -> list[tuple[int, Record]]:
        """Ask for chunks: of each request its number, and the record that answers it, for `opened`. `LinkEnded` when
        one doesn't come."""
        due = [await self._ask(parts) for parts in requests]
        return [(each.request, await self._answer(each)) for each in due]

    async def _ask(self, parts: Sequence[Part]) -> _Due:
        await self._free.acquire()  # given back when the answer is there: who is cancelled has still asked
        if self.ended is not None:
            self._free.release()
            raise self.ended
        self._requests = (self._requests + 1) % (1 << 32)
        due = _Due(self._requests)
        if not self._due:
            self._due_since = trio.current_time()
        self._due.append(due)
        self.post(Get(request=due.request, workspace=self._workspace, parts=tuple(parts)))
        return due

    async def _answer(self, due: _Due) -> Record:
        await due.over.wait()
        if due.record is None:
            assert self.ended is not None
            raise self.ended
        return due.record

    def opened(self, request: int, record: Record, count: int) -> list[memoryview]:
        """What is in the answer to a request for `count` chunks; an empty one is not held. Raises `CannotOpen` and
        `Malformed`."""
        number, chunks = self.channel.records_in.open(record.counter, record.body)
        if number != request or len(chunks) != count:
            raise Malformed("an answer to another request")
        return chunks

    def spoilt(self, error: BaseException) -> None:
        """End it for what is wrong with an answer. A record that doesn't open was altered on the way; what is wrong in
        one that does, the device has sent."""
        self.end(str(error), Blame.PATH if isinstance(error, CannotOpen) else Blame.DEVICE)

    def _take_answer(self, record: Record) -> None:
        if not self._due:
            raise LinkEnded("it answers what nobody asked", Blame.DEVICE)
        due = self._due.popleft()
        due.record = record
        due.over.set()
        self._due_since = trio.current_time()
        self._free.release()

    # Reading

    async def _read(self) -> None:
        while True:
            frame = await self.channel.receive()
            if isinstance(frame, Record):
                self._take_answer(frame)
            else:
                if not isinstance(frame, Get):  # of which no more than MOST_REQUESTS are taken at once
                    self._spend()
                self._take(frame)

    def _spend(self) -> None:
        now = trio.current_time()
        self._budget = min(MESSAGES_BURST, self._budget + (now - self._budget_at) * MESSAGES) - 1
        self._budget_at = now
        if self._budget < 0:
            raise LinkEnded("it floods", Blame.DEVICE)

    def trespass(self) -> None:
        """The device has asked for what its user may not have; `LinkEnded` when that is no mistake any more."""
        self._trespasses += 1
        if self._trespasses > TRESPASSES:
            raise LinkEnded("it asks for what its user may not have", Blame.DEVICE)

    def _take(self, message: Control) -> None:
        if isinstance(message, Ask):
            self._take_ask(message)
        elif isinstance(message, Get):
            self.wanted_at = trio.current_time()
            try:
                self._gets.send_nowait(message)
            except trio.WouldBlock:
                raise LinkEnded("it asks for too much at once", Blame.DEVICE) from None
        elif isinstance(message, Holding):
            self._take_holding(message)
        elif isinstance(message, Done):
            self.waits_for.drop(message.versions)
            self._host.news(self)
        elif isinstance(message, Offer):
            self._host.offered(self, message)
        elif isinstance(message, Ping):
            self.post(Pong(number=message.number))
        elif isinstance(message, Bye):
            raise LinkEnded(f"it says good-bye: {one_line(message.reason)}")
        elif isinstance(message, Hello):
            raise Malformed("a second hello")

    def _take_ask(self, ask: Ask) -> None:
        answer = self._host.holding(self, ask)
        self.wanted_at = trio.current_time()
        self.owed.add(answer.absent)
        self.waits_for.add(ask.versions)
        self.post(answer)
        self._host.shared(self)  # it is about to get them as well

    def _take_holding(self, holding: Holding) -> None:
        if holding.workspace != self._workspace:
            return
        held = [version for version in holding.held if version in self.asked]
        absent = [version for version in holding.absent if version in self.asked]
        self.held.drop(absent)
        self.held.add(held)
        self.absent.drop(held)
        self.absent.add(absent)
        for version in held:
            self.shares.pop(version, None)
        self._take_shares(holding.shares)
        if held or absent:
            self._host.news(self)

    def _take_shares(self, shares: Sequence[Share]) -> None:
        for version, bitmap in shares:
            if version in self.asked and version not in self.held:
                self.shares[version] = bitmap
        while len(self.shares) > SHARES:
            self.shares.popitem(last=False)
        if shares:
            self._host.shared(self)

    # Serving

    async def _serve(self) -> None:
        """Answers are made side by side, and leave one after the other."""
        free, before = trio.Semaphore(GOES), trio.Event()
        before.set()
        async with trio.open_nursery() as nursery:
            async for first in self._to_serve:
                await free.acquire()
                sent = trio.Event()
                gets = first, *_at_hand(self._to_serve, ANSWERS - 1)
                nursery.start_soon(self._serve_some, [self._numbered(get) for get in gets], before, sent, free)
                before = sent

    def _numbered(self, get: Get) -> Numbered:
        return get, self.channel.records_out.reserve()

    async def _serve_some(
        self, gets: Sequence[Numbered], before: trio.Event, sent: trio.Event, free: trio.Semaphore
    ) -> None:
        frames = await self._host.answer(self, gets)
        await before.wait()
        for frame in frames:
            await self.channel.send_record(frame)
        self.wanted_at = trio.current_time()
        sent.set()
        free.release()


def _at_hand(channel: trio.MemoryReceiveChannel[T], most: int) -> Iterator[T]:
    """What can be had without waiting."""
    with suppress(trio.WouldBlock):
        for _ in range(most):
            yield channel.receive_nowait()


def _verdict(group: BaseExceptionGroup[ShoalError]) -> LinkEnded:
    """What ended a link."""
    error = first_of(group)
    if isinstance(error, LinkEnded):
        return error
    if isinstance(error, CannotOpen):
        return LinkEnded("bytes were altered on the way", Blame.PATH)
    if isinstance(error, Malformed):
        return LinkEnded(f"it talks nonsense: {error}", Blame.DEVICE)
    return LinkEnded(str(error))
