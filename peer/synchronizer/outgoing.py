"""`.shoal/outgoing`: what was replaced or removed waits until nobody can be writing to it, then goes (design §7).

It waits longer while it holds a version that is not in the cloud: this device may be the only one that can still bring
it there.

An editor may hold a file open that Shoal has swapped out. What it writes then lands in the file that waits here; such a
file is not let go but comes back as a conflict copy.
"""

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import trio

from peer.chunker import file_digest
from peer.ports import Descriptor, Disk, EntryKind
from peer.root import Folder
from peer.synchronizer.context import Context
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.replacing import original_of, was_published
from protocol.hashing import digest
from protocol.identifiers import ROOT, NodeId

log = logging.getLogger(__name__)
KEPT_MS = 60_000
"""How long everything waits here at least, in milliseconds."""
_UNKNOWN = 0, 0, 0
"""In place of the looks of what is somebody's edit, and comes back however it looks."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    name: str
    parent: NodeId
    original: str
    print: tuple[int, int, int]  # inode, size, mtime_ns
    digest: bytes | None  # of what it was taken for


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    print: tuple[int, int, int]  # inode, size, mtime_ns
    digest: bytes


class OutgoingRoom:
    """Lets go of what has waited long enough."""

    def __init__(self, context: Context, local_steps: LocalSteps, forget: Callable[[], None] = lambda: None) -> None:
        """`local_steps` finds conflict names. `forget` is called when all that lies here has a record."""
        self._context = context
        self._local_steps = local_steps
        self._forget = forget
        self._clocks: tuple[int, float] | None = None  # wall clock in ms and trio's in seconds, at the last sweep

    async def sweep(self, *, unknown: bool = True) -> None:
        """Delete what is unchanged, bring back what was written to, and take in what a crash left without a record. Not
        what is `unknown`, as long as the tracker has not said what there is: without a database all of it would be."""
        context = self._context
        async with context.turn:
            given = defaultdict[NodeId, set[str]](set)
            for waiting in self._due():
                try:
                    await self._let_go(waiting, given)
                except OSError as error:
                    log.warning("%s stays in .shoal/outgoing: %s", waiting.name, error)
            if await self._adopt(unknown=unknown):
                self._forget()

    def _due(self) -> list[_Waiting]:
        context = self._context
        database, now = context.store.database, context.machine.now() // 1_000_000
        database.run("UPDATE outgoing SET since_ms = since_ms + ?", self._jumped(now))
        # When the clock jumped back, the minute begins anew: it must neither end early nor last for years.
        database.run("UPDATE outgoing SET since_ms = ?1 WHERE since_ms > ?1", now)
        rows = database.rows(
            """SELECT name, parent, original, inode, size, mtime_ns, digest FROM outgoing
               WHERE workspace = ? AND since_ms <= ? AND version IS NULL""",
            context.store.workspace,
            now - KEPT_MS,
        )
        return [
            _Waiting(name, parent, original, (inode, size, mtime_ns), digest)
            for name, parent, original, inode, size, mtime_ns, digest in rows
        ]

    def _jumped(self, now_ms: int) -> int:
        """By how many milliseconds the wall clock has run ahead since the last sweep: it was set, or the machine slept,
        and nobody has had that time to write."""
        before, self._clocks = self._clocks, (now_ms, trio.current_time())
        return 0 if before is None else max(0, now_ms - before[0] - round((self._clocks[1] - before[1]) * 1000))

    async def _let_go(self, waiting: _Waiting, given: defaultdict[NodeId, set[str]]) -> None:
        """`given` has the conflict names that this sweep has given in each folder."""
        context = self._context
        parent = context.store.path(waiting.parent)
        home = ROOT if parent is None else waiting.parent
        conflict = self._local_steps.conflict_name(home, waiting.original, given[home])

        # A power cut may leave new bytes under an old time.
        doubted = waiting.print[2] <= context.surprises.went_down_ns
        if await context.in_folder(lambda folder: _let_go(folder, waiting, parent or (), conflict, doubted=doubted)):
            given[home].add(conflict)
            context.log_conflict(parent or (), waiting.original, conflict)
            context.look_again(parent or ())
        context.store.database.run("DELETE FROM outgoing WHERE name = ?", waiting.name)

    async def _adopt(self, *, unknown: bool) -> bool:
        """A crash or an error between the swap and its record leaves a file without one; the loss of the database, all
        of them. A version that is known, and what was in the cloud when it came here, waits its minute from now.
        Anything else is somebody's edit, and comes back as a conflict copy. Returns whether all is recorded now."""
        context = self._context
        sql = "SELECT name FROM outgoing WHERE workspace = ?"
        known = {row[0] for row in context.store.database.rows(sql, context.store.workspace)}

        def work(folder: Folder) -> list[_Found | None]:
            return [_find(folder, name) for name in sorted(set(folder.disk.scan(folder.outgoing)) - known)]

        now, everything = context.machine.now() // 1_000_000, True
        for found in await context.in_folder(work):
            published = found is not None and self._is_published(found)
            if found is None or not (published or unknown):
                everything = False
                continue
            print_ = found.print if published else _UNKNOWN
            spare = context.versions.not_durable(found.digest)
            context.store.database.run(
                "INSERT OR IGNORE INTO outgoing VALUES (?,?,?,?,?,?,?,?,?,?)",
                *(
                    found.name,
                    context.store.workspace,
                    ROOT,
                    original_of(found.name),
                    *print_,
                    now,
                    spare,
                    found.digest,
                ),
            )
        return everything

    def _is_published(self, found: _Found) -> bool:
        return self._context.versions.is_known(found.digest) or was_published(found.name, found.digest)


def _find(folder: Folder, name: str) -> _Found | None:
    """None for what can't be read now. A folder, or whatever else somebody has put in the place of a file, holds
    nothing that was ever published."""
    disk, room = folder.disk, folder.outgoing
    try:
        stat = disk.stat(room, name)
        print_ = (stat.inode, stat.size, stat.mtime_ns)
        if stat.kind is EntryKind.SYMLINK:
            return _Found(name, print_, digest(disk.read_link(room, name).encode("utf-8", "surrogateescape")))
        return _Found(name, print_, _digest(disk, room, name) if stat.kind is EntryKind.FILE else b"")
    except OSError:
        return None


def _digest(disk: Disk, room: Descriptor, name: str) -> bytes:
    descriptor = disk.open_file(room, name)
    try:
        return file_digest(disk, descriptor)
    finally:
        disk.close(descriptor)


def _let_go(folder: Folder, waiting: _Waiting, parent: tuple[str, ...], conflict: str, *, doubted: bool) -> bool:
    """Unlink a file that stayed as it was; True when it was brought back instead."""
    disk, room = folder.disk, folder.outgoing
    try:
        stat = disk.stat(room, waiting.name)
    except FileNotFoundError:
        return False
    if _is_as_it_was(folder, waiting, (stat.inode, stat.size, stat.mtime_ns), doubted=doubted):
        disk.unlink(room, waiting.name)
        return False
    disk.rename(room, waiting.name, folder.directory(parent), conflict)
    return True


def _is_as_it_was(folder: Folder, waiting: _Waiting, print_: tuple[int, int, int], *, doubted: bool) -> bool:
    """By its looks; by its bytes where these may have changed all the same, and in a copy of the folder, where it is
    another file."""
    if waiting.print == _UNKNOWN:
        return False
    if waiting.digest is not None and (doubted or print_[0] != waiting.print[0]):
        found = _find(folder, waiting.name)
        if found is not None:
            return found.digest == waiting.digest
    return print_ == waiting.print
