"""A program holds a file open for long, and writes to it when another version has long taken its place.

What it writes lands in what waits in `.shoal/outgoing`, and is somebody's edit all the same.
"""

import trio

from tests.simulation.actions import hold_open, save
from tests.simulation.inodes import Inode
from tests.simulation.people import Person
from tests.simulation.surroundings import Surroundings
from tests.simulation.waiting import until

_TIMES = 2
_LONG = 45.0
"""Seconds: less than what was replaced is kept."""


async def write_late(around: Surroundings) -> None:
    """While all else is at rest."""
    for _ in range(_TIMES):
        writer, other = around.rng.sample(list(around.people.values()), 2)
        common = writer.files_in_common(other)
        if common:
            await _write_late(around, writer, other, around.rng.choice(common))


async def _write_late(around: Surroundings, writer: Person, other: Person, path: str) -> None:
    held = writer.user.find(writer.full(path))
    writer.do_to(path, hold_open)
    other.do_to(path, save)
    if await until(lambda: _is_replaced(writer, path, held)):
        around.log.happened["late write"] += 1
        await trio.sleep(_LONG)
    writer.finish_everything()


def _is_replaced(person: Person, path: str, before: Inode) -> bool:
    return person.user.exists(person.full(path)) and person.user.find(person.full(path)) is not before
