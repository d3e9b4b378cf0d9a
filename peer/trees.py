"""The three trees: what is on this disk, what the tracker ordered, and what both last agreed on.

Rows of one workspace, keyed by node id. LOCAL is an observation and may be stale: before anything on the disk is
touched, the disk is asked again. SYNCED is the merge base and advances only when disk and tracker both hold what it
says.

The rows are named tuples: some ten of them are made for each small file, and a frozen dataclass takes four times as
long to make.
"""

from typing import NamedTuple

from peer.ports import Stat
from protocol.identifiers import DeviceId, NodeId, PlaceMark, VersionId
from protocol.manifests import MAX_MTIME_NS


class Content(NamedTuple):
    """What a file or symlink holds, so that equal contents compare equal. `digest` is the BLAKE3 of a file's bytes,
    or of a symlink's text; `mtime_ns` counts from 1970 UTC."""

    digest: bytes
    mtime_ns: int
    executable: bool = False
    private: bool = False

    def same_bytes(self, other: "Content") -> bool:
        """Equal but for times and permissions."""
        return self.digest == other.digest


class Fingerprint(NamedTuple):
    """What lstat(2) says of a file that tells one state of it from the next."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    mode: int


def fingerprint(stat: Stat) -> Fingerprint:
    """The part of a Stat that is kept. Disks know times that neither SQLite nor a manifest can hold."""
    mtime_ns = max(-MAX_MTIME_NS, min(stat.mtime_ns, MAX_MTIME_NS))
    return Fingerprint(stat.device, stat.inode, stat.size, mtime_ns, stat.ctime_ns, stat.mode)


class Local(NamedTuple):
    """A node as last seen on this disk. `content` is None for a directory and for a file not read since it changed;
    `blocked` says that it is too large to be sent, which stands among the problems; so it was changed since it was.
    Only a directory that was to be removed, and is here for what is ignored in it, is not `wanted`: it isn't sent."""

    node: NodeId
    parent: NodeId
    name: str
    kind: int
    content: Content | None
    print: Fingerprint
    blocked: bool = False
    wanted: bool = True


class Remote(NamedTuple):
    """A node as the tracker ordered it; `durable` is the newest version that is in the cloud."""

    node: NodeId
    parent: NodeId
    name: str
    kind: int
    place: PlaceMark
    version: VersionId | None
    content: Content | None
    durable: VersionId | None

    @property
    def in_the_cloud(self) -> bool:
        """Whether the head is (or there is nothing to keep there)."""
        return self.version == self.durable


class Synced(NamedTuple):
    """A node as disk and tracker last agreed."""

    node: NodeId
    parent: NodeId
    name: str
    kind: int
    place: PlaceMark
    version: VersionId | None
    content: Content | None


class Placing(NamedTuple):
    """What SYNCED will say of a file once it is in place, and by what inode it is known."""

    agreed: Synced
    device: int
    inode: int


class Fetched(NamedTuple):
    """Where the bytes of a file on this disk came from: from the cloud, the LAN, and what was `here`, in bytes; and
    which `devices` on the LAN gave some."""

    cloud: int
    lan: int
    here: int
    devices: tuple[DeviceId, ...] = ()
