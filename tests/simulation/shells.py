"""A folder is removed elsewhere and stays here for what is ignored in it; then something else is put into it."""

import errno
from functools import partial

import trio

from peer.synchronizer.synchronizer import DELETE_QUIET
from tests.simulation.filling import removal, saving
from tests.simulation.oddities import IGNORE_FILE
from tests.simulation.people import NAMES, Person
from tests.simulation.surroundings import Surroundings

_SEEN = 4.0
"""Seconds in which everybody has what one did, as a rule."""
_FOLDERS = ("Shell", "Husk")


async def keep_shells(around: Surroundings) -> None:
    """One after the other, when nobody does anything else any more."""
    rng = around.rng
    for folder in _FOLDERS:
        keeper, other = rng.sample(list(around.people.values()), 2)
        ignored, first, later = rng.sample(NAMES, 3)
        keeper.do(partial(_fill, folder=folder, ignored=ignored, other=first))
        await trio.sleep(_SEEN)
        other.do(removal(folder))
        await trio.sleep(_SEEN + DELETE_QUIET)
        keeper.do(saving(f"{folder}/{later}"))


def _fill(person: Person, folder: str, ignored: str, other: str) -> str:
    if person.user.exists(person.full(folder)):
        raise OSError(errno.EEXIST, "in the way")
    person.user.mkdir(person.full(folder))
    person.oracle.name(folder)
    for name, content in ((IGNORE_FILE, f"/{ignored}\n".encode() + person.content()[:20]), (ignored, person.content())):
        person.user.write(person.full(f"{folder}/{name}"), content)
        person.oracle.save(person.name, f"{folder}/{name}", content)
    saving(f"{folder}/{other}")(person)
    return f"makes {folder}, in which {ignored} is ignored"
