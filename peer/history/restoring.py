"""`shoal restore`: what has to change for a version, a deleted file or a deleted folder to be back at its path.

1  a version of a path that has a file    written over it; what it had stays in history
2  a deleted file                         restored, with that version or its last one
3  a deleted folder                       restored, with all that was deleted along with it
4  folders above that are gone            a folder that has that path now takes their place; else they come back too
5  a name that something else has by now  `name (restored, DATE).ext`; so comes a folder in whose place a file is now
6  a file whose node can't come back      a new node: all that it last was never reached the cloud
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from peer.history.past import CHANGED, RESTORED, Change, Event, Past, Stored, deleted_together
from peer.history.reading import Reader, latest
from peer.synchronizer.conflicts import restored_name
from peer.tree_store import TreeStore
from peer.trees import Remote
from protocol.commits import DIRECTORY
from protocol.errors import Problem, Usage
from protocol.identifiers import ROOT, NodeId, new_id
from protocol.ports import RandomBytes

MAX_FOLDERS = 64
"""Deleted folders of one name that are looked into, the latest first."""


@dataclass
class Found:
    """What is and was at a path. `live` is what is there now, `gone` what was deleted there, the latest first."""

    names: tuple[str, ...]
    live: Remote | None = None
    gone: list[Past] = field(default_factory=list)
    here: list[Remote | None] = field(default_factory=list)
    """The folders that have the path's beginnings now, from the top down; None from where there is none."""
    folders: dict[NodeId, Past] = field(default_factory=dict)
    """Deleted folders on the way."""
    depth: int = 0
    """Of how many names anything is known but of the last, if nothing is or was at the path."""
    parents: list[NodeId] = field(default_factory=list)
    """The folders in which that last name was looked for."""

    @property
    def nodes(self) -> list[NodeId]:
        """All nodes that are or were there."""
        live = [] if self.live is None else [self.live.node]
        return [*live, *(past.node for past in self.gone)]

    @property
    def all_folders(self) -> set[NodeId]:
        """Those of them that are or were folders."""
        live = [] if self.live is None or self.live.kind != DIRECTORY else [self.live.node]
        return {*live, *(past.node for past in self.gone if past.is_directory)}


async def find(reader: Reader, store: TreeStore, names: tuple[str, ...]) -> Found:
    """Look a path up, in what is there and in what was deleted on the way."""
    found, parents = Found(names), [ROOT]
    at: NodeId | None = ROOT
    for depth, name in enumerate(names, 1):
        live = None if at is None else store.remote_at(at, name)
        gone = latest(await reader.deleted(parents, name)) if parents else []
        if parents:
            found.depth, found.parents = depth, parents
        if depth == len(names):
            found.live, found.gone = live, gone
            return found
        folder = live if live is not None and live.kind == DIRECTORY else None
        found.here.append(folder)
        at = None if folder is None else folder.node
        folders = [past for past in gone if past.is_directory][:MAX_FOLDERS]
        found.folders |= {past.node: past for past in folders}
        parents = [*([] if at is None else [at]), *(past.node for past in folders)]
    return found


