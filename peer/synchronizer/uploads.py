"""Uploading: chunks that the tracker lacks, read again from the synced files, sealed again, sent in packs.

There is no second copy of anything: a chunk whose file has changed meanwhile can't be had any more, and is left to the
version that the change makes.
"""

import logging
from dataclasses import dataclass

import trio

from peer.root import Names, open_folder
from peer.synchronizer.context import Context
from peer.synchronizer.runs import fetch_runs
from peer.tracker_client import DeviceClient
from peer.version_store import Upload
from protocol.api import LEASE, LeaseRequest
from protocol.chunks import OVERHEAD, reseal_chunk
from protocol.errors import Code, Refused
from protocol.failpoints import failpoint
from protocol.identifiers import PACK_TARGET, ChunkId, VersionId
from protocol.packs import build_pack

log = logging.getLogger(__name__)
LOOK_AHEAD = 1024
"""Wanted chunks considered for one pack."""
VERSIONS_AT_ONCE = 1000
PARALLEL = 2
"""Packs under way at once."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a version's bytes are: a file in the folder."""

    parent: Names
    name: str


class Uploads:
    """Sends what the tracker asked for, whenever there is any."""

    def __init__(self, context: Context, client: DeviceClient) -> None:
        """Work on the context's workspace and folder."""
        self._context = context
        self._client = client
        self.failure: str | None = None
        """Why the last upload failed, when it wasn't for want of a connection."""

    async def ask_what_is_missing(self) -> None:
        """After a start, a lost answer, or a chunk that couldn't be had: which chunks of the versions this device
        announced, and nobody else is uploading, does the tracker lack?"""
        context = self._context
        versions = context.versions.own_announced(context.device)
        for start in range(0, len(versions), VERSIONS_AT_ONCE):
            part = tuple(versions[start : start + VERSIONS_AT_ONCE])
            reply = await self._client.call(LEASE, LeaseRequest(workspace=context.keys.workspace, versions=part))
            known = [version for id_ in reply.granted if (version := context.versions.get(id_)) is not None]
            await fetch_runs(context, self._client, [run for version in known for run in version.runs])
            self._want(reply.granted, set(reply.missing))

    @property
    def unfinished(self) -> bool:
        """Whether a version of this device is not in the cloud yet. Its chunks may be out of reach for the moment:
        files are moved, and disks fail."""
        return bool(self._context.versions.own_announced(self._context.device))

    def _want(self, versions: tuple[VersionId, ...], missing: set[ChunkId]) -> None:
        context = self._context
        with context.store.database.transaction():
            for id_ in versions:
                version = context.versions.get(id_)
                if version is not None and not context.versions.missing_runs(version.runs):
                    context.versions.want_missing(version, missing)

    async def drain(self) -> None:
        """Send packs until nothing is wanted. Raises `Unreachable` when the tracker is."""
        self._context.transfer.expect(self._context.versions.upload_bytes())
        try:
            while wanted := self._context.versions.next_uploads(LOOK_AHEAD * PARALLEL):
                packs = _split(wanted)[:PARALLEL]
                async with trio.open_nursery() as nursery:
                    for pack in packs:
                        nursery.start_soon(self._send_pack, pack)
        finally:
            self._context.transfer.moved(self._context.versions.upload_bytes())

    async def _send_pack(self, wanted: list[Upload]) -> None:
        context = self._context
        sources = {version: self._source(version) for version in dict.fromkeys(item.version for item in wanted)}
        sealed = await context.machine.offload(lambda: self._seal(wanted, sources), context.limiter)
        chunks = [(item.ref.id, body) for item, body in zip(wanted, sealed, strict=True) if body is not None]
        lost = [item.ref.id for item, body in zip(wanted, sealed, strict=True) if body is None]
        if chunks:
            try:
                body = build_pack(context.keys.workspace, chunks)
                await self._client.upload_pack(body)
                context.counters["cloud_out"] += len(body)
                failpoint("peer.pack.sent")
            except Refused as refusal:
                if refusal.code is not Code.NOT_ANNOUNCED:
                    raise
                log.info("the tracker no longer wants some chunks: %s", refusal)
        with context.store.database.transaction():
            context.versions.uploaded([*(chunk for chunk, _ in chunks), *lost])
        context.transfer.moved(sum(item.ref.length for item in wanted))

    def _source(self, version: VersionId) -> _Source | None:
        """The file that holds this version, if one still does."""
        context = self._context
        held = context.versions.get(version)
        local = None if held is None else context.store.local(held.node)
        parent = None if local is None else context.store.path(local.parent)
        return None if local is None or parent is None else _Source(parent, local.name)

    def _seal(self, wanted: list[Upload], sources: dict[VersionId, _Source | None]) -> list[bytes | None]:
        disk = self._context.disk
        out: list[bytes | None] = []
        with open_folder(disk, self._context.root) as folder:
            for item in wanted:
                source = sources[item.version]
                try:
                    if source is None:
                        out.append(None)
                        continue
                    descriptor = disk.open_file(folder.directory(source.parent), source.name)
                    try:
                        body = disk.read_at(descriptor, item.ref.length, item.offset)
                    finally:
                        disk.close(descriptor)
                    out.append(reseal_chunk(item.ref, body))
                except OSError:
                    out.append(None)
                folder.trim()
        return out


def _split(wanted: list[Upload]) -> list[list[Upload]]:
    """Cut into packs of about PACK_TARGET bytes."""
    packs: list[list[Upload]] = [[]]
    size = 0
    for item in wanted:
        length = item.ref.length + OVERHEAD
        if packs[-1] and (size + length > PACK_TARGET or len(packs[-1]) >= LOOK_AHEAD):
            packs.append([])
            size = 0
        packs[-1].append(item)
        size += length
    return packs
