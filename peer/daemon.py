"""The daemon: a peer on the real machine, with a control socket."""

from collections.abc import Callable
from typing import Any

import trio

from peer.control import serve_control
from peer.database import open_database
from peer.explaining.answer import explain
from peer.home import Home
from peer.lan.options import LanOptions
from peer.members import Kept
from peer.peer import Peer, Place, Ports, start_peer
from peer.status import status_of, wait_for
from peer.system.disk import LinuxDisk
from peer.system.events import InotifyEvents
from peer.system.http import HttpTransport
from peer.system.lan import LocalNetwork
from peer.system.memory import collect_seldom, keep_freed_buffers
from peer.system.network import address_towards
from protocol.errors import Usage
from protocol.system import real_machine


async def run_daemon(
    home: Home,
    folder: str,
    *,
    announce: Callable[[str], None],
    lan: LanOptions,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Sync `folder` for `home` until cancelled. `announce` is given lines for whoever started it."""
    keep_freed_buffers()
    credentials, machine = home.credentials(), real_machine()
    tracker, routing = credentials.tracker, trio.CapacityLimiter(1)
    database = open_database(home.database)

    async def local_address() -> str | None:
        return await machine.offload(lambda: address_towards(tracker.url), routing)

    transport = HttpTransport(tracker.url, ca_file=tracker.ca_file, insecure_http=tracker.insecure_http)
    network = LocalNetwork(lan.interface, lan.port) if lan.enabled else None
    ports = Ports(machine, LinuxDisk(), InotifyEvents(), transport, local_address, network)
    place = Place(home.path, folder, database, Kept(home.cached_workspaces, home.cache_workspaces))
    try:
        async with transport, trio.open_nursery() as nursery:
            starting = Starting()
            await nursery.start(serve_control, home.control_socket, starting.handle)
            peer = await start_peer(ports, place, credentials, lan)
            peer.synchronizer.announce_merge = lambda count: announce(str(count))
            starting.started(peer)
            announce(f"syncing {folder}")
            task_status.started()
            collect_seldom()
            await peer.run()
    finally:
        database.close()


class Starting:
    """Answers commands, also before there is a peer to answer them."""

    def __init__(self) -> None:
        self.peer: Peer | None = None
        self._started = trio.Event()

    def started(self, peer: Peer) -> None:
        """From now on there is one."""
        self.peer = peer
        self._started.set()

    async def handle(self, command: str, arguments: dict[str, Any]) -> Any:
        """Carry out one command of the control socket."""
        if command == "wait":
            await self._started.wait()
        peer = self.peer
        if peer is None:
            if command == "status":
                return _nothing_yet()
            raise Usage("the daemon is starting; try again in a moment")
        if command == "status":
            return status_of(peer)
        if command == "explain":
            return await explain(peer, _path(arguments.get("path")))
        if command == "wait":
            await wait_for(peer, str(arguments.get("what", "")))
            return None
        if command in ("pause", "resume"):
            peer.synchronizer.pause(paused=command == "pause")
            return None
        raise Usage(f"there is no command {command!r}")


def _path(given: Any) -> str:
    """A path as its bytes, which need not be UTF-8, or as text."""
    return given.decode("utf-8", "surrogateescape") if isinstance(given, bytes) else str(given or "")


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
        "peers": [],
        "bytes": {"lan_in": 0, "lan_out": 0, "cloud_in": 0, "cloud_out": 0},
        "scan_seconds": None,
        "progress": {"done_bytes": 0, "total_bytes": 0},
        "problems": [],
        "problem_count": 0,
    }
