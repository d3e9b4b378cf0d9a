"""One device, and somebody who works in its folder."""

from collections.abc import Callable
from typing import Any, TypeAlias

from protocol.identifiers import NodeId
from protocol.names import RESERVED
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.user import Entry

Tree: TypeAlias = dict[str, bytes | str | None]
"""Bytes of files, "-> text" of symlinks and None of directories, by path."""


class Desk:
    """One device, and somebody who works in its folder; paths are relative to that."""

    def __init__(self, device: SimulatedDevice) -> None:
        self.device = device
        self._user = device.disk.user

    def _full(self, path: str) -> str:
        return f"{FOLDER}/{path}"

    def mkdir(self, path: str) -> None:
        """`mkdir -p`."""
        made = ""
        for name in path.split("/"):
            made = f"{made}/{name}".lstrip("/")
            if not self._user.exists(self._full(made)):
                self._user.mkdir(self._full(made))

    def write(self, path: str, content: bytes) -> None:
        """`> path`, in place; the folders above are made."""
        if "/" in path:
            self.mkdir(path.rpartition("/")[0])
        self._user.write(self._full(path), content)

    def save(self, path: str, content: bytes) -> None:
        """Write beside and rename over."""
        self._user.save(self._full(path), content)

    def append(self, path: str, content: bytes) -> None:
        self._user.append(self._full(path), content)

    def overwrite(self, path: str, content: bytes, offset: int) -> None:
        self._user.overwrite(self._full(path), content, offset)

    def read(self, path: str) -> bytes:
        return self._user.read(self._full(path))

    def remove(self, path: str) -> None:
        """`rm -r`."""
        self._user.remove(self._full(path))

    def move(self, source: str, target: str) -> None:
        """rename(2)."""
        self._user.move(self._full(source), self._full(target))

    def swap(self, one: str, other: str) -> None:
        """Two names change places, by way of a third."""
        self.move(one, f"{one}~swap")
        self.move(other, one)
        self.move(f"{one}~swap", other)

    def copy(self, source: str, target: str) -> None:
        """`cp source target`."""
        self.write(target, self.read(source))

    def symlink(self, text: str, path: str) -> None:
        self._user.link_to(text, self._full(path))

    def hard_link(self, path: str, further: str) -> None:
        self._user.hard_link(self._full(path), self._full(further))

    def chmod(self, path: str, mode: int) -> None:
        self._user.chmod(self._full(path), mode)

    def touch(self, path: str, mtime_ns: int) -> None:
        self._user.touch(self._full(path), mtime_ns)

    def mkfifo(self, path: str) -> None:
        self._user.mkfifo(self._full(path))

    def exists(self, path: str) -> bool:
        return self._user.exists(self._full(path))

    def mode(self, path: str) -> int:
        return self._user.find(self._full(path)).mode

    def mtime_ns(self, path: str) -> int:
        return self._user.find(self._full(path)).mtime_ns

    def inode(self, path: str) -> int:
        return self._user.find(self._full(path)).number

    def entries(self) -> dict[str, Entry]:
        """All that is in the folder but for Shoal's own."""
        tree = self._user.tree(FOLDER)
        return {path: entry for path, entry in tree.items() if path.split("/")[0] != RESERVED}

    def tree(self) -> Tree:
        """What is in the folder."""
        return {path: _brief(entry) for path, entry in self.entries().items()}

    def waiting(self) -> list[str]:
        """What is in `.shoal`, but for the rooms themselves."""
        return [path for path in self._user.tree(f"{FOLDER}/{RESERVED}") if path.count("/") == 1]

    def before_next(self, call: str, act: Callable[[], None]) -> None:
        """Do something just before Shoal's next system call of this name (a method of `peer.ports.Disk`)."""
        disk = self.device.disk
        usual = disk.before_call
        assert usual is not None

        def meddle(name: str, arguments: tuple[Any, ...]) -> None:
            if name == call and disk.before_call is meddle:
                disk.before_call = usual
                act()
            usual(name, arguments)

        disk.before_call = meddle

    # What Shoal knows here

    def node(self, path: str) -> NodeId:
        """Which node a path is."""
        assert self.device.peer is not None
        found = self.device.peer.context.store.find(path.split("/"))
        assert found is not None, f"no {path!r}"
        return found

    def counter(self, name: str) -> int:
        """Bytes moved since the start: "lan_in", "lan_out", "cloud_in" or "cloud_out"."""
        assert self.device.peer is not None
        return self.device.peer.context.counters[name]

    def problems(self) -> dict[str, str]:
        """What Shoal says is wrong, by path."""
        assert self.device.peer is not None
        return {problem.path: problem.reason for problem in self.device.peer.context.problems.all()}

    def copy_of(self, path: str, number: int = 1) -> str:
        """What a conflict copy is called that this device makes."""
        above, slash, name = path.rpartition("/")
        stem, dot, suffix = name.rpartition(".")
        if not stem:
            stem, dot, suffix = name, "", ""
        count = "" if number == 1 else f" {number}"
        return f"{above}{slash}{stem} (conflicted copy, {self.device.name}, 2027-01-15{count}){dot}{suffix}"


def _brief(entry: Entry) -> bytes | str | None:
    if entry[0] == "file":
        return entry[1]
    return f"-> {entry[1]}" if entry[0] == "symlink" else None


def synced_part(entry: Entry) -> object:
    """What devices have in common: also the time, and whether the owner may execute it, and others read it."""
    return (*entry[:3], entry[3] & 0o100, entry[3] & 0o077 == 0) if entry[0] == "file" else entry
