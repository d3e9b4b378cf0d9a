"""The tree: nodes held against the fold of their states, and used bytes against the nodes."""

from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.engine import Row

from protocol.codec import decode
from protocol.commits import DIRECTORY
from protocol.deltas import MAX_DELTA_BYTES, Record
from protocol.errors import Malformed
from protocol.identifiers import ROOT, NodeId, WorkspaceId
from tracker.checking.report import Report
from tracker.metadata.loading import node_of
from tracker.metadata.rules import Node
from tracker.schema import DURABLE, WITHDRAWAL, entries, nodes, states, versions


@dataclass(frozen=True, slots=True)
class _Version:
    node: bytes
    at: tuple[int, int]
    state: int
    size: int


def check_tree(connection: Connection, report: Report, workspace: WorkspaceId) -> int:
    """Check a workspace's nodes; what they cost of the quota, in bytes."""
    known = {
        NodeId(row.node): node_of(row)
        for row in connection.execute(select(nodes).where(nodes.c.workspace == workspace))
    }
    of_node = {
        row.version: _Version(row.node, (row.revision, row.position), row.state, row.size)
        for row in connection.execute(select(versions).where(versions.c.workspace == workspace))
    }
    _check_fold(connection, report, workspace, known)
    names: set[tuple[bytes, bytes]] = set()
    for node in known.values():
        at = f"workspace {workspace.hex()}, node {node.node.hex()}"
        _check_registers(report, node, of_node, at)
        if not node.deleted:
            report.expect(node.kind == DIRECTORY or node.version is not None, f"{at}: it lives without any content")
            _check_place(report, node, known, at)
            report.expect((node.parent, node.token) not in names, f"{at}: its name is there twice")
            names.add((node.parent, node.token))
    report.counts["nodes"] += len(known)
    return sum(node.charge for node in known.values())


def _check_fold(connection: Connection, report: Report, workspace: WorkspaceId, known: dict[NodeId, Node]) -> None:
    last = _fold(connection, report, workspace)
    for id in sorted(known.keys() ^ last.keys()):
        report.problem(f"workspace {workspace.hex()}, node {id.hex()}: it is only in one of history and present")
    for id in sorted(known.keys() & last.keys()):
        node = known[id]
        present = (node.kind, node.parent, node.token, node.place, node.version, node.deleted, node.place_at)
        right = present == last[id]
        report.expect(right, f"workspace {workspace.hex()}, node {id.hex()}: it is not what its history leads to")


_State = tuple[int, bytes, bytes, bytes, bytes | None, bool, tuple[int, int]]


def _fold(connection: Connection, report: Report, workspace: WorkspaceId) -> dict[NodeId, _State]:
    """Each node's last state, with withdrawals applied where they stand in the order."""
    withdrawals = _withdrawals(connection, report, workspace)
    last: dict[NodeId, _State] = {}
    rows = connection.execution_options(yield_per=1000).execute(
        select(states)
        .with_only_columns(*(column for column in states.c if column.name != "operation"))
        .where(states.c.workspace == workspace)
        .order_by(states.c.revision, states.c.position)
    )
    for row in rows:
        while withdrawals and withdrawals[0][0] < row.revision:
            _withdraw(last, withdrawals.pop(0)[1])
        _advance(last, row)
    for _, record in withdrawals:
        _withdraw(last, record)
    return last


def _advance(last: dict[NodeId, _State], row: Row[*tuple[object, ...]]) -> None:
    before = last.get(NodeId(row.node))
    place_at = before[6] if before is not None and before[3] == row.place else (row.revision, row.position)
    last[NodeId(row.node)] = (row.kind, row.parent, row.token, row.place, row.version, row.deleted, place_at)


def _withdraw(last: dict[NodeId, _State], record: Record) -> None:
    for node, version, head in record.withdrawn:
        state = last.get(node)
        if state is not None and state[4] == version:
            last[node] = (*state[:4], head, state[5] or head is None, state[6])


def _withdrawals(connection: Connection, report: Report, workspace: WorkspaceId) -> list[tuple[int, Record]]:
    rows = connection.execute(
        select(entries.c.revision, entries.c.record)
        .where(entries.c.workspace == workspace, entries.c.kind == WITHDRAWAL)
        .order_by(entries.c.revision)
    )
    found = []
    for row in rows:
        try:
            found.append((row.revision, decode(Record, row.record, MAX_DELTA_BYTES)))
        except Malformed:
            report.problem(f"workspace {workspace.hex()}, revision {row.revision}: the record can't be read")
    return found


def _check_registers(report: Report, node: Node, of_node: dict[bytes, _Version], at: str) -> None:
    head = of_node.get(node.version) if node.version is not None else None
    durable = of_node.get(node.durable_version) if node.durable_version is not None else None
    report.expect((head is None) == (node.version is None), f"{at}: its head is not known")
    report.expect((durable is None) == (node.durable_version is None), f"{at}: its durable head is not known")
    if head is not None:
        right = (head.node, head.at, head.size) == (node.node, node.content_at, node.size)
        report.expect(right, f"{at}: its head is another node's, or of another size or place in the order")
        if head.state == DURABLE:
            report.expect(node.durable_version == node.version, f"{at}: its head is durable, its durable head another")
    if durable is not None:
        right = (durable.node, durable.at, durable.size) == (node.node, node.durable_at, node.durable_size)
        report.expect(right and durable.state == DURABLE, f"{at}: its durable head is not durable or another node's")


def _check_place(report: Report, node: Node, known: dict[NodeId, Node], at: str) -> None:
    if node.parent == ROOT:
        return
    parent = known.get(node.parent)
    right = parent is not None and not parent.deleted and parent.kind == DIRECTORY
    report.expect(right, f"{at}: its parent is no living directory")
    seen = {node.node}
    while parent is not None and parent.node not in seen:
        seen.add(parent.node)
        parent = known.get(parent.parent)
    report.expect(parent is None, f"{at}: it is above itself")
