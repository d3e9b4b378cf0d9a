"""The whole check, in the order in which later parts rely on earlier ones. May run beside a server."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from protocol.identifiers import WorkspaceId
from protocol.ports import Machine
from storage.interface import Storage
from tracker.checking.contents import check_contents
from tracker.checking.objects import Kept, check_objects, find_orphans, kept_objects
from tracker.checking.order import check_order
from tracker.checking.report import Report
from tracker.checking.tree import check_tree
from tracker.database import Database
from tracker.schema import users, workspaces


@dataclass(slots=True)
class _Metadata:
    """What one consistent look at the database gives."""

    report: Report = field(default_factory=Report)
    kept: list[Kept] = field(default_factory=list)


async def check_tracker(machine: Machine, database: Database, storage: Storage, *, quick: bool) -> Report:
    """Check metadata, then objects. With `quick`, chunks are not hashed again."""
    metadata = await database.read(check_metadata)
    await check_objects(machine, storage, metadata.report, metadata.kept, quick=quick)
    await find_orphans(storage, metadata.report, {each.key for each in metadata.kept})
    return metadata.report


def check_metadata(connection: Connection) -> _Metadata:
    """Every rule the database must keep, on one snapshot of it."""
    found = _Metadata()
    report = found.report
    used: Counter[bytes] = Counter()
    owned: dict[bytes, list[WorkspaceId]] = defaultdict(list)
    for row in connection.execute(select(workspaces.c.id, workspaces.c.owner).order_by(workspaces.c.id)):
        owned[row.owner].append(WorkspaceId(row.id))
    for owner, ids in owned.items():
        for workspace in ids:
            check_order(connection, report, workspace)
            used[owner] += check_tree(connection, report, workspace)
            check_contents(connection, report, workspace)
            found.kept += kept_objects(connection, report, workspace)
            report.counts["workspaces"] += 1
    _check_used(connection, report, used)
    return found


def _check_used(connection: Connection, report: Report, used: Counter[bytes]) -> None:
    for row in connection.execute(select(users.c.id, users.c.used_bytes).order_by(users.c.id)):
        report.counts["users"] += 1
        right = row.used_bytes == used[row.id]
        report.expect(right, f"user {row.id.hex()}: {row.used_bytes} bytes are counted as used, not {used[row.id]}")
