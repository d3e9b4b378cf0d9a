"""Where nothing conflicts the planner comes to what anybody would expect."""

from hypothesis import assume

from peer.trees import Content, Local, Remote, Synced
from protocol.commits import DIRECTORY
from protocol.identifiers import ROOT, NodeId
from tests.peer.synchronizer.model.drawn import BASE, Edits, edited_world, edits, holds
from tests.peer.synchronizer.model.naive import Entry, Tree, merge
from tests.peer.synchronizer.model.world import World, rounds

D, E, F, G = (NodeId(bytes([number]) * 16) for number in range(1, 5))


def trees(world: World) -> tuple[Tree, Tree, Tree]:
    """SYNCED, LOCAL as it really is, and REMOTE."""
    synced = {node: _entry(row, row.content) for node, row in world.synced.items()}
    local = {node: _entry(row, world.held(node)) for node, row in world.local.items()}
    remote = {node: _entry(row, row.content) for node, row in world.remote.items()}
    return synced, local, remote


def _entry(row: Local | Remote | Synced, content: Content | None) -> Entry:
    return Entry(row.parent, row.name, row.kind, content)


CALM = ("add file", "add link", "add directory", "edit", "touch", "chmod", "delete", "rename", "move", "swap")


@holds(500, base=BASE, here=edits(3, CALM), there=edits(3, CALM))
def test_what_does_not_conflict_is_merged(base: Edits, here: Edits, there: Edits) -> None:
    world = edited_world(base, here, there)
    expected = merge(*trees(world))
    assume(expected is not None)
    world.settle(rounds(world))
    world.check_agreed()
    assert trees(world)[1] == expected
    assert world.conflicts == 0


# The model itself


def folder(name: str, parent: NodeId = ROOT) -> Entry:
    return Entry(parent, name, DIRECTORY, None)


def test_the_model_takes_from_each_side_what_changed_there() -> None:
    base = {D: folder("d"), E: folder("e"), F: folder("f")}
    here = {D: folder("d2"), E: folder("e"), G: folder("g", E)}
    there = {D: folder("d"), E: folder("e", D), F: folder("f")}
    assert merge(base, here, there) == {D: folder("d2"), E: folder("e", D), G: folder("g", E)}


def test_the_model_is_silent_about_conflicts() -> None:
    base = {D: folder("d"), E: folder("e")}
    assert merge(base, {D: folder("x"), E: folder("e")}, {D: folder("y"), E: folder("e")}) is None
    assert merge(base, {E: folder("e")}, {D: folder("y"), E: folder("e")}) is None
    assert merge(base, {E: folder("e")}, {**base, F: folder("f", D)}) is None
    assert merge(base, {D: folder("x"), E: folder("e")}, {**base, F: folder("x")}) is None
    assert merge(base, {D: folder("d", E), E: folder("e")}, {D: folder("d"), E: folder("e", D)}) is None
