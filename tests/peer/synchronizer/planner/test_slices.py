"""The plan of a slice is the plan of the whole, restricted to it; and what the database calls agreed is clean."""

from random import Random

from hypothesis import strategies as st

from peer.database import Database
from peer.synchronizer.loading import load_slice
from peer.synchronizer.planner import plan
from peer.synchronizer.steps import Clean, Wait
from tests.peer.synchronizer.model.cases import Case
from tests.peer.synchronizer.model.drawn import (
    BASE,
    LARGE_BASE,
    SEEDS,
    Edits,
    edited_world,
    edits,
    holds,
    some_turns,
    turn_weather,
)
from tests.peer.synchronizer.model.stored import store_of


@holds(500, base=BASE, here=edits(6), there=edits(6), seed=SEEDS, turns=st.integers(0, 3), announced_only=st.booleans())
def test_a_slice_holds_all_that_the_plan_depends_on(
    database: Database, base: Edits, here: Edits, there: Edits, seed: int, turns: int, announced_only: bool
) -> None:
    world, random = edited_world(base, here, there, announced_only=announced_only), Random(seed)
    some_turns(world, random, turns)
    turn_weather(world, random)
    nodes = sorted(world.local.keys() | world.remote.keys() | world.synced.keys())
    dirty = random.sample(nodes, min(len(nodes), random.choice((1, 1, 2, 3, 50))))
    loaded = load_slice(store_of(database, world), dirty, world)
    assert plan(loaded) == plan(world.view(dirty))
    assert loaded.local.items() <= world.local.items()
    assert loaded.remote.items() <= world.remote.items()
    assert loaded.synced.items() <= world.synced.items()


@holds(500, base=BASE, here=edits(6), there=edits(6), seed=SEEDS, turns=st.integers(0, 3))
def test_steps_of_a_part_are_steps_of_the_whole_or_wait(
    base: Edits, here: Edits, there: Edits, seed: int, turns: int
) -> None:
    """A step whose condition is another node's step waits when that node is not planned."""
    world, random = edited_world(base, here, there), Random(seed)
    some_turns(world, random, turns)
    nodes = sorted(world.local.keys() | world.remote.keys() | world.synced.keys())
    whole = {step.node: step for step in plan(world.view(nodes))}
    for step in plan(world.view(random.sample(nodes, random.randint(0, len(nodes))))):
        assert step == whole[step.node] or isinstance(step, Wait)


@holds(700, base=LARGE_BASE, here=edits(6, nodes=6), there=edits(6, nodes=6), seed=SEEDS, turns=st.integers(0, 3))
def test_what_is_planned_can_be_carried_out(base: Edits, here: Edits, there: Edits, seed: int, turns: int) -> None:
    """One step after the other, with neither disk nor tracker refusing any, whatever part is planned."""
    world, random = edited_world(base, here, there), Random(seed)
    some_turns(world, random, turns)
    world.online, world.refused = True, 0
    world.turn([node for node in world.dirty if random.random() < 0.5])
    assert world.refused == 0


@holds(200, base=BASE, here=edits(6), there=edits(6), seed=SEEDS, turns=st.integers(0, 3))
def test_what_the_database_finds_agreed_is_what_the_planner_calls_clean(
    database: Database, base: Edits, here: Edits, there: Edits, seed: int, turns: int
) -> None:
    """Such nodes are not planned, so the two must never differ."""
    world = edited_world(base, here, there)
    some_turns(world, Random(seed), turns)
    nodes = sorted(world.local.keys() | world.remote.keys() | world.synced.keys())
    clean = {step.node for step in plan(world.view(nodes)) if isinstance(step, Clean)}
    agreed = store_of(database, world).agreed(nodes)
    assert agreed == clean & world.local.keys() & world.remote.keys()


def test_a_slice_leaves_out_what_has_nothing_to_do_with_it(database: Database) -> None:
    case = Case()
    _, file, *_ = case.both("d/", "d/f", "d/g", "h", "e/", "e/i")
    view = load_slice(store_of(database, case), [file], case)
    assert len(view.local) == len(view.remote) == len(view.synced) == 2
