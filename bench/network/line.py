"""The slow line to a far machine. Its packets are carried by a program of its own, `bench.network.wan`."""

import fcntl
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from bench.failures import BenchFailed
from bench.network.machine import SECONDS, Machine

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


@dataclass(frozen=True, slots=True)
class Line:
    """Bits a second each way, seconds one way, and as many seconds of packets in front of it as it lets wait. A line
    that is cut loses everything, also what is on its way."""

    rate: float = 20e6
    delay: float = 0.02
    queue: float = 0.1
    cut: bool = False


class SlowLine:
    """The line to a far machine, which can be changed while it is used."""

    def __init__(self, line: Line, one: int, other: int) -> None:
        """`one` and `other` are its ends' open TUN devices."""
        self.line = line
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.network.wan", str(one), str(other)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(one, other),
            # Ctrl-C in the terminal is for the parent, which closes it when the programs have ended.
            start_new_session=True,
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
        if self._process.stdout.readline() != "set\n":
            raise BenchFailed("the slow line has ended")


@contextmanager
def tun(machine: Machine, device: str) -> Iterator[int]:
    """A new TUN device there, open until the context ends; it lasts as long as any process has it open."""
    with machine.inside():
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
        yield descriptor
    finally:
        os.close(descriptor)
