"""Worlds that are set up by paths, for tests of single cases."""

from typing import TypeAlias

from peer.database import Database
from peer.synchronizer.loading import load_slice
from peer.synchronizer.planner import plan
from peer.synchronizer.steps import Await, Step, Wait
from peer.trees import Content
from protocol.commits import DIRECTORY, FILE
from protocol.identifiers import ROOT, NodeId, VersionId
from tests.peer.synchronizer.model.sides import Here, There
from tests.peer.synchronizer.model.stored import store_of
from tests.peer.synchronizer.model.world import World, rounds

Path: TypeAlias = str
"""Names with slashes between them, from the top."""


class Case(World):
    """A world to set up by paths. `here` has read all its files."""

    def __init__(self) -> None:
        super().__init__()
        self.here = Here(self, read=True)
        self.there = There(self)

    def both(self, *paths: Path) -> list[NodeId]:
        """Files, and directories with a slash at their end, on which all sides agree."""
        for path in paths:
            self.new(self.there, path)
        self.settle(4 * len(paths) + 4)
        return [self.node(self.there, path) for path in paths]

    def new(self, person: Here | There, path: Path, content: Content | None = None) -> NodeId:
        """Somebody makes a file, or a directory."""
        parent, name = self._place(person, path)
        if path.endswith("/"):
            person.create(parent, name, DIRECTORY, None)
        else:
            person.create(parent, name, FILE, content or self.new_content())
        return self.node(person, path)

    def move(self, person: Here | There, path: Path, to: Path) -> None:
        person.move(self.node(person, path), *self._place(person, to))

    def edit(self, person: Here | There, path: Path, content: Content | None = None) -> None:
        person.write(self.node(person, path), content or self.new_content())

    def delete(self, person: Here | There, path: Path) -> None:
        person.delete(self.node(person, path))

    def node(self, person: Here | There, path: Path) -> NodeId:
        """The node at a path, as that person sees it."""
        node = ROOT
        for name in path.strip("/").split("/") if path.strip("/") else ():
            found = person.at(node, name)
            assert found is not None, f"no {path}"
            node = found
        return node

    def _place(self, person: Here | There, path: Path) -> tuple[NodeId, str]:
        above, _, name = path.rstrip("/").rpartition("/")
        return self.node(person, above), name

    def why(self, node: NodeId) -> str:
        """What a node waits for."""
        step = self.steps()[node]
        assert isinstance(step, Wait)
        return step.why

    def awaits(self, node: NodeId) -> bool:
        """Whether a node waits for the content of its head."""
        head = self.remote[node].version
        return head is not None and self.steps()[node] == Await(node, head)

    def head(self, node: NodeId) -> VersionId:
        """The newest version of a node at the tracker."""
        version = self.remote[node].version
        assert version is not None
        return version

    def end(self) -> list[str]:
        """Work until all agree; the paths that there are then."""
        self.settle(rounds(self))
        self.check_agreed()
        return sorted("/".join(path) for path in self.paths())


class SlicedCase(Case):
    """Whenever it is asked for steps, it holds the slice of each single node against the whole."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    def steps(self) -> dict[NodeId, Step]:
        store = store_of(self._database, self)
        for node in self.dirty:
            assert plan(load_slice(store, [node], self)) == plan(self.view([node]))
        assert plan(load_slice(store, list(self.dirty), self)) == plan(self.view())
        return super().steps()

    def end(self) -> list[str]:
        self.steps()
        return super().end()
