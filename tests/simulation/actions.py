"""What the people at the simulated devices do: whole actions, or the first half of one that takes two steps."""

import errno

from tests.simulation.machine import START_NS
from tests.simulation.people import DIRECTORIES, LINK_TARGETS, MODES, NAMES, Action, Person


def write(person: Person) -> str:
    path, content = person.anywhere(NAMES), person.content()
    person.refuse(path, "directory", "symlink")
    person.overwritten(path, "wrote over")
    person.user.write(person.full(path), content)
    person.oracle.save(person.name, path, content)
    return f"writes {path} ({len(content)} bytes)"


def save(person: Person) -> str:
    path, content = person.anywhere(NAMES), person.content()
    person.refuse(path, "directory")
    person.replaced(path, "saved over")
    person.user.save(person.full(path), content)
    person.oracle.save(person.name, path, content)
    return f"saves {path} ({len(content)} bytes)"


def save_slowly(person: Person) -> str:
    path, content = person.anywhere(NAMES), person.content()
    person.refuse(path, "directory")
    temporary = path + "~"
    person.overwritten(temporary, "wrote over")
    person.user.write(person.full(temporary), content)
    person.oracle.save(person.name, temporary, content)

    def finish() -> str:
        if not person.user.exists(person.full(temporary)):
            raise OSError(errno.ENOENT, "gone")
        person.refuse(path, "directory")
        person.replaced(path, "saved over")
        person.move(person.full(temporary), person.full(path))
        person.oracle.name(path)
        return f"moves {temporary} over {path}"

    person.later(finish)
    return f"writes {temporary} ({len(content)} bytes)"


def append(person: Person) -> str:
    path = person.present("file")
    content = person.content()[:200]
    before = person.user.read(person.full(path))
    person.overwritten(path, "appended to")
    person.user.append(person.full(path), content)
    person.oracle.save(person.name, path, before + content)
    return f"appends to {path} ({len(content)} bytes)"


def write_slowly(person: Person) -> str:
    """Through a descriptor that stays open meanwhile, also when the file is no longer there for others."""
    path = person.present("file")
    content, rest = person.content(), person.content()[:100]
    person.overwritten(path, "wrote over")
    person.user.write(person.full(path), content)
    person.oracle.save(person.name, path, content)
    _hold(person, path, rest)
    return f"writes {path} ({len(content)} bytes), and holds it open"


def hold_open(person: Person) -> str:
    """The same without writing anything at first."""
    path = person.present("file")
    _hold(person, path, person.content()[:100])
    return f"holds {path} open"


def _hold(person: Person, path: str, rest: bytes) -> None:
    inode = person.user.find(person.full(path))
    inode.opened += 1

    def finish() -> str:
        now = bytes(inode.data)
        person.oracle.supersede(person.name, [("file", now, 0, 0)], f"wrote on in what was {path}")
        person.oracle.save(person.name, path, now + rest)
        if any(inode is gone for gone in person.discarded):  # somebody here has removed it meanwhile
            person.oracle.supersede(person.name, [("file", now + rest, 0, 0)], "wrote into a removed file")
        person.volume.write(inode, rest, len(inode.data))
        inode.opened -= 1
        person.volume.free_unused(inode)
        return f"writes on in what was {path} ({len(rest)} bytes)"

    person.later(finish)


def make_directory(person: Person) -> str:
    path = person.anywhere(DIRECTORIES)
    person.user.mkdir(person.full(path))
    person.oracle.name(path)
    return f"makes {path}"


def fill_directory(person: Person) -> str:
    """A directory with something in it, all at once."""
    path = person.anywhere(DIRECTORIES)
    person.user.mkdir(person.full(path))
    for name in person.rng.sample(NAMES, 2):
        content = person.content()
        person.user.write(person.full(f"{path}/{name}"), content)
        person.oracle.save(person.name, f"{path}/{name}", content)
    return f"makes {path} with two files"


def move_file(person: Person) -> str:
    source, target = person.present("file", "symlink"), person.anywhere(NAMES)
    if source == target:
        raise OSError(errno.EINVAL, "the same")
    person.refuse(target, "directory")
    person.replaced(target, f"moved {source} over")
    person.move(person.full(source), person.full(target))
    person.oracle.name(target)
    return f"moves {source} to {target}"


def move_directory(person: Person) -> str:
    source, target = person.present("directory"), person.anywhere(DIRECTORIES)
    person.refuse(target, "directory", "file", "symlink", "other")
    person.move(person.full(source), person.full(target))
    person.oracle.name(target)
    return f"moves {source} to {target}"


