"""Workspaces as their members see them."""

from collections import defaultdict

from sqlalchemy import Connection, func, select

from protocol.api import Member, MemberDevice, WorkspaceInfo, WorkspacesReply
from protocol.certificates import Certificate
from protocol.codec import decode
from protocol.grants import MAX_GRANT_BYTES, Grant
from protocol.identifiers import UserId, WorkspaceId
from tracker.metadata.batches import batches
from tracker.metadata.breaker import limits_of
from tracker.schema import devices, grants, members, users, workspaces

_GRANT_LIMIT = MAX_GRANT_BYTES + 4096


def workspaces_of(connection: Connection, user: UserId) -> WorkspacesReply:
    """All workspaces the user is a member of, each with its members and all their devices."""
    mine = connection.execute(
        select(workspaces, members.c.role)
        .join_from(members, workspaces, members.c.workspace == workspaces.c.id)
        .where(members.c.user == user)
        .order_by(workspaces.c.home.desc(), workspaces.c.id)
    ).all()
    infos = []
    for row in mine:
        workspace = WorkspaceId(row.id)
        info = WorkspaceInfo(
            workspace=workspace,
            role=row.role,
            home=row.home and row.owner == user,
            epoch=row.epoch,
            grant=_newest_grant(connection, workspace, user),
            members=_members_of(connection, workspace),
            limits=limits_of(row.limits),
        )
        infos.append(info)
    return WorkspacesReply(workspaces=tuple(infos))


def _newest_grant(connection: Connection, workspace: WorkspaceId, user: UserId) -> Grant:
    newest = select(func.max(grants.c.epoch)).where(grants.c.workspace == workspace, grants.c.user == user)
    body: bytes = connection.execute(
        select(grants.c.body).where(
            grants.c.workspace == workspace, grants.c.user == user, grants.c.epoch == newest.scalar_subquery()
        )
    ).scalar_one()
    return decode(Grant, body, _GRANT_LIMIT)


def _members_of(connection: Connection, workspace: WorkspaceId) -> tuple[Member, ...]:
    rows = connection.execute(
        select(users.c.id, users.c.identity_key, members.c.role)
        .join_from(members, users, members.c.user == users.c.id)
        .where(members.c.workspace == workspace)
        .order_by(users.c.id)
    ).all()
    known = _devices_of(connection, [row.id for row in rows])
    return tuple(
        Member(user=row.id, role=row.role, identity_key=row.identity_key, devices=tuple(known[row.id])) for row in rows
    )


def _devices_of(connection: Connection, of: list[UserId]) -> dict[bytes, list[MemberDevice]]:
    known: dict[bytes, list[MemberDevice]] = defaultdict(list)
    for batch in batches(of):
        for row in connection.execute(
            select(devices).where(devices.c.user.in_(batch)).order_by(devices.c.added_ms, devices.c.id)
        ):
            certificate = Certificate(body=row.body, signature=row.signature)
            known[row.user].append(MemberDevice(certificate=certificate, retired=row.retired))
    return known
