"""Machines with a network of their own, made of network namespaces. Needs root.

    far machine ══ slow line ══ router ── bridge ── machine, machine, machine
     10.78.1.2   (tests.support.wan)     10.77.0.1    10.77.0.11 ...

Everybody reaches everybody by address, and by the name in each machine's /etc/hosts. Nothing leaves this network. The
namespaces have random names, and go with the context, together with whatever still runs in them.
"""

import ctypes
import fcntl
import json
import os
import secrets
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.support.wan import Line

CHECKOUT = Path(__file__).parents[2]
NAMESPACES, ETC = Path("/run/netns"), Path("/etc/netns")
SECONDS = 30
"""For any command here: they take milliseconds."""
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


def command(*words: str) -> str:
    """Run a command that has to succeed; what it prints."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def _enter(descriptor: int) -> None:
    # os.setns came with Python 3.12.
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


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


class SlowLine:
    """The line to a far machine, which can be changed while it is used."""

    def __init__(self, line: Line, one: int, other: int) -> None:
        """`one` and `other` are its ends' open TUN devices."""
        self.line = line
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.wan", str(one), str(other)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(one, other),
            cwd=CHECKOUT,
        )
        self._await_answer()
        self.change(line)

    def change(self, line: Line) -> None:
        """Make it another line; this is in force on return."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(line)) + "\n")
        self._process.stdin.flush()
        self._await_answer()
        self.line = line

    def cut(self) -> None:
        """Lose everything from now on."""
        self.change(replace(self.line, cut=True))

    def mend(self) -> None:
        """Undo `cut`."""
        self.change(replace(self.line, cut=False))

    def close(self) -> None:
        """End it; its devices go with it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(SECONDS)
        finally:
            self._process.kill()

    def _await_answer(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "set\n", "the line has ended"


class Network:
    """The router with its bridge, and what was added to them. Make it with `network()`."""

    def __init__(self, ending: ExitStack) -> None:
        self._ending = ending
        self._prefix = f"shoal-{secrets.token_hex(4)}"
        self._machines: list[Machine] = []
        self._ports: list[str] = []
        self._far = 0
        self._router = self._namespace("router", "10.77.0.1")
        with self._router.inside():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        self._on_router("link add name lan type bridge stp_state 0 forward_delay 0")
        self._on_router("addr add 10.77.0.1/24 dev lan")
        self._on_router("link set dev lan up")

    def machine(self, name: str, rate: str | None = None) -> Machine:
        """A machine on the LAN; `rate` is what its link carries each way, as `tc` spells it ("1gbit")."""
        number = len(self._ports) + 1
        made, port = self._namespace(name, f"10.77.0.{10 + number}"), f"port{number}"
        self._ports.append(port)
        self._on_router(f"link add name {port} type veth peer name eth0 netns {made.namespace}")
        self._on_router(f"link set dev {port} master lan up")
        _configure(made, "eth0", f"{made.address}/24", router="10.77.0.1")
        if rate is not None:
            for where, device in ((made, "eth0"), (self._router, port)):
                shape = f"qdisc add dev {device} root tbf rate {rate} burst 256kb latency 20ms"
                command("tc", "-n", where.namespace, *shape.split())
        return made

    def far_machine(self, name: str, line: Line | None = None) -> tuple[Machine, SlowLine]:
        """A machine beyond the router, on a line of its own."""
        self._far += 1
        made, device = self._namespace(name, f"10.78.{self._far}.2"), f"far{self._far}"
        ours = f"10.78.{self._far}.1"
        with ExitStack() as opened:
            ends = [opened.enter_context(_tun(where, what)) for where, what in ((self._router, device), (made, "eth0"))]
            slow = SlowLine(line or Line(), *ends)
        self._ending.callback(slow.close)
        _configure(self._router, device, f"{ours}/30")
        _configure(made, "eth0", f"{made.address}/30", router=ours)
        return made, slow

    def drop_multicast(self) -> None:
        """From now on the bridge hands on no multicast, as many a guest network does."""
        self._on_router("link set dev lan type bridge mcast_snooping 0")
        for port in self._ports:
            self._on_router(f"link set dev {port} type bridge_slave mcast_flood off")

    def _namespace(self, name: str, address: str) -> Machine:
        made = Machine(name, f"{self._prefix}-{name}", address)
        command("ip", "netns", "add", made.namespace)
        self._ending.callback(_remove, made)
        command("ip", "-n", made.namespace, "link", "set", "dev", "lo", "up")
        made.etc.mkdir(parents=True)
        (made.etc / "resolv.conf").touch()
        self._machines.append(made)
        known = "".join(f"{each.address} {each.name}\n" for each in self._machines)
        for each in self._machines:
            # In place: programs that run already see the same file.
            (each.etc / "hosts").write_text(f"127.0.0.1 localhost\n{known}")
        return made

    def _on_router(self, words: str) -> None:
        command("ip", "-n", self._router.namespace, *words.split())


def _configure(machine: Machine, device: str, address: str, router: str | None = None) -> None:
    settings = [f"addr add {address} brd + dev {device}", f"link set dev {device} up"]
    if router is not None:
        settings.append(f"route add default via {router}")
    for words in settings:
        command("ip", "-n", machine.namespace, *words.split())


@contextmanager
def _tun(machine: Machine, device: str) -> Iterator[int]:
    """A new TUN device there, open until the context ends; it lasts as long as any process has it open."""
    with machine.inside():
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(machine: Machine) -> None:
    """Delete a namespace with everything in it, as far as it exists."""
    for process in command("ip", "netns", "pids", machine.namespace).split():
        with suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    command("ip", "netns", "delete", machine.namespace)
    shutil.rmtree(machine.etc, ignore_errors=True)
    with suppress(OSError):  # others are at work there
        ETC.rmdir()


@contextmanager
def network() -> Iterator[Network]:
    """A network that goes with the context."""
    with ExitStack() as ending:
        yield Network(ending)
