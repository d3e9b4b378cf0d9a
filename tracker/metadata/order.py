"""The order of a workspace: taking the next revision, and the hash chained over all of them."""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.engine import Row

from protocol.codec import encode
from protocol.commits import chain
from protocol.deltas import Record, record_digest
from protocol.identifiers import CommitHash, UserId, WorkspaceId
from tracker.metadata.access import check_role, no_such_workspace
from tracker.metadata.breaker import uncounted
from tracker.metadata.bulk import Bulk, Together, Work
from tracker.schema import RECORD, WITHDRAWAL, entries, members, users, workspaces

_HEAD = select(workspaces).where(workspaces.c.id == bindparam("workspace")).with_for_update()
# Both rows are locked: what PostgreSQL shows of one that isn't may be from before it waited for the other.
_HEAD_AND_ROLE = (
    select(workspaces, members.c.role)
    .join_from(workspaces, members, members.c.workspace == workspaces.c.id)
    .where(workspaces.c.id == bindparam("workspace"), members.c.user == bindparam("who"))
    .with_for_update(of=[workspaces, members])
)
_HEAD_ROLE_AND_OWNER = (
    select(workspaces, members.c.role, users.c.plan, users.c.used_bytes)
    .join_from(workspaces, members, members.c.workspace == workspaces.c.id)
    .join(users, users.c.id == workspaces.c.owner)
    .where(workspaces.c.id == bindparam("workspace"), members.c.user == bindparam("who"))
    .with_for_update(of=[workspaces, members, users])  # in this order
)
_APPEND = Bulk(insert(entries), *entries.columns.keys())
_MOVE_HEAD = Bulk(
    update(workspaces)
    .where(workspaces.c.id == bindparam("at"))
    .values(revision=bindparam("now_revision"), hash=bindparam("now_hash"), recent=bindparam("now_recent")),
    *("at", "now_revision", "now_hash", "now_recent"),
)
_ADD_USED = Bulk(
    update(users).where(users.c.id == bindparam("at")).values(used_bytes=users.c.used_bytes + bindparam("more")),
    *("at", "more"),
)
_APPENDING = Together()


@dataclass(frozen=True, slots=True)
class Head:
    """A workspace as it stands, its row locked for this transaction."""

    workspace: WorkspaceId
    owner: UserId
    epoch: int
    revision: int
    hash: CommitHash
    recent: bytes | None
    """What counts for the breaker, and its limits, as `tracker.metadata.breaker` reads them."""
    limits: bytes | None


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


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a workspace is: the plan's name, and the bytes used by all workspaces of that user. The row is locked:
    another of them may be written at the same time."""

    plan: str
    used_bytes: int


def lock_with_owner(connection: Connection, workspace: WorkspaceId, user: UserId) -> tuple[Head, int, Owner]:
    """As `lock_with_role`, and after that lock the owner."""
    row = connection.execute(_HEAD_ROLE_AND_OWNER, {"workspace": workspace, "who": user}).one_or_none()
    if row is None:
        raise no_such_workspace()
    return _head_of(row), row.role, Owner(row.plan, row.used_bytes)


def lock_for(connection: Connection, workspace: WorkspaceId, user: UserId, roles: tuple[int, ...]) -> Head:
    """Lock the workspace for a member with one of these roles; `Refused` for anybody else."""
    head, role = lock_with_role(connection, workspace, user)
    check_role(role, roles)
    return head


def _head_of(row: Row[*tuple[Any, ...]]) -> Head:
    return Head(
        workspace=WorkspaceId(row.id),
        owner=UserId(row.owner),
        epoch=row.epoch,
        revision=row.revision,
        hash=CommitHash(row.hash),
        recent=row.recent,
        limits=row.limits,
    )


def append_entry(
    connection: Connection, head: Head, kind: int, digest: bytes, time_ms: int, columns: dict[str, Any]
) -> Head:
    """Append one entry and move the head; `columns` are the kind's own."""
    after, works = appending(head, kind, digest, time_ms, columns)
    _APPENDING.run(connection, works)
    return after


def appending(head: Head, kind: int, digest: bytes, time_ms: int, columns: dict[str, Any]) -> tuple[Head, list[Work]]:
    """The head after one more entry, and what is to be written for it; `columns` are the kind's own."""
    revision = head.revision + 1
    hash = chain(head.hash, revision, digest)
    row = {
        "workspace": head.workspace,
        "revision": revision,
        "time_ms": time_ms,
        "kind": kind,
        "digest": digest,
        "hash": hash,
        **columns,
    }
    after = replace(head, revision=revision, hash=hash)
    entry = tuple(map(row.get, entries.columns.keys()))
    return after, [(_APPEND, [entry]), (_MOVE_HEAD, [(head.workspace, revision, hash, head.recent)])]


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
    if record.withdrawn:
        head = replace(head, recent=uncounted(head.recent))
    after = append_entry(connection, head, kind, record_digest(record), time_ms, {"record": encode(record)})
    return NewRecord(record, head, after, time_ms)


def add_used(connection: Connection, owner: UserId, change: int) -> None:
    """Keep the owner's used bytes exact, in the same transaction as what changes them (law 6)."""
    for bulk, rows in adding_used(owner, change):
        bulk.run(connection, rows)


def adding_used(owner: UserId, change: int) -> list[Work]:
    """What is to be written for that."""
    return [(_ADD_USED, [(owner, change)])] if change else []
