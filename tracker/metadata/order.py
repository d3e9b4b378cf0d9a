"""The order of a workspace: taking the next revision, and the hash chained over all of them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from protocol.codec import encode
from protocol.commits import chain
from protocol.deltas import Record, record_digest
from protocol.errors import Code, Refused
from protocol.identifiers import CommitHash, UserId, WorkspaceId
from tracker.schema import RECORD, WITHDRAWAL, entries, users, workspaces

_HEAD = select(workspaces).where(workspaces.c.id == bindparam("workspace")).with_for_update()
_APPEND = insert(entries)
_MOVE_HEAD = (
    update(workspaces)
    .where(workspaces.c.id == bindparam("at"))
    .values(revision=bindparam("now_revision"), hash=bindparam("now_hash"))
)
_ADD_USED = update(users).where(users.c.id == bindparam("at")).values(used_bytes=users.c.used_bytes + bindparam("more"))


@dataclass(frozen=True, slots=True)
class Head:
    """A workspace as it stands, its row locked for this transaction."""

    workspace: WorkspaceId
    owner: UserId
    epoch: int
    revision: int
    hash: CommitHash


def lock_head(connection: Connection, workspace: WorkspaceId) -> Head:
    """Lock the workspace: whoever changes anything in it comes through here first."""
    row = connection.execute(_HEAD, {"workspace": workspace}).one_or_none()
    if row is None:
        raise Refused(Code.NOT_FOUND, "there is no such workspace among yours")
    return Head(workspace, UserId(row.owner), row.epoch, row.revision, CommitHash(row.hash))


def append_entry(
    connection: Connection, head: Head, kind: int, digest: bytes, time_ms: int, columns: dict[str, Any]
) -> Head:
    """Append one entry and move the head; `columns` are the kind's own."""
    revision = head.revision + 1
    hash = chain(head.hash, revision, digest)
    row = {
        "workspace": head.workspace,
        "revision": revision,
        "time_ms": time_ms,
        "kind": kind,
        "digest": digest,
        "hash": hash,
    }
    connection.execute(_APPEND, [row | columns])
    connection.execute(_MOVE_HEAD, {"at": head.workspace, "now_revision": revision, "now_hash": hash})
    return Head(head.workspace, head.owner, head.epoch, revision, hash)


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record that has entered the order: the workspace before it and after it."""

    record: Record
    since: Head
    head: Head
    time_ms: int


def append_record(connection: Connection, head: Head, record: Record, time_ms: int) -> NewRecord:
    """Append what the tracker itself has to say."""
    kind = WITHDRAWAL if record.withdrawn else RECORD
    after = append_entry(connection, head, kind, record_digest(record), time_ms, {"record": encode(record)})
    return NewRecord(record, head, after, time_ms)


def add_used(connection: Connection, owner: UserId, change: int) -> None:
    """Keep the owner's used bytes exact, in the same transaction as what changes them (law 6)."""
    if change:
        connection.execute(_ADD_USED, {"at": owner, "more": change})
