"""A device's side of the LAN as a program of its own, to be put into a network namespace: `-m tests.support.lan_agent`.

It listens, and says `["listening", port]`; of each connection that is let in `["accepted", remote]`, and greets it.
On stdin come commands, on stdout answers and news, each a list in JSON on a line of its own:

    ["interfaces"]                → ["interfaces", address, ...]
    ["dial", host, port, whether configured]   → ["dialled", "" or why not, remote greeting]
    ["meet", name]                → as a daemon does: announces itself, anew whenever its interfaces change.
                                    ["met", name, address, ...] of each that it sees, ["alone", why] when it can't

`Agent` is the other end of this, in the test.
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from peer.ports import LanAddress
from peer.system.lan import LocalNetwork
from protocol.errors import Problem, Unreachable

GREETING = b"hello"
LOOK = 0.1
PATIENCE = 30.0
TAG = bytes(range(16))


def say(*words: object) -> None:
    print(json.dumps(words), flush=True)


async def greet(lan: LocalNetwork, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    async with lan.listen() as listener:
        say("listening", listener.port)
        task_status.started(listener.port)
        while True:
            stream = await listener.accept()
            say("accepted", str(stream.remote))
            await stream.send_all(GREETING)
            stream.close()


async def dial(lan: LocalNetwork, host: str, port: int, configured: bool) -> None:
    buffer = bytearray(len(GREETING))
    try:
        stream = await lan.dial(LanAddress(host, port), configured=configured)
        count = await stream.receive_into(memoryview(buffer))
        stream.close()
        say("dialled", "", buffer[:count].decode())
    except Unreachable as failure:
        say("dialled", str(failure), "")


async def meet(lan: LocalNetwork, name: str, port: int) -> None:
    while True:
        now = await lan.interfaces()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meet_on, lan, name, port)
            await changed(lan, now)
            nursery.cancel_scope.cancel()


async def changed(lan: LocalNetwork, now: frozenset[str]) -> None:
    while await lan.interfaces() == now:  # noqa: ASYNC110  # nothing but a look tells
        await trio.sleep(LOOK)


async def meet_on(lan: LocalNetwork, name: str, port: int) -> None:
    try:
        async with lan.beacons() as beacons:
            await beacons.announce(name, TAG, port)
            while True:
                seen = await beacons.receive()
                say("met", seen.name, *(str(address) for address in seen.addresses))
    except Problem as problem:
        say("alone", str(problem))


async def main(interface: str | None) -> None:
    lan = LocalNetwork(interface)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(greet, lan)
        commands = Lines(trio.lowlevel.FdStream(os.dup(0)))
        while asked := await commands.next():
            command, *arguments = asked
            if command == "interfaces":
                say("interfaces", *sorted(await lan.interfaces()))
            elif command == "dial":
                await dial(lan, *arguments)
            elif command == "meet":
                nursery.start_soon(meet, lan, arguments[0], port)
        nursery.cancel_scope.cancel()


class Lines:
    """The lists that come one a line."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._begun = bytearray()

    async def next(self) -> list[Any] | None:
        """The next, None after the last."""
        while (end := self._begun.find(b"\n")) < 0:
            data = await self._stream.receive_some()
            if not data:
                return None
            self._begun += data
        line = bytes(self._begun[:end])
        del self._begun[: end + 1]
        said: list[Any] = json.loads(line)
        return said


# In the test ---------------------------------------------------------------------------------------------------------


class Agent:
    """A running agent."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        assert process.stdout is not None
        self._lines = Lines(process.stdout)
        self.port = 0

    async def ask(self, *command: object) -> list[Any]:
        """Send a command and wait for its answer."""
        await self.tell(*command)
        answer = {"interfaces": "interfaces", "dial": "dialled"}[str(command[0])]
        return (await self.until(lambda said: bool(said[0] == answer)))[1:]

    async def tell(self, *command: object) -> None:
        """Send a command that has no answer of its own."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(command).encode() + b"\n")

    def kill(self) -> None:
        """kill -9: it says no goodbye."""
        self._process.kill()

    async def until(self, wanted: Callable[[list[Any]], bool]) -> list[Any]:
        """The next line that is `wanted`; those before it are passed over."""
        passed: list[list[Any]] = []
        with trio.move_on_after(PATIENCE):
            while said := await self._lines.next():
                if wanted(said):
                    return said
                passed.append(said)
            raise AssertionError(f"the agent has ended after {passed}")
        raise AssertionError(f"not within {PATIENCE:g} s; it said {passed}")


@asynccontextmanager
async def agent(prefix: Sequence[str], interface: str | None = None) -> AsyncIterator[Agent]:
    """An agent, started with `prefix` in front of its command, that has begun to listen."""
    command = [*prefix, sys.executable, "-m", "tests.support.lan_agent", *([interface] if interface else [])]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        made = Agent(process)
        made.port = (await made.until(lambda said: bool(said[0] == "listening")))[1]
        yield made
    finally:
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with trio.move_on_after(10):
                await process.wait()
            process.kill()


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
