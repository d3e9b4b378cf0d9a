"""A sync folder on the real disk or the simulated one, somebody who works in it, and the parts of a peer that look at
it and change it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Protocol, TypeVar

import trio

from peer.database import Database, open_database
from peer.indexer import Indexer
from peer.ports import Disk
from peer.problems import Problems
from peer.quiet import Quiet
from peer.root import Folder, claim_root, open_folder
from peer.synchronizer.context import Context
from peer.system.disk import LinuxDisk
from peer.tree_store import TreeStore
from peer.trees import Content, Local
from peer.version_store import VersionStore
from protocol.hashing import digest
from protocol.identifiers import DeviceId, NodeId, WorkspaceId
from protocol.keys import WorkspaceKeys, new_workspace_keys
from protocol.ports import Machine
from tests.simulation.disk import SimulatedDisk

T = TypeVar("T")
WORKSPACE = WorkspaceId(b"workspace".ljust(16, b"\0"))
_SOMEBODY = DeviceId(bytes(16))
START_NS = 1_700_000_000_000_000_000


class Hand(Protocol):
    """Somebody at the keyboard; paths are from the top of the folder."""

    def mkdir(self, path: str) -> None: ...
    def write(self, path: str, data: bytes) -> None: ...
    def append(self, path: str, data: bytes) -> None: ...
    def save(self, path: str, data: bytes) -> None: ...
    def read(self, path: str) -> bytes: ...
    def remove(self, path: str) -> None: ...
    def move(self, source: str, target: str) -> None: ...
    def hard_link(self, path: str, further: str) -> None: ...
    def link_to(self, target: str, path: str) -> None: ...
    def mkfifo(self, path: str) -> None: ...
    def chmod(self, path: str, mode: int) -> None: ...
    def touch(self, path: str, mtime_ns: int) -> None: ...
    def names(self, path: str = "") -> list[str]: ...


class RealHand:
    """On real files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def mkdir(self, path: str) -> None:
        (self.root / path).mkdir()

    def write(self, path: str, data: bytes) -> None:
        (self.root / path).write_bytes(data)

    def append(self, path: str, data: bytes) -> None:
        with open(self.root / path, "ab") as file:
            file.write(data)

    def save(self, path: str, data: bytes) -> None:
        beside = self.root / f"{path}.new"
        beside.write_bytes(data)
        beside.rename(self.root / path)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def remove(self, path: str) -> None:
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            for name in os.listdir(target):
                self.remove(f"{path}/{name}")
            target.rmdir()
        else:
            target.unlink()

    def move(self, source: str, target: str) -> None:
        (self.root / source).rename(self.root / target)

    def hard_link(self, path: str, further: str) -> None:
        os.link(self.root / path, self.root / further)

    def link_to(self, target: str, path: str) -> None:
        (self.root / path).symlink_to(target)

    def mkfifo(self, path: str) -> None:
        os.mkfifo(self.root / path)

    def chmod(self, path: str, mode: int) -> None:
        (self.root / path).chmod(mode)

    def touch(self, path: str, mtime_ns: int) -> None:
        os.utime(self.root / path, ns=(mtime_ns, mtime_ns))

    def names(self, path: str = "") -> list[str]:
        return sorted(set(os.listdir(self.root / path)) - {".shoal"})


class SimulatedHand:
    """On the simulated disk, beside the port."""

    def __init__(self, disk: SimulatedDisk) -> None:
        user = disk.user
        self._user = user
        self.mkdir = _within(user.mkdir)
        self.write = _within(user.write)
        self.append = _within(user.append)
        self.save = _within(user.save)
        self.read = _within(user.read)
        self.remove = _within(user.remove)
        self.mkfifo = _within(user.mkfifo)
        self.chmod = _within(user.chmod)
        self.touch = _within(user.touch)

    def move(self, source: str, target: str) -> None:
        self._user.move(f"folder/{source}", f"folder/{target}")

    def hard_link(self, path: str, further: str) -> None:
        self._user.hard_link(f"folder/{path}", f"folder/{further}")

    def link_to(self, target: str, path: str) -> None:
        self._user.link_to(target, f"folder/{path}")

    def names(self, path: str = "") -> list[str]:
        return sorted(set(self._user.find(f"folder/{path}").entries) - {".shoal"})


def _within(action: Callable[..., T]) -> Callable[..., T]:
    return lambda path, *rest: action(f"folder/{path}", *rest)


