"""Approvals that come with commits: each covers as many deletes and overwrites as it says, and no more."""

from sqlalchemy import Connection, insert, select, update

from protocol.breaker import APPROVED_MS, Approval, Changes
from protocol.identifiers import DeviceId, WorkspaceId
from tracker.schema import approvals


def cover(
    connection: Connection,
    workspace: WorkspaceId,
    device: DeviceId,
    approval: Approval,
    changes: Changes,
    time_ms: int,
) -> Changes:
    """Take what can be taken of `changes` from the approval, whose signature has been verified; returns the rest. The
    workspace is locked."""
    this = (approvals.c.workspace == workspace, approvals.c.device == device, approvals.c.id == approval.id)
    row = connection.execute(select(approvals).where(*this)).one_or_none()
    if row is None:
        left = approval.bound
        first = {"workspace": workspace, "device": device, "id": approval.id, "first_ms": time_ms}
        connection.execute(insert(approvals).values(**first, **left._asdict()))
    elif time_ms - row.first_ms > APPROVED_MS:
        return changes
    else:
        left = Changes(row.deletes, row.overwrites)
    connection.execute(update(approvals).where(*this).values(**left.less(changes)._asdict()))
    return changes.less(left)
