"""Steps that become a commit."""

from collections.abc import Sequence

from peer.synchronizer.steps import SendCreate, SendDelete, SendMove, SendWrite, Step
from peer.trees import Remote
from protocol.commits import DIRECTORY, Create, Delete, Move, Operation, Write
from protocol.identifiers import NodeId, PlaceMark
from tests.peer.synchronizer.model.disk import OnDisk


class Sender(OnDisk):
    """The trees, and commits to the tracker."""

    def _send(self, steps: Sequence[Step]) -> bool:
        """One commit, sent again without what was refused."""
        renewed = False
        for _ in range(3):
            made = [(step, operation) for step in steps if (operation := self._operation(step)) is not None]
            if not made:
                return renewed
            failed = self.commit([operation for _, operation in made])
            if not failed:
                for _, operation in made:
                    self._accept(operation)
                return True
            self.refused += len(failed)
            for index, reason in failed.items():
                renewed = self._settle_failure(made[index][0].node, reason) or renewed
            steps = [step for index, (step, _) in enumerate(made) if index not in failed]
        return renewed

    def _settle_failure(self, node: NodeId, reason: str) -> bool:
        if reason != "node-exists" or not self._tracker[node].deleted:
            return False
        self.rename_local_node(node, NodeId(self.fresh()))
        self.drop_synced(node)
        return True

    def _operation(self, step: Step) -> Operation | None:
        node, local, remote = step.node, self.local.get(step.node), self.remote.get(step.node)
        if isinstance(step, SendDelete):
            mark = PlaceMark(self.fresh())
            return None if remote is None else delete_of(remote, mark)
        if local is None or (local.content is None and local.kind != DIRECTORY and not isinstance(step, SendMove)):
            return None
        if isinstance(step, SendMove):
            place = self.place(local.parent, local.name)
            return None if remote is None else Move(node=node, base=remote.place, place=place, kind=local.kind)
        content = None if local.content is None else self.content(local.content)
        if isinstance(step, SendCreate):
            return Create(node=node, kind=local.kind, place=self.place(local.parent, local.name), content=content)
        if remote is None or remote.version is None or content is None:
            return None
        if isinstance(step, SendWrite) and step.skip:
            assert self.synced[node].version == remote.durable  # it is made on what it says
            self._pass_over(node)
            return None if remote.durable is None else Write(node=node, base=remote.durable, content=content)
        return Write(node=node, base=remote.version, content=content)

    def _accept(self, operation: Operation) -> None:
        """What the tracker took is agreed on."""
        node = operation.node
        if isinstance(operation, Delete):
            self.drop_synced(node)
        elif isinstance(operation, Create):
            self.put_synced(self.remote[node])
        elif isinstance(operation, Write) and node in self.synced:
            version = operation.content.version
            self.synced[node] = self.synced[node]._replace(version=version, content=self.versions[version])
            self.mark_dirty(node)
        elif isinstance(operation, Move) and node in self.synced:
            place = operation.place
            self.synced[node] = self.synced[node]._replace(
                parent=place.parent, name=place.token.decode(), place=place.mark
            )
            self.mark_dirty(node)


def delete_of(row: Remote, mark: PlaceMark) -> Delete:
    return Delete(node=row.node, base=row.place, mark=mark, content_base=row.version)
