"""Commits: judging one, giving it its place in the order, and recording what it did, in one transaction.

One in parts is judged as a whole; each part then gets a revision and an entry of its own, one after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

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
    MAX_COMMIT_OPERATIONS,
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
from tracker.metadata.deltas import hash_at
from tracker.metadata.lease import announced_and_missing
from tracker.metadata.loading import Limits, live_files, read_before
from tracker.metadata.order import Head, NewRecord, Owner, adding_used, appending, lock_with_owner
from tracker.metadata.rules import Node, Verdict, judge, once_withdrawn, passed_over
from tracker.metadata.weighing import Weighed, contents_of, pardon, weigh, weighed_together
from tracker.metadata.withdraw import stalled_among, take_back, withdrawn_since
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
    """Put a commit into its workspace's order; see `commit_parts`."""
    return commit_parts(connection, [prepared], time_ms)


def commit_parts(connection: Connection, parts: Sequence[Prepared], time_ms: int) -> Committed:
    """Put a commit into its workspace's order, or answer again what was answered the first time. Its parts, as a rule
    one, are all of one device.

    Stalled heads that its writes pass over are withdrawn by a record of their own in front of it. `Refused` with COMMIT
    and a `CommitRefusal` when it can't be; nothing is recorded then.
    """
    workspace, operations = parts[0].commit.workspace, _all_operations(parts)
    head, role, owner = lock_with_owner(connection, workspace, parts[0].user)
    known = _author_and_entry(connection, parts[0])
    _check_entries(connection, parts, known.revision)
    if known.revision is not None:
        return Committed(_answer_again(connection, workspace, parts, known), fresh=False)
    for prepared in parts:
        _authorise(prepared, head, role, retired=known.retired)
    weighed = _weigh(connection, workspace, parts)
    before = read_before(
        connection, workspace, head.revision + 1, operations, weighed, _limits(owner), _beginnings(parts)
    )
    skipped = stalled_among(connection, workspace, passed_over(operations, before.nodes), time_ms)
    verdict = judge(operations, once_withdrawn(before, skipped))
    if verdict.failures:
        raise _refusal(operations, verdict.failures, before.nodes)
    head = _let_pass(connection, head, parts, before.nodes, time_ms)
    record = take_back(connection, head, list(skipped.items()), time_ms)
    since = head if record is None else record.head
    remove_nodes(connection, workspace, [node for node in verdict.nodes if node in before.nodes])
    after = _record(connection, since, parts, verdict, weighed, time_ms)
    return Committed(_answer(since, after, weighed, time_ms), fresh=True, before=record)


def _all_operations(parts: Sequence[Prepared]) -> Sequence[Operation]:
    return parts[0].operations if len(parts) == 1 else [each for part in parts for each in part.operations]


def _beginnings(parts: Sequence[Prepared]) -> list[int]:
    """The index of each part's first operation."""
    return [0, *accumulate(len(part.operations) for part in parts[:-1])]


def _weigh(connection: Connection, workspace: WorkspaceId, parts: Sequence[Prepared]) -> Weighed:
    brought = {run: body for part in parts for run, body in part.brought.items()}
    weighed = weighed_together([weigh(connection, workspace, contents_of(part.operations), brought) for part in parts])
    if len(parts) > 1 and any(weighed.missing.values()):
        raise Refused(Code.MALFORMED, "a staged commit with contents that the tracker doesn't hold")
    return weighed


def _author_and_entry(connection: Connection, prepared: Prepared) -> Row[*tuple[object, ...]]:
    """Whether the device is retired, and the entry this commit id made before, if any, looked up before any other
    check; `Refused` for another body."""
    asked = {"workspace": prepared.commit.workspace, "author": prepared.device, "commit": prepared.commit.id}
    row = connection.execute(_AUTHOR_AND_ENTRY, asked).one()
    if row.revision is not None and row.digest != prepared.digest:
        raise Refused(Code.MALFORMED, "this commit id stands for another commit already")
    return row


def _check_entries(connection: Connection, parts: Sequence[Prepared], first: int | None) -> None:
    """`Refused` unless the order has either all of these parts, from the revision `first` on, or none."""
    if len(parts) == 1:
        return
    there = and_(entries.c.workspace == parts[0].commit.workspace, entries.c.device == parts[0].device)
    query = select(entries.c.revision, entries.c.digest).where(
        there, entries.c.commit_id.in_([part.commit.id for part in parts])
    )
    found = [tuple(row) for row in connection.execute(query.order_by(entries.c.revision))]
    expected = [] if first is None else [(first + number, part.digest) for number, part in enumerate(parts)]
    if found != expected or len({part.commit.id for part in parts}) < len(parts):
        raise Refused(Code.MALFORMED, "a part's commit id stands for another commit already")


