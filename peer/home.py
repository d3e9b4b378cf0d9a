"""A device's home folder: who it is, what it may open, and where its database, socket and logs are.

    device.cbor   01 ‖ CBOR of `Credentials`: the device's keys
    keys.cbor     01 ‖ CBOR of the tracker's last `WorkspacesReply`: sealed grants, so that a daemon starts without it
    peer.db       the client metadata database
    control       the control socket of a running daemon
    lock          held by whoever may write here
    log/          rotated logs

Several homes on one machine are several devices. Files are written whole or not at all (the machine's side is
`peer/system/home_files.py`); a file of a newer format is refused, never overwritten.
"""

from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from protocol.api import LARGE, WorkspacesReply
from protocol.codec import U32, decode, encode, flag, many, message, nested, octets, optional, row, text, unsigned, wire
from protocol.errors import Malformed, Problem, Usage
from protocol.identifiers import ID_LENGTH, DeviceId, UserId
from protocol.login import MAX_EMAIL
from protocol.signing import KEY_LENGTH, ExchangeKey

FORMAT = 1
MAX_CREDENTIALS_BYTES = 1 << 20
MAX_DEVICE_NAME = 64
DEVICE_FILE, KEYS_FILE, DATABASE_FILE = "device.cbor", "keys.cbor", "peer.db"
CONTROL_SOCKET, LOCK_FILE, LOG_FOLDER = "control", "lock", "log"
_DATABASE_FILES = (DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm")

M = TypeVar("M")


@message
class TrackerAddress:
    """Where the tracker is, and how far the way to it is trusted."""

    url: str = wire(1, text(2000))
    ca_file: str | None = wire(2, optional(text(4096)), default=None)  # PEM; None for the system's authorities
    insecure_http: bool = wire(3, flag(), default=False)  # plain http to more than this machine


@message
class Credentials:
    """What makes this home a device of a user. All of it is secret but the names and ids."""

    tracker: TrackerAddress = wire(1, nested(TrackerAddress))
    email: str = wire(2, text(MAX_EMAIL))
    user: UserId = wire(3, octets(ID_LENGTH))
    device: DeviceId = wire(4, octets(ID_LENGTH))
    device_name: str = wire(5, text(MAX_DEVICE_NAME))
    signing_seed: bytes = wire(6, octets(KEY_LENGTH))  # Ed25519
    exchange_private: bytes = wire(7, octets(KEY_LENGTH))  # X25519
    identity_key: bytes = wire(8, octets(KEY_LENGTH))  # public: the user's own, pinned
    sealing_keys: tuple[tuple[int, bytes], ...] = wire(9, many(row(unsigned(U32), octets(KEY_LENGTH)), 1000))

    def __repr__(self) -> str:
        """Without the keys, so that none gets into a log."""
        return f"<Credentials of device {self.device.hex()} ({self.device_name})>"

    def sealing_key(self, number: int) -> ExchangeKey:
        """The user's sealing key of that number; `Malformed` when this device does not have it."""
        for known, private in self.sealing_keys:
            if known == number:
                return ExchangeKey(private)
        raise Malformed(f"sealed to the user's key {number}, which this device does not have")


class HomeFiles(Protocol):
    """One folder of small files. Every failure of the machine is a `Problem` that names the file."""

    path: str

    def prepare(self) -> None:
        """Make the folder (0700) with its parents. `Problem` when it is another user's, or open to others and in
        use."""
        ...

    def make_folder(self, name: str) -> str:
        """Make a folder (0700) inside, unless it is there; its path."""
        ...

    def read(self, name: str, limit: int) -> bytes | None:
        """The whole file, None when there is none; `Malformed` when it is longer than `limit`."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replace the file (0600) atomically and durably."""
        ...

    def remove(self, name: str) -> None:
        """Remove the file, if there is one, durably."""
        ...

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock of this name; it ends with the process. `Problem` at once when somebody else holds it; who
        holds it may take it again."""
        ...


class Home:
    """The home folder at `path`. Nothing is read or made before a method asks for it."""

    def __init__(self, files: HomeFiles) -> None:
        self._files = files

    @property
    def path(self) -> str:
        """The folder, as an absolute path."""
        return self._files.path

    @property
    def database(self) -> str:
        """Path of the client metadata database."""
        return f"{self.path}/{DATABASE_FILE}"

    @property
    def control_socket(self) -> str:
        """Path of the control socket."""
        return f"{self.path}/{CONTROL_SOCKET}"

    @property
    def log_folder(self) -> str:
        """Path of the folder with the logs."""
        return f"{self.path}/{LOG_FOLDER}"

    def prepare(self) -> None:
        """Make the folder and the one for logs, both for this user only."""
        self._files.prepare()
        self._files.make_folder(LOG_FOLDER)

    def lock(self) -> AbstractContextManager[None]:
        """Be the only one to write here while the context lasts; `Problem` when a daemon or a login is at it."""
        return self._files.lock(LOCK_FILE)

    def credentials(self) -> Credentials:
        """Who this device is. `Usage` when nobody has logged in here, `Problem` for what can't be read."""
        found = self._read(DEVICE_FILE, Credentials, MAX_CREDENTIALS_BYTES)
        if found is None:
            raise Usage(f"no account in {self.path}: run shoal signup or shoal login")
        return found

    def has_account(self) -> bool:
        """Whether somebody has logged in here, readable or not."""
        return self._files.read(DEVICE_FILE, MAX_CREDENTIALS_BYTES) is not None

    def save_credentials(self, credentials: Credentials) -> None:
        """Become this device."""
        self._write(DEVICE_FILE, credentials)

    def cached_workspaces(self) -> WorkspacesReply | None:
        """What the tracker last said the user's workspaces are; verify it like any answer. None before it did."""
        return self._read(KEYS_FILE, WorkspacesReply, LARGE)

    def cache_workspaces(self, reply: WorkspacesReply) -> None:
        """Remember an answer for the next start."""
        self._write(KEYS_FILE, reply)

    def forget(self) -> None:
        """Log out: remove the device's keys, and with them the database, which means nothing to another device."""
        for name in (DEVICE_FILE, KEYS_FILE, *_DATABASE_FILES):
            self._files.remove(name)

    def _read(self, name: str, cls: type[M], limit: int) -> M | None:
        raw = self._files.read(name, limit)
        if raw is None:
            return None
        if raw[:1] > bytes([FORMAT]):
            raise Problem(f"{self.path}/{name} was written by a newer Shoal: upgrade this one")
        try:
            if raw[:1] != bytes([FORMAT]):
                raise Malformed("no format byte")
            return decode(cls, raw[1:], limit)
        except Malformed as error:
            raise Problem(f"{self.path}/{name} is damaged: {error}") from None

    def _write(self, name: str, value: object) -> None:
        self._files.write(name, bytes([FORMAT]) + encode(value))
