"""What the tracker's keeper asks and changes from the command line, beside a running server."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, FromClause, and_, func, not_, select, update

from protocol.breaker import Limits
from protocol.codec import encode
from protocol.errors import Problem
from protocol.login import normalise_email
from tracker.metadata.breaker import limits_of
from tracker.plans import plan_called
from tracker.schema import IS_ANNOUNCED, chunks, damaged, devices, entries, nodes, objects, users, versions, workspaces


@dataclass(frozen=True, slots=True)
class UserLine:
    """One user in the list; bytes and milliseconds since 1970 UTC."""

    email: str
    plan: str
    quota_bytes: int
    used_bytes: int
    suspended: bool
    devices: int
    created_ms: int
    breaker: Limits


def list_users(connection: Connection) -> list[UserLine]:
    """All users by address; `devices` counts those not retired."""
    count = (
        select(func.count())
        .select_from(devices)
        .where(devices.c.user == users.c.id, not_(devices.c.retired))
        .scalar_subquery()
    )
    home = and_(workspaces.c.owner == users.c.id, workspaces.c.home)
    rows = connection.execute(
        select(users, count.label("device_count"), workspaces.c.limits)
        .outerjoin_from(users, workspaces, home)
        .order_by(users.c.email)
    )
    return [
        UserLine(
            email=row.email,
            plan=row.plan,
            quota_bytes=plan_called(row.plan).quota,
            used_bytes=row.used_bytes,
            suspended=row.suspended,
            devices=row.device_count,
            created_ms=row.created_ms,
            breaker=limits_of(row.limits),
        )
        for row in rows
    ]


def set_plan(connection: Connection, email: str, plan: str) -> None:
    """Give a user another plan; `Usage` for an unknown plan, `Problem` for an unknown user.

    Who uses more than a smaller plan allows keeps it, and can't add to it.
    """
    _change(connection, email, {"plan": plan_called(plan).name})


def set_suspended(connection: Connection, email: str, suspended: bool) -> None:
    """Suspend or resume an account; `Problem` for an unknown user."""
    _change(connection, email, {"suspended": suspended})


def set_breaker(connection: Connection, email: str, limits: Limits) -> None:
    """Give all workspaces of a user these limits of the breaker; `Problem` for an unknown user."""
    owner = select(users.c.id).where(users.c.email == normalise_email(email)).scalar_subquery()
    stored = None if limits == Limits() else encode(limits)
    if connection.execute(update(workspaces).where(workspaces.c.owner == owner).values(limits=stored)).rowcount == 0:
        raise Problem(f"there is no user {email}")


def change_breaker(connection: Connection, email: str, given: Mapping[str, int], *, reset: bool = False) -> Limits:
    """Change some of a user's limits, named as in `Limits`, and keep the others, or `reset` them to the usual ones.
    Returns what holds then; `Problem` for an unknown user."""
    owner = select(users.c.id).where(users.c.email == normalise_email(email)).scalar_subquery()
    mine = select(workspaces.c.limits).where(workspaces.c.owner == owner).order_by(workspaces.c.home.desc())
    before = connection.execute(mine.with_for_update()).first()
    if before is None:
        raise Problem(f"there is no user {email}")
    limits = replace(Limits() if reset else limits_of(before.limits), **given)
    set_breaker(connection, email, limits)
    return limits


def _change(connection: Connection, email: str, values: dict[str, object]) -> None:
    changed = connection.execute(update(users).where(users.c.email == normalise_email(email)).values(**values))
    if changed.rowcount != 1:
        raise Problem(f"there is no user {email}")


def statistics(connection: Connection) -> dict[str, int]:
    """Totals over the whole tracker; the last four in bytes."""

    def count(table: FromClause, *where: ColumnElement[bool]) -> int:
        return connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()

    def total(column: ColumnElement[int]) -> int:
        return int(connection.execute(select(func.coalesce(func.sum(column), 0))).scalar_one())

    return {
        "users": count(users),
        "devices": count(devices, not_(devices.c.retired)),
        "workspaces": count(workspaces),
        "revisions": count(entries),
        "nodes": count(nodes, not_(nodes.c.deleted)),
        "versions": count(versions),
        "versions_not_durable": count(versions, IS_ANNOUNCED),
        "chunks": count(chunks),
        "chunks_damaged": count(damaged),
        "objects": count(objects),
        "used_bytes": total(users.c.used_bytes),
        "chunk_bytes": total(chunks.c.length),
        "object_bytes": total(objects.c.size),
    }
