"""The REMOTE tree: folds what the tracker ordered into it, believing only what a member's device signed.

A delta is folded in memory first, page by page, and shown to the database in one transaction when it is complete: names
may be taken over back and forth on the way. Where a signature fails the whole delta is refused; where a single name or
manifest can't be used, that node alone is left out and reported (law 15).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from peer.database import Database
from peer.problems import Problems
from peer.selection import Selection
from peer.tree_store import TreeStore
from peer.trees import Remote, Synced
from peer.version_store import Version, VersionStore
from protocol.api import EDITOR, OWNER
from protocol.breaker import verify_approval
from protocol.commits import (
    DIRECTORY,
    MOUNT,
    Commit,
    Create,
    Delete,
    Move,
    Operation,
    Place,
    Restore,
    Write,
    chain,
    decode_operation,
    first_chain_hash,
)
from protocol.commits import Content as SealedContent
from protocol.deltas import Delta, Entry, Record, SignedCommit, Withdrawal, entry_digest, verify_signed_commit
from protocol.errors import BadSignature, CannotOpen, Malformed, ShoalError
from protocol.identifiers import (
    HASH_LENGTH,
    CommitHash,
    CommitId,
    DeviceId,
    NodeId,
    PlaceMark,
    RunId,
    TrackerEpoch,
    VersionId,
    WorkspaceId,
)
from protocol.keys import WorkspaceKeys
from protocol.manifests import open_manifest
from protocol.names import open_name
from protocol.runs import run_id

KIND = "remote"
"""The kind of problem this module reports."""


class NeedsSnapshot(ShoalError):
    """What is known here and what the tracker says don't fit together: start from a full snapshot and merge."""


class UnknownDevice(ShoalError):
    """A commit of a device whose certificate isn't known here yet."""


class Signer(Protocol):
    """What is known of a device that signs: its role's number, and its Ed25519 public key."""

    @property
    def signing_key(self) -> bytes: ...
    @property
    def role(self) -> int: ...


class Signers(Protocol):
    """The certified devices of a workspace's members."""

    def find(self, device: DeviceId) -> Signer | None:
        """The device; None when it isn't known."""
        ...


class Cursor(NamedTuple):
    """How far REMOTE has come."""

    tracker_epoch: TrackerEpoch | None
    revision: int
    hash: CommitHash


class OwnCommit(NamedTuple):
    """Where a commit of this device is in the tracker's order, and the chain hash there."""

    tracker_epoch: TrackerEpoch
    revision: int
    hash: CommitHash
    id: CommitId


class _Located(NamedTuple):
    parent: NodeId
    name: str
    kind: int
    mark: PlaceMark


@dataclass(slots=True)
class _Folded:
    """A node as it comes out of a fold."""

    place: _Located | None
    version: VersionId | None
    durable: VersionId | None
    deleted: bool = False


@dataclass(slots=True)
class Fold:
    """Entries taken in so far, not yet shown to the database."""

    snapshot: bool
    nodes: dict[NodeId, _Folded] = field(default_factory=dict)
    versions: dict[VersionId, Version] = field(default_factory=dict)
    withdrawn: list[Withdrawal] = field(default_factory=list)
    known: set[tuple[NodeId, VersionId]] = field(default_factory=set)  # opened before, or sealed by this device
    orders: list[tuple[VersionId, int, int]] = field(default_factory=list)  # of those: revision, time in ms
    unusable: dict[NodeId, str] = field(default_factory=dict)
    approved: dict[NodeId, Operation] = field(default_factory=dict)
    """Deletes and writes that came with an approval of the device that made them."""
    names: Mapping[PlaceMark, str] = field(default_factory=dict)
    """Names that this device has sealed itself, and needn't open."""

    def settled(self) -> Iterator[VersionId]:
        """Versions that the cloud has, or will never have."""
        yield from (folded.durable for folded in self.nodes.values() if folded.durable is not None)
        yield from (version for _, version, _ in self.withdrawn)


