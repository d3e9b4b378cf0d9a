"""What Hypothesis draws: one tree on which all agree, and what people do to it on both sides."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from peer.synchronizer.planner import plan
from tests.peer.synchronizer.model.checks import check_as_new_as_can_be_had
from tests.peer.synchronizer.model.people import ACTIONS
from tests.peer.synchronizer.model.sides import Here, There
from tests.peer.synchronizer.model.world import World, rounds

Edits: TypeAlias = list[tuple[str, int, int, int]]
"""What a person does, as arguments of `Person.act`."""
Property: TypeAlias = Callable[..., None]


def edits(size: int, actions: Sequence[str] = ACTIONS, nodes: int = 12) -> st.SearchStrategy[Edits]:
    """Up to `size` of them, which meet more often when they choose among few nodes."""
    numbers = st.integers(0, nodes - 1)
    return st.lists(st.tuples(st.sampled_from(actions), numbers, numbers, numbers), max_size=size)


_MAKING = ("add file", "add directory", "add same")
BASE, LARGE_BASE = edits(8, _MAKING), edits(14, _MAKING)
SEEDS = st.integers(0, 1 << 32)

SOAK = 20
"""How many times as many examples a soak tries."""
SOAKED: dict[str, Property] = {}
"""The properties, to be tried with that many."""


def holds(examples: int, **drawn: st.SearchStrategy[Any]) -> Callable[[Property], Property]:
    """A test that a property holds of so many examples, half of them in each run of all tests, which are always the
    same; a soak draws others each time. Its further parameters are fixtures."""

    def decorate(check: Property) -> Property:
        SOAKED[check.__name__] = settings(max_examples=SOAK * examples, derandomize=False)(given(**drawn)(check))
        return settings(max_examples=examples // 2)(given(**drawn)(check))

    return decorate


def synced_world(base: Edits) -> World:
    """A tree on which all agree."""
    world = World()
    for edit in base:
        There(world).act(*edit)
    world.settle(rounds(world))
    world.check_agreed()
    return world


def edited_world(base: Edits, here: Edits, there: Edits, *, announced_only: bool = False) -> World:
    """A tree on which all agreed, changed on both sides since."""
    world = synced_world(base)
    world.announced_only = announced_only
    for edit in here:
        Here(world).act(*edit)
    for edit in there:
        There(world).act(*edit)
    return world


def some_turns(world: World, random: Random, count: int) -> None:
    """Turns in which the executor leaves out steps, changes their order, sees some dirty nodes only, has no tracker;
    contents come to the LAN and the cloud, or are given up."""
    for _ in range(count):
        world.online = random.random() < 0.8
        turn_weather(world, random)
        dirty = [node for node in world.dirty if random.random() < 0.8]
        steps = plan(world.view(dirty))
        if random.random() < 0.5:
            random.shuffle(steps)
        share = random.random()
        world.carry_out(steps, lambda step: random.random() < share)  # noqa: B023
        if random.random() < 0.2:
            world.make_durable()


def turn_weather(world: World, random: Random) -> None:
    """Of heads that are not in the cloud: who has them on the LAN, and which have stalled."""
    apart = sorted(row.version for row in world.remote.values() if not row.in_the_cloud and row.version)
    world.on_the_lan = {version for version in apart if random.random() < 0.4}
    world.given_up = {version for version in apart if random.random() < 0.2}


def finish(world: World) -> None:
    """From here on everything works; until all is at rest, within the bound."""
    world.online, world.given_up = True, set()
    for _ in range(3):
        settle_as_far_as_can_be(world)
        check_as_new_as_can_be_had(world)
        if not world.make_readable() and not world.make_durable():
            break
    world.settle(rounds(world))
    world.check_agreed()


def settle_as_far_as_can_be(world: World) -> None:
    """Until a turn changes nothing."""
    for _ in range(rounds(world) + 1):
        if not world.turn():
            return
    raise AssertionError(f"no end after {rounds(world)} rounds: {world.steps()}")
