"""A peer put together: one device, its home workspace and its folder, from ports to a running whole."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import trio

from peer.account import OpenWorkspace, open_workspaces
from peer.database import Database
from peer.home import Credentials
from peer.indexer import Indexer
from peer.ports import Disk, FolderEvents, TrackerTransport
from peer.problems import Problems
from peer.quiet import Quiet
from peer.remote import RemoteTree, Signer
from peer.root import SyncRoot, claim_root
from peer.subscription import LocalAddress, Subscription
from peer.synchronizer.context import Context
from peer.synchronizer.downloads import Downloads
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.outgoing import OutgoingRoom
from peer.synchronizer.pulling import Pulling
from peer.synchronizer.reading import Reading
from peer.synchronizer.sending import Sending
from peer.synchronizer.synchronizer import ERROR_RETRY, Synchronizer
from peer.synchronizer.uploads import Uploads
from peer.tracker_client import DeviceClient, TrackerClient
from peer.tree_store import TreeStore
from peer.version_store import VersionStore
from peer.watcher import Watcher
from protocol.api import WORKSPACES, Empty, WorkspacesReply
from protocol.errors import Malformed, Problem, Refused, ShoalError, Unreachable, Usage, WrongRoot
from protocol.identifiers import DeviceId
from protocol.ports import Machine
from protocol.signing import SigningKey

log = logging.getLogger(__name__)
FILE_THREADS = 4
ASK_AGAIN = 15.0
"""Seconds after an upload until the tracker is asked what it still lacks, if anything is not in the cloud by then."""
SWEEP = 15.0
"""Seconds between looks at `.shoal/outgoing`."""
FOLDER_SETTING, ROOT_SETTING = "folder", "root"


@dataclass(frozen=True)
class Ports:
    """Everything a peer meets outside itself."""

    machine: Machine
    disk: Disk
    events: FolderEvents
    transport: TrackerTransport
    local_address: LocalAddress


@dataclass(frozen=True)
class Place:
    """Where a peer lives: its home's path, its folder, its database, and the tracker's last word on its workspaces."""

    home: str
    folder: str
    database: Database
    cached: Callable[[], WorkspacesReply | None]
    cache: Callable[[WorkspacesReply], None]


class Members:
    """The devices whose signatures count, as the tracker last listed them and their users certified them."""

    def __init__(self, client: DeviceClient, place: Place, workspace: OpenWorkspace) -> None:
        self._client = client
        self._place = place
        self._workspace = workspace

    def find(self, device: DeviceId) -> Signer | None:
        """See `peer.remote.Signers`."""
        return self._workspace.devices.get(device)

    async def refresh(self) -> None:
        """Ask the tracker for the list once more."""
        self._workspace = await fetch_home_workspace(self._client, self._place)


async def fetch_home_workspace(client: DeviceClient, place: Place) -> OpenWorkspace:
    """Ask the tracker for the user's workspaces, verify and open them, and keep the answer for the next start."""
    reply = await client.call(WORKSPACES, Empty())
    home = _home_of(client.credentials, reply)
    place.cache(reply)
    return home


def _home_of(credentials: Credentials, reply: WorkspacesReply) -> OpenWorkspace:
    for workspace in open_workspaces(credentials, reply):
        if workspace.home:
            return workspace
    raise Malformed("the tracker names no home workspace")


async def home_workspace(client: DeviceClient, place: Place) -> OpenWorkspace:
    """The home workspace, from what is kept here or, on the first start, from the tracker, for which it waits."""
    cached = place.cached()
    if cached is not None:
        return _home_of(client.credentials, cached)
    backoff = client.client.backoff()
    while True:
        try:
            return await fetch_home_workspace(client, place)
        except Unreachable as error:
            log.warning("%s; the keys of your files are still to be had from it", error)
            await trio.sleep(backoff.next_delay())


