"""The sync root: its marker, Shoal's own folder inside it, and the way to any directory below it.

    ROOT/.shoal/root        marker: which home owns this folder. Missing or different, and nothing here means anything
                            (law 2)
    ROOT/.shoal/temp/       files being assembled
    ROOT/.shoal/outgoing/   files that were replaced or removed, for at least a minute, and while they
                            hold a version that the cloud doesn't have

Every directory is reached by descriptors from the root's own, one name at a time, never through a symlink (law 14).
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from peer.ports import Descriptor, Disk, EntryKind
from protocol.codec import decode, encode, message, octets, text, unsigned, wire
from protocol.errors import Malformed, Problem, WrongRoot, reason_of
from protocol.identifiers import ID_LENGTH, new_id
from protocol.names import RESERVED
from protocol.ports import RandomBytes

MARKER, TEMP, OUTGOING = "root", "temp", "outgoing"
MAX_MARKER = 8192
MAX_OPEN = 128
_FORMAT = 1

Names = tuple[str, ...]
"""A path below the root, name by name; the root itself is ()."""


@message
class Marker:
    """What `.shoal/root` says."""

    format: int = wire(1, unsigned(255))
    id: bytes = wire(2, octets(ID_LENGTH))
    home: str = wire(3, text(4096))  # the path of the home that owns the folder


@dataclass(frozen=True, slots=True)
class SyncRoot:
    """A sync folder that this home owns: its path, and the id that its marker must have."""

    path: str
    id: bytes


def is_speakable(names: Iterable[str]) -> bool:
    """Whether LOCAL can hold such names: a disk has some that are not UTF-8, and tells of what is in such folders."""
    try:
        "/".join(names).encode()
    except UnicodeEncodeError:
        return False
    return True


class Folder:
    """A sync root held open for one piece of work; use it from one thread at a time."""

    def __init__(self, disk: Disk, top: Descriptor, device: int) -> None:
        """Made by `open_folder`. `device` is the root's: what is on another one is a mount, and left alone."""
        self.disk = disk
        self.device = device
        self._open: dict[Names, Descriptor] = {(): top}

    def directory(self, names: Names) -> Descriptor:
        """The open directory at a path. `OSError` when it isn't there or isn't a directory."""
        found = self._open.get(names)
        if found is None:
            found = self.disk.open_directory(self.directory(names[:-1]), names[-1])
            self._open[names] = found
        return found

    def forget(self, names: Names) -> None:
        """The directory at a path, and all below it, may be another from now on."""
        for path in [path for path in self._open if path and path[: len(names)] == names]:
            self.disk.close(self._open.pop(path))

    def trim(self) -> None:
        """Close what piled up, so that the number of descriptors stays bounded. Call it between two paths."""
        if len(self._open) > MAX_OPEN:
            self.forget(())

    @property
    def temp(self) -> Descriptor:
        """Where files are assembled."""
        return self.directory((RESERVED, TEMP))

    @property
    def outgoing(self) -> Descriptor:
        """Where replaced and removed files wait."""
        return self.directory((RESERVED, OUTGOING))

    def close(self) -> None:
        """Close every directory."""
        for descriptor in self._open.values():
            self.disk.close(descriptor)
        self._open.clear()


@contextmanager
def open_folder(disk: Disk, root: SyncRoot) -> Iterator[Folder]:
    """The root, opened anew and held against its marker; `WrongRoot` when it is missing or another's."""
    try:
        top = disk.open_root(root.path)
    except OSError as error:
        raise WrongRoot(f"the folder {root.path} is not there: {reason_of(error)}") from None
    folder = Folder(disk, top, 0)
    try:
        marker = read_marker(folder)
        if marker is None or marker.id != root.id:
            raise WrongRoot(
                f"the folder {root.path} is not the one that was synced here: its .shoal/root is missing or another's. "
                "Nothing was deleted. Put the folder back, or log out, log in and run with a new one"
            )
        try:
            folder.device = disk.stat_open(top).device
        except OSError as error:
            raise WrongRoot(f"the folder {root.path} can't be looked at: {reason_of(error)}") from None
        yield folder
    finally:
        folder.close()


