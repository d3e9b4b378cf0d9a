"""People at real folders, for tests that hold real programs against `tests.simulation.oracle`.

They act on few names, so that they collide. A program changes the folder at the same time, so nobody can say beforehand
what he is about to replace: whatever goes is exchanged for or renamed into a bin beside the folder, and what is in the
bin is what this person has seen and done away with.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import trio

from peer.ports import Descriptor
from peer.system.disk import LinuxDisk
from protocol.names import RESERVED
from tests.simulation.oracle import Oracle
from tests.simulation.user import Entry

NAMES = ("a", "b", "c.txt", "d.tar.gz", "é")
DIRECTORIES = ("D", "E", "F")
LINK_TARGETS = ("a", "D", "../b", "/nowhere", "é")
MODES = (0o644, 0o755, 0o600, 0o700, 0o664)
MAX_DEPTH = 3
HELD_SECONDS = 15.0
"""How long somebody holds a file open at most: less than `.shoal/outgoing` keeps what was replaced."""
OUTGOING = f"{RESERVED}/outgoing"

_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC


def tree_of(folder: Path, *, top: str = "") -> dict[str, Entry]:
    """All of a folder that Shoal carries, by path, as the oracle wants it. What vanishes meanwhile is left out."""
    found: dict[str, Entry] = {}
    for name in sorted(_listed(folder / top)):
        path = f"{top}/{name}" if top else name
        with suppress(FileNotFoundError):
            if path != RESERVED:
                found[path] = entry_of(folder / path)
                if found[path][0] == "directory":
                    found.update(tree_of(folder, top=path))
    return found


def _listed(folder: Path) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.listdir(folder)
    return []


def entry_of(path: Path) -> Entry:
    """What stands at a path, as the oracle wants it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "symlink", os.readlink(path)
        raise
    try:
        if path.is_dir():
            return ("directory",)
        stat = os.fstat(descriptor)
        return "file", content_of(descriptor), stat.st_mtime_ns, stat.st_mode & 0o7777
    finally:
        os.close(descriptor)


