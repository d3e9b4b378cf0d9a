"""Syncthing: two instances, on loopback, with everything switched off that calls out."""

import shutil
import socket
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trio

from bench.failures import BenchFailed
from bench.lan.rivals.base import LOOK_SECONDS, READY_SECONDS, SETTLE_SECONDS, Rival, Running
from bench.lan.usage import Daemon, Measured
from bench.lan.works import Saved
from bench.network import Machine
from bench.programs import Program, Programs, run

FOLDER = "bench"
WATCHER_DELAY_SECONDS = 1
"""A whole number, and the least that it takes; the default is 10."""
OPTIONS = {
    "globalAnnounceEnabled": "false",
    "localAnnounceEnabled": "false",
    "relaysEnabled": "false",
    "natEnabled": "false",
    "urAccepted": "-1",  # usage reports
    "crashReportingEnabled": "false",
    "autoUpgradeIntervalH": "0",
    "startBrowser": "false",
    "stunKeepaliveStartS": "0",
    "reconnectionIntervalS": "1",
    "setLowPriority": "false",  # or it would give way to whatever else runs
}
_GENERATE_SECONDS = 60.0


@dataclass(frozen=True)
class Instance:
    """One of the two, as it is configured."""

    home: Path
    folder: Path
    device: str  # its id
    listen: int  # port
    key: str  # for the API
    machine: Machine | None = None  # that it runs on; None for this one, on loopback

    @property
    def address(self) -> str:
        """Where the other finds it."""
        return f"tcp://{self.machine.address if self.machine else '127.0.0.1'}:{self.listen}"

    @property
    def api(self) -> Path:
        """A Unix socket: it can be reached from here, wherever the instance runs."""
        return self.home / "api"


class Syncthing:
    """See `Running`."""

    def __init__(self, programs: Programs, sender: "Client", receiver: "Client") -> None:
        """Both run."""
        self._programs = programs
        self._sender, self._receiver = sender, receiver
        self.source, self.target = sender.instance.folder, receiver.instance.folder
        self.processes: Mapping[str, Measured] = {
            "sender": Daemon(sender.program.process.pid),
            "receiver": Daemon(receiver.program.process.pid),
        }

    async def saved(self, files: Sequence[Saved]) -> None:
        """The sender will notice."""

    async def connected(self) -> None:
        """Return when both answer and each sees the other."""
        with trio.move_on_after(READY_SECONDS):
            while not (await self._sender.is_connected() and await self._receiver.is_connected()):
                self._programs.check()
                await trio.sleep(LOOK_SECONDS)
            return
        raise BenchFailed(f"the two did not connect within {READY_SECONDS:g} s", *self._logs)

    async def settle(self) -> None:
        """Return when both folders are idle, and each knows that the other has everything."""
        with trio.move_on_after(SETTLE_SECONDS):
            while not (await self._sender.is_idle(self._receiver) and await self._receiver.is_idle(self._sender)):
                self._programs.check()
                await trio.sleep(LOOK_SECONDS)
            return
        raise BenchFailed(f"the two do not come to rest within {SETTLE_SECONDS:g} s", *self._logs)

    @property
    def _logs(self) -> tuple[Path, Path]:
        return self._sender.program.log, self._receiver.program.log

    async def counters(self) -> dict[str, int]:
        """The receiver's own counters over its connection."""
        total = (await self._receiver.get("system/connections"))["total"]
        return {"in": total["inBytesTotal"], "out": total["outBytesTotal"]}


class Client:
    """The REST API of one instance."""

    def __init__(self, instance: Instance, program: Program, http: httpx.AsyncClient) -> None:
        """`http` is its own."""
        self.instance, self.program, self._http = instance, program, http

    async def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """`BenchFailed` when it doesn't answer as it should."""
        url, headers = f"http://localhost/rest/{path}", {"X-API-Key": self.instance.key}
        try:
            reply = await self._http.get(url, params=parameters, headers=headers)
            reply.raise_for_status()
        except httpx.HTTPError as error:
            raise BenchFailed(f"{path}: {error!r}", self.program.log) from None
        answer: dict[str, Any] = reply.json()
        return answer

    async def is_connected(self) -> bool:
        """Whether it answers, and has the other."""
        with suppress(BenchFailed):
            connections = (await self.get("system/connections"))["connections"]
            return any(each["connected"] for each in connections.values())
        return False

    async def is_idle(self, other: "Client") -> bool:
        """Whether its folder is as it should be and the other is known to have everything."""
        status = await self.get("db/status", folder=FOLDER)
        completion = await self.get("db/completion", folder=FOLDER, device=other.instance.device)
        needed = status["needTotalItems"] or completion["needItems"] or completion["needDeletes"]
        return status["state"] == "idle" and not needed


