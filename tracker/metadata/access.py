"""Who may do what in a workspace. A workspace that is not the user's is answered like one that does not exist."""

from sqlalchemy import Connection, bindparam, select

from protocol.api import EDITOR, OWNER, VIEWER
from protocol.errors import Code, Refused
from protocol.identifiers import UserId, WorkspaceId
from tracker.schema import members

READERS = (OWNER, EDITOR, VIEWER)
WRITERS = (OWNER, EDITOR)

_MEMBERSHIPS = select(members.c.workspace).where(members.c.user == bindparam("who")).order_by(members.c.workspace)
_ROLE = select(members.c.role).where(members.c.workspace == bindparam("workspace"), members.c.user == bindparam("who"))


def role_of(connection: Connection, workspace: WorkspaceId, user: UserId) -> int | None:
    """The user's role there, if any."""
    role: int | None = connection.execute(_ROLE, {"workspace": workspace, "who": user}).scalar_one_or_none()
    return role


def memberships_of(connection: Connection, user: UserId) -> list[WorkspaceId]:
    """All workspaces in which the user has a role."""
    return list(map(WorkspaceId, connection.scalars(_MEMBERSHIPS, {"who": user})))


def require(connection: Connection, workspace: WorkspaceId, user: UserId, roles: tuple[int, ...] = READERS) -> int:
    """The user's role there; `Refused` unless it is one of these."""
    role = role_of(connection, workspace, user)
    if role is None:
        raise no_such_workspace()
    check_role(role, roles)
    return role


def no_such_workspace() -> Refused:
    """What is said of one that isn't there, or isn't the user's."""
    return Refused(Code.NOT_FOUND, "there is no such workspace among yours")


def check_role(role: int, roles: tuple[int, ...]) -> None:
    """`Refused` unless the role is one of these."""
    if role not in roles:
        raise Refused(Code.FORBIDDEN, "your role in this workspace does not allow that")