def content_of(descriptor: int) -> bytes:
    """All of an open file."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


@dataclass
class _Unfinished:
    due: float
    finish: Callable[[], str]
    held: int | None
    """A descriptor that is open until then."""


class FolderPerson:
    """Somebody who works in one folder. Acts at once; some things take two steps, the second of them later."""

    def __init__(self, name: str, folder: Path, rng: Random, oracle: Oracle, note: Callable[[str], None]) -> None:
        """`note` is told of all that is done."""
        self.name = name
        self.folder = folder
        self.bin = folder.with_name(f"{folder.name}.bin")
        self.bin.mkdir(exist_ok=True)
        self.synced = 0.0
        """How likely a file is to be fsynced when it is written."""
        self.safe: set[bytes] = set()
        """Contents that were fsynced."""
        self.wrote: set[bytes] = set()
        """All contents that this person has made."""
        self._rng = rng
        self._oracle = oracle
        self._note = note
        self._disk = LinuxDisk()
        self._count = 0
        self._unfinished: list[_Unfinished] = []
        # Between cutting a file down and writing it anew, it is empty.
        oracle.save(name, "", b"")
        oracle.supersede(name, [("file", b"", 0, 0)], "was empty for a moment")

    async def work(self, pause: float) -> None:
        """One thing after the other, `pause` seconds apart on average, until cancelled."""
        while True:
            await trio.sleep(self._rng.expovariate(1 / pause))
            self.act()

    def act(self) -> None:
        """Do something, or finish something. What a shell would refuse is refused."""
        now = trio.current_time()
        due = [each for each in self._unfinished if each.due <= now]
        if due:
            self._finish(due[0])
            return
        actions, weights = zip(*_ACTIONS, strict=True)
        action = self._rng.choices(actions, weights)[0]
        try:
            text = action(self)
        except OSError as error:
            text = f"{action.__name__.strip('_')}: {errno.errorcode[error.errno or 0]}"
        self._note(f"{self.name} {text}")

    def finish_everything(self) -> None:
        """Second steps that are still to come."""
        for unfinished in list(self._unfinished):
            self._finish(unfinished)

    def lose_power(self) -> None:
        """None of this person's programs is there any more to take its second step."""
        for unfinished in self._unfinished:
            if unfinished.held is not None:
                os.close(unfinished.held)
        self._unfinished.clear()

    def empty_bin(self) -> None:
        """Tell the oracle of all that this person has done away with, as it is now: somebody may have written to it, or
        have put something into a folder, after it went. What waits to be let go may still come back, so that too."""
        self._oracle.supersede(self.name, tree_of(self.bin).values(), "is in the bin")
        self._oracle.supersede(self.name, tree_of(self.folder, top=OUTGOING).values(), "waits in outgoing")

    def _finish(self, unfinished: _Unfinished) -> None:
        self._unfinished.remove(unfinished)
        try:
            text = unfinished.finish()
        except OSError as error:
            text = f"can't finish: {errno.errorcode[error.errno or 0]}"
        self._note(f"{self.name} {text}")

    def _later(self, finish: Callable[[], str], held: int | None = None) -> None:
        due = trio.current_time() + self._rng.choice((0.05, 1.0, HELD_SECONDS)) * self._rng.random()
        self._unfinished.append(_Unfinished(due, finish, held))

    # Choosing

    def _present(self, *kinds: str) -> str:
        """Something that is there; ENOENT when nothing of these kinds is."""
        paths = [path for path, entry in tree_of(self.folder).items() if entry[0] in kinds]
        if not paths:
            raise OSError(errno.ENOENT, "nothing there")
        return self._rng.choice(paths)

    def _anywhere(self, names: tuple[str, ...]) -> str:
        """A path that may be taken or not, in a directory that is there."""
        above = [path for path, entry in tree_of(self.folder).items() if entry[0] == "directory"]
        parent = self._rng.choice(["", "", *(path for path in above if path.count("/") < MAX_DEPTH - 1)])
        name = self._rng.choice(names)
        return f"{parent}/{name}" if parent else name

    def _content(self) -> bytes:
        """Bytes that nobody has written before."""
        self._count += 1
        sizes = (0, self._rng.randrange(100), 3000, self._rng.randrange(40_000, 90_000))
        (size,) = self._rng.choices(sizes, (5, 60, 20, 15))
        return f"{self.name} {self._count}\n".encode() + self._rng.randbytes(size)

    def _refuse(self, path: str, *kinds: str) -> None:
        with suppress(FileNotFoundError):
            if entry_of(self.folder / path)[0] in kinds:
                raise OSError(errno.EEXIST, "in the way")

    # What comes and goes

    @contextmanager
    def _parent(self, path: Path) -> Iterator[tuple[Descriptor, str]]:
        descriptor = self._disk.open_root(str(path.parent))
        try:
            yield descriptor, path.name
        finally:
            self._disk.close(descriptor)

    def _move(self, source: Path, target: Path) -> None:
        """Rename; what stands at the target goes to the bin."""
        self._oracle.move([entry_of(source), *tree_of(source).values()])
        with self._parent(source) as one, self._parent(target) as other:
            try:
                self._disk.rename(*one, *other)
            except FileExistsError:
                self._disk.exchange(*one, *other)
                self._discard(source)

    def _discard(self, path: Path) -> None:
        """Into the bin, and seen there."""
        self._count += 1
        gone = self.bin / f"{self._count}"
        self._move(path, gone)
        seen = {"": entry_of(gone), **tree_of(gone)}
        self._oracle.supersede(self.name, seen.values(), f"did away with {path}")

    def _open(self, path: str, *, create: bool) -> int:
        return os.open(self.folder / path, os.O_RDWR | _NO_LINK | (os.O_CREAT if create else 0), 0o644)

    def _settle(self, descriptor: int, content: bytes, path: str) -> None:
        """Told to the oracle, and fsynced or not, as it comes."""
        self._oracle.save(self.name, path, content)
        self.wrote.add(content)
        if self._rng.random() < self.synced:
            os.fsync(descriptor)
            self.safe.add(content)

    def _written_aside(self, aside: Path, path: str) -> bytes:
        """A new file with new content, to be moved to `path`."""
        content = self._content()
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o644)
        try:
            os.write(descriptor, content)
            self._settle(descriptor, content, path)
        finally:
            os.close(descriptor)
        return content

    # Acting

    def _write(self) -> str:
        path = self._anywhere(NAMES)
        descriptor = self._open(path, create=True)
        try:
            self._oracle.supersede(self.name, [("file", content_of(descriptor), 0, 0)], f"wrote over {path}")
            content = self._content()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, content, 0)
            self._settle(descriptor, content, path)
        finally:
            os.close(descriptor)
        return f"writes {path} ({len(content)} bytes)"

    def _save(self) -> str:
        path = self._anywhere(NAMES)
        self._refuse(path, "directory")
        return f"saves {path} ({len(self.save(path))} bytes)"

    def save(self, path: str) -> bytes:
        """As careful programs do it: whole, by one rename. What was saved."""
        self._count += 1
        aside = self.bin / f"new {self._count}"
        content = self._written_aside(aside, path)
        self._move(aside, self.folder / path)
        return content

    def _save_slowly(self) -> str:
        path = self._anywhere(NAMES)
        self._refuse(path, "directory")
        temporary = path + "~"
        content = self._written_aside(self.folder / temporary, temporary)

        def finish() -> str:
            self._refuse(path, "directory")
            self._oracle.name(path)
            self._move(self.folder / temporary, self.folder / path)
            return f"saves {path} by way of {temporary}"

        self._later(finish)
        return f"writes {temporary} ({len(content)} bytes), for {path}"

    def _append(self) -> str:
        path = self._present("file")
        descriptor = self._open(path, create=False)
        try:
            length = self._write_on(descriptor, path)
        finally:
            os.close(descriptor)
        return f"appends to {path} ({length} bytes)"

    def _write_on(self, descriptor: int, path: str) -> int:
        """Into a file that is open, wherever it may be by now."""
        before, more = content_of(descriptor), self._content()
        self._oracle.supersede(self.name, [("file", before, 0, 0)], f"wrote on in {path}")
        os.pwrite(descriptor, more, len(before))
        self._settle(descriptor, before + more, path)
        return len(more)

    def _append_slowly(self) -> str:
        """Through a descriptor that stays open."""
        path = self._present("file")
        descriptor = self._open(path, create=False)
        length = self._write_on(descriptor, path)

        def finish() -> str:
            try:
                return f"writes on in what was {path} ({self._write_on(descriptor, path)} bytes)"
            finally:
                os.close(descriptor)

        self._later(finish, descriptor)
        return f"appends to {path} ({length} bytes), and holds it open"

    def _make_directory(self) -> str:
        path = self._anywhere(DIRECTORIES)
        (self.folder / path).mkdir()
        self._oracle.name(path)
        return f"makes {path}"

    def _fill_directory(self) -> str:
        path = self._make_directory().removeprefix("makes ")
        for name in self._rng.sample(NAMES, 2):
            self._written_aside(self.folder / path / name, f"{path}/{name}")
        return f"makes {path} with two files"

    def _move_file(self) -> str:
        source, target = self._present("file", "symlink"), self._anywhere(NAMES)
        if source == target:
            raise OSError(errno.EINVAL, "the same")
        self._refuse(target, "directory")
        self._oracle.name(target)
        self._move(self.folder / source, self.folder / target)
        return f"moves {source} to {target}"

    def _move_directory(self) -> str:
        source, target = self._present("directory"), self._anywhere(DIRECTORIES)
        self._refuse(target, "directory", "file", "symlink")
        self._oracle.name(target)
        self._move(self.folder / source, self.folder / target)
        return f"moves {source} to {target}"

    def _remove(self) -> str:
        path = self._present("file", "symlink")
        self._discard(self.folder / path)
        return f"removes {path}"

    def _remove_directory(self) -> str:
        path = self._present("directory")
        self._discard(self.folder / path)
        return f"removes {path} and all in it"

    def _replace_by_directory(self) -> str:
        path = self._present("file")
        self._discard(self.folder / path)
        (self.folder / path).mkdir()
        return f"puts a directory in place of {path}"

    def _symlink(self) -> str:
        path, target = self._anywhere(NAMES), self._rng.choice(LINK_TARGETS)
        self._oracle.links.add(target)
        self._oracle.name(path)
        (self.folder / path).symlink_to(target)
        return f"links {path} to {target}"

    def _chmod(self) -> str:
        path, mode = self._present("file"), self._rng.choice(MODES)
        descriptor = self._open(path, create=False)
        os.fchmod(descriptor, mode)
        os.close(descriptor)
        return f"gives {path} mode {mode:o}"

    def _touch(self) -> str:
        path, time = self._present("file"), self._rng.randrange(10**18, 17 * 10**17)
        descriptor = self._open(path, create=False)
        os.utime(descriptor, ns=(time, time))
        os.close(descriptor)
        return f"touches {path}"

    def _swap(self) -> str:
        one, other = self._present("file"), self._present("file", "directory")
        for path in (self.folder / one, self.folder / other):
            self._oracle.move([entry_of(path), *tree_of(path).values()])
        with self._parent(self.folder / one) as first, self._parent(self.folder / other) as second:
            self._disk.exchange(*first, *second)
        return f"swaps {one} and {other}"


_ACTIONS: list[tuple[Callable[[FolderPerson], str], int]] = [
    (FolderPerson._write, 14),
    (FolderPerson._save, 14),
    (FolderPerson._save_slowly, 6),
    (FolderPerson._append, 8),
    (FolderPerson._append_slowly, 6),
    (FolderPerson._make_directory, 8),
    (FolderPerson._fill_directory, 4),
    (FolderPerson._move_file, 10),
    (FolderPerson._move_directory, 8),
    (FolderPerson._remove, 9),
    (FolderPerson._remove_directory, 4),
    (FolderPerson._replace_by_directory, 3),
    (FolderPerson._symlink, 4),
    (FolderPerson._chmod, 4),
    (FolderPerson._touch, 4),
    (FolderPerson._swap, 5),
]
