"""The people at the simulated devices: random edits on few names, so that they collide."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import trio

from protocol.names import RESERVED
from tests.simulation.counts import ACTED
from tests.simulation.disk import SimulatedDisk
from tests.simulation.inodes import Inode
from tests.simulation.log import EventLog
from tests.simulation.machine import START_NS
from tests.simulation.oracle import Oracle
from tests.simulation.user import Entry

NAMES = ("a", "b", "c.txt", "d.tar.gz", "é")
DIRECTORIES = ("D", "E", "F")
LINK_TARGETS = ("a", "D", "../b", "/nowhere", "é")
MODES = (0o644, 0o755, 0o600, 0o700, 0o664)
MAX_DEPTH = 3
HELD_SECONDS = 20.0
"""How long somebody holds a file open: less than `.shoal/outgoing` keeps what was replaced."""

Action = Callable[["Person"], str]


@dataclass
class _Unfinished:
    """The second half of something that a program does in two steps."""

    due: float
    finish: Callable[[], str]


class Person:
    """Somebody at one device. Acts at once, as a program that isn't interrupted; some things take two steps."""

    def __init__(self, name: str, disk: SimulatedDisk, folder: str, rng: Random, oracle: Oracle, log: EventLog) -> None:
        self.name = name
        self._user = disk.user
        self._volume = disk.volume
        self._folder = folder
        self._rng = rng
        self._oracle = oracle
        self._log = log
        self._count = 0
        self._hint: str | None = None
        self._unfinished: list[_Unfinished] = []
        self._discarded: list[Inode] = []

    def act(self, hint: str | None = None) -> None:
        """Do something, or finish something. More often than not to something called `hint`, if there is any."""
        self._log.happened[ACTED] += 1
        self._hint = hint if self._rng.random() < 0.7 else None
        now = trio.current_time()
        due = [each for each in self._unfinished if each.due <= now]
        if due or (self._unfinished and self._rng.random() < 0.3):
            self._finish(due[0] if due else self._rng.choice(self._unfinished))
            return
        actions, weights = zip(*_ACTIONS, strict=True)
        self.do(self._rng.choices(actions, weights)[0])

    def do(self, action: Action) -> None:
        """One action; what a shell would refuse is refused."""
        capacity, self._volume.capacity = self._volume.capacity, None  # only Shoal finds the disk full
        try:
            text = action(self)
        except OSError as error:
            text = f"{action.__name__.strip('_')}: {errno.errorcode[error.errno or 0]}"
        self._volume.capacity = capacity
        self._log.note(f"@{self.name}", text)

    @property
    def directories(self) -> set[str]:
        """Those at the top of the folder."""
        return {path for path, entry in self._tree().items() if entry[0] == "directory" and "/" not in path}

    def move_into(self, directory: str, other: str) -> bool:
        """Move one directory into another; whether both were there."""
        before = self._user.exists(self._full(f"{other}/{directory}"))

        def into(person: "Person") -> str:
            person._move(person._full(directory), person._full(f"{other}/{directory}"))
            return f"moves {directory} into {other}"

        self.do(into)
        return not before and self._user.exists(self._full(f"{other}/{directory}"))

    def finish_everything(self) -> None:
        """Second steps that are still to come."""
        for unfinished in list(self._unfinished):
            self._finish(unfinished)

    def drop_everything(self) -> None:
        """The machine has stopped: no program goes on."""
        self._unfinished.clear()
        self._discarded.clear()

    def _finish(self, unfinished: _Unfinished) -> None:
        self._unfinished.remove(unfinished)
        capacity, self._volume.capacity = self._volume.capacity, None
        try:
            text = unfinished.finish()
        except OSError as error:
            text = f"can't finish: {errno.errorcode[error.errno or 0]}"
        self._volume.capacity = capacity
        self._log.note(f"@{self.name}", text)

    def _later(self, finish: Callable[[], str]) -> None:
        due = trio.current_time() + self._rng.choice((0.001, 0.05, 1.0, HELD_SECONDS)) * self._rng.random()
        self._unfinished.append(_Unfinished(due, finish))

    # Choosing

    def _full(self, path: str) -> str:
        return f"{self._folder}/{path}"

    def _tree(self) -> dict[str, Entry]:
        tree = self._user.tree(self._folder)
        return {path: entry for path, entry in tree.items() if path.split("/")[0] != RESERVED}

    def _present(self, *kinds: str) -> str:
        """Something that is there; ENOENT when nothing of these kinds is."""
        paths = [path for path, entry in self._tree().items() if entry[0] in kinds]
        if not paths:
            raise OSError(errno.ENOENT, "nothing there")
        return self._rng.choice([path for path in paths if path.rpartition("/")[2] == self._hint] or paths)

    def _anywhere(self, names: tuple[str, ...]) -> str:
        """A path that may be taken or not, in a directory that is there."""
        tree = self._tree()
        hinted = [path for path in tree if path.rpartition("/")[2] == self._hint]
        if hinted:
            return self._rng.choice(hinted)
        above = [path for path, entry in tree.items() if entry[0] == "directory"]
        parent = self._rng.choice(["", "", *(path for path in above if path.count("/") < MAX_DEPTH - 1)])
        if self._rng.random() < 0.05:
            names = NAMES + DIRECTORIES
        name = self._rng.choice(names)
        return f"{parent}/{name}" if parent else name

    def _content(self) -> bytes:
        """Bytes that nobody has written before."""
        self._count += 1
        label = f"{self.name} {self._count}\n".encode()
        size = self._rng.choices(
            (0, self._rng.randrange(100), 3000, self._rng.randrange(40_000, 90_000)), (5, 45, 30, 20)
        )
        return label + self._rng.randbytes(size[0])

    def _replaced(self, path: str, why: str) -> None:
        """What stands at `path`, and below it, is about to go, and this person sees it."""
        full = self._full(path)
        if not self._user.exists(full):
            return
        inode = self._user.find(full)
        tree = self._user.tree(full) if inode.is_directory else {}
        self._discarded.append(inode)
        self._discarded.extend(self._user.find(f"{full}/{below}") for below in tree)
        entries: list[Entry] = list(tree.values())
        if not inode.is_directory:
            parent, _, name = full.rpartition("/")
            entries.append(self._user.tree(parent)[name])
        self._oracle.supersede(self.name, entries, f"{why} {path}")

    # Acting

    def _write(self) -> str:
        path, content = self._anywhere(NAMES), self._content()
        self._refuse(path, "directory", "symlink")
        self._overwritten(path, "wrote over")
        self._user.write(self._full(path), content)
        self._oracle.save(self.name, path, content)
        return f"writes {path} ({len(content)} bytes)"

    def _save(self) -> str:
        path, content = self._anywhere(NAMES), self._content()
        self._refuse(path, "directory")
        self._replaced(path, "saved over")
        self._user.save(self._full(path), content)
        self._oracle.save(self.name, path, content)
        return f"saves {path} ({len(content)} bytes)"

    def _save_slowly(self) -> str:
        path, content = self._anywhere(NAMES), self._content()
        self._refuse(path, "directory")
        temporary = path + "~"
        self._overwritten(temporary, "wrote over")
        self._user.write(self._full(temporary), content)
        self._oracle.save(self.name, temporary, content)

        def finish() -> str:
            if not self._user.exists(self._full(temporary)):
                raise OSError(errno.ENOENT, "gone")
            self._refuse(path, "directory")
            self._replaced(path, "saved over")
            self._move(self._full(temporary), self._full(path))
            self._oracle.name(path)
            return f"moves {temporary} over {path}"

        self._later(finish)
        return f"writes {temporary} ({len(content)} bytes)"

    def _append(self) -> str:
        path = self._present("file")
        content = self._content()[:200]
        before = self._user.read(self._full(path))
        self._overwritten(path, "appended to")
        self._user.append(self._full(path), content)
        self._oracle.save(self.name, path, before + content)
        return f"appends to {path} ({len(content)} bytes)"

    def _write_slowly(self) -> str:
        """Through a descriptor that stays open meanwhile, also when the file is no longer there for others."""
        path = self._present("file")
        content, rest = self._content(), self._content()[:100]
        inode = self._user.find(self._full(path))
        self._overwritten(path, "wrote over")
        self._user.write(self._full(path), content)
        self._oracle.save(self.name, path, content)
        inode.opened += 1

        def finish() -> str:
            now = bytes(inode.data)
            self._oracle.supersede(self.name, [("file", now, 0, 0)], f"wrote on in what was {path}")
            self._oracle.save(self.name, path, now + rest)
            if any(inode is gone for gone in self._discarded):  # somebody here has removed it meanwhile
                self._oracle.supersede(self.name, [("file", now + rest, 0, 0)], "wrote into a removed file")
            self._volume.write(inode, rest, len(inode.data))
            inode.opened -= 1
            self._volume.free_unused(inode)
            return f"writes on in what was {path} ({len(rest)} bytes)"

        self._later(finish)
        return f"writes {path} ({len(content)} bytes), and holds it open"

    def _overwritten(self, path: str, why: str) -> None:
        """The content at `path` is about to be replaced in place."""
        full = self._full(path)
        if self._user.exists(full) and not self._user.find(full).is_directory:
            parent, _, name = full.rpartition("/")
            self._oracle.supersede(self.name, [self._user.tree(parent)[name]], f"{why} {path}")

    def _move(self, source: str, target: str) -> None:
        if self._user.exists(source):
            inode = self._user.find(source)
            name = source.rpartition("/")[2]
            below = self._user.tree(source) if inode.is_directory else {}
            self._oracle.move([*below.values(), self._user.tree(source[: -len(name) - 1])[name]])
        self._user.move(source, target)

    def _refuse(self, path: str, *kinds: str) -> None:
        entry = self._tree().get(path)
        if entry is not None and entry[0] in kinds:
            raise OSError(errno.EEXIST, "in the way")

    def _make_directory(self) -> str:
        path = self._anywhere(DIRECTORIES)
        self._user.mkdir(self._full(path))
        self._oracle.name(path)
        return f"makes {path}"

    def _fill_directory(self) -> str:
        """A directory with something in it, all at once."""
        path = self._anywhere(DIRECTORIES)
        self._user.mkdir(self._full(path))
        for name in self._rng.sample(NAMES, 2):
            content = self._content()
            self._user.write(self._full(f"{path}/{name}"), content)
            self._oracle.save(self.name, f"{path}/{name}", content)
        return f"makes {path} with two files"

    def _move_file(self) -> str:
        source, target = self._present("file", "symlink"), self._anywhere(NAMES)
        if source == target:
            raise OSError(errno.EINVAL, "the same")
        self._refuse(target, "directory")
        self._replaced(target, f"moved {source} over")
        self._move(self._full(source), self._full(target))
        self._oracle.name(target)
        return f"moves {source} to {target}"

    def _move_directory(self) -> str:
        source, target = self._present("directory"), self._anywhere(DIRECTORIES)
        self._refuse(target, "directory", "file", "symlink", "other")
        self._move(self._full(source), self._full(target))
        self._oracle.name(target)
        return f"moves {source} to {target}"

    def _remove_file(self) -> str:
        path = self._present("file", "symlink", "other")
        self._replaced(path, "removed")
        self._user.remove(self._full(path))
        return f"removes {path}"

    def _remove_directory(self) -> str:
        path = self._present("directory")
        self._replaced(path, "removed")
        self._user.remove(self._full(path))
        return f"removes {path} and all in it"

    def _symlink(self) -> str:
        path, target = self._anywhere(NAMES), self._rng.choice(LINK_TARGETS)
        self._user.link_to(target, self._full(path))
        self._oracle.name(path)
        self._oracle.links.add(target)
        return f"links {path} to {target}"

    def _chmod(self) -> str:
        path, mode = self._present("file"), self._rng.choice(MODES)
        self._user.chmod(self._full(path), mode)
        return f"gives {path} mode {mode:o}"

    def _touch(self) -> str:
        path = self._present("file")
        self._user.touch(self._full(path), START_NS - self._rng.randrange(10**18))
        return f"touches {path}"

    def _swap(self) -> str:
        """Two names change places, by way of a third."""
        one, other = self._present("file"), self._present("file", "directory")
        if one == other:
            raise OSError(errno.EINVAL, "the same")
        between = self._full(one) + "~swap"
        self._oracle.name(one + "~swap")
        self._move(self._full(one), between)
        self._move(self._full(other), self._full(one))
        self._move(between, self._full(other))
        self._oracle.name(one)
        return f"swaps {one} and {other}"


_ACTIONS: list[tuple[Action, int]] = [
    (Person._write, 14),
    (Person._save, 14),
    (Person._save_slowly, 6),
    (Person._append, 8),
    (Person._write_slowly, 6),
    (Person._make_directory, 8),
    (Person._fill_directory, 4),
    (Person._move_file, 10),
    (Person._move_directory, 8),
    (Person._remove_file, 9),
    (Person._remove_directory, 4),
    (Person._symlink, 4),
    (Person._chmod, 4),
    (Person._touch, 4),
    (Person._swap, 5),
]
