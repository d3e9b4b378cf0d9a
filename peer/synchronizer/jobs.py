"""Files on their way into place, and the chunks that they are made of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from peer.synchronizer.assembly import Assembly
from peer.synchronizer.pieces import Piece
from peer.synchronizer.replacing import Target
from peer.trees import Fingerprint, Local, Remote
from peer.version_store import Version
from protocol.chunks import ChunkRef
from protocol.identifiers import ChunkId, DeviceId, VersionId

GROUP_FILES, GROUP_BYTES = 500, 4 << 20
"""Small files are fetched together up to this many files and bytes."""


@dataclass(slots=True)
class Job:
    """One file or symlink on its way into place."""

    remote: Remote
    version: Version
    pieces: list[Piece]
    target: Target
    replaced: Local | None
    base: dict[ChunkId, Piece]
    conflict: str
    spare: VersionId | None  # what `replaced` holds, if the cloud doesn't have it
    wary: bool = False  # it couldn't be put in place before: see whether it can be now before anything is fetched
    failure: Exception | None = None
    sync: bool = True  # to be fsynced by itself
    whole: Fingerprint | None = None  # how it looks once it is verified, and has its time and permissions
    placed: bool = False
    ahead: bool = False  # its temporary file is there already, with what was fetched ahead
    assembly: Assembly = field(init=False)
    to_come: int = 0  # bytes still to be fetched, or copied from the replaced file
    cloud: int = 0  # bytes that came from the cloud,
    lan: int = 0  # from the LAN,
    here: int = 0  # and from the replaced file
    givers: dict[DeviceId, None] = field(default_factory=dict)  # on the LAN, in the order in which they gave

    def __post_init__(self) -> None:
        """Make what follows from the rest."""
        self.assembly = Assembly(self.pieces)
        self.to_come = sum(piece.ref.length for piece in self.pieces)

    @property
    def temp(self) -> str:
        """Its name in `.shoal/temp`."""
        return self.version.id.hex()

    @property
    def size(self) -> int:
        """Bytes in clear."""
        return self.version.manifest.size


@dataclass(slots=True, eq=False)
class Wanted:
    """A chunk to be had: a version that lists it, its number there, whether the cloud has it, and what it is for."""

    ref: ChunkRef
    version: VersionId
    number: int
    in_the_cloud: bool
    users: list[tuple[Job, Piece]] = field(default_factory=list)


def grouped(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Small files together, large ones alone."""
    group: list[Job] = []
    size = 0
    for job in jobs:
        if job.size >= GROUP_BYTES:
            yield [job]
            continue
        group.append(job)
        size += job.size
        if len(group) >= GROUP_FILES or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def wanted_by(jobs: Iterable[Job]) -> list[Wanted]:
    """The chunks that these files lack, each once, in the order of the files."""
    found: dict[ChunkId, Wanted] = {}
    for job in jobs:
        in_the_cloud = job.remote.durable == job.version.id
        for piece in job.pieces:
            if piece.ref.id in job.base or job.assembly.has(piece):
                continue
            wanted = found.get(piece.ref.id)
            if wanted is None:
                wanted = found[piece.ref.id] = Wanted(piece.ref, job.version.id, piece.number, in_the_cloud)
            wanted.in_the_cloud |= in_the_cloud
            wanted.users.append((job, piece))
    return list(found.values())
