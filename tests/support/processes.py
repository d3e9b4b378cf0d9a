"""Real programs for end-to-end tests: a tracker and devices as processes of their own, and real folders.

Lab          a place for programs: ends every one it started, by its id, and knows their logs
TrackerProgram, DeviceProgram    one program each: start, stop, kill -9, start again
snapshot     all of a folder that Shoal carries, comparable
until        wait for something to become true, no longer than a deadline

Accounts are made in this process, and a tracker's books are looked through in it, which saves an interpreter each time;
the commands themselves have tests of their own.
Where a program runs on a machine of a `tests.support.lan_lab` network, so do its commands, also that which makes the
account. Control sockets are files, and are asked from here all the same.
"""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio
from blake3 import blake3

from bench.certificates import Certificate
from peer.account import log_in, sign_up
from peer.cli.explanation import explanation_lines
from peer.control import NoDaemon, ask
from peer.home import Home, TrackerAddress
from peer.system.home_files import open_home
from peer.system.http import HttpTransport
from peer.tracker_client import TrackerClient
from protocol.breaker import Limits
from protocol.codec import U32
from protocol.errors import Problem, Unreachable, Usage
from protocol.failpoints import VARIABLE
from protocol.names import RESERVED
from protocol.system import real_machine
from tests.support.lan_lab import Machine
from tracker.administration import set_breaker, statistics
from tracker.checking import check_tracker
from tracker.system.opening import Locations, open_database
from tracker.system.stores import open_storage, parse_storage

CHECKOUT = Path(__file__).parents[2]
PASSWORD = "correct horse battery staple"
PATIENCE = 30.0
"""Seconds until something that should happen is taken not to: generous, as it only matters to a failing test."""
LOOK = 0.01
SHOWN_LINES = 60


# Waiting -------------------------------------------------------------------------------------------------------------


async def until(condition: Callable[[], object], seconds: float = PATIENCE, what: Callable[[], str] = str) -> None:
    """Return once `condition` holds; `what` says how things are when it doesn't in time."""
    with trio.move_on_after(seconds):
        while True:
            if condition():
                return
            await trio.sleep(LOOK)
    raise AssertionError(f"not within {seconds:g} s: {what() or condition}")


# Programs ------------------------------------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    """What programs get: no setting of this machine's user reaches them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHOAL_", "XDG_"))}
    return {**kept, "HOME": "/nonexistent", **more}


