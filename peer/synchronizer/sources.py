"""Where chunks come from: the cloud, and devices on the LAN."""

from collections.abc import Sequence
from functools import partial

from peer.lan.channel import Record
from peer.lan.link import REQUESTS, Blame, Link
from peer.lan.neighbours import Neighbours
from peer.synchronizer.gathering import Sealed
from peer.synchronizer.jobs import Wanted
from peer.tracker_client import DeviceClient
from protocol.api import ChunksRequest
from protocol.errors import CannotOpen, Malformed
from protocol.identifiers import PACK_TARGET, WorkspaceId
from protocol.lan_messages import MAX_GET_BYTES, Part
from protocol.packs import read_index


class CloudSource:
    """The tracker's block service."""

    is_cloud, parallel, most = True, 3, PACK_TARGET

    def __init__(self, client: DeviceClient, workspace: WorkspaceId) -> None:
        self._client = client
        self._workspace = workspace

    def gives(self, wanted: Wanted) -> bool:
        """See `Source`."""
        return wanted.in_the_cloud

    async def ask(self, wanted: Sequence[Wanted]) -> Sealed:
        """See `Source`."""
        request = ChunksRequest(workspace=self._workspace, chunks=tuple(each.ref.id for each in wanted))
        body = await self._client.fetch_chunks(request)
        return partial(self._open, wanted, body)

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

    is_cloud, parallel, most = False, REQUESTS, MAX_GET_BYTES

    def __init__(self, link: Link, neighbours: Neighbours) -> None:
        self._link = link
        self._neighbours = neighbours

    def gives(self, wanted: Wanted) -> bool:
        """See `Source`."""
        return self._link.ended is None and wanted.version in self._link.held

    async def ask(self, wanted: Sequence[Wanted]) -> Sealed:
        """See `Source`."""
        request, record = await self._link.get(_parts(wanted))
        return partial(self._open, request, record, len(wanted))

    def _open(self, request: int, record: Record, count: int) -> list[memoryview]:
        number, chunks = self._link.channel.records_in.open(record.counter, record.body)
        if number != request or len(chunks) != count:
            raise Malformed("an answer to another request")
        return chunks

    def lacks(self, wanted: Sequence[Wanted]) -> None:
        """See `Source`."""
        self._neighbours.lacks(self._link, {each.version for each in wanted})

    def spoilt(self, error: CannotOpen | Malformed) -> None:
        """See `Source`. A record that doesn't open was altered on the way; what is wrong in one that does, the device
        has sent."""
        self._link.end(str(error), Blame.PATH if isinstance(error, CannotOpen) else Blame.DEVICE)


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