class RemoteTree:
    """Keeps REMOTE, and SYNCED where this device's own commits were accepted."""

    def __init__(
        self, *, database: Database, store: TreeStore, versions: VersionStore, problems: Problems, keys: WorkspaceKeys
    ) -> None:
        """Work on the workspace that `keys` open."""
        self._database = database
        self._store = store
        self._versions = versions
        self._problems = problems
        self._selection = Selection(store)
        self.keys = keys
        self._workspace: WorkspaceId = keys.workspace
        self.overtaken: set[NodeId] = set()
        """Nodes of which versions may have gone out of use since `forget_overtaken`."""
        self.own: OwnCommit | None = None
        """The newest commit of this device that is shown, since the start."""
        self.histories = 0
        """How often another history of the tracker has replaced the one known before."""
        self.tell_approved: Callable[[Iterable[Operation]], None] = lambda _: None
        """Told, in the transaction that shows them, of deletes and writes that were approved where they were made."""

    # The cursor

    def cursor(self) -> Cursor:
        """How far REMOTE has come; revision 0 before the first delta."""
        sql = "SELECT tracker_epoch, revision, hash FROM workspaces WHERE workspace = ?"
        row = self._database.row(sql, self._workspace)
        return Cursor(None, 0, first_chain_hash(self._workspace)) if row is None else Cursor(*row)

    def _advance(self, delta: Delta) -> None:
        self._database.run(
            "INSERT OR REPLACE INTO workspaces VALUES (?,?,?,?)",
            self._workspace,
            delta.tracker_epoch,
            delta.through,
            delta.hash,
        )

    def check_chain(self, delta: Delta) -> None:
        """Where a delta lists every revision, its hash must follow from the cursor's; `NeedsSnapshot` otherwise."""
        cursor = self.cursor()
        if delta.since != cursor.revision or len(delta.entries) != delta.through - delta.since:
            return
        if not self.is_next(delta, cursor):
            raise NeedsSnapshot("the tracker's order differs from the one seen before")

    def is_next(self, delta: Delta, cursor: Cursor) -> bool:
        """Whether the hash of a delta that lists every revision since the cursor's follows from it."""
        after = cursor.hash
        for entry in delta.entries:
            after = chain(after, entry.revision, entry_digest(self._workspace, entry))
        return after == delta.hash

    # Taking in

    def take_in(self, fold: Fold, delta: Delta, signers: Signers) -> None:
        """Verify and fold one page. `BadSignature`, `UnknownDevice` or `NeedsSnapshot` refuse it whole."""
        announced = set(delta.announced)
        for entry in delta.entries:
            if entry.commit is not None:
                self._take_commit(fold, entry, entry.commit, announced, signers)
            elif entry.record is not None:
                self._take_record(fold, entry.record)

    def _take_commit(
        self, fold: Fold, entry: Entry, commit: SignedCommit, announced: set[VersionId], signers: Signers
    ) -> None:
        signer = self.verify(commit, signers)
        operations = [decode_operation(item) for item in commit.items if len(item) != HASH_LENGTH]
        self._take_operations(fold, entry, commit, operations, announced)
        is_approved = self._is_approved(commit, signer)
        for operation in operations:
            fold.approved.pop(operation.node, None)
            if is_approved and isinstance(operation, Delete | Write):
                fold.approved[operation.node] = operation

    def verify(self, commit: SignedCommit, signers: Signers) -> Signer:
        """Who signed this; `UnknownDevice` or `BadSignature` unless it is a device that may write here."""
        signer = signers.find(commit.device)
        if signer is None:
            raise UnknownDevice(f"a commit of an unknown device {commit.device.hex()}")
        if signer.role not in (OWNER, EDITOR):
            raise BadSignature("a commit of a device that may not write here")
        verify_signed_commit(self._workspace, commit, signer.signing_key)
        return signer

    def _is_approved(self, commit: SignedCommit, signer: Signer) -> bool:
        if commit.approval is None:
            return False
        try:
            verify_approval(commit.approval, self._workspace, commit.device, signer.signing_key)
        except BadSignature:
            return False
        return True

    def _take_operations(
        self, fold: Fold, entry: Entry, commit: SignedCommit, operations: Sequence[Operation], announced: set[VersionId]
    ) -> None:
        fold.known |= self._versions.known(versions_in(operations))
        self._bring_in(fold, (operation.node for operation in operations))
        for operation in operations:
            self._take_operation(fold, entry, commit, operation, announced)

    def _take_operation(
        self, fold: Fold, entry: Entry, commit: SignedCommit, operation: Operation, announced: set[VersionId]
    ) -> None:
        """Each operation sets the registers that it is the last word on; the others may come before or after it."""
        node = operation.node
        try:
            if isinstance(operation, Delete):
                fold.nodes[node] = _Folded(None, None, None, deleted=True)
                return
            folded = fold.nodes[node]
            if isinstance(operation, Create | Move | Restore):
                folded.place = self._open_place(fold, commit.epoch, node, operation.kind, operation.place)
                folded.deleted = False
            if isinstance(operation, Create | Write) and operation.content is not None:
                self._take_content(fold, entry, commit, node, operation.content, announced)
        except (CannotOpen, Malformed) as error:
            fold.unusable[node] = str(error)

    def _take_content(
        self,
        fold: Fold,
        entry: Entry,
        commit: SignedCommit,
        node: NodeId,
        sealed: SealedContent,
        announced: set[VersionId],
    ) -> None:
        if (node, sealed.version) in fold.known:
            fold.orders.append((sealed.version, entry.revision, entry.time_ms))
        else:
            version = self.open_version(entry, commit.epoch, commit.device, node, sealed)
            fold.versions[version.id] = version
        folded = fold.nodes[node]
        folded.version = sealed.version
        if sealed.version not in announced:
            folded.durable = sealed.version

    def _take_record(self, fold: Fold, record: Record) -> None:
        """A record names all that it is about: also nodes that were deleted since, or that come only after it."""
        named = [*(node for node, _ in record.durable), *(node for node, _, _ in record.withdrawn)]
        self._bring_in(fold, named, only_known=True)
        for node, version in record.durable:
            folded = fold.nodes.get(node)
            if folded is not None and (version == folded.version or self._known(fold, version)):
                folded.durable = version
        for node, version, head in record.withdrawn:
            fold.withdrawn.append((node, version, head))
            folded = fold.nodes.get(node)
            if folded is not None:  # it may know an older head than the one withdrawn
                folded.version = folded.durable = head
                folded.deleted = folded.deleted or head is None

    def _known(self, fold: Fold, version: VersionId) -> bool:
        return version in fold.versions or bool(self._versions.known([version]))

    def _bring_in(self, fold: Fold, nodes: Iterable[NodeId], *, only_known: bool = False) -> None:
        """Give the fold these nodes' states from the database, where an earlier delta made them; the others are new to
        it, and left out if `only_known` are wanted."""
        fresh = [node for node in dict.fromkeys(nodes) if node not in fold.nodes]
        rows = {} if fold.snapshot else self._store.registers(fresh)
        for node in fresh:
            if node in rows:
                *place, version, durable = rows[node]
                fold.nodes[node] = _Folded(_Located(*place), version, durable)
            elif not only_known:
                fold.nodes[node] = _Folded(None, None, None)

    def _open_place(self, fold: Fold, epoch: int, node: NodeId, kind: int, place: Place) -> _Located:
        name = fold.names.get(place.mark)
        if name is None:
            name = open_name(self.keys, epoch, place.parent, node, place.mark, place.token, place.name)
        return _Located(place.parent, name, kind, place.mark)

    def open_version(self, entry: Entry, epoch: int, author: DeviceId, node: NodeId, sealed: SealedContent) -> Version:
        """Open the manifest of a version that `entry` brings; `Malformed` or `CannotOpen` when it is not what it should
        be."""
        keys = self.keys.epoch(epoch)
        manifest = open_manifest(keys, self._workspace, node, sealed.version, sealed.manifest, sealed.runs)
        return Version(sealed.version, node, author, manifest, sealed.runs, entry.revision, entry.time_ms)

    # Showing

    def show_own(self, fold: Fold, delta: Delta, cursor: Cursor) -> None:
        """Show a delta that holds nothing but a new commit of this device, which `accept` has made into this `fold`.
        The cursor moves only if nothing lies between; what does is still to be pulled, and brings this commit again."""
        in_order = delta.since == cursor.revision and delta.tracker_epoch == cursor.tracker_epoch
        self.show(fold, delta if in_order else None)
        commit = delta.entries[0].commit
        assert commit is not None
        self.own = OwnCommit(delta.tracker_epoch, delta.through, delta.hash, commit.id)

    def is_stale(self, delta: Delta) -> bool:
        """Whether a delta ends before a commit of this device that is shown already: it would take that back."""
        own = self.own
        return own is not None and delta.tracker_epoch == own.tracker_epoch and delta.through < own.revision

    def lacks_own(self, pages: Sequence[Delta]) -> bool:
        """Whether deltas go past a commit of this device that is shown already, and come without it: it was overtaken,
        or the tracker has lost it."""
        own = self.own
        if own is None or pages[0].tracker_epoch != own.tracker_epoch:
            return False
        if not pages[0].since < own.revision <= pages[-1].through:
            return False
        found = (entry for page in pages for entry in page.entries if entry.revision == own.revision)
        return all(entry.commit is None or entry.commit.id != own.id for entry in found)

    def show(self, fold: Fold, last: Delta | None) -> None:
        """Make the fold REMOTE, and move the cursor to the end of the `last` page, in one transaction."""
        with self._database.transaction():
            before = self._store.remotes(fold.unusable)
            if fold.snapshot:
                self.own = None
                self.histories += 1
                self._begin_anew(fold)
            self._versions.put_many(fold.versions.values())
            self._versions.put_orders(fold.orders)
            rows = [*_usable(fold)]
            moved = self._moved_folders(rows)
            self._store.replace_remotes(fold.nodes, rows)
            for node in moved:
                self._store.mark_all_dirty([*self._store.below_there(node), *self._store.below_here(node)])
            self._store.mark_all_dirty(self._store.unwanted_folders())  # their names may be another's now
            for node, row in before.items():
                self._show_unusable(node, row, fold)
            for withdrawn in fold.withdrawn:
                self._take_back(*withdrawn)
            self._versions.put_durable(fold.settled())
            self.overtaken.update(fold.nodes)
            self.tell_approved(fold.approved.values())
            self._report(fold)
            if last is not None:
                self._advance(last)

    def _moved_folders(self, rows: Iterable[Remote]) -> list[NodeId]:
        """Folders that come from where this device follows them to where it doesn't, or the other way round, with all
        that is in them. As it is rare, all that have moved, where anything is not followed."""
        folders = {row.node: row for row in rows if row.kind == DIRECTORY}
        if not folders or not (self._selection.has_rules() or self._selection.excluded()):
            return []
        before = self._store.registers(folders)
        return [node for node, (parent, name, *_) in before.items() if (parent, name) != folders[node][1:3]]

    def forget_overtaken(self) -> None:
        """Forget versions that nothing names any more. Only once no file without a record may hold one: by its version
        it is known not to be somebody's edit. Nor before all is known that came before the newest commit of this
        device: a version that it overtook may have become the durable head, and be the head again."""
        own, cursor = self.own, self.cursor()
        if own is None or (cursor.tracker_epoch == own.tracker_epoch and cursor.revision >= own.revision):
            self._versions.drop_unused(self.overtaken)
            self.overtaken = set()

    def _show_unusable(self, node: NodeId, row: Remote, fold: Fold) -> None:
        """A node of which something new can't be used keeps what it had: without a row it would count as deleted.
        Where another has taken over its name, it counts as new here instead."""
        folded = fold.nodes.get(node)
        if folded is None or folded.deleted:
            return
        place = folded.place or _Located(row.parent, row.name, row.kind, row.place)
        if self._store.remote_at(place.parent, place.name) is None:
            self._store.put_remote(Remote(node, *place, row.version, None, row.durable))
        else:
            self._store.drop_synced(node)

    def _begin_anew(self, fold: Fold) -> None:
        """A snapshot replaces all; it is taken when the tracker's history isn't the one known here, so it may be older
        than what is here. What was agreed on differently is agreed on no longer: it counts as new on both sides, and
        is merged, never deleted or replaced. A commit on its way stays: its answer says what became of it."""
        self._store.drop_all_placing()
        agreed = "SELECT node, version FROM synced WHERE workspace = ?"
        for node, version in self._database.rows(agreed, self._workspace):
            folded = fold.nodes.get(node)
            if folded is None or folded.deleted or folded.version != version:
                self._store.drop_synced(node)
        known = "SELECT node FROM remote WHERE workspace = ?"
        self._store.replace_remotes([node for (node,) in self._database.rows(known, self._workspace)], [])

    def _take_back(self, node: NodeId, version: VersionId, head: VersionId | None) -> None:
        """A version was withdrawn: who still has its content has an edit of its own, made on the head from now on, and
        so has who has one that came before it and after the head: it is not in the cloud either. Without a head nothing
        of the node is: what is here is new."""
        synced = self._store.synced(node)
        if synced is None:
            return
        if head is None:
            self._store.drop_synced(node)
        elif synced.version == version or self._is_between(head, synced.version):
            self._store.put_synced(synced._replace(version=head))
            held = self._store.synced(node)
            if self._store.local(node) is None and held is not None and not _same_bytes(synced, held):
                self._store.drop_synced(node)

    def _is_between(self, head: VersionId, held: VersionId | None) -> bool:
        origins = self._versions.origins([head, held]) if held is not None else {}
        if held is None or len(origins) < len({head, held}) or self._versions.is_durable(held):
            return False
        return origins[held].revision > origins[head].revision

    def _report(self, fold: Fold) -> None:
        for node, reason in fold.unusable.items():
            self._problems.report(
                (f"node {node.hex()}",), KIND, reason, "another device wrote something that this one can't use"
            )

    # This device's own commits

    def accept(
        self,
        commit: Commit,
        entry: Entry,
        device: DeviceId,
        announced: Iterable[VersionId] = (),
        withdrawn: Sequence[Withdrawal] = (),
        operations: Sequence[Operation] | None = None,
        names: Mapping[PlaceMark, str] | None = None,
    ) -> Fold:
        """The tracker took this commit, as `entry` of its order: what it says is agreed on, whatever has changed here
        or there since, but for what was `withdrawn`. Its `operations` are decoded, and the names in them opened, if
        they are not at hand. Returns it folded, for `show_own`."""
        fold = Fold(snapshot=False, names=names or {})
        signed = own_entry(commit, device, entry.revision, entry.time_ms).commit
        assert signed is not None
        if operations is None:  # a commit from before
            operations = [decode_operation(data) for data in commit.operations]
            self._versions.put_runs((run_id(body), body) for body in commit.runs)
        self._take_operations(fold, entry, signed, operations, {*announced, *(version for _, version, _ in withdrawn)})
        self._versions.put_many(fold.versions.values())
        agreed = self._store.synceds(operation.node for operation in operations)
        followed = self._store.followed(operation.node for operation in operations)
        for operation in operations:
            if isinstance(operation, Delete):
                agreed.pop(operation.node, None)
                self._accept_delete(operation.node)
            elif operation.node in fold.unusable:
                raise Malformed(f"a commit of this device's own: {fold.unusable[operation.node]}")
            elif operation.node not in followed:
                continue  # it is ignored by now: if anything were agreed on it, it would count as deleted here
            elif (now := _agreed(operation, agreed.get(operation.node), fold.nodes[operation.node])) is not None:
                agreed[operation.node] = now
        self._store.put_synceds([*agreed.values()])
        for row in withdrawn:
            self._take_back(*row)
        self._database.run("DELETE FROM outbox WHERE workspace = ? AND id = ?", self._workspace, commit.id)
        return fold

    def _accept_delete(self, node: NodeId) -> None:
        self._store.drop_synced(node)
        if self._store.local(node) is None:
            self._store.drop_local(node)


