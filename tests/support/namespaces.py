"""Hosts made of network namespaces, with whatever interfaces a test gives them. Needs root.

namespaces   a context: every namespace made in it goes with it, and with a namespace all its interfaces
Namespaces   makes hosts, and cables between them
Host         configure it, run commands in it

Programs run inside are to be ended by whoever started them, before.
"""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

SECONDS = 30
"""For any command here: they take milliseconds."""


@dataclass(frozen=True, slots=True)
class Host:
    """One namespace, with loopback up and nothing else."""

    namespace: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put in front of a command to run it there. It becomes the command, under the same process id."""
        return ("ip", "netns", "exec", self.namespace)

    def run(self, *words: str) -> str:
        """Run a command there that has to succeed; what it prints."""
        return _run(*self.prefix, *words)

    def ip(self, words: str) -> str:
        """One command of ip(8): `host.ip("link set eth0 up")`."""
        return _run("ip", "-n", self.namespace, *words.split())


class Namespaces:
    """Makes them; see `namespaces`."""

    def __init__(self, ending: ExitStack) -> None:
        self._ending = ending
        self._prefix = f"shoal-{secrets.token_hex(4)}"
        self._made = 0

    def host(self) -> Host:
        """Another host."""
        self._made += 1
        made = Host(f"{self._prefix}-{self._made}")
        _run("ip", "netns", "add", made.namespace)
        self._ending.callback(_run, "ip", "netns", "delete", made.namespace)
        made.ip("link set lo up")
        return made

    def cable(self, one: Host, device: str, other: Host, other_device: str) -> None:
        """A cable between two hosts, up at both ends."""
        one.ip(f"link add {device} type veth peer name {other_device} netns {other.namespace}")
        one.ip(f"link set {device} up")
        other.ip(f"link set {other_device} up")

    def switch(self, name: str = "switch") -> Host:
        """A host that is nothing but a bridge, called `name`."""
        made = self.host()
        made.ip(f"link add {name} type bridge stp_state 0 forward_delay 0")
        made.ip(f"link set {name} up")
        return made

    def plug(self, host: Host, device: str, switch: Host, port: str) -> None:
        """A cable from a host to a `switch` with the default name."""
        self.cable(host, device, switch, port)
        switch.ip(f"link set {port} master switch")


@contextmanager
def namespaces() -> Iterator[Namespaces]:
    """Namespaces that go with the context."""
    with ExitStack() as ending:
        yield Namespaces(ending)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout
