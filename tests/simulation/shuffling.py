"""What people do in a few seeds to names and folders only, so that it is hard to tell what has become of what."""

import errno

from tests.simulation.people import DIRECTORIES, Action, Person

PIPE = "!pipe"
"""Comes before all other names."""


def swap_directories(person: Person) -> str:
    """Two folders change places, by way of a third name."""
    one, other = person.present("directory"), person.present("directory")
    if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
        raise OSError(errno.EINVAL, "one is in the other, or is it")
    between = person.full(one) + "~swap"
    person.oracle.name(one + "~swap")
    person.move(person.full(one), between)
    person.move(person.full(other), person.full(one))
    person.move(between, person.full(other))
    return f"swaps {one} and {other}"


def link_over(person: Person) -> str:
    """`ln -f`: a file has the name of another from now on, and its own too."""
    source, target = person.present("file"), person.present("file")
    if source == target:
        raise OSError(errno.EINVAL, "the same")
    person.replaced(target, f"linked {source} over")
    person.user.remove(person.full(target))
    person.user.hard_link(person.full(source), person.full(target))
    return f"links {source} hard over {target}"


def move_with_pipe(person: Person) -> str:
    """A folder gets a pipe, and another place at once."""
    source, target = person.present("directory"), person.anywhere(DIRECTORIES)
    person.refuse(target, "directory", "file", "symlink", "other")
    if not person.user.exists(person.full(f"{source}/{PIPE}")):
        person.user.mkfifo(person.full(f"{source}/{PIPE}"))
    person.move(person.full(source), person.full(target))
    person.oracle.name(target)
    return f"makes a pipe in {source} and moves that to {target}"


SHUFFLING: list[tuple[Action, int]] = [(swap_directories, 14), (link_over, 10), (move_with_pipe, 10)]
