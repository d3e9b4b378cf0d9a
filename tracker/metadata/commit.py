"""Commits: judging one, giving it its place in the order, and recording what it did, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, bindparam, insert, select
from sqlalchemy.engine import Row

from protocol.api import CommitRefusal, CommitReply, FailedOperation, NodeState
from protocol.breaker import Changes, verify_approval
from protocol.codec import encode
from protocol.commits import (
    Commit,
    Delete,
    Operation,
    Write,
    commit_digest,
    decode_operation,
    operation_hash,
    signed_bytes,
    verify_commit,
)
from protocol.deltas import Delta, Entry, SignedCommit
from protocol.errors import Code, Refused
from protocol.identifiers import (
    ChunkId,
    CommitHash,
    DeviceId,
    NodeId,
    RunId,
    TrackerEpoch,
    UserId,
    VersionId,
    WorkspaceId,
)
from protocol.runs import run_id
from tracker.metadata.access import WRITERS, check_role
from tracker.metadata.approvals import cover
from tracker.metadata.breaker import Judged, changes_of, limits_of, recent_of
from tracker.metadata.breaker import judge as judge_surprise
from tracker.metadata.bulk import Bulk, Together, Work
from tracker.metadata.lease import announced_and_missing
from tracker.metadata.loading import Limits, live_files, read_before
from tracker.metadata.order import Head, NewRecord, Owner, adding_used, appending, lock_with_owner
from tracker.metadata.rules import Node, Verdict, judge, once_withdrawn, passed_over
from tracker.metadata.weighing import Weighed, contents_of, pardon, weigh
from tracker.metadata.withdraw import stalled_among, take_back
from tracker.metadata.writing import nodes_of, remove_nodes, states_of
from tracker.plans import plan_called
from tracker.schema import ANNOUNCED, COMMIT, DURABLE, awaiting, devices, entries, runs, versions

_AUTHOR_AND_ENTRY = (
    select(devices.c.retired, entries)
    .join_from(
        devices,
        entries,
        and_(
            entries.c.workspace == bindparam("workspace"),
            entries.c.device == devices.c.id,
            entries.c.commit_id == bindparam("commit"),
        ),
        isouter=True,
    )
    .where(devices.c.id == bindparam("author"))
)
_INSERT_RUNS, _INSERT_VERSIONS, _INSERT_AWAITING = (  # all columns, in their order
    Bulk(insert(table), *table.columns.keys()) for table in (runs, versions, awaiting)
)
_RECORDING = Together()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A commit taken apart, its signature verified; needs no database."""

    commit: Commit
    user: UserId
    device: DeviceId
    operations: Sequence[Operation]
    hashes: Sequence[bytes]
    digest: bytes
    brought: Mapping[RunId, bytes]  # the run bodies inside, by the ids they have


@dataclass(frozen=True, slots=True)
class Committed:
    """What to answer; `fresh` unless this was a retry. `before` is the record that withdrew the heads passed over."""

    reply: CommitReply
    fresh: bool
    before: NewRecord | None = None


def prepare(commit: Commit, user: UserId, device: DeviceId, signing_key: bytes) -> Prepared:
    """Decode and verify. `Malformed` or `BadSignature`."""
    hashes = [operation_hash(operation) for operation in commit.operations]
    signed = signed_bytes(commit.workspace, device, commit.epoch, commit.id, commit.seen, hashes)
    verify_commit(signed, signing_key, commit.signature)
    if commit.approval is not None:
        verify_approval(commit.approval, commit.workspace, device, signing_key)
    return Prepared(
        commit=commit,
        user=user,
        device=device,
        operations=[decode_operation(operation) for operation in commit.operations],
        hashes=hashes,
        digest=commit_digest(signed, commit.signature),
        brought={run_id(body): body for body in commit.runs},
    )


