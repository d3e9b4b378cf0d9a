"""Whole runs from a tree that both sides changed: they end in time, all agree, nothing is lost (laws 1, 4, 11, 12)."""

from tests.peer.synchronizer.model.checks import (
    check_contents,
    check_folders,
    check_kept,
    contents_of_all,
    differing_writes,
    directories,
    name_clashes,
)
from tests.peer.synchronizer.model.drawn import BASE, Edits, edited_world, edits, finish, holds
from tests.peer.synchronizer.model.people import ACTIONS
from tests.peer.synchronizer.model.sides import Here, There
from tests.peer.synchronizer.model.world import World, rounds

READABLE = [action for action in ACTIONS if action != "outgrow"]
MOVING = ("move", "move", "rename", "swap")
WRITING = ("edit", "edit same", "touch", "chmod")


@holds(700, base=BASE, here=edits(6, READABLE), there=edits(6))
def test_both_sides_change(base: Edits, here: Edits, there: Edits) -> None:
    world = edited_world(base, here, there)
    most, folders, contents = differing_writes(world) + name_clashes(world), directories(world), contents_of_all(world)
    world.settle(rounds(world))
    world.check_agreed()
    check_contents(world)
    check_kept(world, contents)
    check_folders(world, folders)
    assert world.conflicts <= most


@holds(500, base=BASE, here=edits(8, READABLE))
def test_one_writer_here(base: Edits, here: Edits) -> None:
    """The result is that writer's tree."""
    world = edited_world(base, here, [])
    nodes, paths = set(world.local), world.paths()
    world.settle(rounds(world))
    world.check_agreed()
    assert (set(world.local), world.paths(), world.conflicts) == (nodes, paths, 0)


@holds(500, base=BASE, there=edits(8))
def test_one_writer_there(base: Edits, there: Edits) -> None:
    """The result is that writer's tree."""
    world = edited_world(base, [], there)
    nodes, paths = set(world.remote), world.remote_paths()
    world.settle(rounds(world))
    world.check_agreed()
    assert (set(world.local), world.paths(), world.conflicts) == (nodes, paths, 0)


@holds(300, base=edits(8), here=edits(8))
def test_first_login_merges_by_path(base: Edits, here: Edits) -> None:
    """Files on both sides and nothing agreed on: all is kept, and nothing deleted (design §7)."""
    world = World()
    for edit in base:
        There(world).act(*edit)
    for edit in here:
        Here(world).act(*edit)
    remote, local, contents = world.remote_paths(), world.paths(), contents_of_all(world)
    finish(world)
    check_contents(world)
    check_kept(world, contents)
    assert {path: found for path, found in world.paths().items() if path in remote} == remote
    assert {path[-1] for path in local} <= {path[-1] for path in world.paths()}


@holds(400, base=edits(10, ("add directory", "add directory", "move")), here=edits(6, MOVING), there=edits(6, MOVING))
def test_folders_moved_into_each_other(base: Edits, here: Edits, there: Edits) -> None:
    """No cycle, no loss, nothing twice, and no conflict copies but for names (Kleppmann's tree moves)."""
    world = edited_world(base, here, there)
    nodes, most = world.local.keys() & world.remote.keys(), name_clashes(world)
    world.settle(rounds(world))
    world.check_agreed()
    assert set(world.local) == nodes
    assert world.conflicts <= most


@holds(400, base=edits(4, ("add file", "add same")), here=edits(4, WRITING), there=edits(4, WRITING))
def test_contents_changed_on_both_sides(base: Edits, here: Edits, there: Edits) -> None:
    """Copies are made of nothing but writes that differ (law 11)."""
    world = edited_world(base, here, there)
    most = differing_writes(world)
    world.settle(rounds(world))
    world.check_agreed()
    check_contents(world)
    assert world.conflicts == most
