"""A device sleeps for long, and hears of much at once; another loses power when much was just written over in place.

What the others do one by one, ten minutes and more apart, is no big surprise to anybody but to the one that slept. And
of several files that were being written a power cut may leave nothing, or zeros.
"""

import trio

from protocol.breaker import WINDOW_MS
from tests.simulation.actions import remove_directory, save
from tests.simulation.people import HELD_SECONDS, Person
from tests.simulation.surroundings import Surroundings
from tests.simulation.unusual import pause

_ROUNDS, _AT_ONCE = 2, 3
"""How often the others act, and how many files they write over then."""
_APART = WINDOW_MS / 1000 + 5.0
"""Seconds."""
_AWAKE = 30.0


async def sleep_through(around: Surroundings) -> None:
    """One device sleeps while the others go on."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_finish_regularly, around)
        await _sleep_through(around)
        nursery.cancel_scope.cancel()


async def _finish_regularly(around: Surroundings) -> None:
    """Nobody holds a file open for all that time."""
    while True:
        await trio.sleep(HELD_SECONDS / 2)
        for person in around.people.values():
            person.finish_everything()


async def _sleep_through(around: Surroundings) -> None:
    rng = around.rng
    sleeper, *others = rng.sample(list(around.people.values()), len(around.people))
    pause(around, around.devices[sleeper.name], paused=True)
    seen = _files(sleeper)
    for number in range(_ROUNDS):
        around.morning = trio.Event()
        await trio.sleep(_APART)
        around.morning.set()
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
        person.do_to(path, _write_over)
    around.devices[name].crash(power=True)


def _write_over(person: Person) -> str:
    """With another length: nobody can tell other bytes of the same length under the old time without reading them."""
    path, content = person.present("file"), person.content()
    before = person.user.read(person.full(path))
    content += b"." * (len(content) == len(before))
    person.overwritten(path, "wrote over")
    person.user.write(person.full(path), content)
    person.oracle.save(person.name, path, content)
    return f"writes over {path} ({len(content)} bytes)"


def _files(person: Person) -> list[str]:
    return [path for path, entry in person.tree().items() if entry[0] == "file"]
