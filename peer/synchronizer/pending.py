"""What is still to be deleted and overwritten, of all that is dirty, without planning it."""

from collections.abc import Set

from peer.breaker import Direction, Kind
from peer.tree_store import TreeStore
from protocol.commits import DIRECTORY
from protocol.identifiers import NodeId

# CROSS JOIN fixes the order, as in `loading`.
_DIRTY = "SELECT d.node FROM dirty d CROSS JOIN synced s ON s.workspace = d.workspace AND s.node = d.node"
_REMOTE = "JOIN remote r ON r.workspace = d.workspace AND r.node = d.node"
_LOCAL = "JOIN local l ON l.workspace = d.workspace AND l.node = d.node AND NOT l.gone"
_AGREED = "LEFT JOIN versions v ON v.workspace = s.workspace AND v.version = s.version"
_FILES = f"WHERE d.workspace = ? AND s.kind != {DIRECTORY}"
_UNCHANGED = "l.digest IS v.digest"
_PENDING = {
    (Direction.OUT, Kind.DELETE): f"{_DIRTY} {_REMOTE} LEFT {_LOCAL} {_FILES}"
    " AND l.node IS NULL AND r.version IS s.version",
    # What has been touched and not been read yet will be sent, at least with another time.
    (Direction.OUT, Kind.OVERWRITE): f"{_DIRTY} {_REMOTE} {_LOCAL} {_AGREED} {_FILES}"
    " AND r.version IS s.version AND NOT l.blocked AND (l.mtime_ns != v.mtime_ns"
    " OR l.digest NOT NULL AND (l.digest, l.executable, l.private) != (v.digest, v.executable, v.private))",
    (Direction.IN, Kind.DELETE): f"{_DIRTY} {_LOCAL} LEFT {_REMOTE} {_AGREED} {_FILES}"
    f" AND r.node IS NULL AND {_UNCHANGED}",
    (Direction.IN, Kind.OVERWRITE): f"{_DIRTY} {_REMOTE} {_LOCAL} {_AGREED}"
    " JOIN versions w ON w.workspace = r.workspace AND w.version = r.version"
    f" {_FILES} AND r.version IS NOT s.version AND w.digest != v.digest AND {_UNCHANGED}",
}


def pending_changes(store: TreeStore, direction: Direction, kind: Kind) -> frozenset[NodeId]:
    """The files whose delete or overwrite the planner will ask for, as far as the trees tell by now."""
    return frozenset(node for (node,) in store.database.rows(_PENDING[direction, kind], store.workspace))


def files_with(store: TreeStore, gone: Set[NodeId]) -> int:
    """How many files and symlinks are agreed on, with those of `gone` that no longer are."""
    sql = f"SELECT count(*) FROM synced WHERE workspace = ? AND kind != {DIRECTORY}"
    (count,) = store.database.row(sql, store.workspace)
    return int(count) + len(gone - store.synceds(gone).keys())
