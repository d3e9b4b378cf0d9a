"""Fetching what another device offers while it is still reading it (peer/synchronizer/offers.py is the other side).

What comes is put together in `.shoal/temp` under the name of the version that is to be announced. When it is, the
fetching of that version goes on from there; when none comes, the file is thrown away. So an offer is a head start and
nothing else: what is believed is the commit.
"""

import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import trio

from peer.lan.channel import Record
from peer.lan.link import Blame, Link
from peer.root import Folder
from peer.synchronizer.assembly import Assembly
from peer.synchronizer.context import Context
from peer.synchronizer.pieces import Piece, within
from peer.synchronizer.temps import create, discard
from protocol.chunks import ChunkRef, chunk_id, open_in_place
from protocol.errors import CannotOpen, Malformed, Unreachable, WrongRoot, first_of
from protocol.identifiers import ChunkId, VersionId
from protocol.lan_messages import MAX_GET_BYTES, Offer, Part

log = logging.getLogger(__name__)
MOST = 2
"""Files that are fetched ahead at once."""
FORSAKEN = 30.0
"""Seconds without a word of what was offered, or of the commit that was to follow, after which it is thrown away."""
ROOM = 2
"""So many times the size of a file must be free on the disk."""
FINISHING = 5.0
"""Seconds that what is under way has to come once the version has been announced."""
REQUESTS, IN_A_ROW = 4, 4
"""So many times so many requests are under way at once, of about 1 MiB."""


@dataclass(eq=False)
class Prefetched:
    """A file that is fetched ahead."""

    version: VersionId
    link: Link
    size: int
    pieces: list[Piece] = field(default_factory=list)
    assembly: Assembly = field(init=False)
    asked: int = 0
    come: int = 0  # bytes in clear
    under_way: int = 0
    moved_at: float = field(default_factory=trio.current_time)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    more: trio.Event = field(default_factory=trio.Event)
    kept: bool = False
    """Its temporary file belongs to who fetches the announced version,"""
    lost: bool = False
    """or has been thrown away."""

    def __post_init__(self) -> None:
        """Make what follows from the rest."""
        self.assembly = Assembly(self.pieces, growing=True)

    @property
    def temp(self) -> str:
        """Its name in `.shoal/temp`: that of the version's own fetching."""
        return self.version.hex()