def read_marker(folder: Folder) -> Marker | None:
    """The marker; None when there is none. `Problem` when it can't be read or understood."""
    disk = folder.disk
    try:
        descriptor = disk.open_file(folder.directory((RESERVED,)), MARKER)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise WrongRoot(f"the folder's marker .shoal/root can't be read: {reason_of(error)}") from None
    try:
        return decode(Marker, disk.read_at(descriptor, MAX_MARKER, 0), MAX_MARKER)
    except (Malformed, OSError) as error:
        raise WrongRoot(f"the folder's marker .shoal/root is damaged: {error}") from None
    finally:
        disk.close(descriptor)


def claim_root(disk: Disk, path: str, home: str, known: bytes | None, random_bytes: RandomBytes) -> SyncRoot:
    """Make `path` this home's sync folder, or find that it is.

    `known` is the id that this home remembers; then nothing is made, and a missing folder is `WrongRoot`. A folder that
    another home owns is refused, naming it, and so is one inside a folder that is synced already.
    """
    if known is not None:
        root = SyncRoot(path, known)
        with open_folder(disk, root) as folder:
            try:
                _make_rooms(folder)
            except OSError as error:
                raise Problem(f"the folder {path} can't be used: {reason_of(error)}") from None
        return root
    refuse_inside_another(disk, path)
    try:
        disk.make_root(path)
        folder = Folder(disk, disk.open_root(path), 0)
    except OSError as error:
        raise Problem(f"the folder {path} can't be used: {reason_of(error)}") from None
    try:
        marker = read_marker(folder)
        if marker is not None and marker.home != home:
            raise WrongRoot(f"the folder {path} belongs to another home: {marker.home}")
        _make_rooms(folder)
        if marker is None:
            marker = Marker(format=_FORMAT, id=new_id(random_bytes), home=home)
            _write_marker(folder, marker)
        else:
            disk.fsync(folder.directory((RESERVED,)))  # whoever wrote it may not have come to that
        return SyncRoot(path, marker.id)
    except OSError as error:
        raise Problem(f"the folder {path} can't be used: {reason_of(error)}") from None
    finally:
        folder.close()


def refuse_inside_another(disk: Disk, path: str) -> None:
    """`WrongRoot` when a folder above `path` is synced: it would sync all that Shoal keeps in this one, and so on."""
    for above in map(str, PurePosixPath(path).parents):
        try:
            folder = Folder(disk, disk.open_root(above), 0)
        except OSError:
            continue
        try:
            if read_marker(folder) is not None:
                raise WrongRoot(
                    f"the folder {path} is inside {above}, which is synced already: choose one outside of it"
                )
        finally:
            folder.close()


def _make_rooms(folder: Folder) -> None:
    disk, top = folder.disk, folder.directory(())
    _make_directory(disk, top, RESERVED)
    for room in (TEMP, OUTGOING):
        _make_directory(disk, folder.directory((RESERVED,)), room)
    _clear(disk, folder.temp)


def _make_directory(disk: Disk, parent: Descriptor, name: str) -> None:
    try:
        disk.make_directory(parent, name, 0o700)
    except FileExistsError:
        if disk.stat(parent, name).kind is not EntryKind.DIRECTORY:
            raise


def _clear(disk: Disk, room: Descriptor) -> None:
    """What an earlier run was assembling is of no use: nothing in there was ever in place."""
    for name in disk.scan(room):
        disk.unlink(room, name)


def _write_marker(folder: Folder, marker: Marker) -> None:
    disk, room = folder.disk, folder.directory((RESERVED,))
    draft = folder.temp
    descriptor = disk.create_file(draft, MARKER, 0o600)
    try:
        disk.write_at(descriptor, encode(marker), 0)
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    disk.rename(draft, MARKER, room, MARKER)
    disk.fsync(room)
