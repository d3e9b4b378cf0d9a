"""What subscribers are told of a change, once the transaction that made it is done. Nothing here waits for them."""

from collections.abc import Iterable

from protocol.api import CommitReply
from protocol.codec import encode
from protocol.deltas import INLINE_DELTA_BYTES, Delta, Entry
from protocol.identifiers import WorkspaceId
from tracker.fanout import MAX_MESSAGE
from tracker.metadata.commit import Committed, Prepared, delta_of
from tracker.metadata.deltas import record_delta
from tracker.metadata.order import NewRecord
from tracker.services import Services

BRIEF_ROWS = 100
"""A record of no more is short enough for any message."""


def publish_commit(services: Services, prepared: Prepared, done: Committed) -> None:
    """Tell subscribers of a commit, and before it of the record that it was put behind.

    Of one that is answered again, too: the process that made it may have ended before it could tell.
    """
    if done.before is not None:
        publish_record(services, done.before)
    reply = done.reply
    if not done.fresh:
        services.hub.publish(prepared.commit.workspace, reply.since, reply.revision, prepared.device, lambda: None)
        return

    def delta() -> Delta:
        return _delta_of(services, prepared, reply)

    commit = prepared.commit
    brief = sum(map(len, (*commit.operations, *commit.runs))) < MAX_MESSAGE
    services.hub.publish(commit.workspace, reply.since, reply.revision, prepared.device, delta, brief=brief)


def publish_parts(services: Services, first: Prepared, done: Committed) -> None:
    """Tell subscribers of a commit in parts, which they ask for, and before it of the record that it was put behind."""
    if done.before is not None:
        publish_record(services, done.before)
    reply = done.reply
    services.hub.publish(first.commit.workspace, reply.since, reply.revision, first.device, lambda: None)


def _delta_of(services: Services, prepared: Prepared, reply: CommitReply) -> Delta:
    """The commit, with the runs inside if the whole stays small."""
    with_runs = delta_of(prepared, reply, services.identity.epoch, with_runs=True)
    if len(encode(with_runs)) <= INLINE_DELTA_BYTES:
        return with_runs
    return delta_of(prepared, reply, services.identity.epoch, with_runs=False)


def publish_record(services: Services, new: NewRecord) -> None:
    """Tell subscribers what the tracker itself has put in the order."""
    workspace = new.head.workspace

    def delta() -> Delta:
        entry = Entry(revision=new.head.revision, time_ms=new.time_ms, record=new.record)
        return record_delta(
            workspace, services.identity.epoch, new.since.revision, new.head.revision, new.head.hash, entry
        )

    brief = len(new.record.durable) + len(new.record.withdrawn) <= BRIEF_ROWS
    services.hub.publish(workspace, new.since.revision, new.head.revision, None, delta, brief=brief)


def publish_members(services: Services, workspaces: Iterable[WorkspaceId]) -> None:
    """Tell the subscribers of these workspaces that a member or a member's device has come or gone."""
    for workspace in workspaces:
        services.hub.publish_members(workspace)
