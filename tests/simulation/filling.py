"""One person removes a directory, and another, who hasn't heard of it, puts something into it as the delete goes up.

Deletes wait for quiet, so by chance the two hardly ever meet at the tracker.
"""

from random import Random

import trio

from peer.synchronizer.synchronizer import DELETE_QUIET
from tests.simulation.people import NAMES, Person
from tests.simulation.surroundings import Surroundings

_EARLY, _LATE = 0.1, 0.2
"""Seconds around the time when the delete goes up."""


async def fill_what_goes(around: Surroundings, rng: Random) -> None:
    """As often as the plan says."""
    plan = around.plan
    for _ in range(plan.fills):
        await trio.sleep(rng.uniform(0, plan.actions * plan.pause))
        one, other = rng.sample(list(around.people.values()), 2)
        common = sorted(one.directories & other.directories)
        if common:
            directory, name = rng.choice(common), rng.choice(NAMES)
            one.do(lambda person, directory=directory: _remove(person, directory))  # type: ignore[misc]
            await trio.sleep(rng.uniform(DELETE_QUIET - _EARLY, DELETE_QUIET + _LATE))
            fill = rng.choice((_save_into, _move_into))
            other.do(lambda person, fill=fill, path=f"{directory}/{name}": fill(person, path))  # type: ignore[misc]


def _remove(person: Person, directory: str) -> str:
    person.replaced(directory, "removed")
    person.user.remove(person.full(directory))
    return f"removes {directory} and all in it"


def _save_into(person: Person, path: str) -> str:
    content = person.content()
    person.refuse(path, "directory")
    person.replaced(path, "saved over")
    person.user.save(person.full(path), content)
    person.oracle.save(person.name, path, content)
    return f"saves {path} ({len(content)} bytes)"


def _move_into(person: Person, path: str) -> str:
    source = person.present("file", "symlink")
    person.refuse(path, "file", "symlink", "directory")
    person.move(person.full(source), person.full(path))
    return f"moves {source} to {path}"