class Program:
    """One program, which may run several times one after the other; its output is gathered over all of them."""

    def __init__(self, name: str, place: Path, module: Sequence[str], machine: Machine | None = None) -> None:
        """`module` is what comes after `python`: `-m tracker`, or a script that stands for it. It runs on `machine`,
        on this one if that is None."""
        self.name = name
        self.out, self.log = place / f"{name}.out", place / f"{name}.log"
        self.words = [*(machine.prefix if machine else ()), sys.executable, *module]
        self._module = list(module)
        self.machine = machine
        self.process: subprocess.Popen[bytes] | None = None
        self.armed = False
        """Whether this run was started with a failpoint."""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def set_clock(self, ahead: int) -> None:
        """From its next start on its wall clock is so many seconds ahead."""
        kept = self.words[: self.words.index(sys.executable) + 1]
        dash_m, *words = self._module
        self.words = [*kept, dash_m, "tests.support.moved_clock", str(ahead), *words]

    async def launch(
        self, *arguments: str, ready: str, failpoint: str | None = None, cwd: Path = CHECKOUT, **variables: str
    ) -> str:
        """Start it and wait for the line on stdout that begins with `ready`; the rest of that line."""
        assert not self.running, f"{self.name} runs already"
        self.armed = failpoint is not None
        if failpoint is not None:
            variables[VARIABLE] = failpoint
        with self.out.open("wb") as out, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.words, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=environment(**variables),
                cwd=cwd,
            )
        await until(lambda: self._line(ready) or not self.running, what=lambda: f"{self.name} is not ready")
        line = self._line(ready)
        assert line is not None or failpoint is not None, f"{self.name} did not start: {self.logged()}"
        return line or ""

    def _line(self, beginning: str) -> str | None:
        for line in self.printed().splitlines():
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()
        return None

    def printed(self) -> str:
        """What this run has written to stdout."""
        return self.out.read_text() if self.out.exists() else ""

    def logged(self) -> str:
        """What all runs have written to stderr."""
        return self.log.read_text(errors="backslashreplace") if self.log.exists() else ""

    async def ended(self, seconds: float = PATIENCE) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        process = self.process
        assert process is not None
        await until(lambda: process.poll() is not None, seconds, lambda: f"{self.name} runs on")
        assert process.returncode is not None
        return process.returncode

    async def stop(self) -> None:
        """SIGTERM, which has to end it cleanly within 10 s."""
        self.ask_to_stop()
        assert await self.ended(10) == 0, self.logged()

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9, at once and for good."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: nothing more comes from it, though a system call that it is in may go on."""
        if self.running:
            os.kill(self.pid, signal.SIGSTOP)
            while any(state not in "TtDZX" for state in self._thread_states()):
                pass

    def _thread_states(self) -> list[str]:
        found = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found.append((task / "stat").read_text().rpartition(")")[2].split()[0])
        return found

    async def died_at_failpoint(self) -> None:
        """Wait for the failpoint to kill it."""
        code = await self.ended()
        assert code == -signal.SIGKILL, f"{self.name} ended with {code}: {self.logged()}"

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class TrackerProgram(Program):
    """`shoal-tracker serve` over a data folder of its own; after a restart at the same address."""

    def __init__(
        self,
        name: str,
        place: Path,
        module: Sequence[str] = ("-m", "tracker"),
        machine: Machine | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """On a `machine` of a network it listens at that machine's address, which takes a `certificate`."""
        super().__init__(name, place, module, machine)
        self.data = place / f"{name}.data"
        self.listen = f"{machine.address if machine else '127.0.0.1'}:0"
        self.certificate = certificate
        self.database: str | None = None
        self.storage: str | None = None
        """Addresses of others than those in its data folder."""

    @property
    def locations(self) -> Locations:
        """Where it keeps things."""
        return Locations(self.data, self.database, self.storage)

    @property
    def url(self) -> str:
        return f"{'http' if self.certificate is None else 'https'}://{self.listen}"

    @property
    def authority(self) -> str | None:
        """The file that devices are to trust."""
        return None if self.certificate is None else str(self.certificate.file)

    async def start(self, *arguments: str, failpoint: str | None = None) -> None:
        """Serve. A failpoint that start-up passes may already have killed it when this returns."""
        serve = ["serve", "--data", str(self.data), "--listen", self.listen]
        for name, url in (("--database", self.database), ("--storage", self.storage)):
            serve += [] if url is None else [name, url]
        if self.certificate is not None:
            serve += ["--tls-cert", str(self.certificate.file), "--tls-key", str(self.certificate.key)]
        line = await self.launch(*serve, *arguments, ready="listening on ", failpoint=failpoint)
        self.listen = urlsplit(line).netloc or self.listen

    async def check(self) -> None:
        """What `shoal-tracker check` looks for, of which there must be nothing."""
        machine, where = real_machine(), self.locations
        async with (
            open_storage(machine, parse_storage(where.storage_url)) as storage,
            open_database(where, make=False) as database,
        ):
            report = await check_tracker(machine, database, storage, quick=False)
        assert report.clean, report.problems

    async def stats(self) -> dict[str, int]:
        """What `shoal-tracker stats` prints."""
        async with open_database(self.locations, make=False) as database:
            return await database.read(statistics)

    async def hold_nothing(self, email: str) -> None:
        """However much is deleted or overwritten, nobody is asked: for people who do so all the time."""
        anything = Limits(delete_least=U32, delete_most=U32, overwrite_least=U32)
        async with open_database(self.locations, make=False) as database:
            await database.transact(set_breaker, email, anything)

    async def until_all_durable(self) -> None:
        """Wait until nothing that was announced has yet to come."""
        with trio.move_on_after(PATIENCE):
            while True:
                if (await self.stats())["versions_not_durable"] == 0:
                    return
                await trio.sleep(LOOK)
        raise AssertionError(f"{self.name} does not get all that was announced: {await self.stats()}")

    def objects(self) -> list[Path]:
        """The stored objects, each one pack."""
        return sorted(path for path in (self.data / "objects").rglob("*") if path.is_file())


class DeviceProgram(Program):
    """`shoal run` with a home and a folder of its own."""

    def __init__(
        self, name: str, place: Path, module: Sequence[str] = ("-m", "peer"), machine: Machine | None = None
    ) -> None:
        super().__init__(name, place, module, machine)
        self.home_path, self.folder = place / f"{name}.home", place / name
        self.folder.mkdir()

    @property
    def home(self) -> Home:
        return open_home(str(self.home_path))

    async def start(self, *arguments: str, lan: bool = False, failpoint: str | None = None) -> None:
        """Sync, with `lan` with the devices on this machine's loopback or the LAN of its own machine. A failpoint that
        start-up passes may already have killed it when this returns."""
        where = () if lan and self.machine else ("--lan-interface", "127.0.0.1") if lan else ("--no-lan",)
        run = ("--home", str(self.home_path), "run", str(self.folder), *where, *arguments)
        await self.launch(*run, ready="syncing ", failpoint=failpoint)

    async def status(self) -> dict[str, Any]:
        """What `shoal status --json` prints."""
        answer = await ask(self.home.control_socket, "status")
        assert isinstance(answer, dict)
        return answer

    async def explain(self, path: str) -> list[str]:
        """What `shoal explain` prints of a path in the folder, with its columns run together."""
        answer = await ask(self.home.control_socket, "explain", path=str(self.folder / path))
        return [" ".join(line.split()) for line in explanation_lines(answer)]

    async def state(self) -> str:
        """Its status in a word; "down" when it doesn't answer."""
        try:
            return str((await self.status())["state"])
        except (NoDaemon, Unreachable):
            return "down"

    async def wait(self, what: str = "durable", seconds: float = PATIENCE) -> None:
        """What `shoal status --wait-synced` (or `-durable`) does."""
        with trio.move_on_after(seconds):
            await ask(self.home.control_socket, "wait", what=what)
            return
        raise AssertionError(f"{self.name} is not {what} within {seconds:g} s: {await self.status()}")

    async def until_file(self, path: str, content: bytes | None = None) -> None:
        """Wait for a file in the folder, and for what is in it."""
        file = self.folder / path
        await until(
            lambda: file.exists() and (content is None or file.read_bytes() == content),
            what=lambda: f"{file} is not there, or not as expected",
        )

    async def until_status(
        self, holds: Callable[[dict[str, Any]], object], what: str, seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait until something holds of its status; the status then. `what` completes "the device is not ..."."""
        seen: dict[str, Any] = {}
        with trio.move_on_after(seconds):
            while True:
                seen = await self.status()
                if holds(seen):
                    return seen
                await trio.sleep(LOOK)
        raise AssertionError(f"{self.name} is not {what} within {seconds:g} s: {seen}")

    async def until_explained(self, path: str, line: str, seconds: float = PATIENCE) -> list[str]:
        """Wait until `explain` says this of a path; all that it says then."""
        lines: list[str] = []
        with trio.move_on_after(seconds):
            while True:
                lines = await self.explain(path)
                if line in lines:
                    return lines
                await trio.sleep(LOOK)
        raise AssertionError(f"{self.name} doesn't say {line!r} of {path} within {seconds:g} s: {lines}")

    async def until_state(self, *states: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait for one of these states; the status then."""
        return await self.until_status(lambda seen: seen["state"] in states, " or ".join(states), seconds)

    async def until_not_durable(self, count: int) -> None:
        """Wait until it knows of so many files that are not in the cloud."""
        await self.until_status(lambda seen: not_durable(seen) == count, f"short of {count} files in the cloud")

    async def until_met(self, *others: "DeviceProgram") -> None:
        """Wait until it is linked with exactly these devices."""
        names = {other.name for other in others}
        await self.until_status(lambda seen: {each["name"] for each in seen["peers"]} == names, f"with {names}")

    async def moved(self) -> dict[str, int]:
        """The bytes that this run has moved so far: "lan_in", "lan_out", "cloud_in" and "cloud_out"."""
        counters: dict[str, int] = (await self.status())["bytes"]
        return counters

    async def until_problem(self, path: str, reason: str = "") -> None:
        """Wait until the status names a path with a reason."""
        found: list[dict[str, str]] = []
        with trio.move_on_after(PATIENCE):
            while True:
                found = (await self.status())["problems"]
                if any(problem["path"] == path and reason in problem["reason"] for problem in found):
                    return
                await trio.sleep(LOOK)
        raise AssertionError(f"{self.name} does not report {path}: {found}")

    def command(self, *arguments: str, timeout: float = PATIENCE, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `shoal` for this home, as a shell would."""
        return subprocess.run(
            [*self.words, "--home", str(self.home_path), *arguments],
            capture_output=True,
            env=environment(**{"SHOAL_PASSWORD": PASSWORD, **variables}),
            cwd=CHECKOUT,
            text=True,
            timeout=timeout,
        )

    async def join(self, tracker: TrackerProgram, email: str, *, first: bool, via: str | None = None) -> None:
        """Become a device of an account: sign up as its `first`, log in as any other; the tracker is at the URL `via`
        for it, if one is given."""
        self.email = email
        if self.machine is not None:
            self._join_by_command(tracker, email, first=first)
            return
        url = via or tracker.url
        address, machine = TrackerAddress(url=url, ca_file=tracker.authority), real_machine()
        self.home.prepare()
        async with HttpTransport(url, ca_file=tracker.authority, insecure_http=False) as transport:
            client = TrackerClient(transport, machine)
            if first:
                credentials, _ = await sign_up(client, machine, email, PASSWORD, self.name, address)
            else:
                credentials = await log_in(client, machine, email, PASSWORD, self.name, address)
        self.home.save_credentials(credentials)

    def _join_by_command(self, tracker: TrackerProgram, email: str, *, first: bool) -> None:
        options = ["--tracker", tracker.url, "--device-name", self.name]
        if tracker.authority is not None:
            options += ["--tracker-ca", tracker.authority]
        done = self.command("signup" if first else "login", email, *options)
        assert done.returncode == 0, done.stderr


def not_durable(status: dict[str, Any]) -> int:
    """How many files are not in the cloud, by a device's status."""
    return sum(int(workspace["not_durable"]) for workspace in status["workspaces"])


class Lab:
    """The programs of a test, or of a module's tests."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.programs: list[Program] = []
        self._accounts = 0

    def tracker(
        self,
        name: str = "tracker",
        module: Sequence[str] = ("-m", "tracker"),
        machine: Machine | None = None,
        certificate: Certificate | None = None,
    ) -> TrackerProgram:
        """A tracker, not yet running."""
        made = TrackerProgram(name, self.place, module, machine, certificate)
        self.programs.append(made)
        return made

    def device(
        self, name: str, module: Sequence[str] = ("-m", "peer"), machine: Machine | None = None
    ) -> DeviceProgram:
        """A device without an account, not yet running."""
        made = DeviceProgram(name, self.place, module, machine)
        self.programs.append(made)
        return made

    async def devices(
        self,
        tracker: TrackerProgram,
        *names: str,
        module: Sequence[str] = ("-m", "peer"),
        machines: Mapping[str, Machine] | None = None,
        via: Mapping[str, str] | None = None,
    ) -> list[DeviceProgram]:
        """Devices of one fresh account, not yet running; those that `machines` names run there, those that `via` names
        have the tracker at that URL."""
        email = f"{self.place.name}-{self._accounts}@example.org"
        self._accounts += 1
        made = [self.device(name, module, (machines or {}).get(name)) for name in names]
        for device in made:
            await device.join(tracker, email, first=device is made[0], via=(via or {}).get(device.name))
        return made

    def close(self) -> None:
        """End everything that still runs."""
        for program in self.programs:
            program.kill()

    def logs(self) -> Iterator[tuple[str, str]]:
        """The end of each program's output, for the report of a failure."""
        for program in self.programs:
            for kind, text in (("stdout", program.printed()), ("stderr", program.logged())):
                if text:
                    yield f"{kind} of {program.name}", "\n".join(text.splitlines()[-SHOWN_LINES:])


@contextmanager
def lab(place: Path) -> Iterator[Lab]:
    """A lab that ends with the context."""
    made = Lab(place)
    try:
        yield made
    finally:
        made.close()


# Folders -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """What Shoal carries of a path: its kind, and for files and symlinks bytes (or their BLAKE3), bits and time."""

    kind: str
    content: bytes = b""
    executable: bool = False
    private: bool = False
    mtime_ns: int = 0


def snapshot(folder: Path) -> dict[bytes, Entry]:
    """Every path below a folder, `.shoal` at the top aside. A path that vanishes meanwhile is left out."""
    found: dict[bytes, Entry] = {}
    pending = [b""]
    top = os.fsencode(folder)
    while pending:
        inside = pending.pop()
        try:
            names = os.listdir(os.path.join(top, inside))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            path = os.path.join(inside, name)
            if path == os.fsencode(RESERVED):
                continue
            try:
                found[path] = entry(os.path.join(top, path))
            except FileNotFoundError:
                continue
            if found[path].kind == "directory":
                pending.append(path)
    return found


def entry(path: bytes | Path) -> Entry:
    """What Shoal carries of one path."""
    info = os.lstat(path)
    if stat.S_ISDIR(info.st_mode):
        return Entry("directory")
    if stat.S_ISLNK(info.st_mode):
        return Entry("symlink", os.readlink(os.fsencode(path)), mtime_ns=info.st_mtime_ns)
    if not stat.S_ISREG(info.st_mode):
        return Entry("other")
    with open(path, "rb") as file:
        content = blake3(file.read()).digest()
    private = not info.st_mode & 0o077
    return Entry("file", content, bool(info.st_mode & 0o100), private, info.st_mtime_ns)


def difference(ours: dict[bytes, Entry], theirs: dict[bytes, Entry]) -> str:
    """In which paths two folders differ, for people."""
    lines = [
        f"{path!r}: {ours.get(path)} | {theirs.get(path)}"
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path)
    ]
    return "\n".join(lines)


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder with their bytes, symlinks with theirs, and directories as None's stand-in b"/"."""
    out: dict[str, bytes] = {}
    for path, found in snapshot(folder).items():
        full = os.path.join(os.fsencode(folder), path)
        if found.kind == "file":
            with open(full, "rb") as file:
                out[os.fsdecode(path)] = file.read()
        elif found.kind == "symlink":
            out[os.fsdecode(path)] = b"-> " + found.content
    return out


async def settled(*devices: DeviceProgram, inside: str = "", seconds: float = PATIENCE) -> dict[bytes, Entry]:
    """Wait until all folders are the same and every device says "synced, in the cloud"; what they then hold."""
    shown: list[dict[bytes, Entry]] = []
    with trio.move_on_after(seconds):
        while True:
            try:
                for device in devices:
                    await ask(device.home.control_socket, "wait", what="durable")
            except (NoDaemon, Usage, Problem, Unreachable):
                await trio.sleep(LOOK)
                continue
            shown = [snapshot(device.folder / inside) for device in devices]
            if all(one == shown[0] for one in shown) and [await device.state() for device in devices] == [
                "synced"
            ] * len(devices):
                return shown[0]
            await trio.sleep(LOOK)
    states = [f"{device.name}: {await _status_of(device)}" for device in devices]
    shown = [snapshot(device.folder / inside) for device in devices]
    unlike = [difference(shown[0], one) for one in shown[1:]]
    raise AssertionError("\n".join([f"not settled within {seconds:g} s", *states, *unlike]))


async def _status_of(device: DeviceProgram) -> str:
    try:
        return str(await device.status())
    except (NoDaemon, Unreachable) as error:
        return str(error)


def write(path: Path, content: bytes | str) -> None:
    """Write a file with its folders, in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def replace(path: Path, content: bytes | str) -> None:
    """Write a file as careful programs do: aside, then renamed over."""
    aside = path.with_name(path.name + ".part")
    write(aside, content)
    aside.rename(path)
