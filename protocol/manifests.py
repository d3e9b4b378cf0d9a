"""Manifests: what one version of a file or symlink is, sealed so that only members can read it.

    sealed = 01 ‖ AEGIS-256(manifest key of the epoch, nonce: node ‖ version, CBOR of Manifest, associated data)
    associated data = "Shoal 1 manifest" ‖ workspace ‖ node ‖ version ‖ epoch: u32 ‖ BLAKE3(run ids, concatenated)

The version id is drawn for this one sealing, so the nonce never returns; the associated data ties the manifest to
the list of runs that the tracker reads, so the two can't be made to disagree.
"""

from dataclasses import dataclass
from functools import lru_cache

from protocol import aead
from protocol.codec import (
    blob,
    decode,
    encode,
    flag,
    many,
    message,
    octets,
    optional,
    row,
    signed,
    text,
    unsigned,
    wire,
)
from protocol.errors import Malformed
from protocol.hashing import digest
from protocol.identifiers import (
    GIB,
    HASH_LENGTH,
    MAX_CHUNK,
    MAX_FILE_SIZE,
    MAX_INLINE,
    MAX_LINK_BYTES,
    ContentHash,
    NodeId,
    RunId,
    VersionId,
    WorkspaceId,
    new_id,
)
from protocol.keys import EpochKeys
from protocol.ports import RandomBytes
from protocol.runs import MAX_RUNS

MAX_MANIFEST_BYTES = 300_000
"""Sealed; MAX_RUNS run keys fit."""
MAX_MTIME_NS = 1 << 62


@message
class Manifest:
    """One version of a file or a symlink, in clear."""

    size: int = wire(1, unsigned(MAX_FILE_SIZE))  # bytes in clear; for a symlink 0
    mtime_ns: int = wire(2, signed(MAX_MTIME_NS))  # since 1970 UTC
    executable: bool = wire(3, flag(), default=False)  # the owner may execute it
    private: bool = wire(4, flag(), default=False)  # no access for group and others
    content_hash: ContentHash | None = wire(5, optional(octets(HASH_LENGTH)), default=None)  # None for a symlink
    link: str | None = wire(6, optional(text(MAX_LINK_BYTES)), default=None)  # a symlink's text
    inline: bytes | None = wire(7, optional(blob(MAX_INLINE)), default=None)  # the whole content, if that short
    run_keys: tuple[bytes, ...] = wire(8, many(octets(32), MAX_RUNS), default=())  # one a run, in order
    cut: tuple[int, int, int] | None = wire(  # the chunker's minimum, average and maximum, in bytes
        9, optional(row(unsigned(MAX_CHUNK), unsigned(GIB), unsigned(MAX_CHUNK))), default=None
    )


@dataclass(frozen=True, slots=True)
class SealedManifest:
    """A manifest ready to send, and the version id drawn for it."""

    version: VersionId
    sealed: bytes


def _associated(workspace: WorkspaceId, node: NodeId, version: VersionId, epoch: int, runs: tuple[RunId, ...]) -> bytes:
    return b"".join((b"Shoal 1 manifest", workspace, node, version, epoch.to_bytes(4, "big"), digest(b"".join(runs))))


def seal_manifest(
    keys: EpochKeys,
    workspace: WorkspaceId,
    node: NodeId,
    manifest: Manifest,
    runs: tuple[RunId, ...],
    random_bytes: RandomBytes,
    version: VersionId | None = None,
) -> SealedManifest:
    """Seal `manifest` as a version of `node` whose chunks `runs` list. Its id is drawn, unless it was before: one id
    is for one manifest."""
    version = version or VersionId(new_id(random_bytes))
    associated = _associated(workspace, node, version, keys.epoch, runs)
    return SealedManifest(version, aead.seal(keys.manifest, node + version, encode(manifest), associated))


@lru_cache(maxsize=4096)
def read_manifest(data: bytes) -> Manifest:
    """An opened manifest as it was encoded, by this device or for it. While its file is on its way the same bytes are
    read three times, so what came of them is kept for a while."""
    return decode(Manifest, data, MAX_MANIFEST_BYTES)


def open_manifest(
    keys: EpochKeys,
    workspace: WorkspaceId,
    node: NodeId,
    version: VersionId,
    sealed: bytes,
    runs: tuple[RunId, ...],
) -> Manifest:
    """The manifest of a version whose list is `runs`; `CannotOpen` when it is another's, `Malformed` when it
    contradicts itself."""
    associated = _associated(workspace, node, version, keys.epoch, runs)
    manifest = read_manifest(aead.unseal(keys.manifest, node + version, sealed, associated))
    if len(manifest.run_keys) != len(runs):
        raise Malformed("a manifest and its list disagree")
    if manifest.link is None:
        _check_file(manifest)
    else:
        _check_symlink(manifest, manifest.link)
    return manifest


def _check_symlink(manifest: Manifest, link: str) -> None:
    if not 0 < len(link.encode()) <= MAX_LINK_BYTES or "\0" in link:
        raise Malformed(f"a link text of 1 to {MAX_LINK_BYTES} bytes without NUL is possible, this is none")
    if manifest.size or manifest.inline is not None or manifest.run_keys:
        raise Malformed("a symlink with content")


def _check_file(manifest: Manifest) -> None:
    if manifest.inline is None and (manifest.content_hash is None or not manifest.run_keys):
        raise Malformed("a manifest without content")
    if manifest.inline is not None and len(manifest.inline) != manifest.size:
        raise Malformed("inline content of another size")
    if manifest.inline is not None and manifest.run_keys:
        raise Malformed("content both inline and in chunks")
    if manifest.cut is not None:
        _check_cut(*manifest.cut)


def _check_cut(minimum: int, average: int, maximum: int) -> None:
    if not (minimum <= average <= maximum and minimum >= 64 and average >= 256 and maximum >= 1024):
        raise Malformed("chunker parameters that no chunker takes")


def content_hash(manifest: Manifest) -> ContentHash:
    """The BLAKE3 of a file's whole content in clear, whether it is inline or in chunks."""
    if manifest.inline is not None:
        return ContentHash(digest(manifest.inline))
    if manifest.content_hash is None:
        raise Malformed("a symlink has no content hash")
    return manifest.content_hash
