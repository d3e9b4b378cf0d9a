"""The daemon: a peer on the real machine, with a control socket."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio

from peer.control import serve_control
from peer.database import Database, open_database
from peer.excluding import exclude, excluded, include
from peer.explaining.answer import explain
from peer.history.control import PAST
from peer.home import Home
from peer.lan.options import LanOptions
from peer.members import Kept
from peer.moving import chosen_folder, move_folder, settle
from peer.peer import Peer, Place, Ports, start_peer
from peer.ports import Disk
from peer.status import status_of, wait_for
from peer.system.boot import boot_id
from peer.system.conditions import LinuxConditions
from peer.system.disk import LinuxDisk
from peer.system.events import InotifyEvents
from peer.system.home_files import default_folder, keep_apart, seen_from
from peer.system.http import HttpTransport
from peer.system.lan import LocalNetwork
from peer.system.memory import collect_seldom, keep_freed_buffers
from peer.system.network import address_towards
from peer.traffic import TrafficOptions, pace
from protocol.errors import Problem, ShoalError, Usage
from protocol.system import real_machine


async def run_daemon(
    home: Home,
    folder: str | None,
    *,
    announce: Callable[[str], None],
    lan: LanOptions,
    traffic: TrafficOptions,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Sync `folder` for `home` until cancelled; with None the one that it has, or the usual one. `announce` is given
    lines for whoever started it. When the folder is to be moved the peer ends, and another begins at the new place."""
    keep_freed_buffers()
    credentials, machine = home.credentials(), real_machine()
    tracker, routing = credentials.tracker, trio.CapacityLimiter(1)
    database = open_database(home.database)

    async def local_address() -> str | None:
        return await machine.offload(lambda: address_towards(tracker.url), routing)

    transport = HttpTransport(
        tracker.url,
        ca_file=tracker.ca_file,
        insecure_http=tracker.insecure_http,
        up=pace(traffic.upload),
        down=pace(traffic.download),
    )
    network = LocalNetwork(lan.interface, lan.port) if lan.enabled else None
    ports = Ports(
        machine, LinuxDisk(), InotifyEvents(), transport, local_address, network, LinuxConditions(), boot_id()
    )
    kept = Kept(home.cached_workspaces, home.cache_workspaces)
    control = Control()
    try:
        async with transport, trio.open_nursery() as nursery:
            await nursery.start(serve_control, home.control_socket, control.handle)
            settle(ports.disk, database)
            folder = folder or chosen_folder(database) or default_folder()
            keep_apart(folder, home.path)
            while True:
                place = Place(home.path, folder, database, kept)
                peer = await start_peer(ports, place, credentials, lan, traffic)
                peer.synchronizer.announce_merge = lambda count: announce(str(count))
                announce(f"syncing {folder}")
                if control.peer is None:
                    task_status.started()
                    collect_seldom()
                move = await control.run(peer)
                move.carry_out(ports.disk, database, home.path)
                folder = chosen_folder(database) or folder
    finally:
        if control.peer is not None:
            with suppress(Problem):  # it is found out at the next start
                control.peer.note_end()
        database.close()


class Move:
    """What somebody who asked for a move waits for."""

    def __init__(self, folder: str) -> None:
        """The folder is to go to the absolute path `folder`."""
        self._folder = folder
        self._failure: ShoalError | None = None
        self._done = trio.Event()

    def carry_out(self, disk: Disk, database: Database, home: str) -> None:
        """Move it, now that no peer is at work."""
        try:
            keep_apart(self._folder, home)
            move_folder(disk, database, home, self._folder)
        except ShoalError as error:
            self._failure = error
        self._done.set()

    async def wait(self) -> None:
        """Return when it is done; raises why it isn't."""
        await self._done.wait()
        if self._failure is not None:
            raise self._failure


