"""Versions of one workspace in the client database: opened manifests, runs, what the chunker staged, what is to be
uploaded."""

import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import cbor2

from peer.chunker import Staged
from peer.database import Database
from peer.trees import Content
from protocol.chunks import ChunkRef
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.hashing import digest
from protocol.identifiers import HASH_LENGTH, ChunkId, DeviceId, NodeId, RunId, VersionId, WorkspaceId
from protocol.manifests import Manifest, content_hash, read_manifest
from protocol.runs import open_run

_LAST_POSITION = (1 << 63) - 1
_SOME, _MANY = 64, 1024
"""Rows read at first of what is wanted in the cloud, and at most at once."""
LIBRARY_SETTING = "compression"
_REF = struct.Struct(f">{HASH_LENGTH}s{HASH_LENGTH}sII")


class Version(NamedTuple):
    """One version of a file or symlink, as its manifest and list say, and when it came into the order."""

    id: VersionId
    node: NodeId
    author: DeviceId
    manifest: Manifest
    runs: tuple[RunId, ...]
    revision: int = 0
    announced_ms: int = 0  # by the tracker's clock


class Upload(NamedTuple):
    """A chunk that the tracker lacks, and where in a file of this version it is: offset and length in bytes."""

    position: int
    version: VersionId
    ref: ChunkRef
    offset: int


class Origin(NamedTuple):
    """Where a version comes from."""

    author: DeviceId
    revision: int
    announced_ms: int  # by the tracker's clock


_DROP_UNUSED = """DELETE FROM versions AS v WHERE workspace = ?1 AND node IN (??)
    AND NOT EXISTS (SELECT 1 FROM synced s WHERE s.workspace = v.workspace AND s.node = v.node
                    AND s.version = v.version)
    AND NOT EXISTS (SELECT 1 FROM remote r WHERE r.workspace = v.workspace AND r.node = v.node
                    AND (r.version = v.version OR r.durable = v.version))
    AND NOT EXISTS (SELECT 1 FROM placing p WHERE p.workspace = v.workspace AND p.node = v.node
                    AND p.version = v.version)
    AND version NOT IN (SELECT version FROM outgoing WHERE workspace = ?1 AND version NOT NULL)"""


def content_of(manifest: Manifest) -> Content:
    """What a version holds, comparable with what a disk holds."""
    if manifest.link is not None:
        return Content(digest(manifest.link.encode()), manifest.mtime_ns)
    return Content(content_hash(manifest), manifest.mtime_ns, manifest.executable, manifest.private)


