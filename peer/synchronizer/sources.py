"""Where chunks come from: the cloud, and devices on the LAN."""

from collections.abc import Sequence
from functools import partial
from itertools import chain

import trio

from peer.lan.bitmaps import has
from peer.lan.channel import Record
from peer.lan.link import REQUESTS, Link
from peer.lan.neighbours import Neighbours
from peer.synchronizer.gathering import Sealed
from peer.synchronizer.jobs import Wanted
from peer.synchronizer.pieces import within
from peer.tracker_client import DeviceClient
from peer.traffic import Traffic
from protocol.api import ChunksRequest
from protocol.errors import CannotOpen, Malformed, Unreachable
from protocol.identifiers import DeviceId, WorkspaceId
from protocol.lan_messages import MAX_GET_BYTES, Part
from protocol.packs import read_index

AT_ONCE = 4
"""Requests, of about 1 MiB, that are made, answered and used in one go, of a device that answers so many in FAST
seconds: one by one they take as much work again as what is in them. Of a slow one each answer is to be heard of when it
comes, and of several devices it would be too much to hold."""
FAST = 0.25


class CloudSource:
    """The tracker's block service."""

    is_cloud = True

    def __init__(self, client: DeviceClient, workspace: WorkspaceId, traffic: Traffic) -> None:
        self.parallel = traffic.requests
        self._client = client
        self._workspace = workspace
        self._traffic = traffic

    @property
    def most(self) -> int:
        """See `Source`: what the line brings in about two seconds."""
        return self._traffic.down.size

    def gives(self, wanted: Wanted) -> bool:
        """See `Source`."""
        return wanted.in_the_cloud

    async def ask(self, wanted: Sequence[Wanted]) -> Sealed:
        """See `Source`."""
        self._traffic.require()
        request = ChunksRequest(workspace=self._workspace, chunks=tuple(each.ref.id for each in wanted))
        began = trio.current_time()
        try:
            body = await self._client.fetch_chunks(request)
        except Unreachable:
            self._traffic.down.failed()
            raise
        self._traffic.down.took(len(body), trio.current_time() - began)
        return partial(self._open, wanted, body)

    def fetches(self, wanted: Wanted) -> bool:
        """See `Candidate`."""
        return False

    def _open(self, wanted: Sequence[Wanted], body: bytes) -> list[memoryview]:
        view = memoryview(bytearray(body))
        held = {
            entry.id: view[entry.offset : entry.offset + entry.length] for entry in read_index(body, self._workspace)
        }
        return [held.get(each.ref.id, view[:0]) for each in wanted]

    def lacks(self, wanted: Sequence[Wanted]) -> None:
        """See `Source`; the files that need them say so."""

    def spoilt(self, error: CannotOpen | Malformed) -> None:
        """See `Source`. There is no other cloud to turn to."""
        raise error


class LanSource:
    """A linked device."""

    is_cloud, parallel = False, REQUESTS // AT_ONCE + 3  # what came is used while the next are on their way

    def __init__(self, link: Link, neighbours: Neighbours) -> None:
        self.most = MAX_GET_BYTES
        self._highest = MAX_GET_BYTES * max(1, AT_ONCE // len(neighbours.links))
        self.link = link
        self._neighbours = neighbours

    @property
    def device(self) -> DeviceId:
        """Who it is."""
        return self.link.device

    def gives(self, wanted: Wanted) -> bool:
        """See `Source`."""
        link, version = self.link, wanted.version
        return link.ended is None and (version in link.held or has(link.shares.get(version, b""), wanted.number))

    def fetches(self, wanted: Wanted) -> bool:
        """See `Candidate`."""
        return wanted.version in self.link.waits_for and wanted.version not in self.link.held

    async def ask(self, wanted: Sequence[Wanted]) -> Sealed:
        """See `Source`."""
        requests, began = list(within(MAX_GET_BYTES, wanted)), trio.current_time()
        answers = await self.link.get([_parts(request) for request in requests])
        fast = trio.current_time() - began < FAST
        self.most = min(2 * self.most, self._highest) if fast else MAX_GET_BYTES
        return partial(self._open_all, [len(request) for request in requests], answers)

    def _open_all(self, counts: Sequence[int], answers: Sequence[tuple[int, Record]]) -> list[memoryview]:
        opened = (self.link.opened(*answer, count) for count, answer in zip(counts, answers, strict=True))
        return list(chain.from_iterable(opened))

    def lacks(self, wanted: Sequence[Wanted]) -> None:
        """See `Source`."""
        self._neighbours.lacks(self.link, {each.version for each in wanted})

    def spoilt(self, error: CannotOpen | Malformed) -> None:
        """See `Source`."""
        self.link.spoilt(error)


def _parts(wanted: Sequence[Wanted]) -> list[Part]:
    """Stretches of the versions' lists."""
    parts: list[Part] = []
    for each in wanted:
        if parts:
            version, first, count = parts[-1]
            if version == each.version and first + count == each.number:
                parts[-1] = version, first, count + 1
                continue
        parts.append((each.version, each.number, 1))
    return parts
