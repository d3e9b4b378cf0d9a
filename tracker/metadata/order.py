"""The order of a workspace: taking the next revision, and the hash chained over all of them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.engine import Row

from protocol.codec import encode
from protocol.commits import chain
from protocol.deltas import Record, record_digest
from protocol.identifiers import CommitHash, UserId, WorkspaceId
from tracker.metadata.access import check_role, no_such_workspace
from tracker.schema import RECORD, WITHDRAWAL, entries, members, users, workspaces

_HEAD = select(workspaces).where(workspaces.c.id == bindparam("workspace")).with_for_update()
# Both rows are locked: what PostgreSQL shows of one that isn't may be from before it waited for the other.
_HEAD_AND_ROLE = (
    select(workspaces, members.c.role)
    .join_from(workspaces, members, members.c.workspace == workspaces.c.id)
    .where(workspaces.c.id == bindparam("workspace"), members.c.user == bindparam("who"))
    .with_for_update(of=[workspaces, members])
)
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
        raise no_such_workspace()
    return _head_of(row)


def lock_with_role(connection: Connection, workspace: WorkspaceId, user: UserId) -> tuple[Head, int]:
    """Lock the workspace for a member, whose role stays until the end; `Refused` for anybody else."""
    row = connection.execute(_HEAD_AND_ROLE, {"workspace": workspace, "who": user}).one_or_none()
    if row is None:
        raise no_such_workspace()
    return _head_of(row), row.role


def lock_for(connection: Connection, workspace: WorkspaceId, user: UserId, roles: tuple[int, ...]) -> Head:
    """Lock the workspace for a member with one of these roles; `Refused` for anybody else."""
    head, role = lock_with_role(connection, workspace, user)
    check_role(role, roles)
    return head


def _head_of(row: Row[*tuple[Any, ...]]) -> Head:
    return Head(WorkspaceId(row.id), UserId(row.owner), row.epoch, row.revision, CommitHash(row.hash))


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
