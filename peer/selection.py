"""What this device follows of a workspace: all but what it ignores and what a person has excluded here.

Kept in the client database. Rules hang on the id of their directory and exclusions on that of the node, so that both
move with it. When the database is lost the rules are read again, and nothing is excluded: all of it is fetched.
"""

from collections.abc import Container, Iterable, Iterator, Mapping

from peer.ignoring import IGNORE_FILE, Chain, Rule, Rules, is_ignored, parse, rule_for
from peer.problems import printable
from peer.root import Names
from peer.tree_store import TreeStore
from peer.trees import Remote
from protocol.commits import DIRECTORY, FILE
from protocol.identifiers import ROOT, NodeId


class Selection:
    """The rules and exclusions of one workspace."""

    def __init__(self, store: TreeStore) -> None:
        """Those of the store's workspace; the caller brackets related changes in one transaction."""
        self._store = store
        self._database = store.database

    # Rules --------------------

    def bodies(self, directories: Iterable[NodeId]) -> dict[NodeId, bytes]:
        """What the `.shoalignore` of these directories say, of those that have one."""
        sql = "SELECT directory, body FROM rules WHERE workspace = ? AND directory IN (??)"
        return dict(self._database.rows_in(sql, self._store.workspace, directories))

    def has_rules(self) -> bool:
        """Whether there are any, beside those that always hold."""
        return self._database.row("SELECT 1 FROM rules WHERE workspace = ?", self._store.workspace) is not None

    def put_rules(self, directory: NodeId, body: bytes | None) -> None:
        """A directory has this `.shoalignore` from now on; None when it has none any more. What the tracker has in it
        that isn't here is to be planned anew."""
        if body is None:
            sql = "DELETE FROM rules WHERE workspace = ? AND directory = ?"
            self._database.run(sql, self._store.workspace, directory)
        else:
            sql = "INSERT OR REPLACE INTO rules VALUES (?,?,?)"
            self._database.run(sql, self._store.workspace, directory, body)
        self._store.mark_all_dirty([*self._store.below_there(directory), *self._store.unwanted_folders()])

    def keeps_rules(self, directory: NodeId) -> bool:
        """Whether the rules of a directory hold on without their file: it is being removed, or was and is here for what
        is ignored in it only. Otherwise all that would be new."""
        row = self._store.local(directory)
        if row is None:
            return False
        doomed = self._store.synced(directory) is not None and self._store.remote(directory) is None
        return doomed or not row.wanted or bool(self.excluded_of([directory]))

    def ignores(self, directory: NodeId, path: Names, name: str, *, is_directory: bool) -> bool:
        """Whether an entry of a local directory, which has this path, is ignored."""
        return is_ignored(self.chain(directory, path), (*path, name), directory=is_directory)

    def ignoring(self, path: Names, *, directory: bool | None = None) -> str | None:
        """What says that a path is ignored, for people; None when nothing does. `directory` says what it is, if that is
        known."""
        chain: Chain = ()
        for end in range(1, len(path) + 1):
            folder = self._store.find(path[: end - 1])
            if folder is not None:  # else only what is said above it is known
                chain = self.chain(folder, path[: end - 1])
            kinds = (True, False) if directory is None else (directory,)
            for directory in kinds if end == len(path) else (True,):
                if is_ignored(chain, path[:end], directory=directory):
                    return _said(path, rule_for(chain, path[:end], directory=directory))
        return None

    def chain(self, directory: NodeId, path: Names) -> Chain:
        """The rules that hold in a local directory, which has this path."""
        if not self.has_rules():
            return ()
        above = [directory]
        while above[-1] != ROOT and (row := self._store.local(above[-1])) is not None:
            above.append(row.parent)
        return self._chain([*reversed(above)], self.bodies(above))

    @staticmethod
    def _chain(directories: Iterable[NodeId], bodies: Mapping[NodeId, bytes]) -> list[tuple[int, Rules]]:
        return [(depth, parse(bodies[node])) for depth, node in enumerate(directories) if node in bodies]

    # Exclusions --------------------

    def excluded(self) -> set[NodeId]:
        """What a person has excluded."""
        rows = self._database.rows("SELECT node FROM excluded WHERE workspace = ?", self._store.workspace)
        return {row[0] for row in rows}

    def exclude(self, node: NodeId) -> None:
        """The node, and all in it, is not wanted here."""
        with self._database.transaction():
            self._database.run("INSERT OR REPLACE INTO excluded VALUES (?,?)", self._store.workspace, node)
            self._store.mark_all_dirty([node, *self._store.below_there(node), *self._store.below_here(node)])
        self._database.checkpoint()  # what goes off the disk after a power cut took this back would count as deleted

    def include(self, node: NodeId) -> None:
        """The node, and all in it, is wanted again. What of it isn't here was never deleted here, whatever was agreed
        on (law 2)."""
        with self._database.transaction():
            sql = "DELETE FROM excluded WHERE workspace = ? AND node = ?"
            self._database.run(sql, self._store.workspace, node)
            inside = [node, *self._store.below_there(node)]
            here = self._store.locals(inside)
            missing = [each for each in inside if each not in here]
            self._database.run_in(
                "DELETE FROM synced WHERE workspace = ? AND node IN (??)", self._store.workspace, missing
            )
            self._store.mark_all_dirty([*inside, *self._store.below_here(node), *self._store.unwanted_folders()])

    def excluded_of(self, nodes: Iterable[NodeId]) -> set[NodeId]:
        """Those of these nodes that are excluded at the tracker's order of things: themselves, or a folder above."""
        asked = set(nodes)
        excluded = self.excluded() if asked else set[NodeId]()
        if not excluded:
            return set()
        parents: dict[NodeId, NodeId] = {}
        fresh = set(asked)
        while fresh:
            sql = "SELECT node, parent FROM remote WHERE workspace = ? AND node IN (??)"
            found = dict(self._database.rows_in(sql, self._store.workspace, fresh))
            parents |= found
            fresh = set(found.values()) - parents.keys() - {ROOT}
        return {node for node in asked if not excluded.isdisjoint(_upwards(parents, node))}

    # What is not wanted of what the tracker has --------------------

    def unwanted(
        self, remote: Mapping[NodeId, Remote], here: Mapping[NodeId, object], stuck: Container[NodeId]
    ) -> tuple[set[NodeId], set[NodeId]]:
        """Of these nodes, which hold those above each of them: which are not wanted, and which have to wait, as the
        rules of a folder above them are still to come, and not `stuck`. `here` are those on the disk: what is here is
        ignored only where it would go to an ignored folder."""
        return _Judge(self, self._store, remote, here, stuck).judge() if remote else (set(), set())