def commit(connection: Connection, prepared: Prepared, time_ms: int) -> Committed:
    """Put a commit into its workspace's order, or answer again what was answered the first time.

    Stalled heads that its writes pass over are withdrawn by a record of their own in front of it. `Refused` with COMMIT
    and a `CommitRefusal` when it can't be; nothing is recorded then.
    """
    workspace = prepared.commit.workspace
    head, role, owner = lock_with_owner(connection, workspace, prepared.user)
    known = _author_and_entry(connection, prepared)
    if known.revision is not None:
        return Committed(_answer_again(connection, workspace, prepared, known), fresh=False)
    _authorise(prepared, head, role, retired=known.retired)
    weighed = weigh(connection, workspace, contents_of(prepared.operations), prepared.brought)
    before = read_before(connection, workspace, head.revision + 1, prepared.operations, weighed, _limits(owner))
    skipped = stalled_among(connection, workspace, passed_over(prepared.operations, before.nodes), time_ms)
    verdict = judge(prepared.operations, once_withdrawn(before, skipped))
    if verdict.failures:
        raise _refusal(prepared, verdict.failures, before.nodes)
    head = _let_pass(connection, head, prepared, before.nodes, time_ms)
    record = take_back(connection, head, list(skipped.items()), time_ms)
    since = head if record is None else record.head
    remove_nodes(connection, workspace, [node for node in verdict.nodes if node in before.nodes])
    after = _record(connection, since, prepared, verdict, weighed, time_ms)
    return Committed(_answer(since, after, weighed, time_ms), fresh=True, before=record)


def _author_and_entry(connection: Connection, prepared: Prepared) -> Row[*tuple[object, ...]]:
    """Whether the device is retired, and the entry this commit id made before, if any, looked up before any other
    check; `Refused` for another body."""
    asked = {"workspace": prepared.commit.workspace, "author": prepared.device, "commit": prepared.commit.id}
    row = connection.execute(_AUTHOR_AND_ENTRY, asked).one()
    if row.revision is not None and row.digest != prepared.digest:
        raise Refused(Code.MALFORMED, "this commit id stands for another commit already")
    return row


def _answer_again(
    connection: Connection, workspace: WorkspaceId, prepared: Prepared, entry: Row[*tuple[object, ...]]
) -> CommitReply:
    """The same place in the order; what is missing is told as of now."""
    named = [content.version for content in contents_of(prepared.operations)]
    announced, missing = announced_and_missing(connection, workspace, named)
    return CommitReply(
        since=entry.revision - 1,
        revision=entry.revision,
        hash=CommitHash(entry.hash),
        time_ms=entry.time_ms,
        announced=tuple(announced),
        missing=tuple(missing),
    )


def _authorise(prepared: Prepared, head: Head, role: int, *, retired: bool) -> None:
    """Role, device and key epoch, as they are under the workspace's lock."""
    check_role(role, WRITERS)
    if retired:
        raise Refused(Code.UNAUTHENTICATED, "this device was logged out")
    if prepared.commit.epoch != head.epoch:
        detail = encode(CommitRefusal(epoch=head.epoch))
        raise Refused(Code.COMMIT, f"the workspace's keys are at epoch {head.epoch}", detail)


def _let_pass(
    connection: Connection, head: Head, prepared: Prepared, known: Mapping[NodeId, Node], time_ms: int
) -> Head:
    """The head with what this commit adds to what counts for the breaker; `Refused` where that is too much."""
    if not any(isinstance(operation, Delete | Write) for operation in prepared.operations):
        return head
    recent = recent_of(head.recent).at(time_ms)
    changes = changes_of(prepared.operations, known, recent)
    if changes == Changes():
        return head
    counted = changes
    if prepared.commit.approval is not None:
        counted = cover(connection, head.workspace, prepared.device, prepared.commit.approval, changes, time_ms)
    judged = judge_surprise(recent, limits_of(head.limits), counted, lambda: live_files(connection, head.workspace))
    if judged.deletes or judged.overwrites:
        raise _refusal(prepared, _held(prepared.operations, judged), known)
    after = judged.recent.adding(time_ms, head.revision + 1, counted, changes)
    return replace(head, recent=encode(after))


def _held(operations: Sequence[Operation], judged: Judged) -> dict[int, str]:
    kinds = (*([Delete] if judged.deletes else []), *([Write] if judged.overwrites else []))
    return {index: "held" for index, operation in enumerate(operations) if isinstance(operation, kinds)}


def _limits(owner: Owner) -> Limits:
    plan = plan_called(owner.plan)
    return Limits(used=owner.used_bytes, quota=plan.quota, max_file=plan.max_file)


