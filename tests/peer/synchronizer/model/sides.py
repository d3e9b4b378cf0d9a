"""People here, who change the disk, and people there, whose commits arrive at once."""

from dataclasses import dataclass

from peer.trees import Content, Local, Remote
from protocol.commits import FILE, Create, Move, Operation, Write
from protocol.identifiers import NodeId, PlaceMark
from tests.peer.synchronizer.model.people import Person
from tests.peer.synchronizer.model.sending import delete_of


@dataclass
class Here(Person):
    """Works on the disk. Contents are unread until the planner asks for them."""

    read: bool = False

    def rows(self) -> dict[NodeId, Local]:
        return self.world.local

    def content(self, node: NodeId) -> Content | None:
        return self.world.held(node)

    def create(self, parent: NodeId, name: str, kind: int, content: Content | None) -> None:
        read = self.read or kind != FILE
        self.world.put_file(NodeId(self.world.fresh()), parent, name, kind, content, read=read)

    def write(self, node: NodeId, content: Content) -> None:
        row = self.world.local[node]
        self.world.put_file(node, row.parent, row.name, row.kind, content, read=self.read or row.kind != FILE)

    def move(self, node: NodeId, parent: NodeId, name: str) -> None:
        self.world.put_local(self.world.local[node]._replace(parent=parent, name=name))

    def swap(self, one: NodeId, other: NodeId) -> None:
        first, second = self.world.local[one], self.world.local[other]
        self.move(one, second.parent, second.name)
        self.move(other, first.parent, first.name)

    def outgrow(self, node: NodeId) -> None:
        row = self.world.local[node]
        if row.kind == FILE:
            content = self.world.new_content()
            self._overwritten(node)
            self._save(content)
            self.world.put_file(node, row.parent, row.name, FILE, content, read=False)
            self.world.put_local(self.world.local[node]._replace(blocked=True))

    def take_away(self, node: NodeId) -> None:
        self.world.drop_local(node)


@dataclass
class There(Person):
    """Works on other devices, whose commits arrive at once. Deletes of a directory and its content are one commit."""

    def rows(self) -> dict[NodeId, Remote]:
        return self.world.remote

    def content(self, node: NodeId) -> Content | None:
        return self.world.remote[node].content

    def _commit(self, *operations: Operation) -> None:
        assert not self.world.commit(list(operations))

    def create(self, parent: NodeId, name: str, kind: int, content: Content | None) -> None:
        node = NodeId(self.world.fresh())
        sealed = None if content is None else self.world.content(content)
        self._commit(Create(node=node, kind=kind, place=self.world.place(parent, name), content=sealed))

    def write(self, node: NodeId, content: Content) -> None:
        base = self.world.remote[node].version
        assert base is not None
        self._commit(Write(node=node, base=base, content=self.world.content(content)))

    def move(self, node: NodeId, parent: NodeId, name: str) -> None:
        self._commit(self._move(node, parent, name))

    def _move(self, node: NodeId, parent: NodeId, name: str) -> Move:
        row = self.world.remote[node]
        return Move(node=node, base=row.place, place=self.world.place(parent, name), kind=row.kind)

    def swap(self, one: NodeId, other: NodeId) -> None:
        first, second = self.world.remote[one], self.world.remote[other]
        if one != other:
            self._commit(self._move(one, second.parent, second.name), self._move(other, first.parent, first.name))

    def take_away(self, node: NodeId) -> None:
        row = self.world.remote[node]
        mark = PlaceMark(self.world.fresh())
        self._commit(delete_of(row, mark))
