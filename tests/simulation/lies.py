"""A device whose word on the LAN is worth nothing: it is a member like any other, and serves what it likes.

It does so where its real program hands chunks to a link, so that the lies travel in records as good as any.
"""

import struct
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from peer.lan.link import Link, Numbered
from peer.lan.serving import Serving
from peer.peer import Peer
from protocol.lan_frames import RECORD, Put
from protocol.lan_messages import Ask, Hello, Holding, Offer
from tests.simulation.log import EventLog

KINDS = ("altered", "altered", "another", "another", "empty", "of another request", "nonsense")
SIZES = ("of one chunk too many", "of an endless record")
_SIZES = 0.2
"""The share of lies that are about how much there is."""
_ENDLESS = struct.pack(">BI", RECORD, 1 << 26)
"""The head of a frame that says that 64 MiB come after it."""


class Liar:
    """Stands where a link has its `Serving`."""

    def __init__(self, name: str, serving: Serving, rng: Random, sizes: Random, chance: float, log: EventLog) -> None:
        self.chance = chance
        """Of each answer."""
        self._name = name
        self._serving = serving
        self._rng = rng
        self._sizes = sizes
        self._log = log
        self._before = b""

    def news(self, link: Link) -> None:
        """See `peer.lan.link.Host`."""
        self._serving.news(link)

    def offered(self, link: Link, offer: Offer) -> None:
        """See `Host`."""
        self._serving.offered(link, offer)

    def shared(self, link: Link) -> None:
        """See `Host`."""
        self._serving.shared(link)

    def holding(self, link: Link, ask: Ask) -> Holding:
        """See `Host`. Now and then it claims to hold everything."""
        answer = self._serving.holding(link, ask)
        if self._rng.random() < self.chance:
            self._log.note(self._name, "claims to hold everything")
            return Holding(workspace=answer.workspace, held=(*answer.held, *answer.absent), absent=())
        return answer

    async def answer(self, link: Link, gets: Sequence[Numbered]) -> list[memoryview]:
        """See `Host`."""
        if self._rng.random() >= self.chance:
            return await self._serving.answer(link, gets)
        kind = self._rng.choice(KINDS)
        if self._sizes.random() < _SIZES:
            kind = self._sizes.choice(SIZES)
        self._log.note(self._name, f"lies on the LAN: {kind}")
        if kind == "nonsense":
            link.post(Hello(lowest=1, highest=1))
        if kind == "of an endless record":
            return [memoryview(_ENDLESS)] * len(gets)

        def fill(counter: int, request: int, lengths: Sequence[int], put: Put) -> memoryview:
            wrong = request + 1 if kind == "of another request" else request
            if kind == "of one chunk too many":
                lengths, truth = [*lengths, lengths[-1]], put
                put = lambda number, room: truth(min(number, len(lengths) - 2), room)  # noqa: E731
            return link.channel.records_out.fill(counter, wrong, lengths, lambda *args: self._put(kind, put, *args))

        records = SimpleNamespace(fill=fill)
        posing = SimpleNamespace(device=link.device, channel=SimpleNamespace(records_out=records))
        return await self._serving.answer(cast(Link, posing), gets)

    def _put(self, kind: str, put: Put, number: int, room: memoryview) -> bool:
        held = put(number, room)
        truth = bytes(room)
        if held and kind == "altered":
            room[self._rng.randrange(len(room))] ^= 1
        elif held and kind == "another":
            room[:] = (self._before + bytes(len(room)))[: len(room)]
        elif kind == "empty":
            return False
        self._before = truth
        return held


def make_liar(peer: Peer, name: str, rng: Random, sizes: Random, chance: float, log: EventLog) -> Liar | None:
    """Let a peer that was just put together lie from now on; None when it is on no LAN. What is about sizes is drawn
    from `sizes`."""
    meeting = peer.meeting
    if meeting is None:
        return None
    liar = Liar(name, meeting._serving, rng, sizes, chance, log)
    meeting._serving = cast(Any, liar)
    return liar
