"""Runs as the tracker keeps them: bodies by id, and the lists of chunks inside."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from protocol.api import RunsReply, RunsRequest
from protocol.identifiers import RunId, UserId, WorkspaceId
from protocol.runs import Listed, list_run
from tracker.metadata.access import require
from tracker.metadata.batches import batches, lookup
from tracker.schema import runs

_BODIES = lookup(runs.c.run, runs.c.run, runs.c.body)

MAX_REPLY_BYTES = 7 << 20
"""Bodies past this are left out of one answer, which is capped at 8 MiB."""


def bodies_of(connection: Connection, workspace: WorkspaceId, ids: Iterable[RunId]) -> dict[RunId, bytes]:
    """The bodies that this workspace has of these."""
    found: dict[RunId, bytes] = {}
    for batch in batches(dict.fromkeys(ids)):
        rows = _BODIES.execute(connection, {"workspace": workspace, "ids": batch})
        found.update((RunId(row.run), row.body) for row in rows)
    return found


def list_runs(bodies: Mapping[RunId, bytes]) -> dict[RunId, list[Listed]]:
    """The chunks each run lists."""
    return {run: list_run(body) for run, body in bodies.items()}


def read_runs(connection: Connection, user: UserId, request: RunsRequest) -> RunsReply:
    """Bodies for a member, in the order asked for."""
    require(connection, request.workspace, user)
    found = bodies_of(connection, request.workspace, request.runs)
    return RunsReply(bodies=tuple(_capped([found[run] for run in request.runs if run in found])))


def _capped(bodies: Sequence[bytes]) -> Iterable[bytes]:
    left = MAX_REPLY_BYTES
    for body in bodies:
        left -= len(body) + 8
        if left < 0:
            return
        yield body
