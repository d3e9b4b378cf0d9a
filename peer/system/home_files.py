"""The real home folder behind `peer.home.HomeFiles`, and where it is by default."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from peer.home import Home
from protocol.errors import Malformed, Problem, Usage, reason_of

_TEMPORARY = ".new"
_OTHERS = 0o077


def open_home(path: str) -> Home:
    """The home at `path`; "~" and relative paths are taken from this process."""
    return Home(FolderFiles(os.path.abspath(os.path.expanduser(path))))


def default_home() -> str:
    """$XDG_DATA_HOME/shoal, else ~/.local/share/shoal (XDG Base Directory Specification: relative ones don't count)."""
    data = os.environ.get("XDG_DATA_HOME", "")
    return os.path.join(data if os.path.isabs(data) else os.path.expanduser("~/.local/share"), "shoal")


def default_folder() -> str:
    """~/Shoal."""
    return os.path.expanduser("~/Shoal")


def absolute(path: str) -> str:
    """`path` from the root, without "..", with its symlinks as they are."""
    return os.path.abspath(path)


def located(path: str) -> str:
    """`path` from the root as the system understands it: symlinks on the way are followed, "." and ".." taken away.
    What it ends in stays as it is, and need not exist: a symlink is a thing of its own."""
    above, name = os.path.split(path)
    if name in ("", os.curdir, os.pardir):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(above or os.curdir), name)


def seen_from(folder: str, path: str) -> str:
    """A `located` path as one in `folder`, if by whatever symlinks it is that; else as it is."""
    if _is_in(folder, path):
        return path
    real = os.path.realpath(folder)
    for each in (path, os.path.realpath(path)):
        if _is_in(real, each):
            return folder.rstrip("/") + each[len(real.rstrip("/")) :]
    return path


def keep_apart(folder: str, home: str) -> None:
    """`Usage` when one of the two is in the other, by whatever symlinks: what is in a home is for its device alone."""
    real, own = os.path.realpath(folder), os.path.realpath(home)
    if _is_in(real, own):
        raise Usage(
            f"the home {home}, with this device's keys, is in {folder}: choose a folder without it, or another --home"
        )
    if _is_in(own, real):
        raise Usage(f"{folder} is in the home {home}, which is for Shoal alone: choose a folder outside of it")


def _is_in(folder: str, path: str) -> bool:
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def host_name() -> str:
    """This machine's name without its domain; "device" when it has none."""
    return socket.gethostname().partition(".")[0] or "device"


def environment(name: str) -> str | None:
    """An environment variable, None when it is unset or empty."""
    return os.environ.get(name) or None


class FolderFiles:
    """See `peer.home.HomeFiles`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._held: set[str] = set()

    def prepare(self) -> None:
        with _told("make", self.path):
            if parent := os.path.dirname(self.path):
                os.makedirs(parent, exist_ok=True)
            try:
                os.mkdir(self.path, 0o700)
            except FileExistsError:
                _check_own(self.path)

    def make_folder(self, name: str) -> str:
        path = self._at(name)
        with _told("make", path):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                if not os.path.isdir(path):
                    raise
        return path

    def read(self, name: str, limit: int) -> bytes | None:
        path = self._at(name)
        try:
            with _told("read", path), open(path, "rb") as file:
                data = file.read(limit + 1)
        except Problem as problem:
            if isinstance(problem.__cause__, FileNotFoundError):
                return None
            raise
        if len(data) > limit:
            raise Malformed(f"{path} is longer than {limit} bytes")
        return data

    def write(self, name: str, data: bytes) -> None:
        path, temporary = self._at(name), self._at(name + _TEMPORARY)
        with _told("write", path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600), "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
            self._sync_folder()

    def remove(self, name: str) -> None:
        path = self._at(name)
        with _told("remove", path):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return
            self._sync_folder()

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        if name in self._held:
            yield
            return
        path = self._at(name)
        with _told("open", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with _told("lock", path):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Problem(f"another shoal{_holder(descriptor)} is at work on {self.path}") from None
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            self._held.add(name)
            yield
        finally:
            self._held.discard(name)
            os.close(descriptor)

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_own(path: str) -> None:
    """An empty folder is closed to others; one in use is not ours to change."""
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise Problem(f"{path} is not a folder")
    if found.st_uid != os.geteuid():
        raise Problem(f"{path} belongs to another user of this machine")
    if found.st_mode & _OTHERS:
        if os.listdir(path):
            raise Problem(f"{path} is open to other users of this machine: chmod 700 {path}")
        os.chmod(path, 0o700)


def _holder(descriptor: int) -> str:
    """` (process N)`, as the holder of a lock wrote it, or nothing."""
    written = os.pread(descriptor, 20, 0)
    return f" (process {int(written)})" if written.isdigit() else ""


@contextmanager
def _told(verb: str, path: str) -> Iterator[None]:
    """Turn what the system says into one line."""
    try:
        yield
    except OSError as failure:
        raise Problem(f"can't {verb} {path}: {reason_of(failure)}") from failure
