"""The seams between a peer and everything outside it: the disk, the tracker, the LAN, and news of local change.

One method per system call, so that a simulation can interleave, fail or crash between any two of them (design §2).
All disk methods are synchronous and run where the caller decides (`Machine.offload`). Every failure is an `OSError`
with the errno the kernel would give. Directories are held as open descriptors and every other argument is one name
relative to one of them; a name never contains "/", so no call can leave the folder (law 14).
"""

from collections.abc import AsyncIterator, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, NewType, Protocol

Descriptor = NewType("Descriptor", int)


class EntryKind(IntEnum):
    """What a directory entry is, as lstat(2) tells it. OTHER is a socket, a device or a FIFO."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    OTHER = 4


class Stat(NamedTuple):
    """What lstat(2) says: sizes in bytes, times in nanoseconds since 1970 UTC, `mode` the twelve permission bits."""

    kind: EntryKind
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    links: int


@dataclass(frozen=True, slots=True)
class Space:
    """What statvfs(3) says of a file system, in bytes and inodes free to an ordinary user."""

    free_bytes: int
    free_inodes: int


class Disk(Protocol):
    """One method per system call. Symlinks are never followed, save in the path given to `open_root`."""

    def open_root(self, path: str) -> Descriptor:
        """Open an existing directory by its path (only this call and `make_root` take one)."""
        ...

    def make_root(self, path: str) -> None:
        """Make the directory at `path`, and those above it, unless it is there."""
        ...

    def open_directory(self, parent: Descriptor, name: str) -> Descriptor:
        """openat(O_DIRECTORY | O_NOFOLLOW). ELOOP or ENOTDIR when it is something else."""
        ...

    def open_file(self, parent: Descriptor, name: str) -> Descriptor:
        """openat(O_RDONLY | O_NOFOLLOW | O_NONBLOCK)."""
        ...

    def create_file(self, parent: Descriptor, name: str, mode: int) -> Descriptor:
        """openat(O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW). EEXIST when the name is taken."""
        ...

    def open_for_writing(self, parent: Descriptor, name: str) -> Descriptor:
        """openat(O_RDWR | O_NOFOLLOW), for a file of Shoal's own that is being assembled."""
        ...

    def close(self, descriptor: Descriptor) -> None:
        """close(2)."""
        ...

    def read_at(self, descriptor: Descriptor, length: int, offset: int) -> bytes:
        """pread(2): at most `length` bytes; fewer only at the end of the file."""
        ...

    def read_into(self, descriptor: Descriptor, buffer: memoryview, offset: int) -> int:
        """preadv(2), repeated until `buffer` is full: how many bytes; fewer only at the end of the file."""
        ...

    def write_at(self, descriptor: Descriptor, data: bytes | memoryview, offset: int) -> None:
        """pwrite(2), repeated until all of `data` is written."""
        ...

    def fsync(self, descriptor: Descriptor) -> None:
        """fsync(2), of a file or of a directory."""
        ...

    def sync_file_system(self, descriptor: Descriptor) -> None:
        """syncfs(2): one barrier for everything written so far to the file system that holds `descriptor`."""
        ...

    def scan(self, directory: Descriptor) -> list[str]:
        """The names in a directory without "." and "..", in no particular order. Bytes that are not UTF-8 come as lone
        surrogates (PEP 383)."""
        ...

    def stat(self, parent: Descriptor, name: str) -> Stat:
        """fstatat(AT_SYMLINK_NOFOLLOW)."""
        ...

    def stat_open(self, descriptor: Descriptor) -> Stat:
        """fstat(2)."""
        ...

    def read_link(self, parent: Descriptor, name: str) -> str:
        """readlinkat(2)."""
        ...

    def make_directory(self, parent: Descriptor, name: str, mode: int) -> None:
        """mkdirat(2)."""
        ...

    def make_symlink(self, target: str, parent: Descriptor, name: str) -> None:
        """symlinkat(2). EEXIST when the name is taken."""
        ...

    def rename(self, from_parent: Descriptor, from_name: str, to_parent: Descriptor, to_name: str) -> None:
        """renameat2(RENAME_NOREPLACE). EEXIST when the target name is taken; there is no way to overwrite by name."""
        ...

    def exchange(self, from_parent: Descriptor, from_name: str, to_parent: Descriptor, to_name: str) -> None:
        """renameat2(RENAME_EXCHANGE): both names must exist."""
        ...

    def unlink(self, parent: Descriptor, name: str) -> None:
        """unlinkat(2) of anything but a directory."""
        ...

    def remove_directory(self, parent: Descriptor, name: str) -> None:
        """unlinkat(AT_REMOVEDIR). ENOTEMPTY when it holds anything."""
        ...

    def set_times(self, descriptor: Descriptor, mtime_ns: int) -> None:
        """futimens(2): the modification time; the access time is set to the same."""
        ...

    def set_link_times(self, parent: Descriptor, name: str, mtime_ns: int) -> None:
        """utimensat(AT_SYMLINK_NOFOLLOW): for symlinks, which can't be opened."""
        ...

    def set_mode(self, descriptor: Descriptor, mode: int) -> None:
        """fchmod(2)."""
        ...

    def space(self, descriptor: Descriptor) -> Space:
        """fstatvfs(3)."""
        ...

    def file_system(self, descriptor: Descriptor) -> str:
        """fstatfs(2): the name of the file system, such as "ext4" or "nfs", or its number in hexadecimal."""
        ...


