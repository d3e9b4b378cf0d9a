"""A device sleeps for long, and hears of much at once; another loses power when much was just written over in place.

What the others do one by one, ten minutes and more apart, is no big surprise to anybody but to the one that slept. And
of several files that were being written a power cut may leave nothing, or zeros.
"""

import trio

from protocol.breaker import WINDOW_MS
from tests.simulation.actions import remove_directory, save, write
from tests.simulation.people import Person
from tests.simulation.surroundings import Surroundings
from tests.simulation.unusual import pause

_ROUNDS, _AT_ONCE = 4, 2
"""How often the others act, and how many files they write over then."""
_APART = WINDOW_MS / 1000 + 5.0
"""Seconds."""
_AWAKE = 30.0


async def sleep_through(around: Surroundings) -> None:
    """One device sleeps while the others go on."""
    rng = around.rng
    sleeper, *others = rng.sample(list(around.people.values()), len(around.people))
    pause(around, around.devices[sleeper.name], paused=True)
    seen = _files(sleeper)
    for number in range(_ROUNDS):
        await trio.sleep(_APART)
        person = rng.choice(others)
        present = [path for path in seen if path in _files(person)]
        for path in present[number * _AT_ONCE : (number + 1) * _AT_ONCE]:
            person.do_to(path, save)
    rng.choice(others).do(remove_directory)
    await trio.sleep(_AWAKE)
    pause(around, around.devices[sleeper.name], paused=False)
    await trio.sleep(_AWAKE)


def black_out(around: Surroundings) -> None:
    """Somebody writes over all files, and the machine loses power."""
    name = around.rng.choice(list(around.devices))
    person = around.people[name]
    for path in _files(person):
        person.do_to(path, write)
    around.devices[name].crash(power=True)


def _files(person: Person) -> list[str]:
    return [path for path, entry in person.tree().items() if entry[0] == "file"]
