"""The router with its bridge, and the machines that are added to them."""

import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.failures import BenchFailed
from bench.network.line import Line, SlowLine, tun
from bench.network.machine import ETC, Carried, Machine, command

_TUN = Path("/dev/net/tun")


def check_network(who: str) -> None:
    """`BenchFailed`, in one line, when `who` can't have a network here."""
    if os.geteuid() != 0:
        raise BenchFailed(f"{who} needs root: it makes a network of its own, of network namespaces")
    absent = [name for name in ("ip", "tc") if shutil.which(name) is None]
    if absent:
        raise BenchFailed(f"{who} needs {' and '.join(absent)} (on Debian: apt-get install iproute2)")
    if not _TUN.exists():
        raise BenchFailed(f"{who} needs {_TUN}, and there is none")


@dataclass(frozen=True, slots=True)
class Uplink:
    """The router's end of a far machine's line."""

    router: Machine
    device: str

    def carried(self) -> Carried:
        """Everything that went over the line: `sent` is towards the far machine."""
        return self.router.carried(self.device)


class Network:
    """The router with its bridge, and what was added to them. Make it with `network()`."""

    def __init__(self, ending: ExitStack) -> None:
        self._ending = ending
        self._prefix = f"shoal-{os.getpid()}-{secrets.token_hex(3)}"  # so that one can see whose it is
        self._machines: list[Machine] = []
        self._ports: list[str] = []
        self._far = 0
        self._router = self._namespace("router", "10.77.0.1")
        with self._router.inside():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        self._router.ip("link add name lan type bridge stp_state 0 forward_delay 0")
        self._router.ip("addr add 10.77.0.1/24 dev lan")
        self._router.ip("link set dev lan up")

    def machine(self, name: str, rate: str | None = None, *, whole_packets: bool = False) -> Machine:
        """A machine on the LAN; `rate` is what its link carries each way, as `tc` spells it ("1gbit").

        With `whole_packets` both ends cut what they send into packets by themselves, as a cable would need it, so that
        every header is counted; the kernel otherwise hands on as much as 64 KiB under one header.
        """
        number = len(self._ports) + 1
        made, port = self._namespace(name, f"10.77.0.{10 + number}"), f"port{number}"
        self._ports.append(port)
        self._router.ip(f"link add name {port} type veth peer name eth0 netns {made.namespace}")
        self._router.ip(f"link set dev {port} master lan up")
        _configure(made, "eth0", f"{made.address}/24", router="10.77.0.1")
        for where, device in ((made, "eth0"), (self._router, port)):
            if whole_packets:
                where.ip(f"link set dev {device} gso_max_segs 1")
            if rate is not None:
                shape = f"qdisc add dev {device} root tbf rate {rate} burst 256kb latency 20ms"
                command("tc", "-n", where.namespace, *shape.split())
        return made

    def far_machine(self, name: str, line: Line | None = None) -> tuple[Machine, SlowLine]:
        """A machine beyond the router, on a line of its own."""
        self._far += 1
        made, device = self._namespace(name, f"10.78.{self._far}.2"), f"far{self._far}"
        ours = f"10.78.{self._far}.1"
        with ExitStack() as opened:
            ends = [opened.enter_context(tun(where, what)) for where, what in ((self._router, device), (made, "eth0"))]
            slow = SlowLine(line or Line(), *ends)
        self._ending.callback(slow.close)
        _configure(self._router, device, f"{ours}/30")
        _configure(made, "eth0", f"{made.address}/30", router=ours)
        return made, slow

    def uplink(self) -> Uplink:
        """The router's end of the newest far machine's line."""
        return Uplink(self._router, f"far{self._far}")

    def drop_multicast(self) -> None:
        """From now on the bridge hands on no multicast, as many a guest network does."""
        self._router.ip("link set dev lan type bridge mcast_snooping 0")
        for port in self._ports:
            self._router.ip(f"link set dev {port} type bridge_slave mcast_flood off")

    def _namespace(self, name: str, address: str) -> Machine:
        made = Machine(name, f"{self._prefix}-{name}", address)
        command("ip", "netns", "add", made.namespace)
        self._ending.callback(_remove, made)
        made.ip("link set dev lo up")
        made.etc.mkdir(parents=True)
        (made.etc / "resolv.conf").touch()
        self._machines.append(made)
        known = "".join(f"{each.address} {each.name}\n" for each in self._machines)
        for each in self._machines:
            # In place: programs that run already see the same file.
            (each.etc / "hosts").write_text(f"127.0.0.1 localhost\n{known}")
        return made


def _configure(machine: Machine, device: str, address: str, router: str | None = None) -> None:
    machine.ip(f"addr add {address} brd + dev {device}")
    machine.ip(f"link set dev {device} up")
    if router is not None:
        machine.ip(f"route add default via {router}")


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
