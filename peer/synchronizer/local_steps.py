"""Carrying out the steps that change this disk, but for fetching. What turns out not to be as LOCAL says is looked
at again."""

import errno
from collections.abc import Container
from dataclasses import replace
from typing import TypeVar

from peer.ignoring import is_ignored
from peer.ports import EntryKind
from peer.problems import Problems, printable
from peer.root import Folder, Names
from peer.synchronizer.conflicts import conflict_name, ends_of_copies
from peer.synchronizer.context import Context
from peer.synchronizer.replacing import (
    Changed,
    Clash,
    InTheWay,
    Target,
    digest_of,
    move,
    namesake,
    set_attributes,
    take_away,
)
from peer.synchronizer.steps import (
    MakeDirectory,
    MoveLocal,
    RemoveLocal,
    SetAside,
    SetAttributes,
    StepAside,
    aside_name,
    aside_node,
)
from peer.trees import Content, Fingerprint, Local, Remote, Synced, fingerprint
from protocol.commits import DIRECTORY, SYMLINK
from protocol.errors import reason_of
from protocol.identifiers import NodeId, new_id

T = TypeVar("T")
NAMELESS = "recovered"
"""Stands for the name of something that had stepped aside when a power cut took the record of it."""
KIND = "disk"
"""The kind of problem this module reports."""


