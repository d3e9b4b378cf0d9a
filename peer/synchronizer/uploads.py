"""Uploading: chunks that the tracker lacks, made again from the files, sent in packs.

The tracker leases a version's missing chunks to one device at a time: its author at first, another that holds it if the
author stops. While a device on the LAN waits for a version, its chunks go there first. A chunk whose file has changed
meanwhile can't be had any more, and is left to the version that the change makes.
"""

import logging
from collections.abc import Iterable, Sequence
from itertools import islice

import trio

from peer.synchronizer.context import Context
from peer.synchronizer.holdings import Stored
from peer.synchronizer.precedence import Precedence
from peer.synchronizer.runs import fetch_runs
from peer.tracker_client import DeviceClient
from peer.version_store import Upload, Version
from protocol.api import LEASE, WANTED, WITHDRAW, LeaseReply, LeaseRequest, WantedRequest, WithdrawRequest
from protocol.errors import Code, Refused, Unreachable
from protocol.failpoints import failpoint
from protocol.identifiers import VersionId
from protocol.packs import build_pack

log = logging.getLogger(__name__)
MOST_CHUNKS = 1024
"""In one pack."""
VERSIONS_AT_ONCE = 1000
RESCUE_MS = 90_000
"""Milliseconds from its announcement after which another device's version may need this one's help."""
DAMAGED_SOON, DAMAGED_AGAIN = 60.0, 300.0
"""Seconds until the tracker is asked for the first time, and again, which chunks have been damaged there."""
GIVE_UP = 300.0
"""Seconds after which a version is withdrawn whose bytes this device, its author, has lost and can't replace."""


