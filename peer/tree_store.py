"""The three trees of one workspace in the client database. Every change of LOCAL or REMOTE marks its node dirty."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from peer.database import Database
from peer.trees import Content, Fetched, Fingerprint, Local, Placing, Remote, Synced
from protocol.commits import DIRECTORY, FILE
from protocol.identifiers import ID_LENGTH, ROOT, DeviceId, NodeId, VersionId, WorkspaceId

_LOCAL = """SELECT node, parent, name, kind, digest, executable, private, device, inode, size, mtime_ns, ctime_ns, mode,
            blocked, wanted FROM local WHERE workspace = ?"""
_REMOTE = """SELECT r.node, parent, name, kind, place, r.version, r.durable, digest, mtime_ns, executable, private
             FROM remote r LEFT JOIN versions v ON v.workspace = r.workspace AND v.version = r.version
             WHERE r.workspace = ?"""
_SYNCED = """SELECT s.node, parent, name, kind, place, s.version, digest, mtime_ns, executable, private
             FROM synced s LEFT JOIN versions v ON v.workspace = s.workspace AND v.version = s.version
             WHERE s.workspace = ?"""
_PLACING = _SYNCED.replace("FROM synced", ", device, inode FROM placing")
_AGREED = f"""SELECT l.node FROM local l
    CROSS JOIN remote r ON r.workspace = l.workspace AND r.node = l.node
    CROSS JOIN synced s ON s.workspace = l.workspace AND s.node = l.node
    LEFT JOIN versions v ON v.workspace = r.workspace AND v.version = r.version
    WHERE l.workspace = ? AND l.node IN (??) AND NOT l.gone
    AND l.parent = r.parent AND l.name = r.name AND s.place = r.place AND s.version IS r.version
    AND (l.kind = {DIRECTORY} OR NOT l.blocked AND (l.digest, l.mtime_ns, l.executable, l.private)
         = (v.digest, v.mtime_ns, v.executable, v.private))"""
_NOT_AGREED_ON = f"""SELECT l.node FROM local l
    LEFT JOIN synced s ON s.workspace = l.workspace AND s.node = l.node
    LEFT JOIN versions v ON v.workspace = s.workspace AND v.version = s.version
    WHERE l.workspace = ? AND l.kind = {FILE} AND l.digest NOT NULL AND NOT l.gone AND l.digest IS NOT v.digest"""
_UNREAD = f"""SELECT node FROM local WHERE workspace = ? AND kind = {FILE} AND digest IS NULL AND NOT gone
    AND NOT blocked"""
_BELOW = """WITH RECURSIVE below(node) AS (
        SELECT node FROM {0} WHERE workspace = ?1 AND parent = ?2
        UNION SELECT t.node FROM below b CROSS JOIN {0} t ON t.workspace = ?1 AND t.parent = b.node
    ) SELECT node FROM below"""
MAX_DEPTH = 4096


class AsSeen(NamedTuple):
    """What LOCAL says of an entry of a directory, as far as lstat(2) tells it: from `device` on in the order of
    `peer.ports.Stat`."""

    name: str
    kind: int
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    blocked: int


def _local(row: tuple) -> Local:  # type: ignore[type-arg]
    # Each by its name, as a star costs a list: this is what is read most.
    node, parent, name, kind, digest, executable, private, device, inode, size, mtime, ctime, mode, blocked, wanted = (
        row
    )
    content = None if digest is None else Content(digest, mtime, bool(executable), bool(private))
    print_ = Fingerprint(device, inode, size, mtime, ctime, mode)
    return Local(node, parent, name, kind, content, print_, bool(blocked), bool(wanted))


def _local_columns(row: Local) -> tuple[object, ...]:
    content, stat = row.content, row.print
    bits = (None, False, False) if content is None else (content.digest, content.executable, content.private)
    print_ = (stat.device, stat.inode, stat.size, stat.mtime_ns, stat.ctime_ns, stat.mode)
    return row.node, row.parent, row.name, row.kind, *bits, *print_, row.blocked, row.wanted


def _content(digest: bytes | None, mtime_ns: int, executable: int, private: int) -> Content | None:
    return None if digest is None else Content(digest, mtime_ns, bool(executable), bool(private))


def _remote(row: tuple) -> Remote:  # type: ignore[type-arg]
    node, parent, name, kind, place, version, durable, *content = row
    return Remote(node, parent, name, kind, place, version, _content(*content), durable)


def _synced(row: tuple) -> Synced:  # type: ignore[type-arg]
    node, parent, name, kind, place, version, *content = row
    return Synced(node, parent, name, kind, place, version, _content(*content))


class TreeStore:
    """Reads and writes the rows of one workspace."""

    def __init__(self, database: Database, workspace: WorkspaceId) -> None:
        """Work on `workspace` in `database`; the caller brackets related changes in one transaction."""
        self.database = database
        self.workspace = workspace

    # LOCAL --------------------

    def local(self, node: NodeId) -> Local | None:
        """What is known of a node on the disk; None when it isn't there."""
        row = self.database.row(f"{_LOCAL} AND node = ? AND NOT gone", self.workspace, node)
        return None if row is None else _local(row)

    def locals(self, nodes: Iterable[NodeId]) -> dict[NodeId, Local]:
        """Those of `nodes` that are on the disk."""
        rows = self.database.rows_in(f"{_LOCAL} AND node IN (??) AND NOT gone", self.workspace, nodes)
        return {row[0]: _local(row) for row in rows}

    def local_children(self, parent: NodeId) -> dict[str, Local]:
        """What is known to be in a directory, by name."""
        rows = self.database.rows(f"{_LOCAL} AND parent = ? AND NOT gone", self.workspace, parent)
        return {row[2]: _local(row) for row in rows}

    def as_seen(self, parent: NodeId) -> dict[str, AsSeen]:
        """What is known to be in a directory, by name, for a comparison with what is there."""
        sql = """SELECT name, kind, device, inode, size, mtime_ns, ctime_ns, mode, blocked FROM local
                 WHERE workspace = ? AND parent = ? AND NOT gone"""
        return {row[0]: AsSeen._make(row) for row in self.database.rows(sql, self.workspace, parent)}

    def locals_at(self, parent: NodeId, names: Iterable[str]) -> dict[str, Local]:
        """What is known to stand under these names in a directory."""
        sql = f"{_LOCAL} AND parent = ? AND name IN (??) AND NOT gone"
        return {row[2]: _local(row) for row in self.database.rows_in(sql, self.workspace, names, parent)}

    def local_at(self, parent: NodeId, name: str) -> Local | None:
        """What is known to stand under a name."""
        row = self.database.row(f"{_LOCAL} AND parent = ? AND name = ? AND NOT gone", self.workspace, parent, name)
        return None if row is None else _local(row)

    def gone_at(self, parent: NodeId, name: str, kind: int) -> NodeId | None:
        """A node of this kind that stood under a name and is no longer seen."""
        sql = "SELECT node FROM local WHERE workspace = ? AND parent = ? AND name = ? AND kind = ? AND gone"
        row = self.database.row(sql, self.workspace, parent, name, kind)
        return None if row is None else row[0]

    def locals_by_inode(self, device: int, inode: int) -> list[tuple[Local, bool]]:
        """Nodes last seen with this inode, and whether each is gone from where it was."""
        sql = _LOCAL.replace("wanted FROM", "wanted, gone FROM") + " AND device = ? AND inode = ?"
        rows = self.database.rows(sql, self.workspace, device, inode)
        return [(_local(row[:-1]), bool(row[-1])) for row in rows]

    def inodes_known(self, device: int, inodes: Iterable[int]) -> set[int]:
        """Those of these inodes that `locals_by_inode` knows something of."""
        sql = "SELECT inode FROM local WHERE workspace = ? AND device = ? AND inode IN (??)"
        return {row[0] for row in self.database.rows_in(sql, self.workspace, inodes, device)}

    def names_gone(self, parent: NodeId, names: Iterable[str]) -> set[str]:
        """Those of these names in a directory that `gone_at` knows something of."""
        sql = "SELECT name FROM local WHERE workspace = ? AND parent = ? AND name IN (??) AND gone"
        return {row[0] for row in self.database.rows_in(sql, self.workspace, names, parent)}

    def folders_with(self, device: int, inodes: Iterable[int]) -> set[NodeId]:
        """The folders in which nodes were last seen, and are not known to be gone, that have these inodes."""
        sql = "SELECT parent FROM local WHERE workspace = ? AND device = ? AND inode IN (??) AND NOT gone"
        return {row[0] for row in self.database.rows_in(sql, self.workspace, inodes, device)}

    def put_local(self, row: Local) -> None:
        """Insert or replace a node on the disk."""
        self.put_locals([row])

    def put_locals(self, rows: Sequence[Local]) -> None:
        """Insert or replace nodes on the disk."""
        self.database.run_many(
            "INSERT OR REPLACE INTO local VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,0,?,?)",
            [(self.workspace, *_local_columns(row)) for row in rows],
        )
        self.mark_all_dirty(row.node for row in rows)

    def put_contents(self, contents: Iterable[tuple[NodeId, Content]]) -> None:
        """These files on the disk were read."""
        rows = [(c.digest, c.executable, c.private, self.workspace, node) for node, c in contents]
        self.database.run_many(
            "UPDATE local SET digest = ?, executable = ?, private = ? WHERE workspace = ? AND node = ?", rows
        )
        self.mark_all_dirty(row[-1] for row in rows)

    def read_again(self) -> None:
        """Files with a known content that isn't agreed on: it isn't known any more."""
        nodes = [row[0] for row in self.database.rows(_NOT_AGREED_ON, self.workspace)]
        self.database.run_in(
            "UPDATE local SET digest = NULL WHERE workspace = ? AND node IN (??)", self.workspace, nodes
        )
        self.mark_all_dirty(nodes)

    def set_gone(self, node: NodeId) -> None:
        """The node, and everything in it, is no longer seen on the disk."""
        for inside in [child.node for child in self.local_children(node).values()]:
            self.set_gone(inside)
        self.database.run("UPDATE local SET gone = 1 WHERE workspace = ? AND node = ?", self.workspace, node)
        self.mark_dirty(node)

    def unfollow(self, node: NodeId) -> None:
        """The node, and everything in it, is ignored from now on: LOCAL forgets it as if it had never been there, and
        nothing is agreed on it, so that no delete can follow."""
        for (inside,) in self.database.rows(
            "SELECT node FROM local WHERE workspace = ? AND parent = ?", self.workspace, node
        ):
            self.unfollow(inside)
        self.drop_local(node)
        self.drop_synced(node)

    def followed(self, nodes: Iterable[NodeId]) -> set[NodeId]:
        """Those of `nodes` that LOCAL knows, be it as gone."""
        sql = "SELECT node FROM local WHERE workspace = ? AND node IN (??)"
        return {row[0] for row in self.database.rows_in(sql, self.workspace, nodes)}

    def drop_local(self, node: NodeId) -> None:
        """Forget the node's row altogether, with its ignore rules: what they kept out is to be planned anew."""
        self.database.run("DELETE FROM local WHERE workspace = ? AND node = ?", self.workspace, node)
        if self.database.run("DELETE FROM rules WHERE workspace = ? AND directory = ?", self.workspace, node):
            self.mark_all_dirty(self.below_there(node))
        self.mark_dirty(node)

    def rename_local_node(self, node: NodeId, to: NodeId) -> None:
        """Give a local node another id, with all that hangs on it; SYNCED of the old one is not touched."""
        for table in ("local", "staged"):
            self.database.run(
                f"UPDATE OR REPLACE {table} SET node = ? WHERE workspace = ? AND node = ?", to, self.workspace, node
            )
        self.database.run(
            "UPDATE OR REPLACE rules SET directory = ? WHERE workspace = ? AND directory = ?", to, self.workspace, node
        )
        self.database.run("UPDATE local SET wanted = 1 WHERE workspace = ? AND node = ?", self.workspace, to)
        sql = "UPDATE local SET parent = ? WHERE workspace = ? AND parent = ? RETURNING node"
        for (child,) in self.database.rows(sql, to, self.workspace, node):
            self.mark_dirty(child)
        self.mark_dirty(node)
        self.mark_dirty(to)

    def unwanted_folders(self) -> set[NodeId]:
        """The folders that are here for what is ignored in them only."""
        sql = "SELECT node FROM local INDEXED BY local_not_wanted WHERE workspace = ? AND NOT wanted AND NOT gone"
        return {row[0] for row in self.database.rows(sql, self.workspace)}

    def want(self, folder: NodeId) -> None:
        """There is something in a folder that is to be sent, and with it the folders above."""
        while (row := self.local(folder)) is not None and not row.wanted:
            self.put_local(row._replace(wanted=True))
            folder = row.parent

    def below_here(self, node: NodeId) -> list[NodeId]:
        """All that is known to be in a folder on the disk."""
        nodes = [row[0] for row in self.database.rows(_BELOW.format("local"), self.workspace, node)]
        return [*self.locals(nodes)]

    def all_unread_files(self) -> list[NodeId]:
        """Local files whose content isn't known."""
        return [row[0] for row in self.database.rows(f"{_UNREAD} ORDER BY node", self.workspace)]

    def unread_files(self, nodes: Iterable[NodeId]) -> list[NodeId]:
        """Those of `nodes` that are such files."""
        return [row[0] for row in self.database.rows_in(f"{_UNREAD} AND node IN (??)", self.workspace, nodes)]

    def path(self, node: NodeId) -> tuple[str, ...] | None:
        """The names from the top of the folder to a local node; None when it or a folder above isn't there."""
        return self._names("SELECT parent, name FROM local WHERE workspace = ? AND node = ? AND NOT gone", node)

    def _names(self, sql: str, node: NodeId) -> tuple[str, ...] | None:
        names: list[str] = []
        while node != ROOT:
            row = self.database.row(sql, self.workspace, node)
            if row is None or len(names) > MAX_DEPTH:
                return None
            node, name = row
            names.append(name)
        return tuple(reversed(names))

    def find(self, path: Iterable[str]) -> NodeId | None:
        """The local node at a path; ROOT for the empty one."""
        node = ROOT
        for name in path:
            row = self.local_at(node, name)
            if row is None:
                return None
            node = row.node
        return node

    # REMOTE --------------------

    def remote(self, node: NodeId) -> Remote | None:
        """The node as the tracker ordered it; None when it doesn't exist there (any more)."""
        row = self.database.row(f"{_REMOTE} AND r.node = ?", self.workspace, node)
        return None if row is None else _remote(row)

    def remotes(self, nodes: Iterable[NodeId]) -> dict[NodeId, Remote]:
        """Those of `nodes` that exist at the tracker."""
        return {
            row[0]: _remote(row)
            for row in self.database.rows_in(f"{_REMOTE} AND r.node IN (??)", self.workspace, nodes)
        }

    def registers(self, nodes: Iterable[NodeId]) -> dict[NodeId, tuple[Any, ...]]:
        """Those of `nodes` that exist at the tracker: parent, name, kind, place mark, version, durable version."""
        sql = (
            "SELECT node, parent, name, kind, place, version, durable FROM remote WHERE workspace = ? AND node IN (??)"
        )
        return {row[0]: row[1:] for row in self.database.rows_in(sql, self.workspace, nodes)}

    def remote_children(self, parent: NodeId) -> dict[str, Remote]:
        """What the tracker has in a directory, by name."""
        return {row[2]: _remote(row) for row in self.database.rows(f"{_REMOTE} AND parent = ?", self.workspace, parent)}

    def remotes_beginning(self, parent: NodeId, beginning: str) -> list[Remote]:
        """What the tracker has in a directory under names that begin so, by name."""
        after = beginning[:-1] + chr(ord(beginning[-1]) + 1)
        sql = f"{_REMOTE} AND parent = ? AND name >= ? AND name < ? ORDER BY name"
        return [_remote(row) for row in self.database.rows(sql, self.workspace, parent, beginning, after)]

    def remote_at(self, parent: NodeId, name: str) -> Remote | None:
        """What the tracker has under a name."""
        row = self.database.row(f"{_REMOTE} AND parent = ? AND name = ?", self.workspace, parent, name)
        return None if row is None else _remote(row)

    def remote_path(self, node: NodeId) -> tuple[str, ...] | None:
        """The names from the top to a node at the tracker."""
        return self._names("SELECT parent, name FROM remote WHERE workspace = ? AND node = ?", node)

    def below_there(self, node: NodeId) -> list[NodeId]:
        """All that the tracker has in a folder."""
        return [row[0] for row in self.database.rows(_BELOW.format("remote"), self.workspace, node)]

    def put_remote(self, row: Remote) -> None:
        """Insert or replace a node. Its versions are stored apart."""
        self.replace_remotes([], [row])

    def replace_remotes(self, old: Iterable[NodeId], rows: Sequence[Remote]) -> None:
        """Take out nodes that were deleted at the tracker, or give up their names; then insert or replace others."""
        gone = list(old)
        self.database.run_in("DELETE FROM remote WHERE workspace = ? AND node IN (??)", self.workspace, gone)
        self.database.run_many(
            "INSERT OR REPLACE INTO remote VALUES (?,?,?,?,?,?,?,?)",
            [(self.workspace, r.node, r.parent, r.name, r.kind, r.place, r.version, r.durable) for r in rows],
        )
        self.mark_all_dirty(dict.fromkeys([*gone, *(row.node for row in rows), *self._left_alone_at(rows)]))

    def _left_alone_at(self, rows: Sequence[Remote]) -> Iterator[NodeId]:
        """What has one of these names here and isn't sent, but has to give way (10.3): it is clean, so nothing else
        would have it planned."""
        names = {(row.parent, row.name) for row in rows}
        sql = """SELECT node, parent, name FROM local INDEXED BY local_blocked WHERE workspace = ?1 AND blocked
                 UNION ALL
                 SELECT node, parent, name FROM local INDEXED BY local_not_wanted WHERE workspace = ?1 AND NOT wanted"""
        return (node for node, *place in self.database.rows(sql, self.workspace) if tuple(place) in names)

    def not_durable_count(self) -> int:
        """How many nodes' newest versions are not in the cloud yet."""
        sql = """SELECT count(*) FROM remote INDEXED BY remote_not_durable
                 WHERE workspace = ? AND durable IS NOT version"""
        return int(self.database.row(sql, self.workspace)[0])

    def synced_count(self) -> int:
        """How many nodes disk and tracker have agreed on."""
        return int(self.database.row("SELECT count(*) FROM synced WHERE workspace = ?", self.workspace)[0])

    # SYNCED --------------------

    def synced(self, node: NodeId) -> Synced | None:
        """What disk and tracker last agreed on."""
        row = self.database.row(f"{_SYNCED} AND s.node = ?", self.workspace, node)
        return None if row is None else _synced(row)

    def synceds(self, nodes: Iterable[NodeId]) -> dict[NodeId, Synced]:
        """Those of `nodes` that were agreed on."""
        return {
            row[0]: _synced(row)
            for row in self.database.rows_in(f"{_SYNCED} AND s.node IN (??)", self.workspace, nodes)
        }

    def synced_path(self, node: NodeId) -> tuple[str, ...] | None:
        """The names from the top to where a node was agreed to be."""
        return self._names("SELECT parent, name FROM synced WHERE workspace = ? AND node = ?", node)

    def synced_at(self, parent: NodeId, name: str) -> NodeId | None:
        """The node that was agreed to have a name. Goes through the whole tree: for people only."""
        sql = "SELECT node FROM synced WHERE workspace = ? AND parent = ? AND name = ?"
        row = self.database.row(sql, self.workspace, parent, name)
        return None if row is None else row[0]

    def put_synced(self, row: Synced) -> None:
        """Disk and tracker agree on this."""
        self.put_synceds([row])

    def put_synceds(self, rows: Sequence[Synced]) -> None:
        """Disk and tracker agree on these."""
        self.database.run_many("INSERT OR REPLACE INTO synced VALUES (?,?,?,?,?,?,?)", self._synced_columns(rows))
        self.mark_all_dirty(row.node for row in rows)

    def _synced_columns(self, rows: Iterable[Synced]) -> list[tuple[object, ...]]:
        return [(self.workspace, r.node, r.parent, r.name, r.kind, r.place, r.version) for r in rows]

    def agree(self, node: NodeId, version: VersionId | None = None) -> None:
        """SYNCED becomes REMOTE, with `version` instead of the head where that is what the disk has."""
        remote = self.remote(node)
        if remote is not None:
            held = remote.version if version is None else version
            self.put_synced(Synced(node, remote.parent, remote.name, remote.kind, remote.place, held, None))

    def drop_synced(self, node: NodeId) -> None:
        """Nothing is agreed on this node any more."""
        self.database.run("DELETE FROM synced WHERE workspace = ? AND node = ?", self.workspace, node)
        self.mark_dirty(node)

    # Files being put in place --------------------

    def put_placing(self, rows: Iterable[Placing]) -> None:
        """SYNCED will say this as soon as these files are in place."""
        self.database.run_many(
            "INSERT OR REPLACE INTO placing VALUES (?,?,?,?,?,?,?,?,?)",
            [
                (self.workspace, r.node, r.parent, r.name, r.kind, r.place, r.version, device, inode)
                for r, device, inode in rows
            ],
        )

    def drop_placing(self, nodes: Iterable[NodeId]) -> None:
        """These files are in place, or will not be."""
        self.database.run_many(
            "DELETE FROM placing WHERE workspace = ? AND node = ?", [(self.workspace, node) for node in nodes]
        )

    def drop_all_placing(self) -> None:
        """No file that was on its way counts any more."""
        self.database.run("DELETE FROM placing WHERE workspace = ?", self.workspace)

    def placing(self) -> list[Placing]:
        """The files that are being put in place, or were when a crash came."""
        return [Placing(_synced(row[:-2]), *row[-2:]) for row in self.database.rows(_PLACING, self.workspace)]

    # Where bytes came from --------------------

    def put_fetched(self, rows: Iterable[tuple[NodeId, Fetched]]) -> None:
        """Where the bytes of what these nodes have on this disk came from."""
        self.database.run_many(
            "INSERT OR REPLACE INTO fetched VALUES (?,?,?,?,?,?)",
            [(self.workspace, node, f.cloud, f.lan, f.here, b"".join(f.devices)) for node, f in rows],
        )

    def fetched(self, node: NodeId) -> Fetched | None:
        """What `put_fetched` was told last; None of a file that was never fetched."""
        sql = "SELECT cloud, lan, here, devices FROM fetched WHERE workspace = ? AND node = ?"
        row = self.database.row(sql, self.workspace, node)
        if row is None:
            return None
        cloud, lan, here, ids = row
        devices = (DeviceId(ids[at : at + ID_LENGTH]) for at in range(0, len(ids), ID_LENGTH))
        return Fetched(cloud, lan, here, tuple(devices))

    # Dirty nodes --------------------

    def mark_dirty(self, node: NodeId) -> None:
        """The trees may disagree on this node."""
        self.mark_all_dirty([node])

    def mark_all_dirty(self, nodes: Iterable[NodeId]) -> None:
        """The trees may disagree on these nodes."""
        self.database.run_many(
            "INSERT OR IGNORE INTO dirty (workspace, node) VALUES (?, ?)", [(self.workspace, node) for node in nodes]
        )

    def mark_clean(self, nodes: Iterable[NodeId]) -> None:
        """The trees agree on these nodes."""
        self.database.run_many(
            "DELETE FROM dirty WHERE workspace = ? AND node = ?", [(self.workspace, node) for node in nodes]
        )

    def agreed(self, nodes: Iterable[NodeId]) -> set[NodeId]:
        """Those of `nodes` on which all three trees agree, so that there is nothing to plan: most of those that were
        just sent or put in place, and all of which the newest version has only reached the cloud."""
        return {row[0] for row in self.database.rows_in(_AGREED, self.workspace, nodes)}

    def is_dirty(self, node: NodeId) -> bool:
        """Whether the trees may disagree on a node."""
        sql = "SELECT 1 FROM dirty WHERE workspace = ? AND node = ?"
        return self.database.row(sql, self.workspace, node) is not None

    def dirty_after(self, position: int, limit: int) -> list[tuple[int, NodeId]]:
        """Up to `limit` dirty nodes that became so after `position`, with their positions."""
        sql = "SELECT position, node FROM dirty WHERE workspace = ? AND position > ? ORDER BY position LIMIT ?"
        return list(self.database.rows(sql, self.workspace, position, limit))

    def dirty_count(self) -> int:
        """How many nodes the trees may disagree on."""
        return int(self.database.row("SELECT count(*) FROM dirty WHERE workspace = ?", self.workspace)[0])
