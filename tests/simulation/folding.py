"""A disk that takes names for one which differ in case only, or in how an accent is made up, as those of Macs do.

In a few seeds the first device has one, and everybody writes names otherwise than the others now and then. In the calm
the folder gets a disk that tells all names apart: what couldn't come before comes then.
"""

import errno
from unicodedata import normalize

from tests.simulation.people import NAMES, Action, Person
from tests.simulation.surroundings import Surroundings


def folded(name: str) -> str:
    """The same for all names that are one to such a disk."""
    return normalize("NFC", name).casefold()


def begin_folding(around: Surroundings) -> None:
    """The first device gets such a disk."""
    next(iter(around.devices.values())).disk.volume.fold = folded


def end_folding(around: Surroundings) -> None:
    """Names are told apart from now on."""
    for device in around.devices.values():
        device.disk.volume.fold = None


def otherwise(path: str) -> str:
    """A path with its last name written in another way, which such a disk takes for the same."""
    parent, slash, name = path.rpartition("/")
    return parent + slash + (normalize("NFD", name) if name.isascii() is False and name.islower() else name.swapcase())


def write_otherwise(person: Person) -> str:
    """As if there were no such name yet; where it is one with another, that is written to."""
    path, content = otherwise(person.anywhere(NAMES)), person.content()
    if person.user.exists(person.full(path)) and person.user.find(person.full(path)).is_directory:
        raise OSError(errno.EISDIR, "in the way")
    person.overwritten(path, "wrote over")
    person.user.write(person.full(path), content)
    person.oracle.save(person.name, path, content)
    return f"writes {path} ({len(content)} bytes)"


def spell_otherwise(person: Person) -> str:
    """Rename something to what is the same name to such a disk."""
    source = person.present("file", "symlink", "directory")
    target = otherwise(source)
    if target in person.tree():
        raise OSError(errno.EEXIST, "in the way")
    person.move(person.full(source), person.full(target))
    person.oracle.name(target)
    return f"moves {source} to {target}"


FOLDING: list[tuple[Action, int]] = [(write_otherwise, 10), (spell_otherwise, 12)]
