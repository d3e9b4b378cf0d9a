"""The chunker cuts files into content-defined chunks and seals them; the de-chunker opens them and puts files together.

Cutting is FastCDC (Xia et al., USENIX ATC 2016, and the 2020 refinement that pyfastcdc follows), with a seed of the
workspace's own. Chunk sizes follow the file's size, so that no file has many more than 2,000; a file that grows
keeps its sizes until it has outgrown them, so growth doesn't cut it anew (design §4). Runs in a worker thread.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

from blake3 import blake3
from pyfastcdc import FastCDC

from peer.ports import Descriptor, Disk
from peer.trees import Content, Fingerprint, fingerprint
from protocol.chunks import OVERHEAD, ChunkRef, seal_into
from protocol.identifiers import MAX_INLINE
from protocol.keys import WorkspaceKeys

SMALLEST_AVERAGE, LARGEST_AVERAGE = 8 << 10, 512 << 10
"""Bytes."""
FEW_CHUNKS, MOST_CHUNKS = 256, 2048
"""A file with more chunks than this on average is cut into larger ones. With more than the fewer the smallest are too
small: up to 2 MiB files are edited and added to, and each time a chunk travels; of larger ones most are written once,
and each chunk costs a row, a name and a key (decision 0011)."""
OUTGROWN = 2
"""A file keeps its sizes until it has this many times MOST_CHUNKS."""
WINDOW = 8 << 20
"""How much of a file is held at once, in bytes."""

Cut = tuple[int, int, int]
"""The chunker's three parameters: minimum, average and maximum, in bytes. As FastCDC skips the minimum before it
looks for a cut, chunks are in fact as long as minimum and average together; measured on random bytes, three quarters
of that."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A local file, read: what a version of it would be. `inline` is the whole content of a small one; `chunks` lists a
    larger one's."""

    content: Content
    size: int
    inline: bytes | None
    chunks: tuple[ChunkRef, ...]
    cut: Cut | None


def cut_parameters(size: int, inherited: Cut | None = None) -> Cut:
    """How to cut a file of `size` bytes whose last version, if any, was cut as `inherited`."""
    if inherited is not None and size <= 2 * inherited[1] * MOST_CHUNKS * OUTGROWN:
        return inherited
    average = SMALLEST_AVERAGE
    while average < LARGEST_AVERAGE and size > average * (FEW_CHUNKS if average == SMALLEST_AVERAGE else MOST_CHUNKS):
        average *= 2
    return average // 2, average // 2, average * 2


def is_executable(print_: Fingerprint) -> bool:
    """The owner may execute it."""
    return bool(print_.mode & 0o100)


def is_private(print_: Fingerprint) -> bool:
    """Group and others have no access."""
    return not print_.mode & 0o077


def file_mode(executable: bool, private: bool) -> int:
    """The permission bits that say these two things and no more."""
    mode = 0o755 if executable else 0o644
    return mode & 0o700 if private else mode


def stage_file(
    disk: Disk,
    descriptor: Descriptor,
    keys: WorkspaceKeys,
    inherited: Cut | None,
    tell: Callable[[Sequence[ChunkRef]], None] = lambda _: None,
) -> tuple[Staged, Fingerprint] | None:
    """Read, hash, cut and seal an open file. None when it changed meanwhile: then it is to be read again later. `tell`
    hears of each stretch of chunks when it is sealed, in order and in a thread."""
    before = fingerprint(disk.stat_open(descriptor))
    inline, cut = None, None
    refs: list[ChunkRef] = []
    hasher = blake3()
    if before.size <= MAX_INLINE:
        inline = disk.read_at(descriptor, MAX_INLINE + 1, 0)
        hasher.update(inline)
        length = len(inline)
    else:
        cut = cut_parameters(before.size, inherited)
        length = 0
        with _Sealer(keys.newest.convergence, tell, aside=before.size > WINDOW) as sealer:
            for bodies in cut_file(disk, descriptor, cut, keys.chunker_seed, before.size):
                sealer.take(bodies)
                for body in bodies:
                    hasher.update(body)
                    length += len(body)
                if length > before.size:
                    return None
            refs = sealer.refs()
    if length != before.size or fingerprint(disk.stat_open(descriptor)) != before:
        return None
    content = Content(hasher.digest(), before.mtime_ns, is_executable(before), is_private(before))
    return Staged(content, length, inline, tuple(refs), cut), before


class _Sealer:
    """Seals `aside`, in a thread of its own, while the next window is read, cut and hashed: all without the GIL, and
    one takes about as long as the other. Two windows are held at once. The thread touches neither disk nor clock, and
    what comes out doesn't depend on it: the simulation loses nothing by not seeing it."""

    def __init__(self, convergence: bytes, tell: Callable[[Sequence[ChunkRef]], None], *, aside: bool) -> None:
        self._convergence = convergence
        self._tell = tell
        self._thread = ThreadPoolExecutor(1) if aside else None
        self._underway: Future[None] | None = None
        self._refs: list[ChunkRef] = []

    def __enter__(self) -> "_Sealer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def take(self, bodies: Sequence[memoryview]) -> None:
        """Seal these when those before are sealed; returns when they are."""
        self._wait()
        if self._thread is None:
            self._seal(bodies)
        else:
            self._underway = self._thread.submit(self._seal, bodies)

    def refs(self) -> list[ChunkRef]:
        """All of them."""
        self._wait()
        return self._refs

    def _wait(self) -> None:
        if self._underway is not None:
            self._underway.result()

    def _seal(self, bodies: Sequence[memoryview]) -> None:
        room = memoryview(bytearray(max(map(len, bodies), default=0) + OVERHEAD))
        before = len(self._refs)
        self._refs += [seal_into(self._convergence, body, room) for body in bodies]
        self._tell(self._refs[before:])


def cut_file(disk: Disk, descriptor: Descriptor, cut: Cut, seed: int, size: int) -> Iterator[list[memoryview]]:
    """The chunks in clear of a file of `size` bytes, or as many as it turns out to have; in order, those of one window
    after the other. They are valid until the next window but one is asked for."""
    minimum, average, maximum = cut
    chunker = FastCDC(avg_size=average, min_size=minimum, max_size=maximum, seed=seed)
    span = min(WINDOW, size + 1)  # so that the end of a small file is seen in its first window
    offset, rest = 0, memoryview(b"")
    buffers: list[memoryview] = []
    for turn in count():
        if turn < 2:
            buffers.append(memoryview(bytearray(maximum + span)))
        buffer = buffers[turn % 2]
        buffer[: len(rest)] = rest
        fresh = disk.read_into(descriptor, buffer[len(rest) : len(rest) + span], offset)
        offset += fresh
        window = buffer[: len(rest) + fresh]
        at_end = fresh < span
        # The last cut of a window may only be its end, not the content's: all but it are final.
        chunks = list(chunker.cut_buf(window))
        final = chunks if at_end else chunks[:-1]
        yield [window[chunk.offset : chunk.offset + chunk.length] for chunk in final]
        if at_end:
            return
        rest = window[chunks[-1].offset :]


def file_digest(disk: Disk, descriptor: Descriptor) -> bytes:
    """BLAKE3 of an open file as it lies on the disk; a window of it is held at a time."""
    hasher, offset = blake3(), 0
    while data := disk.read_at(descriptor, WINDOW, offset):
        hasher.update(data)
        offset += len(data)
    return hasher.digest()
