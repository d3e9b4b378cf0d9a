"""The daemon: a peer on the real machine, with a control socket."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from peer.control import serve_control
from peer.database import open_database
from peer.home import Home
from peer.peer import Peer, Place, Ports, start_peer
from peer.ports import LanAddress
from peer.status import explain, status_of, wait_for
from peer.system.disk import LinuxDisk
from peer.system.events import InotifyEvents
from peer.system.http import HttpTransport
from peer.system.network import address_towards
from protocol.errors import Usage
from protocol.system import real_machine


@dataclass(frozen=True, slots=True)
class LanOptions:
    """What a person wants of the LAN: everything at one `interface`'s address, or None for all that count; whether to
    use it at all; `peers` to look for beside those that announce themselves; whether to trust the last list of members
    for 24 h instead of 1 h without the tracker (`offline`)."""

    interface: str | None = None
    enabled: bool = True
    peers: tuple[LanAddress, ...] = ()
    offline: bool = False


async def run_daemon(
    home: Home,
    folder: str,
    *,
    announce: Callable[[str], None],
    lan: LanOptions,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Sync `folder` for `home` until cancelled. `announce` is given lines for whoever started it."""
    credentials, machine = home.credentials(), real_machine()
    tracker, network = credentials.tracker, trio.CapacityLimiter(1)
    database = open_database(home.database)

    async def local_address() -> str | None:
        return await machine.offload(lambda: address_towards(tracker.url), network)

    transport = HttpTransport(tracker.url, ca_file=tracker.ca_file, insecure_http=tracker.insecure_http)
    ports = Ports(machine, LinuxDisk(), InotifyEvents(), transport, local_address)
    place = Place(home.path, folder, database, home.cached_workspaces, home.cache_workspaces)
    try:
        async with transport, trio.open_nursery() as nursery:
            starting = Starting()
            await nursery.start(serve_control, home.control_socket, starting.handle)
            peer = await start_peer(ports, place, credentials)
            peer.synchronizer.announce_merge = lambda count: announce(str(count))
            starting.started(peer)
            announce(f"syncing {folder}")
            task_status.started()
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
            return explain(peer, str(arguments.get("path", "")))
        if command == "wait":
            await wait_for(peer, str(arguments.get("what", "")))
            return None
        if command in ("pause", "resume"):
            peer.synchronizer.pause(paused=command == "pause")
            return None
        raise Usage(f"there is no command {command!r}")


def _nothing_yet() -> dict[str, Any]:
    return {
        "state": "starting",
        "detail": "reaching the tracker for the first time",
        "folder": "",
        "device": {},
        "workspaces": [],
        "peers": [],
        "bytes": {"lan_in": 0, "lan_out": 0, "cloud_in": 0, "cloud_out": 0},
        "progress": {"done_bytes": 0, "total_bytes": 0},
        "problems": [],
    }
