"""A client's view of deltas: what a device that follows them knows of each node. Written apart from the tracker."""

from dataclasses import dataclass, field

from protocol.commits import Create, Delete, Move, Operation, Restore, Write, chain, decode_operation
from protocol.deltas import Delta, Entry, Record, entry_digest, verify_signed_commit
from protocol.identifiers import HASH_LENGTH, NameToken, NodeId, PlaceMark, VersionId, WorkspaceId


@dataclass
class Known:
    """One node as a follower knows it."""

    kind: int | None = None
    parent: NodeId | None = None
    token: NameToken | None = None
    place: PlaceMark | None = None
    head: VersionId | None = None
    durable: VersionId | None = None
    deleted: bool = False


@dataclass
class Follower:
    """Folds deltas in the order in which they came."""

    device_key: bytes
    nodes: dict[NodeId, Known] = field(default_factory=dict)
    last: Delta | None = None

    def fold(self, delta: Delta) -> None:
        """One page. Where it lists every revision, its hash must follow from the one before."""
        if self.last is not None and len(delta.entries) == delta.through - delta.since:
            hash = self.last.hash
            for entry in delta.entries:
                hash = chain(hash, entry.revision, entry_digest(delta.workspace, entry))
            assert hash == delta.hash
        for entry in delta.entries:
            self._fold_entry(delta.workspace, entry, set(delta.announced))
        self.last = delta

    def _fold_entry(self, workspace: WorkspaceId, entry: Entry, announced: set[VersionId]) -> None:
        if entry.commit is not None:
            verify_signed_commit(workspace, entry.commit, self.device_key)
            for item in entry.commit.items:
                if len(item) != HASH_LENGTH:
                    self._fold_operation(decode_operation(item), announced)
        if entry.record is not None:
            self._fold_record(entry.record)

    def _fold_record(self, record: Record) -> None:
        """It may be about nodes that were deleted, or come later, and about older heads than the one known."""
        for node, version in record.durable:
            if node in self.nodes:
                self.nodes[node].durable = version
        for node, _, head in record.withdrawn:
            if node in self.nodes:
                self.nodes[node].head = head
                self.nodes[node].deleted |= head is None

    def _fold_operation(self, operation: Operation, announced: set[VersionId]) -> None:
        known = self.nodes.setdefault(operation.node, Known())
        if isinstance(operation, Create | Move | Restore):
            known.kind, known.deleted = operation.kind, False
            place = operation.place
            known.parent, known.token, known.place = place.parent, place.token, place.mark
        if isinstance(operation, Create | Write) and operation.content is not None:
            known.head = operation.content.version
            if known.head not in announced:
                known.durable = known.head
        if isinstance(operation, Delete):
            known.place, known.deleted = operation.mark, True
