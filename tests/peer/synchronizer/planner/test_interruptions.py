"""Whole runs in which steps are left out, come in another order, and people go on meanwhile; what is announced comes
late, over the LAN, or is given up; files can't be read for a while."""

from random import Random

import pytest
from hypothesis import strategies as st

from tests.peer.synchronizer.model.checks import check_contents, check_kept, contents_of_all
from tests.peer.synchronizer.model.drawn import (
    BASE,
    LARGE_BASE,
    SEEDS,
    Edits,
    edited_world,
    edits,
    finish,
    holds,
    some_turns,
    synced_world,
)
from tests.peer.synchronizer.model.sides import Here, There
from tests.peer.synchronizer.model.world import World

CHANGES = st.lists(edits(2, ("swap", "swap", "delete", "move", "change kind"), 3), max_size=4)
WRITING = ("edit", "edit", "edit same", "touch", "add file", "outgrow", "delete")
SAVING = ("edit", "add file", "touch")


@holds(500, base=BASE, here=edits(6), there=edits(6), seed=SEEDS, announced_only=st.booleans())
def test_steps_left_out_or_in_another_order(
    base: Edits, here: Edits, there: Edits, seed: int, announced_only: bool
) -> None:
    world = edited_world(base, here, there, announced_only=announced_only)
    contents = contents_of_all(world)
    some_turns(world, Random(seed), 10)
    finish(world)
    check_contents(world)
    check_kept(world, contents)


def edits_between(world: World, random: Random, actions: Edits) -> None:
    """People act, here and there, and after each something is carried out, or not."""
    for edit in actions:
        person = Here(world, read=random.random() < 0.5) if random.random() < 0.5 else There(world)
        person.act(*edit)
        some_turns(world, random, random.randrange(3))


@holds(500, base=BASE, actions=edits(12), seed=SEEDS, announced_only=st.booleans())
def test_edits_between_steps(base: Edits, actions: Edits, seed: int, announced_only: bool) -> None:
    world = synced_world(base)
    world.announced_only = announced_only
    edits_between(world, Random(seed), actions)
    finish(world)
    check_contents(world)


@holds(600, actions=edits(12, WRITING, 3), seed=SEEDS)
def test_heads_that_come_late(actions: Edits, seed: int) -> None:
    """One that can't be had is awaited, passed over when it has stalled, and never fetched for something newer."""
    world, random = synced_world([("add file", 0, 0, 0), ("add file", 0, 0, 2)]), Random(seed)
    world.announced_only = True
    edits_between(world, random, actions)
    finish(world)
    check_contents(world)


FATES = ("edit here", "edit there", "on the LAN", "not on the LAN", "in the cloud", "stalled")


@holds(500, fates=st.lists(st.sampled_from(FATES), max_size=14))
def test_one_file_whose_heads_come_late(fates: list[str]) -> None:
    world = synced_world([("add file", 0, 0, 0)])
    world.announced_only = True
    for fate in fates:
        heads = {row.version for row in world.remote.values() if not row.in_the_cloud and row.version}
        if fate.startswith("edit"):
            person = Here(world) if fate == "edit here" else There(world)
            person.act("edit", 0, 0, 0)
        elif fate == "in the cloud":
            world.make_durable()
        elif fate == "stalled":
            world.given_up = heads
        else:
            world.on_the_lan = heads if fate == "on the LAN" else set()
        world.turn()
        world.turn()
    finish(world)
    check_contents(world)


@holds(500, changes=CHANGES, meanwhile=edits(3, SAVING, 3), seed=SEEDS)
def test_edits_of_what_has_stepped_aside(changes: list[Edits], meanwhile: Edits, seed: int) -> None:
    """Names change places there, again and again, while somebody here has the files open."""
    world, random = (
        synced_world([("add file", 0, 0, 0), ("add file", 0, 0, 2), ("add directory", 0, 0, 3)]),
        Random(seed),
    )
    for change in changes:
        for edit in change:
            There(world).act(*edit)
        world.turn()
        for edit in meanwhile:
            if random.random() < 0.5:
                Here(world).act(*edit)
    finish(world)
    check_contents(world)


@pytest.mark.slow
@holds(1500, base=LARGE_BASE, actions=edits(30), seed=SEEDS)
def test_many_edits_between_steps(base: Edits, actions: Edits, seed: int) -> None:
    world = synced_world(base)
    edits_between(world, Random(seed), actions)
    finish(world)
    check_contents(world)
