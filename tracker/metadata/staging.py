"""Parts of a commit that is too large for one request: kept until the device closes it, or for an hour.

A part is an ordinary signed commit. Nothing of it is in the order, so it may be lost at any time: a close that names a
part which is not here is refused, and the device stages all of them again. A close whose answer was lost goes the same
way, and is answered by the commit id of its first part.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, func, insert, select

from protocol.codec import encode
from protocol.commits import Close
from protocol.errors import Code, Refused
from protocol.identifiers import MAX_PARTS, MAX_STAGED_BYTES, DeviceId, UserId
from tracker.metadata.access import WRITERS, require
from tracker.metadata.commit import Committed, Prepared, commit_parts
from tracker.schema import devices, staged

KEPT_MS = 3600 * 1000


def stage(connection: Connection, prepared: Prepared, time_ms: int) -> None:
    """Keep a part; one that is here already for another hour. The device's oldest parts make room."""
    require(connection, prepared.commit.workspace, prepared.user, WRITERS)
    # Of two parts of a device at once, the second sees what the first takes.
    connection.execute(select(devices.c.id).where(devices.c.id == prepared.device).with_for_update())
    body = encode(prepared.commit)
    key = {"workspace": prepared.commit.workspace, "device": prepared.device, "digest": prepared.digest}
    connection.execute(delete(staged).where(*(staged.c[name] == value for name, value in key.items())))
    _make_room(connection, prepared.device, len(body), time_ms)
    connection.execute(insert(staged), [{**key, "body": body, "size": len(body), "since_ms": time_ms}])


def _make_room(connection: Connection, device: DeviceId, size: int, time_ms: int) -> None:
    rows = connection.execute(
        select(staged.c.workspace, staged.c.digest, staged.c.size, staged.c.since_ms)
        .where(staged.c.device == device)
        .order_by(staged.c.since_ms.desc(), staged.c.digest)
    ).all()
    count, total = 1, size
    for row in rows:
        count, total = count + 1, total + row.size
        if count > MAX_PARTS or total > MAX_STAGED_BYTES or not _is_kept(row.since_ms, time_ms):
            at = and_(staged.c.workspace == row.workspace, staged.c.device == device, staged.c.digest == row.digest)
            connection.execute(delete(staged).where(at))


def _is_kept(since_ms: int, time_ms: int) -> bool:
    """Whether a part is still good. One from later than now is not: the clock was set back."""
    return 0 <= time_ms - since_ms < KEPT_MS


def staged_parts(connection: Connection, user: UserId, device: DeviceId, close: Close) -> list[bytes]:
    """The bodies of all parts, in the order of the close; `Refused` (NOT_FOUND) when one is not here."""
    require(connection, close.workspace, user, WRITERS)
    rows = connection.execute(
        select(staged.c.digest, staged.c.body).where(
            staged.c.workspace == close.workspace, staged.c.device == device, staged.c.digest.in_(close.parts)
        )
    )
    bodies = {row.digest: row.body for row in rows}
    if len(bodies) < len(close.parts):
        raise Refused(Code.NOT_FOUND, f"{len(close.parts) - len(bodies)} of {len(close.parts)} parts are not staged")
    return [bodies[digest] for digest in close.parts]


def close_parts(connection: Connection, parts: Sequence[Prepared], time_ms: int) -> Committed:
    """Take all parts into the order and forget that they were staged; raises what `commit` does."""
    done = commit_parts(connection, parts, time_ms)
    connection.execute(
        delete(staged).where(
            staged.c.workspace == parts[0].commit.workspace,
            staged.c.device == parts[0].device,
            staged.c.digest.in_([part.digest for part in parts]),
        )
    )
    return done


def forget_staged(connection: Connection, time_ms: int) -> int:
    """Forget parts that nobody closed in time; returns how many."""
    return connection.execute(delete(staged).where(staged.c.since_ms <= time_ms - KEPT_MS)).rowcount


def staged_size(connection: Connection, device: DeviceId) -> int:
    """Bytes that a device has staged."""
    return int(
        connection.execute(
            select(func.coalesce(func.sum(staged.c.size), 0)).where(staged.c.device == device)
        ).scalar_one()
    )
