"""Two people move a directory into another each, which the other does the other way round."""

from random import Random

import trio

from tests.simulation.counts import MOVE_CYCLE
from tests.simulation.surroundings import Surroundings
from tests.simulation.waiting import until


def cross(around: Surroundings, rng: Random) -> bool:
    """Do so, if two of them have two directories in common; whether both could."""
    one, other = rng.sample(list(around.people.values()), 2)
    common = sorted(one.directories & other.directories)
    if len(common) < 2:
        return False
    first, second = rng.sample(common, 2)
    crossed = bool(one.move_into(first, second) & other.move_into(second, first))
    around.log.happened[MOVE_CYCLE] += crossed
    return crossed


async def cross_again(around: Surroundings) -> None:
    """As often as the plan says, as soon as there are such directories."""
    plan, rng = around.plan, around.rng
    for _ in range(plan.crossings):
        await trio.sleep(rng.expovariate(2 / plan.acting))
        await until(lambda: cross(around, rng))