@dataclass(frozen=True, slots=True)
class Changes:
    """Paths relative to a folder, "/"-separated, where something may have changed; "" means "look at everything" (an
    overflow, or the watch was made anew). `closed` are those of them that a program had open for writing, and has
    closed."""

    paths: Set[str]
    closed: Set[str] = frozenset()


class FolderEvents(Protocol):
    """News that something changed under a folder: where to look, never what is (the disk says that)."""

    def watch(self, folder: str) -> AbstractAsyncContextManager[AsyncIterator[Changes]]:
        """Watch `folder` and all below it while the context is open.

        Raises `WatchLimit` when the kernel's inotify limits are reached. Events may be lost or repeated: the caller
        scans after start and from time to time.
        """
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """What the tracker answered: an HTTP status and the body, already within the cap the caller asked for."""

    status: int
    body: bytes


class TrackerTransport(Protocol):
    """Bytes to and from one tracker. Every failure to get an answer is a `protocol.errors.Unreachable`."""

    async def request(
        self, path: str, body: bytes, *, token: str | None, patience: float, response_limit: int
    ) -> Response:
        """POST `body` to `path`; at most `patience` seconds without progress; a longer answer than `response_limit`
        bytes is a `protocol.errors.Malformed`."""
        ...

    def notifications(self, path: str, *, token: str) -> AbstractAsyncContextManager["Notifications"]:
        """Open the WebSocket at `path` for as long as the context lasts."""
        ...


class Conditions(Protocol):
    """Under what conditions the machine works now. What it doesn't say is False."""

    async def on_battery(self) -> bool:
        """Whether it runs on its battery."""
        ...

    async def is_metered(self) -> bool:
        """Whether its connection is paid for by the byte."""
        ...


class Notifications(Protocol):
    """One open WebSocket to the notification service."""

    async def send(self, frame: bytes) -> None:
        """Send one binary frame."""
        ...

    async def receive(self) -> bytes:
        """The next binary frame. Raises `Unreachable` when the connection is gone."""
        ...


@dataclass(frozen=True, slots=True)
class LanAddress:
    """Where a device listens: a numeric IP address, an IPv6 link-local one with its scope ("fe80::1%eth0"), and a TCP
    port."""

    host: str
    port: int

    def __str__(self) -> str:
        """As host:port, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Advertisement:
    """What a device says of itself on a LAN: a random instance name, 32 hex digits, and a tag of 16 bytes
    (`protocol.lan`). No `addresses` in what was seen means that it has gone; the tag is empty then."""

    name: str
    tag: bytes
    addresses: tuple[LanAddress, ...]


class LanStream(Protocol):
    """One TCP connection. When it breaks or is closed, every method raises `Unreachable`."""

    remote: LanAddress

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. Cancelled, part of it may have gone: the stream is of no use then."""
        ...

    async def receive_into(self, buffer: memoryview) -> int:
        """Receive at least one byte, at most as many as `buffer` holds; how many. 0 when the other side has ended."""
        ...

    def close(self) -> None:
        """Close at once; what was not sent is lost. May be called twice, and while others wait for the stream."""
        ...


class LanListener(Protocol):
    """A listening TCP port."""

    port: int

    async def accept(self) -> LanStream:
        """The next connection; those that don't come from the LAN are closed, not returned."""
        ...


class Beacons(Protocol):
    """Advertisements on the LAN, sent and seen."""

    async def announce(self, name: str, tag: bytes, port: int) -> None:
        """Announce this device from now on, in place of what it has announced before. Others see it at once; takes half
        a second."""
        ...

    async def receive(self) -> Advertisement:
        """The next that was seen, one's own included; the newest word on a name when many came meanwhile. It may say
        the same as before: that somebody is heard again is news."""
        ...


class Lan(Protocol):
    """The local network."""

    async def interfaces(self) -> frozenset[str]:
        """The addresses, with prefix lengths, of the interfaces that count now; a change means another network."""
        ...

    def listen(self) -> AbstractAsyncContextManager[LanListener]:
        """Listen while the context lasts, whatever becomes of the interfaces. `Problem` when no port can be had, and
        when no interface has the address that a person has chosen."""
        ...

    async def dial(self, address: LanAddress, *, configured: bool = False) -> LanStream:
        """Connect; `Unreachable` when nobody answers in a few seconds. Only addresses on the LAN are dialled, unless a
        person has `configured` this one; then `host` may be a name."""
        ...

    def beacons(self) -> AbstractAsyncContextManager[Beacons]:
        """Open discovery on the interfaces of now. `Problem` when there are none, or none that does multicast."""
        ...
