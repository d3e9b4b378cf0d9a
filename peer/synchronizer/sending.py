"""Sending local change: from steps to signed commits, and what the tracker's answer means.

A commit is stored before it is sent and kept until it is answered, so a lost answer is asked for again and never
leads to a second commit. Its files are on the disk for good before it names them.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from peer.chunker import Staged
from peer.remote import Cursor, RemoteTree, own_entry
from peer.root import Folder, Names, open_folder
from peer.synchronizer.context import Context
from peer.synchronizer.steps import Send, SendCreate, SendDelete, SendMove, SendWrite
from peer.tracker_client import DeviceClient
from peer.trees import Local, Remote
from peer.version_store import Version
from protocol.api import COMMIT, CommitRefusal, CommitReply, FailedOperation
from protocol.chunks import ChunkRef
from protocol.codec import decode, encode
from protocol.commits import (
    DIRECTORY,
    FILE,
    SYMLINK,
    Commit,
    Content,
    Create,
    Delete,
    Move,
    Operation,
    Place,
    Write,
    decode_commit,
    decode_operation,
    encode_operation,
    sign_commit,
)
from protocol.deltas import Delta
from protocol.errors import Code, Refused
from protocol.failpoints import failpoint
from protocol.hashing import digest
from protocol.identifiers import (
    ID_LENGTH,
    MAX_COMMIT_OPERATIONS,
    CommitId,
    ContentHash,
    NodeId,
    PlaceMark,
    RunId,
    TrackerEpoch,
    VersionId,
    new_id,
)
from protocol.manifests import Manifest, seal_manifest
from protocol.names import seal_name
from protocol.runs import SealedRun, cut_runs, seal_run
from protocol.signing import SigningKey

log = logging.getLogger(__name__)
KIND = "send"
"""The kind of problem this module reports."""
COMMIT_TARGET = 900_000
"""Bytes of operations and runs in one commit, leaving room for its frame."""
ONE_BY_ONE = 8
"""Up to so many files are fsynced one by one."""
ATTEMPTS = 3
"""How often what is left of a refused commit is sent again before planning anew."""
UNEXPLAINED = 5
"""How often in a row the same may be refused on the same ground before it is left for a while."""
PERSONAL = {
    "quota": ("your plan's storage is full", "delete something or take a larger plan; it is tried again"),
    "too-large": ("it is larger than the plan allows", "make it smaller, or move it out of the folder"),
}
"""Refusals that a person has to do something about."""


@dataclass(slots=True)
class _Draft:
    """Operations that become one commit."""

    operations: list[Operation] = field(default_factory=list)
    encoded: list[bytes] = field(default_factory=list)
    runs: dict[RunId, bytes] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    lists: dict[VersionId, Sequence[ChunkRef]] = field(default_factory=dict)
    names: dict[PlaceMark, str] = field(default_factory=dict)
    size: int = 0

    @property
    def nodes(self) -> list[NodeId]:
        return [operation.node for operation in self.operations]

    def add(self, made: "_Made") -> None:
        data = encode_operation(made.operation)
        fresh = {run.id: run.body for run in made.runs if run.id not in self.runs}
        if made.version is not None:
            self.versions.append(made.version)
            self.lists[made.version.id] = made.chunks
        if isinstance(made.operation, Create | Move):
            self.names[made.operation.place.mark] = made.name
        self.operations.append(made.operation)
        self.encoded.append(data)
        self.runs |= fresh
        self.size += len(data) + sum(len(body) for body in fresh.values()) + 16

    def without(self, failed: set[int]) -> "_Draft":
        rest = _Draft(runs=self.runs, versions=self.versions, lists=self.lists, names=self.names, size=self.size)
        for index, (operation, data) in enumerate(zip(self.operations, self.encoded, strict=True)):
            if index not in failed:
                rest.operations.append(operation)
                rest.encoded.append(data)
        return rest


@dataclass(frozen=True, slots=True)
class _Made:
    """An operation, the version that it brings, the runs that this names, the chunks that they list, and the name that
    the operation gives."""

    operation: Operation
    version: Version | None = None
    runs: tuple[SealedRun, ...] = ()
    chunks: Sequence[ChunkRef] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Now:
    """The trees, and what is staged, where operations are to be made."""

    local: Mapping[NodeId, Local]
    remote: Mapping[NodeId, Remote]
    staged: Mapping[NodeId, Staged]


class Sending:
    """Makes, sends and settles this device's commits."""

    def __init__(
        self,
        context: Context,
        client: DeviceClient,
        remote: RemoteTree,
        signing_key: SigningKey,
        pull: Callable[[], Awaitable[None]],
    ) -> None:
        """`remote` takes in what was accepted; `pull` brings it up to date."""
        self._context = context
        self._client = client
        self._remote = remote
        self._signing_key = signing_key
        self._pull = pull
        self._open: dict[CommitId, set[NodeId]] = {}  # the nodes of commits in the outbox
        self._refusals: dict[NodeId, tuple[object, int]] = {}  # why, on what ground, and how often in a row

    async def send(self, steps: Iterable[Send], planned: Mapping[NodeId, Remote]) -> tuple[bool, bool]:
        """Send steps as commits. `planned` is REMOTE as it was when they were planned: a step on a node that others
        have changed since is left out, as it would be made on a state that nobody here has merged.

        Returns whether any was accepted, and whether REMOTE has to be brought up to date, as others have changed it
        too. Raises `Unreachable`; what was on its way is settled by `resend`.
        """
        accepted, behind = False, False
        for draft in self._drafts(steps, planned):
            await self._make_durable(draft)
            for _ in range(ATTEMPTS):
                if not draft.operations:
                    break
                commit = self._store(draft)
                try:
                    behind = await self._send(commit, draft) or behind
                    accepted = True
                    for node in draft.nodes:
                        self._refusals.pop(node, None)
                    break
                except Refused as refusal:
                    draft = draft.without(self._settle_refusal(commit, draft, refusal))
                    behind = True
        return accepted, behind

    def unanswered(self) -> set[NodeId]:
        """The nodes of commits whose answer never came: what they are agreed on is not known until it has."""
        sql = "SELECT id FROM outbox WHERE workspace = ?"
        ids = [id for (id,) in self._context.store.database.rows(sql, self._context.store.workspace)]
        self._open = {id: self._open.get(id) or self._nodes_of(id) for id in ids}
        return set[NodeId]().union(*self._open.values())

    def _nodes_of(self, commit: CommitId) -> set[NodeId]:
        sql = "SELECT body FROM outbox WHERE workspace = ? AND id = ?"
        (body,) = self._context.store.database.row(sql, self._context.store.workspace, commit)
        return {decode_operation(data).node for data in decode_commit(body).operations}

    async def resend(self) -> None:
        """Ask again about commits whose answer never came. Then REMOTE has to be brought up to date."""
        sql = "SELECT body FROM outbox WHERE workspace = ? ORDER BY rowid"
        for (body,) in self._context.store.database.rows(sql, self._context.store.workspace):
            commit = decode_commit(body)
            try:
                await self._send(commit)
            except Refused as refusal:
                log.info("a commit from before was refused and is made anew: %s", refusal)
                self._discard(commit)

    # Making

    def _drafts(self, steps: Iterable[Send], planned: Mapping[NodeId, Remote]) -> Iterator[_Draft]:
        left = list(steps)
        while left:
            draft, taken = self._draft(left[:MAX_COMMIT_OPERATIONS], planned)
            left = left[taken:]
            if draft.operations:
                yield draft

    def _draft(self, steps: Sequence[Send], planned: Mapping[NodeId, Remote]) -> tuple[_Draft, int]:
        """A commit of the first of these steps, as the trees are now, and how many that are."""
        draft, now = _Draft(), self._now(steps)
        for taken, step in enumerate(steps, 1):
            made = self._operation(step, planned.get(step.node), now)
            if made is not None:
                draft.add(made)
            if draft.size >= COMMIT_TARGET - 300_000:
                return draft, taken
        return draft, len(steps)

    def _now(self, steps: Iterable[Send]) -> "_Now":
        context, nodes = self._context, [step.node for step in steps]
        local = context.store.locals(nodes)
        contents = {node: row.content for node, row in local.items() if row.content is not None}
        return _Now(local, context.store.remotes(nodes), context.versions.staged(contents))

    def _operation(self, step: Send, planned: Remote | None, now: "_Now") -> "_Made | None":
        """The operation that a step asks for; None when the ground has shifted."""
        node = step.node
        local, remote = now.local.get(node), now.remote.get(node)
        if _ground(step, remote) != _ground(step, planned):
            return None
        if isinstance(step, SendDelete):
            return None if remote is None else _Made(self._delete(node, remote.place, remote.version))
        if local is None:
            return None
        if isinstance(step, SendMove):
            assert remote is not None  # as when it was planned
            move = Move(node=node, base=remote.place, place=self._place(local), kind=local.kind)
            return _Made(move, name=local.name)
        if isinstance(step, SendCreate) and local.kind == DIRECTORY:
            return _Made(Create(node=node, kind=DIRECTORY, place=self._place(local)), name=local.name)
        staged = now.staged.get(node)
        sealed = self._content(local, staged)
        if sealed is None:
            return None
        content, version, runs = sealed
        chunks = () if staged is None else staged.chunks
        if isinstance(step, SendCreate):
            create = Create(node=node, kind=local.kind, place=self._place(local), content=content)
            return _Made(create, version, runs, chunks, local.name)
        base = None if remote is None else remote.durable if _skips(step) else remote.version
        return None if base is None else _Made(Write(node=node, base=base, content=content), version, runs, chunks)

    def _place(self, local: Local) -> Place:
        context = self._context
        name = seal_name(context.keys, local.parent, local.node, local.name, context.machine.random_bytes)
        return Place(parent=local.parent, token=name.token, name=name.sealed, mark=name.place)

    def _delete(self, node: NodeId, place: PlaceMark, version: VersionId | None) -> Delete:
        mark = PlaceMark(new_id(self._context.machine.random_bytes))
        return Delete(node=node, base=place, mark=mark, content_base=version)

    def _content(self, local: Local, staged: Staged | None) -> tuple[Content, Version, tuple[SealedRun, ...]] | None:
        context, keys = self._context, self._context.keys.newest
        runs: tuple[SealedRun, ...] = ()
        if local.kind == SYMLINK:
            link = self._link(local)
            if link is None:
                return None
            manifest = Manifest(size=0, mtime_ns=local.print.mtime_ns, link=link)
        else:
            if staged is None:
                self._read_again(local)
                return None
            runs = tuple(seal_run(keys.run, run) for run in cut_runs(staged.chunks))
            manifest = _file_manifest(staged, runs)
        ids = tuple(run.id for run in runs)
        offered = None if staged is None else context.offers.version_of(local.node, staged)
        draw = context.machine.random_bytes
        sealed = seal_manifest(keys, context.keys.workspace, local.node, manifest, ids, draw, offered)
        version = Version(sealed.version, local.node, context.device, manifest, ids)
        return Content(version=sealed.version, manifest=sealed.sealed, runs=ids), version, runs

    def _link(self, local: Local) -> str | None:
        context = self._context
        parent = context.store.path(local.parent)
        if parent is None:
            return None
        try:
            with open_folder(context.disk, context.root) as folder:
                link = context.disk.read_link(folder.directory(parent), local.name)
        except OSError:
            link = None
        if link is None or local.content is None or digest(link.encode("utf-8", "replace")) != local.content.digest:
            context.look_again(parent)  # gone, or another link, perhaps one that can't be sent
            return None
        return link

    def _read_again(self, local: Local) -> None:
        """What the chunker made of it is no longer kept: forget that the content is known."""
        self._context.store.put_local(
            Local(local.node, local.parent, local.name, local.kind, None, local.print, local.blocked)
        )

    def _store(self, draft: _Draft) -> Commit:
        context, cursor = self._context, self._remote.cursor()
        commit = sign_commit(
            workspace=context.keys.workspace,
            device=context.device,
            epoch=context.keys.newest.epoch,
            commit=CommitId(new_id(context.machine.random_bytes)),
            seen=cursor.hash,
            operations=tuple(draft.encoded),
            runs=tuple(draft.runs.values()),
            signing_key=self._signing_key,
            approval=context.surprises.approval_for(draft.nodes),
        )
        with context.store.database.transaction():
            sql = "INSERT INTO outbox VALUES (?,?,?)"
            context.store.database.run(sql, context.keys.workspace, commit.id, encode(commit))
            # From now on a device on the LAN may ask for them: it may hear of the commit before its answer is here.
            context.versions.put_runs(draft.runs.items())
            context.versions.put_many(draft.versions)
        for version, refs in draft.lists.items():
            context.lists.put(version, refs)
        self._open[commit.id] = set(draft.nodes)
        failpoint("peer.commit.stored")
        return commit

    async def _make_durable(self, draft: _Draft) -> None:
        """Bring all that the commit names to the disk for good. One barrier does it; but that waits for whatever else
        is being written, so a few new contents are fsynced instead, with the folders that they are in."""
        context = self._context
        few = len(draft.nodes) == len(draft.versions) <= ONE_BY_ONE
        rows = [context.store.local(node) for node in draft.nodes] if few else []
        places = [(context.store.path(row.parent), row.name) for row in rows if row is not None and row.kind == FILE]

        def work(folder: Folder) -> None:
            if not few or len(places) < len(draft.nodes) or not _fsync(folder, places):
                context.disk.sync_file_system(folder.directory(()))

        await context.in_folder(work)

    # Settling

    async def _send(self, commit: Commit, draft: _Draft | None = None) -> bool:
        while True:
            history = self._remote.histories
            reply = await self._client.call(COMMIT, commit)
            failpoint("peer.commit.answered")
            if not self._follows(commit, reply):
                # Either a pull has gone past it already, or the tracker was restored from a backup, and counts anew.
                # Then REMOTE is of another history, and what is agreed on but not in there would count as deleted.
                await self._pull()
                if self._is_pending(commit):  # it was left out: what was withdrawn since is told to who asks again
                    reply = await self._client.call(COMMIT, commit)
            if self._remote.histories == history:
                return self._accepted(commit, draft, reply)
            # Else the tracker may have said so before it was restored. It is asked once more, and answers by the id.

    def _follows(self, commit: Commit, reply: CommitReply) -> bool:
        """Whether a commit comes after the cursor, as far as can be told before what lies between them has come."""
        cursor = self._remote.cursor()
        if reply.since != cursor.revision:
            return reply.revision > cursor.revision
        return self._remote.is_next(_own_delta(commit, reply, cursor, self._context), cursor)

    def _accepted(self, commit: Commit, draft: _Draft | None, reply: CommitReply) -> bool:
        """Take in an accepted commit. True when others have written meanwhile, and REMOTE has to be brought up to date.

        REMOTE and SYNCED change in one transaction: a node that is agreed on and not in REMOTE would count as deleted.
        """
        context, cursor = self._context, self._remote.cursor()
        with context.store.database.transaction():
            if self._is_pending(commit):
                delta = _own_delta(commit, reply, cursor, context)
                made, names = (None, None) if draft is None else (draft.operations, draft.names)
                fold = self._remote.accept(
                    commit, delta.entries[0], context.device, reply.announced, reply.withdrawn, made, names
                )
                if reply.revision > cursor.revision:
                    self._remote.show_own(fold, delta, cursor)
            self._want_missing(draft, reply)  # also when a delta brought the commit before the answer did
        context.neighbours.arrived(reply.announced)
        failpoint("peer.commit.settled")
        return reply.since > cursor.revision or cursor.tracker_epoch is None

    def _is_pending(self, commit: Commit) -> bool:
        sql = "SELECT 1 FROM outbox WHERE workspace = ? AND id = ?"
        return self._context.store.database.row(sql, commit.workspace, commit.id) is not None

    def _want_missing(self, draft: _Draft | None, reply: CommitReply) -> None:
        versions = self._context.versions
        if draft is None:
            lists = versions.lists(versions.get_many(reply.announced).values())
        else:
            kept = {version for _, version in versions.known(reply.announced)}
            lists = ((version, draft.lists[version]) for version in reply.announced if version in kept)
        versions.want_missing(lists, set(reply.missing))

    def _settle_refusal(self, commit: Commit, draft: _Draft, refusal: Refused) -> set[int]:
        """Note why a commit was refused; returns the operations to leave out."""
        self._discard(commit)
        everything = set(range(len(draft.operations)))
        if refusal.code is not Code.COMMIT:
            log.error("the tracker refused a commit: %s", refusal)
            for node in draft.nodes:
                self._report(node, str(refusal), "it is tried again")
            return everything
        detail = decode(CommitRefusal, refusal.detail, len(refusal.detail))
        if detail.epoch is not None:
            return everything
        for failed in detail.operations:
            if failed.index < len(draft.nodes):
                self._settle_failure(draft, failed)
        return {failed.index for failed in detail.operations} or everything

    def _settle_failure(self, draft: _Draft, failed: FailedOperation) -> None:
        log.debug("refused: %s", failed.reason)
        operation = draft.operations[failed.index]
        remote = self._context.store.remote(operation.node)
        if isinstance(operation, Write) and remote is not None and remote.version not in (None, operation.base):
            self._context.keeps_moving(remote.version)
        if failed.reason == "held":
            self._context.surprises.refused(operation)
        elif failed.reason in PERSONAL:
            self._report(draft.nodes[failed.index], *PERSONAL[failed.reason])
        elif failed.reason == "node-exists" and failed.state is not None and failed.state.deleted:
            # Taken over from the tracker and deleted there before it was agreed on, or its only version was withdrawn:
            # an id doesn't return, so what is here goes on as a new node.
            self._context.renew(draft.nodes[failed.index])
        else:
            self._note_refusal(draft.nodes[failed.index], failed.reason)

    def _note_refusal(self, node: NodeId, reason: str) -> None:
        """As a rule REMOTE explains a refusal as soon as it is up to date. What it doesn't explain, such as a name held
        by something that can't be opened here, would be sent again at once, without end."""
        ground = reason, _marks(self._context.store.remote(node))
        before, count = self._refusals.get(node, (ground, 0))
        count = count + 1 if before == ground else 1
        self._refusals[node] = ground, count
        if count >= UNEXPLAINED:
            self._report(node, f"the tracker refuses it: {reason}", "it is tried again")

    def _report(self, node: NodeId, reason: str, advice: str) -> None:
        path = self._context.store.path(node) or self._context.store.remote_path(node)
        self._context.problems.report(path or (f"node {node.hex()}",), KIND, reason, advice)
        self._context.postpone(node)

    def _discard(self, commit: Commit) -> None:
        self._context.store.database.run(
            "DELETE FROM outbox WHERE workspace = ? AND id = ?", commit.workspace, commit.id
        )


