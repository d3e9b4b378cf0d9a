"""A machine: a network namespace with one address."""

import ctypes
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.failures import BenchFailed, printable

NAMESPACES, ETC = Path("/run/netns"), Path("/etc/netns")
SECONDS = 30
"""For any command here: they take milliseconds."""
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def command(*words: str) -> str:
    """Run a command; what it prints. `BenchFailed` when it fails."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode != 0:
        raise BenchFailed(f"{' '.join(words)}: {printable(done.stderr.strip())}")
    return done.stdout


def _enter(descriptor: int) -> None:
    # os.setns came with Python 3.12.
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@dataclass(frozen=True, slots=True)
class Carried:
    """What a network device has carried: bytes, with their Ethernet headers where there are such."""

    received: int
    sent: int

    def since(self, before: "Carried") -> "Carried":
        """The difference."""
        return Carried(self.received - before.received, self.sent - before.sent)


@dataclass(frozen=True, slots=True)
class Machine:
    """A namespace with one address."""

    name: str
    namespace: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put in front of a command to run it there. It becomes the command, under the same process id."""
        return ("ip", "netns", "exec", self.namespace)

    @property
    def etc(self) -> Path:
        """What is here stands in the place of /etc's file or folder of that name, for programs started afterwards."""
        return ETC / self.namespace

    def run(self, *words: str) -> str:
        """Run a command there that has to succeed; what it prints."""
        return command(*self.prefix, *words)

    def ip(self, words: str) -> str:
        """One command of ip(8): `machine.ip("link set eth0 up")`."""
        return command("ip", "-n", self.namespace, *words.split())

    def carried(self, device: str = "eth0") -> Carried:
        """What one of its network devices has carried since it was made, as the kernel counts."""
        (told,) = json.loads(command("ip", "-n", self.namespace, "-s", "-j", "link", "show", "dev", device))
        return Carried(told["stats64"]["rx"]["bytes"], told["stats64"]["tx"]["bytes"])

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread opens meanwhile are this machine's, and stay so. No awaiting in between."""
        with open("/proc/thread-self/ns/net") as home, open(NAMESPACES / self.namespace) as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def listening(self) -> set[int]:
        """The TCP ports on which somebody listens there."""
        with self.inside():
            lines = [line for kind in ("tcp", "tcp6") for line in _table(kind)]
        fields = [line.split() for line in lines]
        return {int(local.rpartition(":")[2], 16) for _, local, _, state, *_ in fields if state == "0A"}


def _table(kind: str) -> list[str]:
    return Path(f"/proc/thread-self/net/{kind}").read_text().splitlines()[1:]