Machines = tuple[Machine | None, Machine | None]
"""The sender's and the receiver's; None for this one, on loopback."""


@asynccontextmanager
async def two_instances(place: Path, programs: Programs, machines: Machines) -> AsyncIterator[Syncthing]:
    """Both at work, connected and at rest."""
    names = ("sender", "receiver")
    both = [await _generate(place / name, machine) for name, machine in zip(names, machines, strict=True)]
    async with AsyncExitStack() as ending:
        clients = []
        for instance in both:
            instance.folder.mkdir()
            configure(instance, both)
            transport = httpx.AsyncHTTPTransport(uds=str(instance.api))
            http = await ending.enter_async_context(httpx.AsyncClient(transport=transport, timeout=30.0))
            clients.append(Client(instance, await _serve(instance, programs), http))
        syncthing = Syncthing(programs, *clients)
        await syncthing.connected()
        await syncthing.settle()
        yield syncthing


async def _serve(instance: Instance, programs: Programs) -> Program:
    prefix = instance.machine.prefix if instance.machine else ()
    command = [*prefix, "syncthing", "serve", "--home", str(instance.home), "--no-browser", "--no-upgrade"]
    # Without a process that watches over it: one process to measure, and to end.
    return await programs.start(instance.home.parent.name, command, variables={"STMONITORED": "yes"})


@asynccontextmanager
async def _start(place: Path, programs: Programs) -> AsyncIterator[Running]:
    async with two_instances(place, programs, (None, None)) as syncthing:
        yield syncthing


async def _generate(place: Path, machine: Machine | None) -> Instance:
    """Have it make a home with its keys."""
    home = place / "home"
    home.mkdir(parents=True)
    options = ["--home", str(home), "--no-default-folder", "--skip-port-probing"]
    await run(["syncthing", "generate", *options], _GENERATE_SECONDS)
    root = ElementTree.parse(home / "config.xml").getroot()
    device, key = root.find("device"), root.findtext("gui/apikey")
    assert device is not None
    assert key is not None
    return Instance(home, place / "folder", device.attrib["id"], free_port(), key, machine)


def configure(instance: Instance, both: Sequence[Instance]) -> None:
    """Change its configuration: two devices, one folder, loopback only, and `OPTIONS`."""
    file = instance.home / "config.xml"
    tree = ElementTree.parse(file)
    root = tree.getroot()
    for device in root.findall("device"):
        root.remove(device)
    folder = ElementTree.SubElement(root, "folder", _folder_attributes(instance))
    for each in both:
        device = ElementTree.SubElement(root, "device", {"id": each.device, "name": each.home.parent.name})
        ElementTree.SubElement(device, "address").text = each.address
        ElementTree.SubElement(folder, "device", {"id": each.device})
    _set(root, "gui/address", str(instance.api))
    _set(root, "options/listenAddress", instance.address)
    for name, value in OPTIONS.items():
        _set(root, f"options/{name}", value)
    tree.write(file)


def _folder_attributes(instance: Instance) -> dict[str, str]:
    return {
        "id": FOLDER,
        "path": str(instance.folder),
        "type": "sendreceive",
        "rescanIntervalS": "3600",
        "fsWatcherEnabled": "true",
        "fsWatcherDelayS": str(WATCHER_DELAY_SECONDS),
    }


def _set(root: ElementTree.Element, path: str, value: str) -> None:
    element = root.find(path)
    if element is None:
        raise BenchFailed(f"this Syncthing has no {path} in its configuration")
    element.text = value


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def missing() -> str | None:
    """Why there can be none."""
    return None if shutil.which("syncthing") else "syncthing is not installed"


def describe() -> str:
    """What runs."""
    said = subprocess.run(["syncthing", "--version"], capture_output=True, text=True, check=True).stdout
    version = " ".join(said.split()[:2])
    return (
        f"{version}; two instances, watcher delay {WATCHER_DELAY_SECONDS} s (its least); off: announcing, relays, NAT,"
        " upgrades, crash and usage reports, low priority"
    )


SYNCTHING = Rival("syncthing", missing, describe, _start, lambda counters: counters["in"])