def _fsync(folder: Folder, places: Iterable[tuple[Names | None, str]]) -> bool:
    """False when something isn't where it was."""
    for parent, name in places:
        if parent is None:
            return False
        try:
            directory = folder.directory(parent)
            descriptor = folder.disk.open_file(directory, name)
        except OSError:
            return False
        try:
            folder.disk.fsync(descriptor)
        finally:
            folder.disk.close(descriptor)
        folder.disk.fsync(directory)
    return True


def _skips(step: Send) -> bool:
    return isinstance(step, SendWrite) and step.skip


def _ground(step: Send, remote: Remote | None) -> object:
    """What of REMOTE a step was planned on. One that passes over a head is made on the durable head: had the head
    turned durable meanwhile, it would be made on what nobody here has seen."""
    durable = remote.durable if remote is not None and _skips(step) else None
    return _marks(remote), durable


def _marks(remote: Remote | None) -> tuple[PlaceMark, VersionId | None] | None:
    return None if remote is None else (remote.place, remote.version)


def _file_manifest(staged: Staged, runs: tuple[SealedRun, ...]) -> Manifest:
    content = staged.content
    return Manifest(
        size=staged.size,
        mtime_ns=content.mtime_ns,
        executable=content.executable,
        private=content.private,
        content_hash=None if staged.inline is not None else ContentHash(content.digest),
        inline=staged.inline,
        run_keys=tuple(run.key for run in runs),
        cut=staged.cut,
    )


def _own_delta(commit: Commit, reply: CommitReply, cursor: Cursor, context: Context) -> Delta:
    return Delta(
        workspace=commit.workspace,
        tracker_epoch=cursor.tracker_epoch or TrackerEpoch(bytes(ID_LENGTH)),
        since=reply.since,
        through=reply.revision,
        head=reply.revision,
        hash=reply.hash,
        entries=(own_entry(commit, context.device, reply.revision, reply.time_ms),),
        announced=reply.announced,
    )