def _refusal(prepared: Prepared, failures: Mapping[int, str], known: Mapping[NodeId, Node]) -> Refused:
    failed = tuple(
        FailedOperation(index=index, reason=reason, state=_state(known.get(prepared.operations[index].node)))
        for index, reason in sorted(failures.items())
    )
    message = f"{len(failed)} of {len(prepared.operations)} operations can't be"
    return Refused(Code.COMMIT, message, encode(CommitRefusal(operations=failed)))


def _state(node: Node | None) -> NodeState | None:
    if node is None:
        return None
    return NodeState(parent=node.parent, token=node.token, place=node.place, version=node.version, deleted=node.deleted)


def _record(
    connection: Connection, head: Head, prepared: Prepared, verdict: Verdict, weighed: Weighed, time_ms: int
) -> Head:
    """Everything, in one go; of nodes that were there before, no rows are left by now."""
    commit = prepared.commit
    columns = {
        "device": prepared.device,
        "commit_id": commit.id,
        "epoch": commit.epoch,
        "seen": commit.seen,
        "signature": commit.signature,
        "items": b"".join(prepared.hashes),
        "approval": None if commit.approval is None else encode(commit.approval),
    }
    after, appended = appending(head, COMMIT, prepared.digest, time_ms, columns)
    works = [
        *appended,
        states_of(head.workspace, after.revision, verdict.after, commit.operations),
        *_versions_of(after, prepared, weighed, time_ms),
        *adding_used(head.owner, verdict.charge),
        nodes_of(head.workspace, verdict.nodes.values()),
    ]
    _RECORDING.run(connection, works)
    pardon(connection, head.workspace, weighed.condemned)
    return after


def _versions_of(after: Head, prepared: Prepared, weighed: Weighed, time_ms: int) -> list[Work]:
    """To be inserted: the new versions, the runs they are the first to name, and the chunks they wait for, whose lease
    is the author's."""
    workspace = after.workspace
    version_rows: list[tuple[object, ...]] = []
    awaiting_rows: list[tuple[object, ...]] = []
    upload = (prepared.device, time_ms, time_ms)
    for position, operation in enumerate(prepared.operations):
        for content in contents_of([operation]):
            missing = weighed.missing[content.version]
            row = (
                workspace,
                content.version,
                operation.node,
                prepared.device,
                after.revision,
                position,
                ANNOUNCED if missing else DURABLE,
                weighed.measured[content.version].size,
                len(missing),
                b"".join(content.runs),
                *(upload if missing else (None, None, None)),
            )
            version_rows.append(row)
            awaiting_rows += [(workspace, chunk, content.version, length) for chunk, length in missing.items()]
    run_rows = [(workspace, run, body) for run, body in weighed.new_runs.items()]
    return [(_INSERT_RUNS, run_rows), (_INSERT_VERSIONS, version_rows), (_INSERT_AWAITING, awaiting_rows)]


def _answer(head: Head, after: Head, weighed: Weighed, time_ms: int) -> CommitReply:
    missing: dict[ChunkId, None] = {}
    announced: list[VersionId] = []
    for version, chunks in weighed.missing.items():
        if chunks:
            announced.append(version)
            missing |= dict.fromkeys(chunks)
    return CommitReply(
        since=head.revision,
        revision=after.revision,
        hash=after.hash,
        time_ms=time_ms,
        announced=tuple(announced),
        missing=tuple(missing),
    )


def delta_of(prepared: Prepared, reply: CommitReply, tracker_epoch: TrackerEpoch, *, with_runs: bool) -> Delta:
    """The commit as the delta that brings it to other devices, all operations whole."""
    commit = prepared.commit
    signed = SignedCommit(
        device=prepared.device,
        epoch=commit.epoch,
        id=commit.id,
        seen=commit.seen,
        signature=commit.signature,
        items=commit.operations,
        approval=commit.approval,
    )
    return Delta(
        workspace=commit.workspace,
        tracker_epoch=tracker_epoch,
        since=reply.since,
        through=reply.revision,
        head=reply.revision,
        hash=reply.hash,
        entries=(Entry(revision=reply.revision, time_ms=reply.time_ms, commit=signed),),
        announced=reply.announced,
        runs=commit.runs if with_runs else (),
    )
