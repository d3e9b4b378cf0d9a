"""People who work in the folder on one side, as far as both do the same."""

from dataclasses import dataclass, field

from peer.trees import Content, Local, Remote
from protocol.commits import DIRECTORY, FILE, SYMLINK
from protocol.identifiers import ROOT, NodeId
from tests.peer.synchronizer.model.world import World

NAMES = ("a", "A", "b", "c", "d")


@dataclass
class Person:
    """Somebody who works in the folder on one side. What can't be done is left."""

    world: World
    actions: list[str] = field(default_factory=list)

    def rows(self) -> dict[NodeId, Local] | dict[NodeId, Remote]:
        """What this person sees."""
        raise NotImplementedError

    def content(self, node: NodeId) -> Content | None:
        """What a file holds, as this person sees it."""
        raise NotImplementedError

    def create(self, parent: NodeId, name: str, kind: int, content: Content | None) -> None:
        raise NotImplementedError

    def write(self, node: NodeId, content: Content) -> None:
        raise NotImplementedError

    def move(self, node: NodeId, parent: NodeId, name: str) -> None:
        raise NotImplementedError

    def swap(self, one: NodeId, other: NodeId) -> None:
        raise NotImplementedError

    def outgrow(self, node: NodeId) -> None:
        """A file becomes one that can't be read or sent, for a while. Only possible here."""

    def take_away(self, node: NodeId) -> None:
        """Without what is inside."""
        raise NotImplementedError

    def act(self, action: str, first: int, second: int, third: int) -> None:
        """Carry out one of `ACTIONS` on a node, a directory and a name that the numbers choose."""
        # What has stepped aside for a moment is not a name that anybody types, but whoever has it open goes on there.
        rows = self.rows()
        nodes = sorted(node for node, row in rows.items() if action in IN_PLACE or not row.name.startswith(ASIDE))
        directories = [ROOT, *sorted(node for node, row in rows.items() if row.kind == DIRECTORY)]
        directory, name = directories[second % len(directories)], NAMES[third % len(NAMES)]
        if action in ADDING:
            self._add(action, directory, name, first)
        elif nodes:
            other = nodes[second % len(nodes)]
            self._change(action, nodes[first % len(nodes)], directory, other, name)

    def _add(self, action: str, parent: NodeId, name: str, number: int) -> None:
        if self.at(parent, name) is not None:
            return
        if action == "add directory":
            self.create(parent, name, DIRECTORY, None)
        else:
            content = self.world.pooled_content(number) if action == "add same" else self.world.new_content()
            self._save(content)
            self.create(parent, name, SYMLINK if action == "add link" else FILE, content)

    def _change(self, action: str, node: NodeId, directory: NodeId, other: NodeId, name: str) -> None:
        row = self.rows()[node]
        if action == "delete":
            self.delete(node)
        elif action == "rename":
            self._move_over(node, row.parent, name)
        elif action == "move":
            self._move_over(node, directory, row.name)
        elif action == "swap":
            self._swap(node, other)
        elif action == "change kind":
            self._change_kind(node)
        elif action == "outgrow":
            self.outgrow(node)
        elif row.kind != DIRECTORY:
            self._write(action, node)

    def at(self, parent: NodeId, name: str) -> NodeId | None:
        """What this person sees under a name."""
        return next((row.node for row in self.rows().values() if (row.parent, row.name) == (parent, name)), None)

    def above(self, node: NodeId) -> list[NodeId]:
        """The node and the directories above it."""
        out, rows = list[NodeId](), self.rows()
        while node != ROOT:
            out.append(node)
            node = rows[node].parent
        return out

    def delete(self, node: NodeId) -> None:
        """rm -r"""
        for child in [row.node for row in self.rows().values() if row.parent == node]:
            self.delete(child)
        self._overwritten(node)
        self.take_away(node)

    def _move_over(self, node: NodeId, parent: NodeId, name: str) -> None:
        """mv: over a file, too."""
        present = self.at(parent, name)
        if present == node or node in self.above(parent):
            return
        if present is not None:
            if DIRECTORY in (self.rows()[node].kind, self.rows()[present].kind):
                return
            self.delete(present)
        self.move(node, parent, name)

    def _swap(self, one: NodeId, other: NodeId) -> None:
        if one not in self.above(other) and other not in self.above(one):
            self.swap(one, other)

    def _change_kind(self, node: NodeId) -> None:
        row = self.rows()[node]
        self.delete(node)
        self._add("add file" if row.kind == DIRECTORY else "add directory", row.parent, row.name, 0)

    def _write(self, action: str, node: NodeId) -> None:
        before = self.content(node)
        assert before is not None
        if action == "touch":
            content = before._replace(mtime_ns=self.world.new_content().mtime_ns)
        elif action == "chmod":
            if self.rows()[node].kind == SYMLINK:
                return
            content = before._replace(executable=not before.executable)
        else:
            content = self.world.new_content() if action == "edit" else self.world.pooled_content(len(node))
            if before.digest != content.digest:
                self._overwritten(node)
                self._save(content)
        self.write(node, content)

    def _save(self, content: Content) -> None:
        if not content.digest.startswith(b"pool"):
            self.world.saved.add(content.digest)

    def _overwritten(self, node: NodeId) -> None:
        content = self.content(node)
        if content is not None:
            self.world.saved.discard(content.digest)


ADDING = ("add file", "add same", "add link", "add directory")
IN_PLACE = ("edit", "edit same", "touch", "chmod", "outgrow")
ACTIONS = (*ADDING, *IN_PLACE, "delete", "rename", "move", "swap", "change kind")
ASIDE = ".shoal-"
