"""One person removes a directory and another puts something into it, neither having heard of what the other did.

Devices hear of each other within moments, so by chance such two hardly ever meet at the tracker. Here the connection of
one of them has died, and it hasn't noticed: what it sends is made on what the tracker had before.
"""

from random import Random

import trio

from peer.synchronizer.synchronizer import DELETE_QUIET
from protocol.identifiers import MAX_INLINE
from tests.simulation.actions import make_directory
from tests.simulation.people import NAMES, Action, Person
from tests.simulation.surroundings import Surroundings

_SENT = 3.0
"""Seconds in which what somebody did has gone up, as a rule."""


async def fill_what_goes(around: Surroundings) -> None:
    """As often as the plan says."""
    plan, rng = around.plan, around.rng
    for _ in range(plan.fills):
        await trio.sleep(rng.uniform(0, plan.acting / plan.fills))
        deaf, other = rng.sample(list(around.people.values()), 2)
        if not deaf.directories & other.directories:
            other.do(make_directory)
            await trio.sleep(_SENT)
        common = sorted(deaf.directories & other.directories)
        if common:
            transport = around.devices[deaf.name].transport
            if transport is not None:
                transport.cut(silently=True)
            await _cross(deaf, other, rng.choice(common), rng)


async def _cross(deaf: Person, other: Person, directory: str, rng: Random) -> None:
    fill = rng.choice((saving, _moving))(f"{directory}/{rng.choice(NAMES)}")
    first, then = rng.choice(((removal(directory), fill), (fill, removal(directory))))
    other.do(first)
    await trio.sleep(rng.uniform(0.5, _SENT) + (DELETE_QUIET if then is fill else 0.0))
    deaf.do(then)


def removal(directory: str) -> Action:
    """Remove what is at a path, and all in it."""

    def remove(person: Person) -> str:
        person.replaced(directory, "removed")
        person.user.remove(person.full(directory))
        return f"removes {directory} and all in it"

    return remove


def saving(path: str, *, large: bool = False) -> Action:
    """Save something at a path; `large` is what doesn't go along with a commit."""

    def save_into(person: Person) -> str:
        content = person.content() + (person.rng.randbytes(MAX_INLINE) if large else b"")
        person.refuse(path, "directory")
        person.replaced(path, "saved over")
        person.user.save(person.full(path), content)
        person.oracle.save(person.name, path, content)
        return f"saves {path} ({len(content)} bytes)"

    return save_into


def _moving(path: str) -> Action:
    def move_into(person: Person) -> str:
        source = person.present("file", "symlink")
        person.refuse(path, "file", "symlink", "directory")
        person.replaced(path, f"moved {source} over")
        person.move(person.full(source), person.full(path))
        person.oracle.name(path)
        return f"moves {source} to {path}"

    return move_into