def remove_file(person: Person) -> str:
    path = person.present("file", "symlink", "other")
    person.replaced(path, "removed")
    person.user.remove(person.full(path))
    return f"removes {path}"


def remove_directory(person: Person) -> str:
    path = person.present("directory")
    person.replaced(path, "removed")
    person.user.remove(person.full(path))
    return f"removes {path} and all in it"


def symlink(person: Person) -> str:
    path, target = person.anywhere(NAMES), person.rng.choice(LINK_TARGETS)
    person.user.link_to(target, person.full(path))
    person.oracle.name(path)
    person.oracle.links.add(target)
    return f"links {path} to {target}"


def chmod(person: Person) -> str:
    path, mode = person.present("file"), person.rng.choice(MODES)
    person.user.chmod(person.full(path), mode)
    return f"gives {path} mode {mode:o}"


def touch(person: Person) -> str:
    path = person.present("file")
    person.user.touch(person.full(path), START_NS - person.rng.randrange(10**18))
    return f"touches {path}"


def swap(person: Person) -> str:
    """Two names change places, by way of a third."""
    one, other = person.present("file"), person.present("file", "directory")
    if one == other:
        raise OSError(errno.EINVAL, "the same")
    between = person.full(one) + "~swap"
    person.oracle.name(one + "~swap")
    person.move(person.full(one), between)
    person.move(person.full(other), person.full(one))
    person.move(between, person.full(other))
    person.oracle.name(one)
    return f"swaps {one} and {other}"


def overwrite(person: Person) -> str:
    """Write into a file in place, as databases do."""
    path, content = person.present("file"), person.content()[:200]
    before = person.user.read(person.full(path))
    person.overwritten(path, "wrote into")
    person.user.overwrite(person.full(path), content, 0)
    person.oracle.save(person.name, path, content + before[len(content) :])
    return f"writes into {path} ({len(content)} bytes)"


def directory_for_file(person: Person) -> str:
    """A directory in the place of a file."""
    path = person.present("file", "symlink")
    person.replaced(path, "put a directory over")
    person.user.remove(person.full(path))
    person.user.mkdir(person.full(path))
    return f"makes a directory of {path}"


def file_for_directory(person: Person) -> str:
    """A file in the place of a directory."""
    path, content = person.present("directory"), person.content()
    person.replaced(path, "put a file over")
    person.user.remove(person.full(path))
    person.user.write(person.full(path), content)
    person.oracle.save(person.name, path, content)
    return f"makes a file of {path} ({len(content)} bytes)"


def link_for_directory(person: Person) -> str:
    """A symlink in the place of a directory, perhaps out of the folder."""
    path, target = person.present("directory"), person.rng.choice(LINK_TARGETS)
    person.replaced(path, "put a symlink over")
    person.user.remove(person.full(path))
    person.user.link_to(target, person.full(path))
    person.oracle.links.add(target)
    return f"makes a symlink to {target} of {path}"


def write_much(person: Person) -> str:
    """More than goes into one pack, or into one answer."""
    path = person.anywhere(NAMES)
    content = person.content() + person.rng.randbytes(person.rng.choice((1_500_000, 4_700_000)))
    person.refuse(path, "directory", "symlink")
    person.overwritten(path, "wrote over")
    person.user.write(person.full(path), content)
    person.oracle.save(person.name, path, content)
    return f"writes {path} ({len(content)} bytes)"


def fill_much(person: Person) -> str:
    """A directory with more files than are fetched at once."""
    path = person.anywhere(DIRECTORIES)
    person.user.mkdir(person.full(path))
    large = person.rng.random() < 0.5
    for number in range(4 if large else 12):
        content = person.content() + person.rng.randbytes(1_200_000 if large else 0)
        person.user.write(person.full(f"{path}/{number}"), content)
        person.oracle.save(person.name, f"{path}/{number}", content)
    return f"makes {path} with many files"


ACTIONS: list[tuple[Action, int]] = [
    (write, 14),
    (save, 14),
    (save_slowly, 6),
    (append, 8),
    (write_slowly, 6),
    (make_directory, 8),
    (fill_directory, 4),
    (move_file, 10),
    (move_directory, 8),
    (remove_file, 9),
    (remove_directory, 4),
    (symlink, 4),
    (chmod, 4),
    (touch, 4),
    (swap, 5),
    (overwrite, 6),
    (directory_for_file, 2),
    (file_for_directory, 2),
    (link_for_directory, 2),
]