class Prefetching:
    """All files that are fetched ahead."""

    def __init__(self, context: Context) -> None:
        """Into the context's folder."""
        self._context = context
        self._files: dict[VersionId, Prefetched] = {}
        self._to_begin, self._begun = trio.open_memory_channel[Prefetched](MOST)  # as many as there may be
        self.wanted: Callable[[], bool] = lambda: True
        """Whether anything is to be fetched now."""

    @property
    def to_come(self) -> int:
        """Bytes that are to be written for what is fetched ahead."""
        return sum(file.size - file.come for file in self._files.values())

    async def run(self) -> None:
        """Fetch what is offered, until cancelled."""
        async with trio.open_nursery() as nursery:
            async for file in self._begun:
                nursery.start_soon(self._fetch_file, file)

    def offered(self, link: Link, offer: Offer) -> None:
        """A device offers these chunks. What doesn't go on where the last offer of the version ended is left."""
        file = self._files.get(offer.version)
        if file is None and offer.first == 0 and self._is_welcome(offer):
            file = self._files[offer.version] = Prefetched(offer.version, link, offer.size)
            self._to_begin.send_nowait(file)
        if file is None or file.link is not link or offer.first != len(file.pieces):
            return
        for chunk, key, length, saved in offer.chunks:
            offset = file.pieces[-1].offset + file.pieces[-1].ref.length if file.pieces else 0
            if offset + length > offer.size or saved >= max(1, length):
                link.end("it offers what no file has", Blame.DEVICE)
                file.scope.cancel()
                return
            file.pieces.append(Piece(ChunkRef(ChunkId(chunk), key, length, saved), offset, len(file.pieces)))
        file.moved_at = trio.current_time()
        file.more.set()

    def _is_welcome(self, offer: Offer) -> bool:
        context = self._context
        if offer.workspace != context.keys.workspace or len(self._files) >= MOST or not self.wanted():
            return False
        excluded = context.selection.excluded()
        if not excluded:
            return True
        is_known = context.store.remote(offer.parent) is not None
        return is_known and offer.parent not in context.selection.excluded_of([offer.parent])

    async def release(self, version: VersionId) -> Prefetched | None:
        """Stop fetching a version ahead: it has been announced. What is there now belongs to the caller."""
        file = self._files.get(version)
        if file is None:
            return None
        file.kept = True
        file.more.set()
        with trio.move_on_after(FINISHING):  # what is under way is wanted all the same
            await file.ended.wait()
        file.scope.cancel()
        await file.ended.wait()
        return None if file.lost else file

    # Fetching

    async def _fetch_file(self, file: Prefetched) -> None:
        try:
            with file.scope:
                await self._context.in_folder(lambda folder: _begin(folder, file))
                async with trio.open_nursery() as nursery:
                    for _ in range(REQUESTS):
                        nursery.start_soon(self._work, file)
        except* (Unreachable, OSError, WrongRoot) as group:
            log.info("what was offered on the LAN is not fetched ahead: %s", first_of(group))
        except* (CannotOpen, Malformed) as group:
            file.link.spoilt(first_of(group))
        finally:
            with trio.CancelScope(shield=True):
                await self._end(file)

    async def _end(self, file: Prefetched) -> None:
        if not file.kept:
            file.lost = True
            try:
                await self._context.in_folder(lambda folder: discard(folder, file.temp))
            except (OSError, WrongRoot) as error:
                log.info("not swept: %s", error)
        del self._files[file.version]
        file.ended.set()

    async def _work(self, file: Prefetched) -> None:
        """Fetch, until nothing has been said of the file for too long."""
        while not file.kept:
            batch = _next(file)
            if batch:
                file.under_way += 1
                await self._fetch(file, batch)
                file.under_way -= 1
                file.moved_at = trio.current_time()
                continue
            with trio.move_on_after(FORSAKEN):
                file.more = trio.Event() if file.more.is_set() else file.more
                await file.more.wait()
            if not file.under_way and trio.current_time() - file.moved_at >= FORSAKEN:
                file.scope.cancel()

    async def _fetch(self, file: Prefetched, batch: Sequence[Sequence[Piece]]) -> None:
        requests = [[_part(file.version, pieces)] for pieces in batch]
        answers = await file.link.get(requests)

        def work(folder: Folder) -> None:
            for pieces, answer in zip(batch, answers, strict=True):
                _write(folder, file, pieces, *answer)

        await self._context.in_folder(work)
        file.come += sum(piece.ref.length for pieces in batch for piece in pieces)
        self._context.counters["lan_in"] += sum(piece.ref.sealed_length for pieces in batch for piece in pieces)


def _begin(folder: Folder, file: Prefetched) -> None:
    if folder.disk.space(folder.temp).free_bytes < ROOM * file.size:
        raise OSError(errno.ENOSPC, "No space left on device")
    folder.disk.close(create(folder, file.temp))


def _next(file: Prefetched) -> list[list[Piece]]:
    """What to ask for next, request by request."""
    batch = list(islice(within(MAX_GET_BYTES, islice(file.pieces, file.asked, None)), IN_A_ROW))
    file.asked += sum(map(len, batch))
    return batch


def _part(version: VersionId, pieces: Sequence[Piece]) -> Part:
    return version, pieces[0].number, len(pieces)


def _write(folder: Folder, file: Prefetched, pieces: Sequence[Piece], request: int, record: Record) -> None:
    """Verify what came as what is announced later will be, and put it into the file."""
    chunks = file.link.opened(request, record, len(pieces))
    descriptor = folder.disk.open_for_writing(folder.temp, file.temp)
    try:
        for piece, sealed in _held(pieces, chunks):
            if chunk_id(sealed) != piece.ref.id:
                raise Malformed("it sent a chunk that isn't what its id says")
            file.assembly.write(folder.disk, descriptor, piece, _clear(piece.ref, sealed))
    finally:
        folder.disk.close(descriptor)


def _clear(ref: ChunkRef, sealed: memoryview) -> memoryview:
    """What is in a chunk. Its id is right: that it doesn't open is for the key, which came with the offer."""
    try:
        return open_in_place(ref, sealed)
    except CannotOpen:
        raise Malformed("it offered a key that doesn't open the chunk") from None


def _held(pieces: Sequence[Piece], chunks: Sequence[memoryview]) -> Iterator[tuple[Piece, memoryview]]:
    return ((piece, sealed) for piece, sealed in zip(pieces, chunks, strict=True) if sealed)
