"""Versions: sizes, counters and chunks of each, made again from operations and runs."""

from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.engine import Row

from protocol.commits import Create, Write, decode_operation
from protocol.errors import Malformed
from protocol.hashing import digest
from protocol.identifiers import HASH_LENGTH, WorkspaceId
from protocol.runs import Listed, list_run
from tracker.checking.report import Report
from tracker.schema import ANNOUNCED, DURABLE, awaiting, chunks, damaged, runs, states, versions


@dataclass(frozen=True, slots=True)
class _Known:
    """What a workspace's versions are held against."""

    lists: dict[bytes, list[Listed]]  # by run
    held: dict[bytes, int]  # chunk → sealed length
    damaged: dict[bytes, int]  # the same, of those that are wanted again
    awaited: dict[bytes, dict[bytes, int]]  # version → chunk → sealed length


def check_contents(connection: Connection, report: Report, workspace: WorkspaceId) -> None:
    """Check every version of a workspace."""
    known = _Known(
        lists=_lists(connection, report, workspace),
        held={
            row.chunk: row.length
            for row in connection.execute(
                select(chunks.c.chunk, chunks.c.length).where(chunks.c.workspace == workspace)
            )
        },
        damaged={
            row.chunk: row.length
            for row in connection.execute(
                select(damaged.c.chunk, damaged.c.length).where(damaged.c.workspace == workspace)
            )
        },
        awaited=_awaited(connection, workspace),
    )
    for chunk in sorted(known.damaged):
        report.problem(f"workspace {workspace.hex()}: chunk {chunk.hex()} is damaged, and wanted from its devices")
    rows = connection.execution_options(yield_per=500).execute(
        select(versions, states.c.operation)
        .outerjoin(
            states,
            (states.c.workspace == versions.c.workspace)
            & (states.c.revision == versions.c.revision)
            & (states.c.position == versions.c.position),
        )
        .where(versions.c.workspace == workspace)
    )
    seen = set()
    for row in rows:
        seen.add(row.version)
        _check_version(report, row, known, f"workspace {workspace.hex()}, version {row.version.hex()}")
    for version in sorted(known.awaited.keys() - seen):
        report.problem(f"workspace {workspace.hex()}: chunks are awaited for the unknown version {version.hex()}")
    report.counts["versions"] += len(seen)


def _lists(connection: Connection, report: Report, workspace: WorkspaceId) -> dict[bytes, list[Listed]]:
    found = {}
    for row in connection.execution_options(yield_per=500).execute(select(runs).where(runs.c.workspace == workspace)):
        at = f"workspace {workspace.hex()}, run {row.run.hex()}"
        report.expect(digest(row.body) == row.run, f"{at}: its body is not what its id says")
        try:
            found[row.run] = list_run(row.body)
        except Malformed as error:
            report.problem(f"{at}: {error}")
    return found


def _awaited(connection: Connection, workspace: WorkspaceId) -> dict[bytes, dict[bytes, int]]:
    found: dict[bytes, dict[bytes, int]] = {}
    for row in connection.execute(select(awaiting).where(awaiting.c.workspace == workspace)):
        found.setdefault(row.version, {})[row.chunk] = row.length
    return found


def _check_version(report: Report, row: Row[*tuple[object, ...]], known: _Known, at: str) -> None:
    ids = [row.runs[start : start + HASH_LENGTH] for start in range(0, len(row.runs), HASH_LENGTH)]
    if any(run not in known.lists for run in ids):
        report.problem(f"{at}: a run it names is missing")
        return
    items = [item for run in ids for item in known.lists[run]]
    _check_operation(report, row, ids, sum(item.length for item in items), at)
    awaited = known.awaited.get(row.version, {})
    report.expect(row.missing == len(awaited), f"{at}: it counts {row.missing} missing chunks, not {len(awaited)}")
    uploaded = {row.uploader is not None, row.leased_ms is not None, row.progress_ms is not None}
    report.expect(uploaded == {row.state == ANNOUNCED}, f"{at}: who uploads it does not fit its state")
    lacking = {item.id: item.length for item in items if known.held.get(item.id) != item.length}
    if row.state == DURABLE:
        unknown = lacking.keys() - known.damaged.keys()
        report.expect(not unknown, f"{at}: it is durable, and {len(unknown)} of its chunks are not held")
        report.expect(not awaited, f"{at}: it is durable and awaits chunks")
    elif row.state == ANNOUNCED:
        whole = {chunk: length for chunk, length in lacking.items() if chunk not in known.damaged or chunk in awaited}
        report.expect(whole == awaited, f"{at}: what it awaits is not what it lacks")
        report.expect(bool(awaited), f"{at}: it lacks nothing and is not durable")
    else:
        report.expect(not awaited, f"{at}: it was withdrawn and awaits chunks")


def _check_operation(report: Report, row: Row[*tuple[object, ...]], ids: list[bytes], sealed: int, at: str) -> None:
    try:
        operation = decode_operation(row.operation or b"")
    except Malformed:
        report.problem(f"{at}: the operation that introduced it is missing")
        return
    content = operation.content if isinstance(operation, Create | Write) else None
    if content is None or (content.version, operation.node, list(content.runs)) != (row.version, row.node, ids):
        report.problem(f"{at}: the operation that introduced it says otherwise")
        return
    report.expect(row.size == sealed + len(content.manifest), f"{at}: its size is wrong")