@dataclass
class SyncFolder:
    """A claimed folder with LOCAL, REMOTE and SYNCED in memory. `wall_ns` is the wall clock."""

    context: Context
    indexer: Indexer
    hand: Hand
    wall_ns: list[int]

    @property
    def disk(self) -> Disk:
        return self.context.disk

    @property
    def simulated(self) -> SimulatedDisk:
        """The disk, where only the simulated one will do."""
        assert isinstance(self.context.disk, SimulatedDisk)
        return self.context.disk

    @property
    def store(self) -> TreeStore:
        return self.context.store

    @contextmanager
    def opened(self) -> Iterator[Folder]:
        """The folder, as a piece of work has it."""
        with open_folder(self.disk, self.context.root) as folder:
            yield folder

    def node(self, path: str) -> NodeId:
        """The local node at a path."""
        node = self.store.find(path.split("/"))
        assert node is not None, f"no {path} in LOCAL"
        return node

    def row(self, path: str) -> Local:
        """What LOCAL says of a path."""
        row = self.store.local(self.node(path))
        assert row is not None
        return row

    def paths(self) -> set[str]:
        """All of LOCAL."""
        rows = self.store.database.rows("SELECT node FROM local WHERE NOT gone")
        found = {"/".join(path) for (node,) in rows if (path := self.store.path(node)) is not None}
        assert len(found) == len(rows)
        return found

    def now_read(self) -> None:
        """As if all files had been read, and all had been agreed on."""
        for node in self.store.all_unread_files():
            row = self.store.local(node)
            assert row is not None
            path = self.store.path(node)
            assert path is not None
            content = Content(digest(self.hand.read("/".join(path))), row.print.mtime_ns)
            self.store.put_local(Local(node, row.parent, row.name, row.kind, content, row.print, row.blocked))
            self.context.quiet.read(node, trio.current_time())
        self.store.mark_clean([node for _, node in self.store.dirty_after(0, 10_000)])

    def dirty(self) -> set[NodeId]:
        """The nodes that have to be planned."""
        return {node for _, node in self.store.dirty_after(0, 10_000)}

    def problems(self) -> dict[str, str]:
        """Reasons by path."""
        return {problem.path: problem.reason for problem in self.context.problems.all()}


async def inline(function: Callable[[], T], _: trio.CapacityLimiter, /) -> T:
    """`Machine.offload` without threads."""
    await trio.lowlevel.checkpoint()
    return function()


@contextmanager
def sync_folder(
    kind: str,
    tmp_path: Path,
    *,
    keys: WorkspaceKeys | None = None,
    device: DeviceId = _SOMEBODY,
    machine: Machine | None = None,
) -> Iterator[SyncFolder]:
    """A folder on the "linux" or the "simulated" disk. Every descriptor that Shoal opens has to be closed again."""
    disk: Disk
    if kind == "linux":
        disk, path = LinuxDisk(), str(tmp_path / "folder")
        hand: Hand = RealHand(tmp_path / "folder")
    else:
        disk, path = SimulatedDisk(count(START_NS, 20_000_000).__next__, Random(7)), "/folder"
        hand = SimulatedHand(disk)
    database = open_database(":memory:")
    wall = [START_NS]
    machine = machine or Machine(now=lambda: wall[0], random_bytes=Random(11).randbytes, offload=inline)
    yield _assemble(database, disk, path, hand, wall, machine, keys, device)
    database.close()
    assert _open_descriptors(disk, path) == 0


def _open_descriptors(disk: Disk, folder: str) -> int:
    if isinstance(disk, SimulatedDisk):
        return len(disk.descriptors)
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith(folder)
    return found


def _assemble(
    database: Database,
    disk: Disk,
    path: str,
    hand: Hand,
    wall: list[int],
    machine: Machine,
    keys: WorkspaceKeys | None,
    device: DeviceId,
) -> SyncFolder:
    keys = keys or new_workspace_keys(WORKSPACE, machine.random_bytes)
    root = claim_root(disk, path, "/home/shoal", None, machine.random_bytes)
    context = Context(
        machine=machine,
        disk=disk,
        root=root,
        keys=keys,
        device=device,
        device_name="laptop",
        store=TreeStore(database, keys.workspace),
        versions=VersionStore(database, keys.workspace),
        problems=Problems(database, keys.workspace),
        quiet=Quiet(),
        limiter=trio.CapacityLimiter(1),
    )
    indexer = Indexer(
        machine=machine,
        disk=disk,
        root=root,
        store=context.store,
        problems=context.problems,
        quiet=context.quiet,
        limiter=context.limiter,
        turn=context.turn,
    )
    return SyncFolder(context, indexer, hand, wall)