class Peer:
    """One running device. Made by `start_peer`."""

    def __init__(
        self, ports: Ports, place: Place, client: DeviceClient, workspace: OpenWorkspace, root: SyncRoot
    ) -> None:
        """Wire the parts together."""
        credentials, database = client.credentials, place.database
        store = TreeStore(database, workspace.workspace)
        versions = VersionStore(database, workspace.workspace)
        problems = Problems(database, workspace.workspace)
        self.context = Context(
            machine=ports.machine,
            disk=ports.disk,
            root=root,
            keys=workspace.keys,
            device=credentials.device,
            device_name=credentials.device_name,
            store=store,
            versions=versions,
            problems=problems,
            quiet=Quiet(),
            limiter=trio.CapacityLimiter(FILE_THREADS),
        )
        context = self.context
        self.remote = RemoteTree(
            database=database, store=store, versions=versions, problems=problems, keys=workspace.keys
        )
        indexer = Indexer(
            machine=ports.machine,
            disk=ports.disk,
            root=root,
            store=store,
            problems=problems,
            quiet=context.quiet,
            limiter=context.limiter,
            turn=context.turn,
        )
        local_steps = LocalSteps(context)
        self.watcher = Watcher(context, ports.events)
        self.uploads = Uploads(context, client)
        self.synchronizer = Synchronizer(
            context=context,
            indexer=indexer,
            watcher=self.watcher,
            reading=Reading(context),
            local_steps=local_steps,
            downloads=Downloads(context, client, local_steps),
            sending=Sending(context, client, self.remote, SigningKey(credentials.signing_seed)),
        )
        self.members = members = Members(client, place, workspace)
        self._members_changed = trio.Event()
        self._outgoing = OutgoingRoom(context, local_steps)
        self.subscription = Subscription(
            machine=ports.machine,
            client=client,
            synchronizer=self.synchronizer,
            pulling=Pulling(context, client, self.remote, lambda: members, members.refresh),
            remote=self.remote,
            after_connect=self._after_connect,
            members_changed=lambda: self._members_changed.set(),
            local_address=ports.local_address,
            backoff=client.client.backoff(),
        )

    async def run(self) -> None:
        """Sync until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watcher.run)
            nursery.start_soon(self.watcher.look_regularly)
            nursery.start_soon(self.synchronizer.run)
            nursery.start_soon(self.subscription.run)
            nursery.start_soon(self.subscription.notice_sleep_and_moves)
            nursery.start_soon(self._upload)
            nursery.start_soon(self._refresh_members)
            nursery.start_soon(self._sweep)

    async def _after_connect(self) -> None:
        await self.uploads.ask_what_is_missing()
        self.synchronizer.uploads_wanted.set()

    async def _refresh_members(self) -> None:
        """Fetch the list of members whenever it may have changed. What fails is made good after the next connection."""
        while True:
            await self._members_changed.wait()
            self._members_changed = trio.Event()
            try:
                await self.members.refresh()
            except Unreachable as error:
                log.info("the members are not known anew: %s", error)
            except ShoalError as error:
                log.error("the list of members can't be used: %s", error)

    async def _upload(self) -> None:
        synchronizer, patience = self.synchronizer, float("inf")
        while True:
            with trio.move_on_after(patience) as waiting:
                await synchronizer.uploads_wanted.wait()
            synchronizer.uploads_wanted, patience = trio.Event(), float("inf")
            if synchronizer.progress.paused or not synchronizer.progress.online:
                continue
            try:
                if waiting.cancelled_caught:
                    await self.uploads.ask_what_is_missing()
                await self.uploads.drain()
                self.uploads.failure = None
                patience = ASK_AGAIN if self.uploads.unfinished else float("inf")
            except* Unreachable:
                synchronizer.disconnected()
                synchronizer.lost.set()
            except* (ShoalError, OSError) as group:
                self.uploads.failure = str(_innermost(group))
                log.error("an upload failed: %s", self.uploads.failure)
                await trio.sleep(ERROR_RETRY)
                synchronizer.uploads_wanted.set()

    async def _sweep(self) -> None:
        while True:
            try:
                await self._outgoing.sweep()
            except (Problem, OSError) as error:
                log.info("not swept: %s", error)
            await trio.sleep(SWEEP)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def start_peer(ports: Ports, place: Place, credentials: Credentials) -> Peer:
    """Open the home workspace, claim the folder, and put a peer together."""
    client = DeviceClient(TrackerClient(ports.transport, ports.machine), credentials)
    root = await ports.machine.offload(lambda: _claim(ports, place), trio.CapacityLimiter(1))
    place.database.set_setting(FOLDER_SETTING, place.folder.encode("utf-8", "surrogateescape"))
    place.database.set_setting(ROOT_SETTING, root.id)
    try:
        workspace = await home_workspace(client, place)
    except Refused as error:
        raise Usage(f"the tracker refused this device: {error}") from None
    return Peer(ports, place, client, workspace, root)


def _claim(ports: Ports, place: Place) -> SyncRoot:
    folder = place.database.get_setting(FOLDER_SETTING)
    if folder is not None and folder != place.folder.encode("utf-8", "surrogateescape"):
        raise Usage(f"this home syncs {folder.decode('utf-8', 'replace')}; another folder needs another --home")
    known = place.database.get_setting(ROOT_SETTING)
    try:
        return claim_root(ports.disk, place.folder, place.home, known, ports.machine.random_bytes)
    except WrongRoot:
        if known is None:
            raise
        # A disk that isn't mounted yet, a folder moved away: it may come back. Until then status says what is wrong.
        return SyncRoot(place.folder, known)