class Restoring:
    """Plans the changes for one path."""

    def __init__(self, reader: Reader, store: TreeStore, found: Found, random_bytes: RandomBytes, now_ns: int) -> None:
        """`now_ns` is for the date in names."""
        self._reader = reader
        self._store = store
        self._found = found
        self._random_bytes = random_bytes
        self._now_ns = now_ns

    async def last(self) -> list[Change]:
        """Bring back what was deleted last. `Usage` when something is there, or nothing was."""
        found = self._found
        if found.live is not None and found.live.kind == DIRECTORY:
            raise Usage(
                f"{_path(found.names)} is there: restore what is missing in it by its own name, or have it as it was "
                "with shoal rewind"
            )
        gone = [past for past in found.gone if past.can_be_had and (found.live is None or past.is_directory)]
        if found.live is not None and not gone:
            raise Usage(f"{_path(found.names)} is there: say which version you want; shoal history lists them")
        past = next(iter(gone), None)
        if past is None and found.gone:
            raise Problem(f"{_path(found.names)} never reached the cloud: there is nothing to restore")
        assert past is not None, "something is or was there"
        if not past.is_directory:
            return self._deleted(past, past.stored)
        return await self._folder(past)

    def version(self, event: Event) -> list[Change]:
        """Have the content of an event at the path again; nothing when it is what is there."""
        live, stored = self._found.live, event.stored
        if stored is None or not event.durable:
            raise Problem("that version is not in the cloud: it can't be restored")
        gone = next((past for past in self._found.gone if past.node == event.node), None)
        if gone is not None and (live is None or live.kind != gone.now.kind):
            return self._deleted(gone, stored)
        if live is None:
            raise Problem("that has just been moved away: look again")
        if live.content == stored.content:
            return []
        return [Change(live.node, live.kind, CHANGED, self._found.names, live.place, live.version, stored=stored)]

    def _deleted(self, past: Past, stored: Stored | None) -> list[Change]:
        above, parent, path = self._way(past)
        return [*above, self._back(past, parent, path, stored)]

    async def _folder(self, top: Past) -> list[Change]:
        inside = await self._inside(top)
        above, parent, path = self._way(top)
        first = self._back(top, parent, path, None)
        paths = {top.node: first.path}
        changes = [*above, first]
        for past in inside:
            assert past.place is not None
            if past.place.parent in paths and past.can_be_had:
                paths[past.node] = (*paths[past.place.parent], past.place.name)
                changes.append(self._restored(past, past.place.parent, past.place.name, paths[past.node], past.stored))
        return changes

    async def _inside(self, top: Past) -> list[Past]:
        """What was deleted along with a folder, from the top down; of one name that which was deleted last."""
        found, level = list[Past](), [top.node]
        while level:
            children = await self._reader.deleted(level)
            found += children
            level = [past.node for past in children if past.is_directory]
        if top.deleted is None:
            return []
        times = [past.deleted.time_ms for past in found if past.deleted is not None]
        since = deleted_together(top.deleted.time_ms, times)
        names: dict[tuple[NodeId, str], Past] = {}
        for past in reversed(latest(found)):
            if past.deleted is not None and past.deleted.time_ms >= since and past.place is not None:
                names[past.place.parent, past.place.name] = past
        kept = {past.node for past in names.values()}
        return [past for past in found if past.node in kept]

    def _way(self, past: Past) -> tuple[list[Change], NodeId, tuple[str, ...]]:
        """The folders above that have to come back, and the parent and path of what is in them (4)."""
        names, here = self._found.names, self._found.here
        above: list[Past] = []
        at = past
        for depth in range(len(names) - 1, 0, -1):
            folder = here[depth - 1]
            if folder is not None:
                return self._downwards(above, folder.node, names[:depth])
            assert at.place is not None
            at = self._found.folders[at.place.parent]
            above.append(at)
        return self._downwards(above, ROOT, ())

    def _downwards(
        self, above: Sequence[Past], parent: NodeId, path: tuple[str, ...]
    ) -> tuple[list[Change], NodeId, tuple[str, ...]]:
        changes = []
        for past in reversed(above):
            change = self._back(past, parent, path, None)
            changes.append(change)
            parent, path = past.node, change.path
        return changes, parent, path

    def _back(self, past: Past, parent: NodeId, path: tuple[str, ...], stored: Stored | None) -> Change:
        """At its old name in this folder, or beside what has that name now (5)."""
        assert past.place is not None
        name = past.place.name

        def taken(name: str) -> bool:
            return self._store.remote_at(parent, name) is not None

        if taken(name):
            name = restored_name(name, self._now_ns, taken)
        return self._restored(past, parent, name, (*path, name), stored)

    def _restored(self, past: Past, parent: NodeId, name: str, path: tuple[str, ...], stored: Stored | None) -> Change:
        change = Change(
            past.node, past.now.kind, RESTORED, path, past.now.place, past.now.version, (parent, name), stored
        )
        if past.is_directory or past.now.version is not None:
            return change
        return change._replace(node=NodeId(new_id(self._random_bytes)), place=None)  # 6


def _path(names: Iterable[str]) -> str:
    return "/".join(names)
