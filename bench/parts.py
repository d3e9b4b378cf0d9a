"""A tracker and a device, driven by the commands that a person would type."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from bench.certificates import Certificate
from bench.failures import BenchFailed
from bench.machine import program
from bench.network import Machine
from bench.programs import Program, Programs, run
from peer.control import NoDaemon, ask
from peer.home import CONTROL_SOCKET
from protocol.errors import ShoalError

START_SECONDS = 20.0
COMMAND_SECONDS = 60.0
ANSWER_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_READY = "listening on "


@dataclass(frozen=True)
class Status:
    """What a device says of itself."""

    state: str
    detail: str
    revision: int
    to_send: int
    to_receive: int
    not_durable: int
    peers: int  # devices that it is connected with on the LAN

    @property
    def done(self) -> bool:
        """Whether all is said to be in place and in the cloud."""
        return self.state == "synced" and self.not_durable == 0

    def __str__(self) -> str:
        """In a few words."""
        parts = [f"{self.to_send} to send"] * bool(self.to_send)
        parts += [f"{self.to_receive} to receive"] * bool(self.to_receive)
        parts += [f"{self.not_durable} not in the cloud yet"] * bool(self.not_durable)
        if self.state == "error":
            parts.insert(0, self.detail)
        return f"{self.state}: {', '.join(parts)}" if parts else self.state


class Tracker:
    """The server."""

    def __init__(
        self,
        programs: Programs,
        data: Path,
        options: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        machine: Machine | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """Keep everything in `data`, but for what `options` say is elsewhere; `variables` are in its environment.

        It listens on loopback, or at the address of a `machine`, which takes a `certificate`.
        """
        self._programs = programs
        self._options = ("--data", str(data), *options)
        self._variables = variables or {}
        self._machine, self._certificate = machine, certificate
        self.data = data
        self.url = ""
        self.running: Program | None = None

    async def start(self) -> None:
        """Return when it listens."""
        host = "127.0.0.1" if self._machine is None else self._machine.address
        command = [program("shoal-tracker"), "serve", *self._options, "--listen", f"{host}:0", *self._tls()]
        self.running = await self._programs.start("tracker", _on(self._machine, command), variables=self._variables)
        with trio.move_on_after(START_SECONDS):
            while not (address := _address(self.running.log)):
                self._programs.check()
                await trio.sleep(_LOOK_SECONDS)
            self.url = address
            return
        raise BenchFailed(f"the tracker did not listen within {START_SECONDS:g} s", self.running.log)

    def _tls(self) -> list[str]:
        if self._certificate is None:
            return []
        return ["--tls-cert", str(self._certificate.file), "--tls-key", str(self._certificate.key)]

    def trust(self) -> list[str]:
        """What a device's command takes besides the URL."""
        return [] if self._certificate is None else ["--tracker-ca", str(self._certificate.file)]

    async def give_plan(self, email: str, plan: str) -> None:
        """`shoal-tracker user set-plan`."""
        command = [program("shoal-tracker"), "user", "set-plan", email, plan, *self._options]
        await run(command, COMMAND_SECONDS, secrets=self._variables)

    async def check(self) -> str:
        """What `shoal-tracker check` found; `BenchFailed` unless it is clean."""
        said = await run([program("shoal-tracker"), "check", *self._options], COMMAND_SECONDS, secrets=self._variables)
        return said.strip().splitlines()[-1]


def _address(log: Path) -> str:
    for line in log.read_text().splitlines(keepends=True):
        if line.startswith(_READY) and line.endswith("\n"):
            return line.removeprefix(_READY).strip()
    return ""


def _on(machine: Machine | None, command: list[str]) -> list[str]:
    return command if machine is None else [*machine.prefix, *command]


class Device:
    """One device: a home, a folder, and a daemon."""

    def __init__(
        self,
        programs: Programs,
        name: str,
        place: Path,
        run_options: Sequence[str] = (),
        machine: Machine | None = None,
    ) -> None:
        """`place` holds the home and the folder; `run_options` are for `shoal run`; it runs on `machine`."""
        self._programs = programs
        self.machine = machine
        self._run_options = tuple(run_options)
        self.name = name
        self.home = place / "home"
        self.folder = place / "Shoal"
        self.running: Program | None = None
        self._before: Counter[str] = Counter()  # bytes moved by daemons that have ended
        self._last: Counter[str] = Counter()

    @property
    def moved(self) -> Counter[str]:
        """Bytes moved since its first start, as of the last status; the daemon counts anew after each start."""
        return self._before + self._last

    def command(self, *words: str) -> list[str]:
        """A command line for this device."""
        return _on(self.machine, [program("shoal"), "--home", str(self.home), *words])

    async def join(self, how: str, email: str, password: str, tracker: Tracker) -> None:
        """`how` is signup or login."""
        command = self.command(how, email, "--tracker", tracker.url, *tracker.trust(), "--device-name", self.name)
        assert tracker.running is not None
        await run(command, COMMAND_SECONDS, tracker.running.log, secrets={"SHOAL_PASSWORD": password})

    async def start(self) -> None:
        """Return when the daemon has reached the tracker."""
        self.running = await self._programs.start(self.name, self.command("run", str(self.folder), *self._run_options))
        with trio.move_on_after(START_SECONDS):
            while not await self._has_started():
                self._programs.check()
                await trio.sleep(_LOOK_SECONDS)
            return
        raise BenchFailed(f"the daemon of {self.name} did not start within {START_SECONDS:g} s", self.running.log)

    async def _has_started(self) -> bool:
        try:
            answer = await ask(str(self.home / CONTROL_SOCKET), "status")
        except NoDaemon:
            return False
        return bool(answer["state"] != "starting")

    async def stop(self) -> None:
        """SIGTERM, and wait."""
        assert self.running is not None
        await self.status()
        await self._programs.stop(self.running)
        self._before += self._last
        self._last, self.running = Counter(), None

    async def status(self) -> Status:
        """The same as `shoal status --json`, without starting a Python for each look. `BenchFailed` without answer."""
        assert self.running is not None
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                answer = await ask(str(self.home / CONTROL_SOCKET), "status")
            except ShoalError as error:
                self.running.check()
                raise BenchFailed(f"{self.name}: {error}", self.running.log) from None
            self._last = Counter(answer["bytes"])
            return _status(answer)
        raise BenchFailed(f"{self.name} did not answer within {ANSWER_SECONDS:g} s", self.running.log)

    async def confirm_durable(self, seconds: float) -> str:
        """The first line of `shoal status --wait-durable`."""
        assert self.running is not None
        command = self.command("status", "--wait-durable", "--timeout", f"{seconds:g}")
        return (await run(command, seconds + COMMAND_SECONDS, self.running.log)).splitlines()[0]


def _status(answer: Mapping[str, Any]) -> Status:
    count: Counter[str] = Counter()
    for workspace in answer["workspaces"]:
        count.update({key: value for key, value in workspace.items() if isinstance(value, int)})
    return Status(
        state=answer["state"],
        detail=answer["detail"],
        revision=count["revision"],
        to_send=count["local_pending"],
        to_receive=count["remote_pending"],
        not_durable=count["not_durable"],
        peers=len(answer["peers"]),
    )