def _said(path: Names, found: tuple[int, Rule] | None) -> str:
    if found is None:
        return "its name: editors and systems leave such files behind"
    depth, rule = found
    return f"line {rule.line} of {printable((*path[:depth], IGNORE_FILE))}: {printable((rule.pattern,))}"


def _upwards(parents: Mapping[NodeId, NodeId], node: NodeId) -> Iterator[NodeId]:
    seen = 0
    while node in parents and seen <= len(parents):
        yield node
        node, seen = parents[node], seen + 1


class _Judge:
    """One look at many nodes: each folder is judged once."""

    def __init__(
        self,
        selection: Selection,
        store: TreeStore,
        remote: Mapping[NodeId, Remote],
        here: Mapping[NodeId, object],
        stuck: Container[NodeId],
    ) -> None:
        self._remote, self._here = remote, here
        self._excluded = selection.excluded()
        folders = [ROOT, *(node for node, row in remote.items() if row.kind == DIRECTORY)]
        self._bodies = selection.bodies(folders) if selection.has_rules() else {}
        self._coming = {
            folder
            for node, folder in _rules_to_come(store, folders)
            if node not in stuck and node not in self._excluded
        }
        # Of each folder: whether it is not wanted, whether rules above or in it are to come, its path, and its rules.
        self._known: dict[NodeId, tuple[bool, bool, Names, Chain]] = {}
        self._known[ROOT] = (False, ROOT in self._coming, (), self._with_rules((), ROOT, 0))

    def judge(self) -> tuple[set[NodeId], set[NodeId]]:
        unwanted, waiting = set[NodeId](), set[NodeId]()
        for node, row in self._remote.items():
            off, early, path, chain = self._folder(row.parent)
            if off or node in self._excluded or self._ignored(node, row, path, chain):
                unwanted.add(node)
            elif early and node not in self._here and row.name != IGNORE_FILE:
                waiting.add(node)
        return unwanted, waiting

    def _ignored(self, node: NodeId, row: Remote, path: Names, chain: Chain) -> bool:
        return node not in self._here and is_ignored(chain, (*path, row.name), directory=row.kind == DIRECTORY)

    def _folder(self, node: NodeId) -> tuple[bool, bool, Names, Chain]:
        """Climb to the first folder above that is known, and come down again."""
        climb: list[NodeId] = []
        while node not in self._known and node in self._remote and node not in climb:
            climb.append(node)
            node = self._remote[node].parent
        found = self._known.get(node, (False, False, (), ()))
        for node in reversed(climb):
            off, early, path, chain = found
            row = self._remote[node]
            off = off or node in self._excluded or self._ignored(node, row, path, chain)
            path = (*path, row.name)
            found = (off, early or node in self._coming, path, self._with_rules(chain, node, len(path)))
            self._known[node] = found
        return found

    def _with_rules(self, chain: Chain, node: NodeId, depth: int) -> Chain:
        body = self._bodies.get(node)
        return chain if body is None else [*chain, (depth, parse(body))]


def _rules_to_come(store: TreeStore, folders: Iterable[NodeId]) -> Iterator[tuple[NodeId, NodeId]]:
    """The rules of these folders that the cloud has and this disk hasn't, or hasn't read yet: each with its folder."""
    sql = f"""SELECT r.node, r.parent FROM remote r LEFT JOIN local l
                 ON l.workspace = r.workspace AND l.parent = r.parent AND l.name = r.name AND NOT l.gone
             WHERE r.workspace = ? AND r.name = ? AND r.durable IS r.version AND r.version NOT NULL
             AND (l.node IS NULL OR l.kind = {FILE} AND NOT EXISTS (
                 SELECT 1 FROM rules WHERE workspace = r.workspace AND directory = r.parent
             )) AND r.parent IN (??)"""
    return store.database.rows_in(sql, store.workspace, folders, IGNORE_FILE)