class Uploads:
    """Sends what the tracker lacks, whenever there is any."""

    def __init__(self, context: Context, client: DeviceClient) -> None:
        """Work on the context's workspace and folder."""
        self._context = context
        self._client = client
        self._lost: dict[VersionId, float] = {}
        self._to_go = 0  # bytes in clear
        self._precedence = Precedence()
        self._ask_damaged_at = trio.current_time() + DAMAGED_SOON
        self.failure: str | None = None
        """Why the last upload failed, when it wasn't for want of a connection."""
        self.waiting = False
        """Whether something is left that goes to the LAN first."""

    # What is missing

    async def ask_what_is_missing(self) -> None:
        """After a start, a lost answer, or a chunk that couldn't be had: which chunks does the tracker lack of the
        versions that this device can bring there, and leaves to it?"""
        versions = self._announced()
        for start in range(0, len(versions), VERSIONS_AT_ONCE):
            part = tuple(versions[start : start + VERSIONS_AT_ONCE])
            request = LeaseRequest(workspace=self._context.keys.workspace, versions=part)
            await self._take(part, await self._client.call(LEASE, request))
        await self._withdraw_lost()

    def _announced(self) -> list[VersionId]:
        """Versions not in the cloud: this device's own, those it keeps the only file of, and those of others that
        should be there by now."""
        context = self._context
        own = context.versions.own_announced(context.device)
        others = context.versions.held_announced(context.device, context.machine.now() // 1_000_000 - RESCUE_MS)
        return list(dict.fromkeys([*own, *context.versions.spooled(), *context.makeable(others)]))

    @property
    def unfinished(self) -> bool:
        """Whether the cloud lacks a version that this device could bring there, now or later."""
        return bool(self._announced())

    async def _take(self, asked: Sequence[VersionId], reply: LeaseReply) -> None:
        """Queue what is missing and left to this device, and nothing else of what was asked about: another device may
        have brought it meanwhile, or be at it."""
        context = self._context
        known = list(context.versions.get_many(reply.granted).values())
        await fetch_runs(context, self._client, [run for version in known for run in version.runs])
        with context.store.database.transaction():
            context.versions.put_durable(reply.settled)
            granted, missing = set(reply.granted), set(reply.missing)
            queued = context.versions.queued(asked)
            context.versions.uploaded(
                chunk for version, chunk in queued if version not in granted or chunk not in missing
            )
            context.versions.want_missing(context.versions.lists(known), missing)

    async def ask_what_is_damaged(self) -> None:
        """Now and then: which chunks that the tracker had have been damaged there, and are here?"""
        if trio.current_time() < self._ask_damaged_at:
            return
        context = self._context
        self._ask_damaged_at = trio.current_time() + DAMAGED_AGAIN
        reply = await self._client.call(WANTED, WantedRequest(workspace=context.keys.workspace))
        here = context.holdings.places(reply.versions)
        known = list(context.versions.get_many(here).values())
        await fetch_runs(context, self._client, [run for version in known for run in version.runs])
        with context.store.database.transaction():
            context.versions.want_missing(context.versions.lists(known), set(reply.chunks))
        if here:
            log.warning("%d chunks were damaged at the tracker: what is here of them goes there", len(reply.chunks))

    async def _withdraw_lost(self) -> None:
        """Take back what can't be brought to the cloud any more, and what no change of the file will replace. What zstd
        compresses otherwise since Shoal was upgraded is then sent anew, as what can be made now."""
        context, now = self._context, trio.current_time()
        announced = set(context.versions.own_announced(context.device)) if self._lost else set()
        self._lost = {version: since for version, since in self._lost.items() if version in announced}
        lost = context.versions.get_many(self._lost)
        given_up = tuple(
            version.id
            for version in lost.values()
            if context.cannot_make(version) or (now - self._lost[version.id] > GIVE_UP and self._is_forsaken(version))
        )
        if given_up:
            log.warning("%d versions can't be brought to the cloud any more, and are withdrawn", len(given_up))
            await self._client.call(WITHDRAW, WithdrawRequest(workspace=context.keys.workspace, versions=given_up))

    def _is_forsaken(self, version: Version) -> bool:
        """Whether its file has become something that can't be sent, or a power cut has cost this device the memory of
        having written it: then all that is here now waits for a version which only this device could give."""
        store = self._context.store
        local, synced = store.local(version.node), store.synced(version.node)
        return (local is not None and local.blocked) or synced is None or synced.version != version.id

    # Sending

    async def drain(self) -> None:
        """Send packs until nothing is wanted but what goes to the LAN first. Raises `Unreachable` when the tracker
        is, and `Withheld` when contents are to wait."""
        context = self._context
        if self._lan_comes_first():
            self.waiting = True
            return
        self._to_go = context.versions.upload_bytes()
        context.transfer.expect(self._to_go)
        try:
            while not self._lan_comes_first():
                context.traffic.require()
                packs = self._next_packs()
                if not packs:
                    break
                async with trio.open_nursery() as nursery:
                    for pack in packs:
                        nursery.start_soon(self._send_pack, pack)
        finally:
            self.waiting = context.versions.upload_bytes() > 0
            if not self.waiting:
                self._precedence.forget()
            context.transfer.moved(self._to_go)  # also what others have brought to the cloud meanwhile

    def _next_packs(self) -> list[list[Upload]]:
        """What is sent side by side: what has waited longest, and the newest, so that a new file doesn't wait for all
        of a large one, nor the other way round."""
        versions, most = self._context.versions, self._context.traffic.up.size
        oldest = _fitting(versions.next_uploads(self._goes_to_the_lan_first), most)
        newest = versions.next_uploads(self._goes_to_the_lan_first, newest=True)
        taken = {item.position for item in oldest}
        rest = _fitting((item for item in newest if item.position not in taken), most)
        return [pack for pack in (oldest, rest) if pack]

    def _lan_comes_first(self) -> bool:
        """Whether devices on the LAN are still so busy with what is here that nothing goes to the cloud."""
        return self._precedence.is_alone(busy=self._context.neighbours.are_busy(), now=trio.current_time())

    def _goes_to_the_lan_first(self, version: VersionId) -> bool:
        wanted = self._context.neighbours.is_waited_for(version)
        return self._precedence.keeps(version, wanted=wanted, now=trio.current_time())

    async def _send_pack(self, wanted: list[Upload]) -> None:
        context = self._context
        places = context.holdings.places(item.version for item in wanted)
        stored = [Stored(item.ref, places.get(item.version), item.offset) for item in wanted]
        sealed, wrong = await context.machine.offload(lambda: context.holdings.read(stored), context.limiter)
        context.doubt(wrong)
        chunks = [(item.ref.id, body) for item, body in zip(wanted, sealed, strict=True) if body is not None]
        lost = [item for item, body in zip(wanted, sealed, strict=True) if body is None]
        for item in lost:
            self._lost.setdefault(item.version, trio.current_time())
        if chunks:
            try:
                body = build_pack(context.keys.workspace, chunks)
                await self._upload(body)
                context.counters["cloud_out"] += len(body)
                failpoint("peer.pack.sent")
            except Refused as refusal:
                if refusal.code is not Code.NOT_ANNOUNCED:
                    raise
                log.info("the tracker no longer wants some chunks: %s", refusal)
        with context.store.database.transaction():
            context.versions.uploaded([*(chunk for chunk, _ in chunks), *(item.ref.id for item in lost)])
        moved = min(self._to_go, sum(item.ref.length for item in wanted))
        self._to_go -= moved
        context.transfer.moved(moved)

    async def _upload(self, body: bytes) -> None:
        fit, began = self._context.traffic.up, trio.current_time()
        try:
            await self._client.upload_pack(body)
        except Unreachable:
            fit.failed()
            raise
        fit.took(len(body), trio.current_time() - began)


def _fitting(wanted: Iterable[Upload], most: int) -> list[Upload]:
    """As many of the first of these as one pack is to have; a single chunk may have more than `most` bytes."""
    pack: list[Upload] = []
    for item in islice(wanted, MOST_CHUNKS):
        most -= item.ref.weight
        if pack and most < 0:
            break
        pack.append(item)
    return sorted(pack)