class VersionStore:
    """Reads and writes the versions of one workspace."""

    def __init__(self, database: Database, workspace: WorkspaceId) -> None:
        """Work on `workspace` in `database`."""
        self._database = database
        self._workspace = workspace

    def put(self, version: Version) -> None:
        """Keep a version."""
        self.put_many([version])

    def put_many(self, versions: Iterable[Version]) -> None:
        """Keep these versions."""
        self._database.run_many(
            """INSERT INTO versions (workspace, version, node, author, manifest, runs, digest, mtime_ns, executable,
                                     private, revision, announced_ms) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
               ON CONFLICT DO UPDATE SET revision = excluded.revision, announced_ms = excluded.announced_ms""",
            [(self._workspace, *_columns(version)) for version in versions],
        )

    def put_missing(self, versions: Sequence[Version]) -> None:
        """Keep those of these versions that aren't kept."""
        kept = {version for _, version in self.known(version.id for version in versions)}
        self.put_many(version for version in versions if version.id not in kept)

    def get(self, version: VersionId) -> Version | None:
        """A version; None when it isn't kept here (any more)."""
        return self.get_many([version]).get(version)

    def get_many(self, versions: Iterable[VersionId]) -> dict[VersionId, Version]:
        """Those of `versions` that are kept here."""
        sql = """SELECT version, node, author, manifest, runs, revision, announced_ms FROM versions
                 WHERE workspace = ? AND version IN (??)"""
        return {row[0]: _version(*row) for row in self._database.rows_in(sql, self._workspace, versions)}

    def origins(self, versions: Iterable[VersionId]) -> dict[VersionId, "Origin"]:
        """Who announced these versions, and when."""
        sql = "SELECT version, author, revision, announced_ms FROM versions WHERE workspace = ? AND version IN (??)"
        return {row[0]: Origin(*row[1:]) for row in self._database.rows_in(sql, self._workspace, versions)}

    def put_orders(self, orders: Iterable[tuple[VersionId, int, int]]) -> None:
        """Versions that are kept here have come into the order: (version, revision, milliseconds)."""
        self._database.run_many(
            "UPDATE versions SET revision = ?, announced_ms = ? WHERE workspace = ? AND version = ?",
            [(revision, time_ms, self._workspace, version) for version, revision, time_ms in orders],
        )

    def known(self, versions: Iterable[VersionId]) -> set[tuple[NodeId, VersionId]]:
        """Those of `versions` that are kept here, with the nodes that they are of."""
        sql = "SELECT node, version FROM versions WHERE workspace = ? AND version IN (??)"
        return set(self._database.rows_in(sql, self._workspace, versions))

    def put_durable(self, versions: Iterable[VersionId]) -> None:
        """These versions are in the cloud, or were withdrawn: nobody needs this device's copy any more."""
        rows = [(self._workspace, version) for version in versions]
        wanted = [version for _, version in rows]
        self._database.run_in("DELETE FROM uploads WHERE workspace = ? AND version IN (??)", self._workspace, wanted)
        self._database.run_many("UPDATE versions SET durable = 1 WHERE workspace = ? AND version = ?", rows)
        self._database.run_many("UPDATE outgoing SET version = NULL WHERE workspace = ? AND version = ?", rows)

    def durable(self, versions: Iterable[VersionId]) -> set[VersionId]:
        """Those of `versions` that are known to be in the cloud."""
        sql = "SELECT version FROM versions WHERE workspace = ? AND version IN (??) AND durable"
        return {row[0] for row in self._database.rows_in(sql, self._workspace, versions)}

    def is_durable(self, version: VersionId) -> bool:
        """Whether a version is known to be in the cloud."""
        return bool(self.durable([version]))

    def not_durable(self, content: bytes) -> VersionId | None:
        """A version with this digest that is not known to be in the cloud. One without chunks always is."""
        sql = """SELECT version FROM versions WHERE workspace = ? AND digest = ? AND NOT durable AND length(runs) > 0
                 ORDER BY version LIMIT 1"""
        row = self._database.row(sql, self._workspace, content)
        return None if row is None else row[0]

    def is_known(self, content: bytes) -> bool:
        """Whether a version with this digest is kept here."""
        sql = "SELECT 1 FROM versions WHERE workspace = ? AND digest = ? LIMIT 1"
        return self._database.row(sql, self._workspace, content) is not None

    def drop_unused(self, nodes: Iterable[NodeId]) -> None:
        """Forget those versions of these nodes that nothing names: REMOTE, SYNCED, or a file on its way into place."""
        self._database.run_in(_DROP_UNUSED, self._workspace, nodes)

    # Runs

    def put_runs(self, bodies: Iterable[tuple[RunId, bytes]]) -> None:
        """Keep bodies of runs, whose ids the caller has verified."""
        self._database.run_many(
            "INSERT OR IGNORE INTO runs VALUES (?,?,?)", [(self._workspace, run, body) for run, body in bodies]
        )

    def missing_runs(self, runs: Iterable[RunId]) -> list[RunId]:
        """Those of `runs` whose bodies aren't here."""
        wanted = list(dict.fromkeys(runs))
        sql = "SELECT run FROM runs WHERE workspace = ? AND run IN (??)"
        held = {row[0] for row in self._database.rows_in(sql, self._workspace, wanted)}
        return [run for run in wanted if run not in held]

    def run_bodies(self, versions: Iterable[Version]) -> dict[RunId, bytes]:
        """The bodies of these versions' runs, as far as they are here."""
        runs = dict.fromkeys(run for version in versions for run in version.runs)
        sql = "SELECT run, body FROM runs WHERE workspace = ? AND run IN (??)"
        return dict(self._database.rows_in(sql, self._workspace, runs))

    def chunks(self, version: Version) -> list[ChunkRef]:
        """What `chunks_of` says of a version and the runs that are here."""
        return chunks_of(version, self.run_bodies([version]))

    def lists(self, versions: Iterable[Version]) -> Iterator[tuple[VersionId, Sequence[ChunkRef]]]:
        """The chunks of these versions, where all of their runs are here. Raises what `chunks_of` does."""
        wanted = list(versions)
        bodies = self.run_bodies(wanted)
        for version in wanted:
            if all(run in bodies for run in version.runs):
                yield version.id, chunks_of(version, bodies)

    # Staged files

    def stage(self, files: Iterable[tuple[NodeId, Staged]]) -> None:
        """Keep what the chunker made of local files."""
        self._database.run_many(
            "INSERT OR REPLACE INTO staged VALUES (?,?,?,?,?,?,?,?)",
            [(self._workspace, node, *_staged_columns(staged)) for node, staged in files],
        )

    def staged(self, contents: Mapping[NodeId, Content]) -> dict[NodeId, Staged]:
        """What was staged of local files, as far as it is still about these contents."""
        sql = "SELECT node, digest, size, inline, chunks, cut FROM staged WHERE workspace = ? AND node IN (??)"
        out: dict[NodeId, Staged] = {}
        for node, found, size, inline, refs, cut in self._database.rows_in(sql, self._workspace, contents):
            if found == contents[node].digest:
                cut_at = None if cut is None else tuple(cbor2.loads(cut))
                out[node] = Staged(contents[node], size, inline, tuple(_refs(refs)), cut_at)
        return out

    def unstage_other(self, library: str) -> None:
        """What was staged when another `library` compressed the chunks can't be uploaded any more: it is read again."""
        if self._database.get_setting(LIBRARY_SETTING) != library.encode():
            with self._database.transaction():
                self._database.run("DELETE FROM staged")
                self._database.set_setting(LIBRARY_SETTING, library.encode())

    def unstage(self, nodes: Iterable[NodeId]) -> None:
        """What was staged has been sent, or is of no use."""
        self._database.run_in("DELETE FROM staged WHERE workspace = ? AND node IN (??)", self._workspace, nodes)

    # Uploads

    def want_missing(self, lists: Iterable[tuple[VersionId, Sequence[ChunkRef]]], missing: Container[ChunkId]) -> None:
        """Queue those chunks of versions, given with their lists, that are among the `missing`."""
        rows: list[tuple[object, ...]] = []
        for version, refs in lists:
            offset = 0
            for ref in refs:
                if ref.id in missing:
                    rows.append((self._workspace, version, ref.id, ref.key, offset, ref.length, ref.saved))
                offset += ref.length
        self._database.run_many(
            "INSERT OR IGNORE INTO uploads (workspace, version, chunk, key, offset, length, saved)"
            " VALUES (?,?,?,?,?,?,?)",
            rows,
        )

    def next_uploads(
        self, waiting: Callable[[VersionId], bool] = lambda _: False, *, newest: bool = False
    ) -> Iterator[Upload]:
        """Wanted chunks, the oldest or the newest first, without those of versions that are `waiting`; read as they are
        asked for, some at a time."""
        sql = f"""SELECT position, version, chunk, key, offset, length, saved FROM uploads
                  WHERE workspace = ? AND position {"<" if newest else ">"} ?
                  ORDER BY position {"DESC" if newest else ""} LIMIT ?"""
        waits = cache(waiting)
        after, some = _LAST_POSITION if newest else -1, _SOME
        while rows := self._database.rows(sql, self._workspace, after, some):
            after, some = rows[-1][0], min(2 * some, _MANY)
            for position, version, chunk, key, offset, length, saved in rows:
                if not waits(version):
                    yield Upload(position, version, ChunkRef(chunk, key, length, saved), offset)

    def queued(self, versions: Iterable[VersionId]) -> list[tuple[VersionId, ChunkId]]:
        """Wanted chunks that are to be made of these versions."""
        sql = "SELECT version, chunk FROM uploads WHERE workspace = ? AND version IN (??)"
        return list(self._database.rows_in(sql, self._workspace, versions))

    def uploaded(self, chunks: Iterable[ChunkId]) -> None:
        """The tracker has these chunks, or can't be given them."""
        self._database.run_many(
            "DELETE FROM uploads WHERE workspace = ? AND chunk = ?", [(self._workspace, chunk) for chunk in chunks]
        )

    def upload_bytes(self) -> int:
        """How many bytes, in clear, are still to be uploaded."""
        sql = "SELECT coalesce(sum(length), 0) FROM uploads WHERE workspace = ?"
        return int(self._database.row(sql, self._workspace)[0])

    def own_announced(self, author: DeviceId) -> list[VersionId]:
        """Heads that this device announced and that are not in the cloud yet."""
        sql = """SELECT r.version FROM remote r INDEXED BY remote_not_durable
                 JOIN versions v ON v.workspace = r.workspace AND v.version = r.version
                 WHERE r.workspace = ? AND v.author = ? AND r.durable IS NOT r.version ORDER BY r.version"""
        return [row[0] for row in self._database.rows(sql, self._workspace, author)]

    def spooled(self) -> list[VersionId]:
        """Versions not known to be in the cloud whose files Shoal has replaced or removed, and keeps for that."""
        sql = "SELECT DISTINCT version FROM outgoing WHERE workspace = ? AND version NOT NULL ORDER BY version"
        return [row[0] for row in self._database.rows(sql, self._workspace)]

    def held_announced(self, not_by: DeviceId, before_ms: int) -> list[VersionId]:
        """Heads of others, announced before a time by the tracker's clock and not in the cloud, that are here whole."""
        sql = """SELECT v.version FROM remote r INDEXED BY remote_not_durable
                 JOIN versions v ON v.workspace = r.workspace AND v.version = r.version
                 JOIN local l ON l.workspace = r.workspace AND l.node = r.node AND NOT l.gone AND l.digest = v.digest
                 WHERE r.workspace = ? AND r.durable IS NOT r.version AND v.author != ? AND v.announced_ms < ?
                 ORDER BY v.version"""
        return [row[0] for row in self._database.rows(sql, self._workspace, not_by, before_ms)]