class Control:
    """Answers commands, also before there is a peer to answer them."""

    def __init__(self) -> None:
        self.peer: Peer | None = None
        self._started = trio.Event()
        self._running = trio.CancelScope()
        self._move: Move | None = None
        self._waiting: set[trio.CancelScope] = set()

    async def run(self, peer: Peer) -> Move:
        """Run the peer and answer for it, until a move is asked for. It pauses if the one before it did."""
        if self.peer is not None:
            peer.synchronizer.pause(paused=self.peer.synchronizer.progress.paused)
        self.peer, self._move = peer, None
        self._started.set()
        with trio.CancelScope() as self._running:
            await peer.run()
        for waiting in self._waiting:
            waiting.cancel()
        assert self._move is not None
        return self._move

    async def _wait(self, peer: Peer, what: str) -> None:
        with trio.CancelScope() as waiting:
            self._waiting.add(waiting)
            try:
                await wait_for(peer, what)
            finally:
                self._waiting.discard(waiting)
        if waiting.cancelled_caught:
            raise Problem("the folder was moved meanwhile: ask again")

    async def _move_to(self, folder: str) -> None:
        if self._move is not None:
            raise Usage("the folder is being moved already")
        move = self._move = Move(folder)
        self._running.cancel()
        await move.wait()

    async def handle(self, command: str, arguments: dict[str, Any]) -> Any:
        """Carry out one command of the control socket."""
        if command == "wait":
            await self._started.wait()
        peer = self.peer
        if peer is None:
            if command == "status":
                return _nothing_yet()
            raise Usage("the daemon is starting; try again in a moment")
        if isinstance(arguments.get("path"), str | bytes):
            arguments = arguments | {"path": await _below(peer, _path(arguments["path"]))}
        if command == "status":
            return status_of(peer)
        if command == "explain":
            return await explain(peer, str(arguments.get("path", "")))
        if command == "wait":
            await self._wait(peer, str(arguments.get("what", "")))
            return None
        if command == "move":
            await self._move_to(str(arguments.get("folder", "")))
            return None
        if command == "excluded":
            return excluded(peer.context)
        if command == "exclude":
            return exclude(peer.context, str(arguments.get("path", "")))
        if command == "include":
            include(peer.context, str(arguments.get("path", "")))
            return None
        if command == "held":
            return {"held": await peer.context.surprises.told()}
        if command == "held paths":
            return await _held_paths(peer, **arguments)
        if command in ("approve", "reject"):
            return {"files": peer.decide(approved=command == "approve")}
        if command in ("pause", "resume"):
            peer.synchronizer.pause(paused=command == "pause")
            return None
        if command in PAST:
            return await PAST[command](peer, arguments)
        raise Usage(f"there is no command {command!r}")


def _path(given: str | bytes) -> str:
    """A path as its bytes, which need not be UTF-8, or as text."""
    return given.decode("utf-8", "surrogateescape") if isinstance(given, bytes) else given


async def _below(peer: Peer, path: str) -> str:
    """A path as one in the folder, also when the folder, or the path, is reached by symlinks."""
    context = peer.context
    return await context.machine.offload(lambda: seen_from(context.root.path, path), context.limiter)


async def _held_paths(peer: Peer, direction: Any = "", change: Any = "", skip: Any = 0, **_: Any) -> dict[str, Any]:
    if type(skip) is not int or skip < 0:
        raise Usage("expected how many paths to skip")
    return await peer.context.surprises.page(str(direction), str(change), skip)


def _nothing_yet() -> dict[str, Any]:
    return {
        "state": "starting",
        "detail": "reaching the tracker for the first time",
        "folder": "",
        "device": {},
        "workspaces": [],
        "watch": "on",
        "lan": "on",
        "lan_unreachable": [],
        "lan_dropped": {},
        "peers": [],
        "bytes": {"lan_in": 0, "lan_out": 0, "cloud_in": 0, "cloud_out": 0},
        "scan_seconds": None,
        "limits": {"upload": None, "download": None, "waiting": None},
        "progress": {"done_bytes": 0, "total_bytes": 0},
        "excluded": [],
        "problems": [],
        "problem_count": 0,
    }
