"""The devices on the LAN and the cloud as sources of some files, and the devices that fetch the same files.

What is to be fetched from who has it whole is dealt out: stretches of about 1 MiB of a version's list go round all
devices that fetch it, in the order of their ids. All of them know that order, and nobody has to arrange it; where two
see different devices for a moment, a stretch comes twice.
"""

from collections.abc import Iterable, Iterator, Sequence

import trio

from peer.lan.bitmaps import has, numbers
from peer.lan.link import Link
from peer.synchronizer.context import Context
from peer.synchronizer.gathering import Source
from peer.synchronizer.jobs import GROUP_BYTES, Wanted
from peer.synchronizer.sources import CloudSource, LanSource
from protocol.identifiers import DeviceId, VersionId
from protocol.lan_messages import MAX_GET_BYTES

SHARED_BYTES = GROUP_BYTES
"""What is smaller comes from a device that has it whole sooner than by way of another."""
TELLING = 0.05
"""Seconds between two words of what has come, which others may fetch from here."""


class LanSwarm:
    """Of one gathering; see `peer.synchronizer.gathering.Swarm`."""

    def __init__(self, context: Context, cloud: CloudSource, wanted: Sequence[Wanted]) -> None:
        """`wanted` is what is to be fetched."""
        self._context = context
        self._cloud = cloud
        self._lan: dict[Link, LanSource] = {}
        self._wanted = {(each.version, each.number): each for each in wanted}
        self._stretch = {each.version: _stretch(each) for each in wanted}
        self._known: dict[tuple[Link, VersionId], bytes] = {}
        self._seekers: dict[VersionId, Sequence[DeviceId]] = {}
        self._to_tell: dict[VersionId, None] = {}
        self._something_to_tell = trio.Event()
        self.shifts()
        for source in self.sources():
            list(self.offers(source))

    def sources(self) -> Sequence[Source]:
        """See `Swarm`."""
        neighbours = self._context.neighbours
        self._lan = {link: self._lan.get(link) or LanSource(link, neighbours) for link in neighbours.links}
        return [self._cloud, *self._lan.values()]

    def offers(self, source: Source) -> Iterator[Wanted]:
        """See `Swarm`."""
        link = source.link if isinstance(source, LanSource) else None
        for version in self._stretch if link is not None else ():
            if link is not None:
                yield from self._new(link, version, link.shares.get(version, b""))

    def _new(self, link: Link, version: VersionId, bitmap: bytes) -> Iterator[Wanted]:
        known = self._known.get((link, version), b"")
        if bitmap == known:
            return
        self._known[link, version] = bitmap
        for number in numbers(bitmap):
            if not has(known, number) and (version, number) in self._wanted:
                yield self._wanted[version, number]

    def shifts(self) -> bool:
        """See `Swarm`."""
        neighbours, own = self._context.neighbours, self._context.device
        before = self._seekers
        found = ((version, neighbours.seekers(version)) for version in self._stretch)
        self._seekers = {version: sorted([own, *others]) for version, others in found if others}
        return self._seekers != before

    async def news(self) -> None:
        """See `Swarm`."""
        await self._context.neighbours.shared_more.wait()

    def turn(self, wanted: Wanted, *, from_cloud: bool) -> bool | None:
        """See `Company`."""
        everyone = self._seekers.get(wanted.version)
        if everyone is None or (not from_cloud and wanted.users[0][0].size < SHARED_BYTES):
            return None
        place = wanted.version[0] + wanted.number // self._stretch[wanted.version]
        return everyone[place % len(everyone)] == self._context.device

    def order(self, wanted: Wanted) -> int:
        """See `Company`."""
        return int.from_bytes(wanted.ref.id[:8]) ^ int.from_bytes(self._context.device[:8])

    # Telling

    def came(self, wanted: Iterable[Wanted]) -> None:
        """These are here: others may have them."""
        versions = {job.version.id: None for each in wanted for job, _ in each.users}
        if any(version in self._seekers for version in versions):
            self._to_tell.update(versions)
            self._something_to_tell.set()

    async def keep_telling(self) -> None:
        """Tell who fetches the same of what has come, until cancelled."""
        while True:
            await self._something_to_tell.wait()
            self.tell()
            await trio.sleep(TELLING)

    def tell(self) -> None:
        """Tell now."""
        versions, self._to_tell = self._to_tell, {}
        self._something_to_tell = trio.Event()
        self._context.neighbours.tell_shares(self._context.partials.shares(versions))


def _stretch(wanted: Wanted) -> int:
    """How many chunks of its version are about as much as one request may be for."""
    job = wanted.users[0][0]
    return max(1, MAX_GET_BYTES * len(job.pieces) // max(1, job.size))
