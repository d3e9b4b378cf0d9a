"""The people at the simulated devices: random edits on few names, so that they collide."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import trio

from protocol.names import RESERVED
from tests.simulation.counts import ACTED
from tests.simulation.disk import SimulatedDisk
from tests.simulation.inodes import Inode
from tests.simulation.log import EventLog
from tests.simulation.narrow import limit
from tests.simulation.oracle import Oracle
from tests.simulation.user import Entry

BAIT = "/Outside"
"""A directory beside the folder, with names in it as there are in the folder."""
NAMES = ("a", "b", "c.txt", "d.tar.gz", "é")
DIRECTORIES = ("D", "E", "F")
WORDS = (b"tide", b"shoal", b"reef", b"current", b"harbour", b"lee", b"mooring", b"swell", b"42", b"1789")
LINK_TARGETS = ("a", "D", "../b", "/nowhere", "é", BAIT, f"..{BAIT}", f"{BAIT}/D")
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

    def __init__(
        self,
        name: str,
        disk: SimulatedDisk,
        folder: str,
        rng: Random,
        oracle: Oracle,
        log: EventLog,
        actions: Sequence[tuple[Action, int]],
        *,
        wordy: bool = False,
    ) -> None:
        """`actions` with their weights are those of `actions.py`. Who is `wordy` writes text more often than not."""
        self.name = name
        self._wordy = wordy
        self._actions = actions
        self.user = disk.user
        self.volume = disk.volume
        self.folder = folder
        self.rng = rng
        self.oracle = oracle
        self.log = log
        self.count = 0
        self._hint: str | None = None
        self._unfinished: list[_Unfinished] = []
        self.discarded: list[Inode] = []

    def act(self, hint: str | None = None) -> None:
        """Do something, or finish something. More often than not to something called `hint`, if there is any."""
        self.log.happened[ACTED] += 1
        self._hint = hint if self.rng.random() < 0.7 else None
        now = trio.current_time()
        due = [each for each in self._unfinished if each.due <= now]
        if due or (self._unfinished and self.rng.random() < 0.3):
            self._finish(due[0] if due else self.rng.choice(self._unfinished))
            return
        actions, weights = zip(*self._actions, strict=True)
        self.do(self.rng.choices(actions, weights)[0])

    def do_to(self, path: str, action: Action) -> None:
        """One action, to what stands at `path` if it can be done to that."""
        self._hint = path
        self.do(action)

    def do(self, action: Action) -> None:
        """One action; what a shell would refuse is refused."""
        capacity, self.volume.capacity = self.volume.capacity, None  # only Shoal finds the disk full
        try:
            text = action(self)
        except OSError as error:
            text = f"{getattr(action, '__name__', 'tidying')}: {errno.errorcode[error.errno or 0]}"
        self.volume.capacity = capacity
        self.log.note(f"@{self.name}", text)

    @property
    def directories(self) -> set[str]:
        """Those at the top of the folder."""
        return {path for path, entry in self.tree().items() if entry[0] == "directory" and "/" not in path}

    def files_in_common(self, other: "Person") -> list[str]:
        """The paths of files that are just the same at both."""
        here, there = self.tree(), other.tree()
        return sorted(path for path, entry in here.items() if entry[0] == "file" and there.get(path) == entry)

    def move_into(self, directory: str, other: str) -> bool:
        """Move one directory into another; whether both were there."""
        before = self.user.exists(self.full(f"{other}/{directory}"))

        def into(person: "Person") -> str:
            person.move(person.full(directory), person.full(f"{other}/{directory}"))
            return f"moves {directory} into {other}"

        self.do(into)
        return not before and self.user.exists(self.full(f"{other}/{directory}"))

    def save_probe(self) -> str:
        """Save a file under a name of its own; which."""
        path, content = f"probe of {self.name}", self.content()[: limit("peer.indexer", "MAX_FILE_SIZE")]
        self.user.save(self.full(path), content)
        self.oracle.save(self.name, path, content)
        return path

    def finish_everything(self) -> None:
        """Second steps that are still to come."""
        for unfinished in list(self._unfinished):
            self._finish(unfinished)

    def drop_everything(self) -> None:
        """The machine has stopped: no program goes on."""
        self._unfinished.clear()
        self.discarded.clear()

    def _finish(self, unfinished: _Unfinished) -> None:
        self._unfinished.remove(unfinished)
        capacity, self.volume.capacity = self.volume.capacity, None
        try:
            text = unfinished.finish()
        except OSError as error:
            text = f"can't finish: {errno.errorcode[error.errno or 0]}"
        self.volume.capacity = capacity
        self.log.note(f"@{self.name}", text)

    def later(self, finish: Callable[[], str]) -> None:
        due = trio.current_time() + self.rng.choice((0.001, 0.05, 1.0, HELD_SECONDS)) * self.rng.random()
        self._unfinished.append(_Unfinished(due, finish))

    # Choosing

    def full(self, path: str) -> str:
        return f"{self.folder}/{path}"

    def tree(self) -> dict[str, Entry]:
        tree = self.user.tree(self.folder)
        return {path: entry for path, entry in tree.items() if path.split("/")[0] != RESERVED}

    def present(self, *kinds: str) -> str:
        """Something that is there; ENOENT when nothing of these kinds is."""
        paths = [path for path, entry in self.tree().items() if entry[0] in kinds]
        if not paths:
            raise OSError(errno.ENOENT, "nothing there")
        return self.rng.choice([path for path in paths if self._is_hinted(path)] or paths)

    def _is_hinted(self, path: str) -> bool:
        return self._hint in (path, path.rpartition("/")[2])

    def anywhere(self, names: tuple[str, ...]) -> str:
        """A path that may be taken or not, in a directory that is there."""
        tree = self.tree()
        hinted = [path for path in tree if self._is_hinted(path)]
        if hinted:
            return self.rng.choice(hinted)
        above = [path for path, entry in tree.items() if entry[0] == "directory"]
        parent = self.rng.choice(["", "", *(path for path in above if path.count("/") < MAX_DEPTH - 1)])
        if self.rng.random() < 0.05:
            names = NAMES + DIRECTORIES
        name = self.rng.choice(names)
        return f"{parent}/{name}" if parent else name

    def content(self) -> bytes:
        """Bytes that nobody has written before."""
        self.count += 1
        label = f"{self.name} {self.count}\n".encode()
        size = self.rng.choices((0, self.rng.randrange(100), 3000, self.rng.randrange(40_000, 90_000)), (5, 45, 30, 20))
        if self._wordy and self.rng.random() < 0.7:
            return label + b" ".join(self.rng.choices(WORDS, k=size[0] // 8))
        return label + self.rng.randbytes(size[0])

    def replaced(self, path: str, why: str) -> None:
        """What stands at `path`, and below it, is about to go, and this person sees it."""
        full = self.full(path)
        if not self.user.exists(full):
            return
        inode = self.user.find(full)
        tree = self.user.tree(full) if inode.is_directory else {}
        self.discarded.append(inode)
        self.discarded.extend(self.user.find(f"{full}/{below}") for below in tree)
        entries: list[Entry] = list(tree.values())
        if not inode.is_directory:
            entries.append(self.user.entry(full))
        self.oracle.supersede(self.name, entries, f"{why} {path}")

    def overwritten(self, path: str, why: str) -> None:
        """The content at `path` is about to be replaced in place."""
        full = self.full(path)
        if self.user.exists(full) and not self.user.find(full).is_directory:
            self.oracle.supersede(self.name, [self.user.entry(full)], f"{why} {path}")

    def move(self, source: str, target: str) -> None:
        if self.user.exists(source):
            inode = self.user.find(source)
            below = self.user.tree(source) if inode.is_directory else {}
            entries = [*below.values(), self.user.entry(source)]
            self.oracle.move(entries, over=self.user.exists(target))
        self.user.move(source, target)

    def refuse(self, path: str, *kinds: str) -> None:
        entry = self.tree().get(path)
        if entry is not None and entry[0] in kinds:
            raise OSError(errno.EEXIST, "in the way")