def _answer_again(
    connection: Connection, workspace: WorkspaceId, parts: Sequence[Prepared], entry: Row[*tuple[object, ...]]
) -> CommitReply:
    """The same place in the order; what is missing is told as of now. A staged commit never missed anything."""
    named = [content.version for content in contents_of(parts[0].operations)] if len(parts) == 1 else []
    announced, missing = announced_and_missing(connection, workspace, named)
    last = entry.revision + len(parts) - 1
    withdrawn = withdrawn_since(connection, workspace, entry.revision, named)
    return CommitReply(
        since=entry.revision - 1,
        revision=last,
        hash=CommitHash(entry.hash) if len(parts) == 1 else hash_at(connection, workspace, last),
        time_ms=entry.time_ms,
        announced=tuple(announced),
        missing=tuple(missing),
        withdrawn=tuple(withdrawn),
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
    connection: Connection, head: Head, parts: Sequence[Prepared], known: Mapping[NodeId, Node], time_ms: int
) -> Head:
    """The head with what this commit adds to what counts for the breaker; `Refused` where that is too much. What
    approves a commit in parts comes with the first."""
    operations, approval = _all_operations(parts), parts[0].commit.approval
    if not any(isinstance(operation, Delete | Write) for operation in operations):
        return head
    recent = recent_of(head.recent).at(time_ms)
    changes = changes_of(operations, known, recent)
    if changes == Changes():
        return head
    counted = changes
    if approval is not None:
        counted = cover(connection, head.workspace, parts[0].device, approval, changes, time_ms)
    judged = judge_surprise(recent, limits_of(head.limits), counted, lambda: live_files(connection, head.workspace))
    if judged.deletes or judged.overwrites:
        raise _refusal(operations, _held(operations, judged), known)
    after = judged.recent.adding(time_ms, head.revision + 1, counted, changes)
    return replace(head, recent=encode(after))


def _held(operations: Sequence[Operation], judged: Judged) -> dict[int, str]:
    kinds = (*([Delete] if judged.deletes else []), *([Write] if judged.overwrites else []))
    return {index: "held" for index, operation in enumerate(operations) if isinstance(operation, kinds)}


def _limits(owner: Owner) -> Limits:
    plan = plan_called(owner.plan)
    return Limits(used=owner.used_bytes, quota=plan.quota, max_file=plan.max_file)


def _refusal(operations: Sequence[Operation], failures: Mapping[int, str], known: Mapping[NodeId, Node]) -> Refused:
    failed = tuple(
        FailedOperation(index=index, reason=reason, state=_state(known.get(operations[index].node)))
        for index, reason in sorted(failures.items())[:MAX_COMMIT_OPERATIONS]
    )
    message = f"{len(failures)} of {len(operations)} operations can't be"
    return Refused(Code.COMMIT, message, encode(CommitRefusal(operations=failed)))


def _state(node: Node | None) -> NodeState | None:
    if node is None:
        return None
    return NodeState(parent=node.parent, token=node.token, place=node.place, version=node.version, deleted=node.deleted)


def _record(
    connection: Connection, head: Head, parts: Sequence[Prepared], verdict: Verdict, weighed: Weighed, time_ms: int
) -> Head:
    """Everything; of nodes that were there before, no rows are left by now. A commit in one part in one go."""
    *first, last = parts
    fresh = dict(weighed.new_runs)
    done = 0
    for part in first:
        after = verdict.after[done : (done := done + len(part.operations))]
        head, works = _recording(head, part, after, weighed, fresh, time_ms)
        _RECORDING.run(connection, works)
    head, works = _recording(head, last, verdict.after[done:], weighed, fresh, time_ms)
    works += [*adding_used(head.owner, verdict.charge), nodes_of(head.workspace, verdict.nodes.values())]
    _RECORDING.run(connection, works)
    pardon(connection, head.workspace, weighed.condemned)
    return head


def _recording(
    head: Head,
    prepared: Prepared,
    after: Sequence[Node],
    weighed: Weighed,
    fresh: dict[RunId, bytes],
    time_ms: int,
) -> tuple[Head, list[Work]]:
    """The head after one part, and what is to be written for it. It takes the `fresh` runs that it names."""
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
    now, appended = appending(head, COMMIT, prepared.digest, time_ms, columns)
    history = states_of(head.workspace, now.revision, after, commit.operations)
    return now, [*appended, history, *_versions_of(now, prepared, weighed, fresh, time_ms)]


def _versions_of(
    after: Head, prepared: Prepared, weighed: Weighed, fresh: dict[RunId, bytes], time_ms: int
) -> list[Work]:
    """To be inserted: the new versions, the runs they are the first to name, and the chunks they wait for, whose lease
    is the author's."""
    workspace = after.workspace
    version_rows: list[tuple[object, ...]] = []
    run_rows: list[tuple[object, ...]] = []
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
            run_rows += [(workspace, run, fresh.pop(run)) for run in content.runs if run in fresh]
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