def chunks_of(version: Version, bodies: Mapping[RunId, bytes]) -> list[ChunkRef]:
    """The version's chunks in order. `Malformed` when a run is missing, or the list doesn't add up to the size."""
    out: list[ChunkRef] = []
    for run, key in zip(version.runs, version.manifest.run_keys, strict=True):
        if run not in bodies:
            raise Malformed("a run of a version's list is missing")
        out.extend(open_run(key, bodies[run]))
    if version.runs and sum(ref.length for ref in out) != version.manifest.size:
        raise Malformed("a version's list does not add up to its size")
    return out


def _columns(version: Version) -> tuple[object, ...]:
    content = content_of(version.manifest)
    return (
        version.id,
        version.node,
        version.author,
        encode(version.manifest),
        b"".join(version.runs),
        content.digest,
        content.mtime_ns,
        content.executable,
        content.private,
        version.revision,
        version.announced_ms,
    )


def _staged_columns(staged: Staged) -> tuple[object, ...]:
    refs = b"".join(_REF.pack(*ref) for ref in staged.chunks)
    cut = None if staged.cut is None else cbor2.dumps(list(staged.cut))
    return staged.content.digest, staged.size, staged.content.mtime_ns, staged.inline, refs, cut


def _version(
    version: VersionId, node: NodeId, author: DeviceId, manifest: bytes, runs: bytes, revision: int, announced_ms: int
) -> Version:
    split = tuple(RunId(runs[at : at + HASH_LENGTH]) for at in range(0, len(runs), HASH_LENGTH))
    return Version(version, node, author, read_manifest(manifest), split, revision, announced_ms)


def _refs(data: bytes) -> Iterable[ChunkRef]:
    for chunk, key, length, saved in _REF.iter_unpack(data):
        yield ChunkRef(ChunkId(chunk), key, length, saved)
