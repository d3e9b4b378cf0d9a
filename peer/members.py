"""The devices of a workspace's members, as the tracker last listed them and their users certified them.

Signatures and LAN connections are held against the newest list. For the LAN a list must not be older than an hour (a
day by choice), by the clock that people see and by the one that never jumps: then nothing is given to anybody until
the tracker has been heard.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

from peer.account import CertifiedDevice, OpenWorkspace, open_workspaces
from peer.home import Credentials
from peer.tracker_client import DeviceClient
from protocol.api import WORKSPACES, Empty, WorkspacesReply
from protocol.breaker import Limits
from protocol.errors import BadSignature, CannotOpen, Malformed, Refused, Unreachable
from protocol.identifiers import DeviceId, WorkspaceId

log = logging.getLogger(__name__)
DOUBT = 30.0
"""Seconds for which a list is trusted to be complete."""
HOUR, DAY = 3600.0, 86_400.0
RENEW = 1200.0
"""Seconds after which a list is asked for anew, so that it is never too old while the tracker answers."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The tracker's last word on the user's workspaces, outliving the process."""

    load: Callable[[], WorkspacesReply | None]
    store: Callable[[WorkspacesReply], None]


class Members:
    """The list in force. `OpenWorkspace` and what is looked up in it is never changed, only replaced."""

    def __init__(
        self, client: DeviceClient, kept: Kept, workspace: OpenWorkspace, *, heard: bool, most_age: float = HOUR
    ) -> None:
        """`heard` says that the list comes from the tracker just now, not from what was kept."""
        self._client = client
        self._kept = kept
        self._workspace = workspace
        self._most_age = most_age
        self._heard_at = self._clocks() if heard else None
        self._asking = trio.Lock()
        self._due = trio.Event()
        self.changed = trio.Event()
        """Replaced whenever another list has come into force."""

    def find(self, device: DeviceId) -> CertifiedDevice | None:
        """A device that signs or has signed; see `peer.remote.Signers`."""
        return self._workspace.devices.get(device)

    def may_read(self, device: DeviceId, workspace: WorkspaceId) -> bool:
        """Whether sealed chunks of a workspace may be given to a device now."""
        known = self._workspace.devices.get(device)
        return workspace == self._workspace.workspace and known is not None and not known.retired and self.fresh

    def others(self) -> Mapping[DeviceId, CertifiedDevice]:
        """The devices that may be met on the LAN now: of members, not retired, not this one."""
        return self.listed() if self.fresh else {}

    def listed(self) -> Mapping[DeviceId, CertifiedDevice]:
        """The same by the newest list there is, however old: for what gives nothing away."""
        own = self._client.credentials.device
        return {id: each for id, each in self._workspace.devices.items() if id != own and not each.retired}

    def by_exchange_key(self, key: bytes) -> DeviceId | None:
        """Whose key this is, among `others`."""
        return next((id for id, each in self.others().items() if each.exchange_key == key), None)

    @property
    def limits(self) -> Limits:
        """How much may be deleted and overwritten unasked."""
        return self._workspace.limits

    @property
    def fresh(self) -> bool:
        """Whether the list is young enough to give anything away on its word."""
        return self._age() <= self._most_age

    def _age(self) -> float:
        if self._heard_at is None:
            return float("inf")
        wall, steady = self._clocks()
        return max(abs(wall - self._heard_at[0]), steady - self._heard_at[1])

    def _clocks(self) -> tuple[float, float]:
        return self._client.client.machine.now() / 1e9, trio.current_time()

    async def refresh(self) -> None:
        """Ask the tracker for the list once more. Raises what `DeviceClient.call` and `open_workspaces` do."""
        async with self._asking:
            asked_at = self._clocks()
            workspace = await fetch_home_workspace(self._client, self._kept)
            before, self._workspace, self._heard_at = self._workspace, workspace, asked_at
        if before.devices != workspace.devices:
            log.info("the list of devices has changed")
            self.changed.set()
            self.changed = trio.Event()

    def ask_soon(self) -> None:
        """Have the list asked for anew: it may have changed."""
        self._due.set()

    def doubt(self) -> None:
        """Somebody isn't on the list: have it asked for anew, if it wasn't just now."""
        if self._age() > DOUBT:
            self._due.set()

    async def keep_fresh(self) -> None:
        """Ask when told to, and before the list is too old; until cancelled."""
        pause = 0.0
        while True:
            with trio.move_on_after(max(pause, RENEW - self._age())):
                await self._due.wait()
            self._due, pause = trio.Event(), 0.0
            try:
                await self.refresh()
            except (Unreachable, Refused) as error:
                log.info("the list of devices can't be had: %s", error)
                pause = 60.0
            except (Malformed, BadSignature, CannotOpen) as error:
                log.error("the tracker's list of devices is refused: %s", error)
                pause = 60.0


async def fetch_home_workspace(client: DeviceClient, kept: Kept) -> OpenWorkspace:
    """Ask the tracker for the user's workspaces, verify and open them, and keep the answer for the next start."""
    reply = await client.call(WORKSPACES, Empty())
    home = home_of(client.credentials, reply)
    kept.store(reply)
    return home


def home_of(credentials: Credentials, reply: WorkspacesReply) -> OpenWorkspace:
    """The user's home among the workspaces that the tracker names, verified."""
    for workspace in open_workspaces(credentials, reply):
        if workspace.home:
            return workspace
    raise Malformed("the tracker names no home workspace")


async def home_workspace(client: DeviceClient, kept: Kept) -> tuple[OpenWorkspace, bool]:
    """The home workspace, from what is kept here or, on the first start, from the tracker, for which it waits; and
    whether it comes from the tracker."""
    cached = kept.load()
    if cached is not None:
        return home_of(client.credentials, cached), False
    backoff = client.client.backoff()
    while True:
        try:
            return await fetch_home_workspace(client, kept), True
        except Unreachable as error:
            log.warning("%s; the keys of your files are still to be had from it", error)
            await trio.sleep(backoff.next_delay())