class LocalSteps:
    """The disk's part of the executor."""

    def __init__(self, context: Context) -> None:
        """Work on the context's workspace and folder."""
        self._context = context
        self._store = context.store
        self._problems: Problems = context.problems
        self._obstructed: set[tuple[NodeId, str]] = set()
        """Names, by their folder, that something has which is not synced."""

    async def carry_out(
        self, step: MakeDirectory | MoveLocal | StepAside | SetAside | SetAttributes | RemoveLocal
    ) -> bool:
        """One step; True when something was done. A path that can't be changed becomes a problem of its own (law
        15)."""
        try:
            async with self._context.turn:
                return await self._carry_out(step)
        except InTheWay:
            self.report_in_the_way(step.node)
            return False
        except Changed:
            self._look_again(step.node)
            self._context.shifted(step.node)
            return False
        except OSError as error:
            self.report(step.node, error)
            return False

    async def _carry_out(
        self, step: MakeDirectory | MoveLocal | StepAside | SetAside | SetAttributes | RemoveLocal
    ) -> bool:
        if isinstance(step, MakeDirectory):
            return await self._make_directory(step.node)
        if isinstance(step, MoveLocal):
            return await self._move(step.node)
        if isinstance(step, StepAside):
            return await self._step_aside(step.node)
        if isinstance(step, SetAside):
            return await self._set_aside(step.node, renew=step.renew)
        if isinstance(step, SetAttributes):
            return await self._set_attributes(step.node)
        return await self._remove(step.node)

    def report(self, node: NodeId, error: OSError) -> None:
        """The disk refused: a problem of the node's path, tried again later. What was done before it refused, say the
        rename before an fsync, is only to be found by looking."""
        self._stumble(node, error, *trouble(error))

    def report_in_the_way(self, node: NodeId) -> None:
        """Something has the node's name. As a rule a look finds what it is, and the planner what to do; if it goes on,
        it is nothing that can be synced, and stays where it is."""
        reason, advice = "something that isn't synced has its name here", "move that away; it is tried again"
        self._stumble(node, FileExistsError(errno.EEXIST, reason), reason, advice)

    def _stumble(self, node: NodeId, error: OSError, reason: str, advice: str) -> None:
        self._look_again(node)
        if self._context.stumble(node, error):
            path = self._store.remote_path(node) or self._store.path(node) or (f"node {node.hex()}",)
            self._problems.report(path, KIND, reason, advice)

    def _look_again(self, node: NodeId) -> None:
        row, remote = self._store.local(node), self._store.remote(node)
        for parent in {place.parent for place in (row, remote) if place is not None}:
            path = self._store.path(parent)
            if path is not None:
                self._context.look_again(path)

    def _target(self, row: Local) -> Target:
        return Target(self._path(row.parent), row.name, row.print)

    def _path(self, folder: NodeId) -> Names:
        path = self._store.path(folder)
        if path is None:
            raise Changed("its folder is no longer there")
        return path

    def _local(self, node: NodeId) -> Local:
        return _still_there(self._store.local(node))

    def _remote(self, node: NodeId) -> Remote:
        return _still_there(self._store.remote(node))

    # Making and moving

    async def _make_directory(self, node: NodeId) -> bool:
        remote = self._remote(node)
        parent = self._path(remote.parent)

        def work(folder: Folder) -> Fingerprint:
            directory = folder.directory(parent)
            try:
                folder.disk.make_directory(directory, remote.name, 0o755)
            except FileExistsError as error:
                other = namesake(folder.disk, directory, remote.name)
                raise error if other is None else Clash(other) from None
            folder.disk.fsync(directory)
            return fingerprint(folder.disk.stat(directory, remote.name))

        print_ = await self._context.in_folder(work)
        with self._store.database.transaction():
            self._store.put_local(Local(node, remote.parent, remote.name, remote.kind, None, print_))
            self._put_synced(remote)
        return True

    async def _move(self, node: NodeId) -> bool:
        local, remote = self._local(node), self._remote(node)
        await self._rename(local, self._path(remote.parent), remote.parent, remote.name)
        return True

    async def _rename(self, row: Local, path: Names, parent: NodeId, name: str) -> None:
        source = self._target(row)
        print_ = await self._move_on_disk(row, source, path, name)
        same = (print_.size, print_.mtime_ns, print_.mode) == (row.print.size, row.print.mtime_ns, row.print.mode)
        keep = row.kind == DIRECTORY or same
        self._context.written(source.parent, row.name)
        self._context.written(path, name)
        moved = row._replace(parent=parent, name=name, print=print_, content=row.content if keep else None)
        with self._store.database.transaction():
            self._store.put_local(moved)
        self._context.stirred({row.parent, parent})

    async def _move_on_disk(self, row: Local, source: Target, path: Names, name: str) -> Fingerprint:
        print_ = await self._context.in_folder(lambda folder: move(folder, source, path, name))
        if row.kind == DIRECTORY:
            self._context.folder_moved((*source.parent, source.name), (*path, name))
        return print_

    # Stepping aside

    async def _step_aside(self, node: NodeId) -> bool:
        row = self._local(node)
        await self._rename(row, self._path(row.parent), row.parent, aside_name(node))
        return True

    async def _set_aside(self, node: NodeId, *, renew: bool) -> bool:
        row = self._local(node)
        path = self._path(row.parent)
        past = self._store.synced(node)
        known = row.name if aside_node(row.name) is None else NAMELESS if past is None else past.name
        name = (self._twin(row, known) if renew else None) or self.conflict_name(row.parent, known)
        try:
            if renew:
                return await self._renew_aside(row, path, name)
            await self._rename(row, path, row.parent, name)
        except InTheWay:
            self._obstructed.add((row.parent, name))  # the next try takes another
            raise
        return True

    def _twin(self, row: Local, known: str) -> str | None:
        """The name of a conflict copy of the same file with the same bytes that another device has made, and that isn't
        here yet: after the tracker was restored from a backup all of them may have the same to keep. Under that name
        ours is that one (10.1)."""
        begin, end = ends_of_copies(known)
        there = [twin for twin in self._store.remotes_beginning(row.parent, begin) if twin.name.endswith(end)]
        unwanted = self._context.selection.excluded_of(twin.node for twin in there)
        twins = (twin for twin in there if twin.node not in unwanted and _is_twin(row, twin))
        return next((twin.name for twin in twins if self._is_free(row.parent, twin)), None)

    def _is_free(self, parent: NodeId, twin: Remote) -> bool:
        """Whether what is at the tracker is not here, and nothing that has its name."""
        if self._store.local(twin.node) is not None or self._store.synced(twin.node) is not None:
            return False
        return self._store.local_at(parent, twin.name) is None and (parent, twin.name) not in self._obstructed

    async def _renew_aside(self, row: Local, path: Names, name: str) -> bool:
        # The database goes first: a crash in between leaves a new node under its old name, which is set aside again.
        source = self._target(row)
        fresh = NodeId(new_id(self._context.machine.random_bytes))
        with self._store.database.transaction():
            self._store.rename_local_node(row.node, fresh)
            self._store.drop_synced(row.node)
            self._store.put_local(row._replace(node=fresh, name=name))
        try:
            print_ = await self._move_on_disk(row, source, path, name)
        except (Changed, OSError) as error:
            self._store.put_local(row._replace(node=fresh))  # as far as is known, it still has its old name
            self._context.look_again(path)
            if isinstance(error, InTheWay):
                raise
            if isinstance(error, OSError):
                self.report(fresh, error)
            return False
        self._context.log_conflict(path, row.name, name)
        current = self._local(fresh)  # it may be in doubt by now whether the content is known
        same = (print_.size, print_.mtime_ns, print_.mode) == (row.print.size, row.print.mtime_ns, row.print.mode)
        self._store.put_local(current._replace(print=print_, content=current.content if same else None))
        return True

    def conflict_name(self, parent: NodeId, name: str, given: Container[str] = ()) -> str:
        """A free conflict name in a local directory. `given` are those that were given since it was looked at."""

        def taken(candidate: str) -> bool:
            if candidate in given or (parent, candidate) in self._obstructed:
                return True
            if self._store.local_at(parent, candidate) is not None:
                return True
            return self._store.remote_at(parent, candidate) is not None

        return conflict_name(name, self._context.device_name, self._context.machine.now(), taken)

    # Attributes and removal

    async def _set_attributes(self, node: NodeId) -> bool:
        local, remote = self._local(node), self._remote(node)
        if remote.content is None or local.content is None or not local.content.same_bytes(remote.content):
            return False  # REMOTE has moved on since the plan was made
        target, content, symlink = self._target(local), remote.content, local.kind == SYMLINK
        print_ = await self._context.in_folder(lambda folder: set_attributes(folder, target, content, symlink=symlink))
        # What was written to a file just before its time was set doesn't show: it is read again.
        held = Content(content.digest, print_.mtime_ns, content.executable, content.private) if symlink else None
        with self._store.database.transaction():
            self._store.put_local(local._replace(print=print_, content=held))
            self._put_synced(remote)
        return True

    async def _remove(self, node: NodeId) -> bool:
        row = self._local(node)
        target = self._target(row)
        if row.kind == DIRECTORY:
            return await self._remove_directory(row, target)
        synced = self._store.synced(node)
        spare = self._context.spare(synced)
        target = replace(target, published=digest_of(synced, spare))
        outgoing = await self._context.in_folder(lambda folder: take_away(folder, target))
        self._context.written(target.parent, row.name)
        with self._store.database.transaction():
            self._context.remember_outgoing(outgoing, row, spare)
            self._gone(row)
        return True

    async def _remove_directory(self, row: Local, target: Target) -> bool:
        def work(folder: Folder) -> None:
            parent = folder.directory(target.parent)
            folder.forget((*target.parent, target.name))
            folder.disk.remove_directory(parent, target.name)
            folder.disk.fsync(parent)

        try:
            await self._context.in_folder(work)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self._context.look_again((*target.parent, target.name))
            if any(child.wanted for child in self._store.local_children(row.node).values()):
                return False  # what is inside couldn't be removed; that alone is no reason to keep the folder
            ignored = await self._holds_only_ignored(row, (*target.parent, target.name))
            self._context.renew(row.node, wanted=not ignored)  # or something is in it that LOCAL doesn't know
            return True
        with self._store.database.transaction():
            self._gone(row)
        return True

    async def _holds_only_ignored(self, row: Local, path: Names) -> bool:
        known, chain = self._store.local_children(row.node), self._context.selection.chain(row.node, path)

        def work(folder: Folder) -> bool:
            directory = folder.directory(path)
            found = {name: folder.disk.stat(directory, name).kind for name in folder.disk.scan(directory)}
            return all(
                name in known or is_ignored(chain, (*path, name), directory=kind is EntryKind.DIRECTORY)
                for name, kind in found.items()
            )

        try:
            return await self._context.in_folder(work)
        except FileNotFoundError:
            return False

    def _gone(self, row: Local) -> None:
        self._context.stirred({row.parent})
        self._store.set_gone(row.node)  # with whatever LOCAL still had in it
        self._store.drop_local(row.node)
        self._store.drop_synced(row.node)

    def _put_synced(self, row: Remote) -> None:
        self._store.put_synced(Synced(row.node, row.parent, row.name, row.kind, row.place, row.version, None))


