"""`.shoal/outgoing`: what was replaced or removed waits until nobody can be writing to it, then goes (design §7).

An editor may hold a file open that Shoal has swapped out. What it writes then lands in the file that waits here; such a
file is not let go but comes back as a conflict copy.
"""

from dataclasses import dataclass

from peer.root import Folder, open_folder
from peer.synchronizer.context import Context
from peer.synchronizer.local_steps import LocalSteps
from protocol.identifiers import ROOT, NodeId

KEPT_MS = 60_000
"""How long everything waits here at least, in milliseconds."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    name: str
    parent: NodeId
    original: str
    print: list[int]  # inode, size, mtime_ns


class OutgoingRoom:
    """Lets go of what has waited long enough."""

    def __init__(self, context: Context, local_steps: LocalSteps) -> None:
        """`local_steps` finds conflict names."""
        self._context = context
        self._local_steps = local_steps

    async def sweep(self) -> None:
        """Delete what is unchanged, bring back what was written to, and take in what a crash left without a record."""
        context = self._context
        database, now = context.store.database, context.machine.now() // 1_000_000
        rows = database.rows(
            "SELECT name, parent, original, inode, size, mtime_ns, since_ms FROM outgoing WHERE workspace = ?",
            context.store.workspace,
        )
        known = {row[0] for row in rows}
        # A clock that jumped back must not keep anything for years.
        due = [
            _Waiting(name, parent, original, print_)
            for name, parent, original, *print_, since in rows
            if not 0 <= now - since < KEPT_MS
        ]
        for waiting in due:
            await self._let_go(waiting)
        await self._adopt_unknown(known)

    async def _let_go(self, waiting: _Waiting) -> None:
        context = self._context
        parent = context.store.path(waiting.parent)
        home = ROOT if parent is None else waiting.parent
        conflict = self._local_steps.conflict_name(home, waiting.original)

        def work() -> bool:
            with open_folder(context.disk, context.root) as folder:
                return _let_go(folder, waiting, parent or (), conflict)

        if await context.machine.offload(work, context.limiter):
            context.log_conflict(parent or (), waiting.original, conflict)
            context.look_again(parent or ())
        context.store.database.run("DELETE FROM outgoing WHERE name = ?", waiting.name)

    async def _adopt_unknown(self, known: set[str]) -> None:
        """A crash between the swap and its record leaves a file that nothing knows of: it waits its minute from now."""
        context = self._context

        def work() -> list[tuple[str, int, int, int]]:
            with open_folder(context.disk, context.root) as folder:
                found = []
                for name in sorted(folder.disk.scan(folder.outgoing)):
                    if name not in known:
                        stat = folder.disk.stat(folder.outgoing, name)
                        found.append((name, stat.inode, stat.size, stat.mtime_ns))
                return found

        now = context.machine.now() // 1_000_000
        context.store.database.run_many(
            "INSERT OR IGNORE INTO outgoing VALUES (?,?,?,?,?,?,?,?)",
            [
                (name, context.store.workspace, ROOT, name, *print_, now)
                for name, *print_ in await context.machine.offload(work, context.limiter)
            ],
        )


def _let_go(folder: Folder, waiting: _Waiting, parent: tuple[str, ...], conflict: str) -> bool:
    """Unlink a file that stayed as it was; True when it was brought back instead."""
    disk, room = folder.disk, folder.outgoing
    try:
        stat = disk.stat(room, waiting.name)
    except FileNotFoundError:
        return False
    if [stat.inode, stat.size, stat.mtime_ns] == waiting.print:
        disk.unlink(room, waiting.name)
        return False
    disk.rename(room, waiting.name, folder.directory(parent), conflict)
    return True
