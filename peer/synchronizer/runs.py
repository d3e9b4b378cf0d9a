"""Fetching runs of chunk lists that are not here: of a version that is to be fetched, or of an own one that this device
has forgotten."""

from collections.abc import Iterable

from peer.synchronizer.context import Context
from peer.tracker_client import DeviceClient
from protocol.api import RUNS, RunsRequest
from protocol.identifiers import RunId
from protocol.runs import run_id

RUNS_AT_ONCE = 500


async def fetch_runs(context: Context, client: DeviceClient, runs: Iterable[RunId]) -> None:
    """Ask the tracker for those of `runs` that are not here. Raises what `DeviceClient.call` does."""
    missing = context.versions.missing_runs(runs)
    for start in range(0, len(missing), RUNS_AT_ONCE):
        request = RunsRequest(workspace=context.keys.workspace, runs=tuple(missing[start : start + RUNS_AT_ONCE]))
        reply = await client.call(RUNS, request)
        with context.store.database.transaction():
            context.versions.put_runs((run_id(body), body) for body in reply.bodies)
