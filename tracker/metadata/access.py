"""Who may do what in a workspace. A workspace that is not the user's is answered like one that does not exist."""

from sqlalchemy import Connection, select

from protocol.api import EDITOR, OWNER, VIEWER
from protocol.errors import Code, Refused
from protocol.identifiers import UserId, WorkspaceId
from tracker.schema import members

READERS = (OWNER, EDITOR, VIEWER)
WRITERS = (OWNER, EDITOR)


def role_of(connection: Connection, workspace: WorkspaceId, user: UserId) -> int | None:
    """The user's role there, if any."""
    role: int | None = connection.execute(
        select(members.c.role).where(members.c.workspace == workspace, members.c.user == user)
    ).scalar_one_or_none()
    return role


def require(connection: Connection, workspace: WorkspaceId, user: UserId, roles: tuple[int, ...] = READERS) -> None:
    """`Refused` unless the user has one of these roles there."""
    role = role_of(connection, workspace, user)
    if role is None:
        raise Refused(Code.NOT_FOUND, "there is no such workspace among yours")
    if role not in roles:
        raise Refused(Code.FORBIDDEN, "your role in this workspace does not allow that")