def _is_twin(row: Local, remote: Remote) -> bool:
    """Whether both are the same kind of thing, with the same bytes."""
    if row.content is None or remote.content is None:
        return False
    return row.kind == remote.kind and row.content.same_bytes(remote.content)


def _still_there(row: T | None) -> T:
    if row is None:
        raise Changed("the trees have moved on")
    return row


def trouble(error: OSError) -> tuple[str, str]:
    """What the disk refused, and what a person can do about it."""
    if isinstance(error, Clash):
        other = printable((error.other,))
        return (
            f"this disk can't tell its name from that of {other}",
            f"rename one of the two on another device; it comes as soon as {other} is gone from here",
        )
    if error.errno in (errno.EINVAL, errno.EILSEQ):
        return "this disk can't hold such a name", "rename it on another device"
    if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
        return (
            "the folder's file system can't do what is needed to put it in place safely",
            "have Shoal sync a folder on another file system",
        )
    return reason_of(error), advice_for(error)


def advice_for(error: OSError, *, reading: bool = False) -> str:
    """What a person can do about a refusal of the disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space; it is tried again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"give Shoal permission to {'read it' if reading else 'write there'}; it is tried again"
    if error.errno == errno.EEXIST:
        return "it is nothing that is synced, an ignored folder perhaps: give it another name; it is tried again"
    if error.errno == errno.ENAMETOOLONG:
        return "this disk can't hold so long a name; rename it on another device"
    return "it is tried again"