def _same_bytes(one: Synced, other: Synced) -> bool:
    return one.content is not None and other.content is not None and one.content.same_bytes(other.content)


def _usable(fold: Fold) -> Iterator[Remote]:
    """The nodes of a fold that exist, without those of which something can't be used."""
    for node, folded in fold.nodes.items():
        if folded.deleted or node in fold.unusable:
            continue
        if folded.place is None or (folded.version is None) != (folded.place.kind in (DIRECTORY, MOUNT)):
            raise NeedsSnapshot("a change of a node that isn't known")
        parent, name, kind, mark = folded.place
        yield Remote(node, parent, name, kind, mark, folded.version, None, folded.durable)


def _agreed(operation: Operation, synced: Synced | None, folded: _Folded) -> Synced | None:
    """What SYNCED says of a node once this operation on it was accepted; None where nothing is to change."""
    place = folded.place
    if isinstance(operation, Create) and place is not None:
        version = None if operation.content is None else operation.content.version
        return Synced(operation.node, place.parent, place.name, place.kind, place.mark, version, None)
    if isinstance(operation, Write) and synced is not None:
        return synced._replace(version=operation.content.version)
    if isinstance(operation, Move) and synced is not None and place is not None:
        return synced._replace(parent=place.parent, name=place.name, place=place.mark)
    return None


def own_entry(commit: Commit, device: DeviceId, revision: int, time_ms: int) -> Entry:
    """A commit that this device made, as a delta would carry it."""
    signed = SignedCommit(
        device=device,
        epoch=commit.epoch,
        id=commit.id,
        seen=commit.seen,
        signature=commit.signature,
        items=commit.operations,
        approval=commit.approval,
    )
    return Entry(revision=revision, time_ms=time_ms, commit=signed)


def versions_in(operations: Iterable[Operation]) -> Iterator[VersionId]:
    """The versions that operations bring."""
    for operation in operations:
        if isinstance(operation, Create | Write) and operation.content is not None:
            yield operation.content.version


def runs_of(delta: Delta) -> Iterable[tuple[RunId, bytes]]:
    """The bodies of runs that came with a delta, with the ids they really have."""
    return ((run_id(body), body) for body in delta.runs)
