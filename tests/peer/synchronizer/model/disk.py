"""Steps that change the disk, with what the kernel refuses."""

from peer.synchronizer.conflicts import conflict_name
from peer.synchronizer.local_steps import NAMELESS
from peer.synchronizer.steps import (
    Fetch,
    MakeDirectory,
    MoveLocal,
    Read,
    RemoveLocal,
    SetAside,
    SetAttributes,
    Step,
    StepAside,
    aside_name,
    aside_node,
)
from peer.trees import Local, Remote
from protocol.commits import DIRECTORY
from protocol.identifiers import NodeId, VersionId
from tests.peer.synchronizer.model.tracking import Tracked
from tests.peer.synchronizer.model.trees import at, path_up, revision_of


class OnDisk(Tracked):
    """The trees, and a disk that LOCAL is always right about."""

    def __init__(self) -> None:
        super().__init__()
        self.online = True
        self.conflicts = 0
        self.refused = 0
        """How often the disk or the tracker said no."""

    def _change_disk(self, step: Step) -> bool:
        local, remote = self.local.get(step.node), self.remote.get(step.node)
        if isinstance(step, Read):
            return local is not None and self._read(local)
        if isinstance(step, MakeDirectory):
            return remote is not None and self._make_directory(remote)
        if isinstance(step, Fetch):
            return remote is not None and self._fetch(remote, step.version)
        if isinstance(step, MoveLocal):
            return local is not None and remote is not None and self._rename(local, remote.parent, remote.name)
        if local is None:
            return False
        if isinstance(step, StepAside):
            return self._rename(local, local.parent, aside_name(local.node))
        if isinstance(step, SetAside):
            return self._set_aside(local, renew=step.renew)
        if isinstance(step, SetAttributes):
            return remote is not None and self._set_attributes(local, remote)
        assert isinstance(step, RemoveLocal)
        return self._remove(local)

    def make_readable(self) -> bool:
        """What was too large to be sent is no longer; False when nothing was."""
        blocked = [row for row in self.local.values() if row.blocked]
        for row in blocked:
            self.put_local(row._replace(blocked=False))
        return bool(blocked)

    def _read(self, row: Local) -> bool:
        assert not row.blocked
        content = self.hidden.pop(row.node, None)
        if content is not None:
            self.put_local(row._replace(content=content))
        return content is not None

    def _make_directory(self, remote: Remote) -> bool:
        if not self.is_local(remote.parent) or self.local_at(remote.parent, remote.name) is not None:
            return False
        self.put_file(remote.node, remote.parent, remote.name, DIRECTORY, None)
        self.put_synced(remote)
        return True

    def _fetch(self, remote: Remote, version: VersionId) -> bool:
        """A file is replaced where it stands, when it is as SYNCED says; a new one needs a free name."""
        if not self.online or not self.is_local(remote.parent):
            return False
        local = self.local.get(remote.node)
        holder = self.local_at(remote.parent, remote.name)
        if holder != (None if local is None else remote.node):
            return False
        assert local is None or (local.node in self.synced and local.content is not None)
        assert local is None or local.content.same_bytes(self.synced[local.node].content or self.new_content())  # type: ignore[union-attr]
        self._check_fetched(remote, version)
        self._replaced(local)
        self.put_file(remote.node, remote.parent, remote.name, remote.kind, self.versions[version])
        self.put_synced(remote, version)
        return True

    def _rename(self, row: Local, parent: NodeId, name: str) -> bool:
        """renameat2(RENAME_NOREPLACE)."""
        if (
            not self.is_local(parent)
            or self.local_at(parent, name) is not None
            or row.node in path_up(self.local, parent)
        ):
            return False
        self.put_local(row._replace(parent=parent, name=name))
        return True

    def _set_aside(self, row: Local, *, renew: bool) -> bool:
        def taken(name: str) -> bool:
            return at(self.local, row.parent, name) is not None or at(self.remote, row.parent, name) is not None

        past = self.synced.get(row.node)
        known = row.name if aside_node(row.name) is None else NAMELESS if past is None else past.name
        name = conflict_name(known, "here", 0, taken)
        self.conflicts += 1
        if renew:
            fresh = NodeId(self.fresh())
            self.rename_local_node(row.node, fresh)
            self.drop_synced(row.node)
            row = self.local[fresh]
        self.put_local(row._replace(name=name))
        return True

    def _set_attributes(self, local: Local, remote: Remote) -> bool:
        if remote.content is None or local.content is None or not local.content.same_bytes(remote.content):
            return False
        self.put_file(local.node, local.parent, local.name, local.kind, remote.content)
        self.put_synced(remote)
        return True

    def _remove(self, row: Local) -> bool:
        """unlinkat(2), which refuses a directory with something in it."""
        if any(child.parent == row.node for child in self.local.values()):
            return False
        self._replaced(row)
        self.drop_local(row.node)
        self.drop_synced(row.node)
        return True

    def _replaced(self, row: Local | None) -> None:
        """Nothing that a person wrote goes unless it is in the history."""
        content = None if row is None else self.held(row.node)
        assert content is None or content.digest in self.history

    def _check_fetched(self, remote: Remote, version: VersionId) -> None:
        """It can be had, and is newer than what was here."""
        assert version in self.durable | self.on_the_lan
        held = None if remote.node not in self.synced else self.synced[remote.node].version
        assert held is None or revision_of(version) > revision_of(held)
