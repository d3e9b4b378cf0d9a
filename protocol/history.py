"""History: past states of nodes, as the signed operations that made them.

Entries are as in a delta: the operations asked for whole, all others of the same commit as their hash. So a device
verifies the signature of everything it is told of the past, and opens names and manifests as always.

The hashes of a large commit take more room than most of what is told of it. So who asks for a further page names the
revisions whose entries came before, and gets only the operations of these.
"""

from protocol.codec import U32, blob, flag, many, message, nested, octets, optional, row, unsigned, wire
from protocol.commits import MAX_OPERATION_BYTES
from protocol.deltas import MAX_ENTRIES, MAX_REVISION, MAX_VERSIONS, Entry
from protocol.identifiers import (
    HASH_LENGTH,
    ID_LENGTH,
    CommitHash,
    NameToken,
    NodeId,
    PlaceMark,
    VersionId,
    WorkspaceId,
)
from protocol.names import TOKEN_LENGTH

MAX_ASKED = 256
"""Nodes, parents or name tokens in one request."""
MAX_PAST_NODES = 2000
MAX_KNOWN = 1000
"""Revisions whose entries came before."""


@message
class HistoryRequest:
    """Everything that happened to these nodes after a revision, oldest first."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    nodes: tuple[NodeId, ...] = wire(2, many(octets(ID_LENGTH), MAX_ASKED))
    after: int = wire(3, unsigned(MAX_REVISION), default=0)


@message
class DeletedRequest:
    """Deleted nodes that were in these directories, one after the other; where tokens are given, only those that had
    one of these names. Of each its last place, its deletion and its newest durable content. `after` is about the first
    directory: what follows on a page is asked for with the directory of its last node as the first.

    With `moved` it is the nodes, deleted or not, that were there under these names and are elsewhere now: some of them
    on one page, and nothing of their past."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    parents: tuple[NodeId, ...] = wire(2, many(octets(ID_LENGTH), MAX_ASKED))
    tokens: tuple[NameToken, ...] = wire(3, many(octets(TOKEN_LENGTH), MAX_ASKED), default=())
    after: NodeId | None = wire(4, optional(octets(ID_LENGTH)), default=None)
    known: tuple[int, ...] = wire(5, many(unsigned(MAX_REVISION), MAX_KNOWN), default=())
    moved: bool = wire(6, flag(), default=False)


@message
class ChangedRequest:
    """Nodes that changed after a revision, in the order of their ids, and what they were at it. The revision is given,
    or is the last one at a time, or so long ago, by the tracker's clock: exactly one of the three."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    revision: int | None = wire(2, optional(unsigned(MAX_REVISION)), default=None)
    time_ms: int | None = wire(3, optional(unsigned(MAX_REVISION)), default=None)
    ago_ms: int | None = wire(4, optional(unsigned(MAX_REVISION)), default=None)
    after: NodeId | None = wire(5, optional(octets(ID_LENGTH)), default=None)
    known: tuple[int, ...] = wire(6, many(unsigned(MAX_REVISION), MAX_KNOWN), default=())


@message
class PastNode:
    """A node's registers as they are now, deleted or not."""

    node: NodeId = wire(1, octets(ID_LENGTH))
    kind: int = wire(2, unsigned(4))
    parent: NodeId = wire(3, octets(ID_LENGTH))
    place: PlaceMark = wire(4, octets(ID_LENGTH))
    version: VersionId | None = wire(5, optional(octets(ID_LENGTH)), default=None)
    deleted: bool = wire(6, flag(), default=False)


@message
class HistoryReply:
    """One page of an answer to any of the three."""

    revision: int = wire(1, unsigned(MAX_REVISION))  # what a `ChangedRequest` goes back to; else the head
    time_ms: int = wire(2, unsigned(MAX_REVISION))  # when that was, 0 for revision 0
    head: int = wire(3, unsigned(MAX_REVISION))
    hash: CommitHash = wire(4, octets(HASH_LENGTH))  # the chain hash at the head
    now_ms: int = wire(5, unsigned(MAX_REVISION))  # the tracker's clock
    entries: tuple[Entry, ...] = wire(6, many(nested(Entry), MAX_ENTRIES), default=())
    durable: tuple[VersionId, ...] = wire(7, many(octets(ID_LENGTH), MAX_VERSIONS), default=())  # among those told of
    nodes: tuple[PastNode, ...] = wire(8, many(nested(PastNode), MAX_PAST_NODES), default=())
    more: bool = wire(9, flag(), default=False)  # to be asked for after the last node, or the last entry's revision
    # Of the known revisions: revision, position in the commit, operation.
    operations: tuple[tuple[int, int, bytes], ...] = wire(
        10, many(row(unsigned(MAX_REVISION), unsigned(U32), blob(MAX_OPERATION_BYTES)), MAX_ENTRIES), default=()
    )
