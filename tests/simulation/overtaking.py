"""One person writes to a file while a commit of this device is still unanswered, and so does another elsewhere.

What the first has written waits for its turn, and was planned on what the tracker had before. When the turn comes, the
device has heard of the other's version: it must not put its own in the place of one that nobody here had seen.
"""

import trio

from tests.simulation.actions import save
from tests.simulation.surroundings import Surroundings

_HELD = 4.0
"""Seconds until the answer to a commit arrives."""
_NOTICED = 0.3
"""Seconds in which what somebody did has been noticed, as a rule."""


async def overtake(around: Surroundings) -> None:
    """As often as the plan says."""
    plan, rng = around.plan, around.rng
    for _ in range(plan.overtakes):
        await trio.sleep(rng.uniform(0, plan.acting / plan.overtakes))
        slow, other = rng.sample(list(around.people.values()), 2)
        common = slow.files_in_common(other)
        if len(common) > 1:
            first, path = rng.sample(common, 2)
            around.weather.slow[slow.name] = trio.current_time() + _HELD
            slow.do_to(first, save)
            await trio.sleep(_NOTICED)
            slow.do_to(path, save)
            await trio.sleep(rng.uniform(0, _NOTICED))
            other.do_to(path, save)
