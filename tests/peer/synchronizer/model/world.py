"""A whole device: it plans, and carries out what was planned."""

from collections.abc import Callable, Iterable

from peer.synchronizer.planner import plan
from peer.synchronizer.slices import Slice
from peer.synchronizer.steps import (
    Adopt,
    Agree,
    Await,
    Clean,
    Forget,
    Renew,
    SendCreate,
    SendDelete,
    SendMove,
    SendWrite,
    Step,
    Wait,
)
from peer.trees import Synced
from protocol.identifiers import NodeId
from tests.peer.synchronizer.model.sending import Sender
from tests.peer.synchronizer.model.trees import check_tree, revision_of

_SENDS = SendCreate | SendMove | SendWrite | SendDelete
_BOOKS = Agree | Forget | Renew | Adopt


class World(Sender):
    """One device's three trees, its disk and the tracker."""

    def view(self, dirty: Iterable[NodeId] | None = None) -> Slice:
        """All of the three trees."""
        nodes = list(self.dirty if dirty is None else dirty)
        view = Slice(nodes, dict(self.local), dict(self.remote), dict(self.synced))
        view.offered, view.stalled = set(self.on_the_lan), set(self.given_up)
        view.revisions = {version: revision_of(version) for version in self.versions}
        return view

    def steps(self) -> dict[NodeId, Step]:
        """What is planned for each dirty node."""
        return {step.node: step for step in plan(self.view())}

    def turn(self, dirty: Iterable[NodeId] | None = None) -> bool:
        """Plan once and carry all of it out in order; whether anything was done."""
        return self.carry_out(plan(self.view(dirty)))

    def carry_out(self, steps: list[Step], wanted: Callable[[Step], bool] = lambda step: True) -> bool:
        """Do as the executor does with one plan. Bookkeeping is never left out: it is one transaction with planning."""
        progressed = False
        for step in steps:
            if isinstance(step, Clean):
                self.dirty.pop(step.node, None)
            elif isinstance(step, _BOOKS):
                self._keep_books(step)
                progressed = True
        for step in steps:
            if not isinstance(step, Clean | Wait | Await | _BOOKS | _SENDS) and wanted(step):
                done = self._change_disk(step)
                self.refused += not done
                progressed = done or progressed
        sends = [step for step in steps if isinstance(step, _SENDS) and wanted(step)]
        return (self.online and self._send(sends)) or progressed

    def _keep_books(self, step: Step) -> None:
        node = step.node
        if isinstance(step, Agree):
            if node in self.remote:
                self.put_synced(self.remote[node])
        elif isinstance(step, Forget):
            self.drop_synced(node)
        elif isinstance(step, Renew):
            self.rename_local_node(node, NodeId(self.fresh()))
            self.drop_synced(node)
        elif isinstance(step, Adopt):
            self.rename_local_node(node, step.remote)

    # The end

    def settle(self, rounds: int) -> None:
        """Plan and carry out until nothing is left to do. Fails when it takes more rounds in which something is done,
        or when there is a round in which nothing is and something is left."""
        done = 0
        while self.dirty:
            if self.turn():
                done += 1
                assert done <= rounds, f"no end after {rounds} rounds: {self.steps()}"
            else:
                assert not self.dirty, f"stuck: {self.steps()}"

    def check_agreed(self) -> None:
        """The three trees are equal, and the disk is one that can be."""
        assert not self.hidden
        assert {node: (row.parent, row.name, row.kind, row.content) for node, row in self.local.items()} == {
            node: (row.parent, row.name, row.kind, row.content) for node, row in self.remote.items()
        }
        assert self.synced == {
            node: Synced(node, row.parent, row.name, row.kind, row.place, row.version, row.content)
            for node, row in self.remote.items()
        }
        check_tree(self.local)
        assert len({(row.parent, row.name) for row in self.local.values()}) == len(self.local)
        assert not any(row.name.startswith(".shoal-") for row in self.local.values())


def rounds(world: World) -> int:
    """In how many rounds everything must have come to rest: four for each path."""
    return 4 * max(1, len(world.local.keys() | world.remote.keys() | world.synced.keys()))
