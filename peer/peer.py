"""A peer put together: one device, its home workspace and its folder, from ports to a running whole."""

import logging
from dataclasses import dataclass

import trio

from peer.account import OpenWorkspace
from peer.breaker import Kind
from peer.database import Database
from peer.history.commands import History
from peer.history.committing import Committing
from peer.history.reading import Reader
from peer.home import Credentials
from peer.indexer import Indexer
from peer.lan.meeting import Meeting
from peer.lan.options import LanOptions
from peer.lan.serving import Serving
from peer.members import DAY, HOUR, Kept, Members, home_workspace
from peer.moving import FOLDER_SETTING, ROOT_SETTING, chosen_folder, settle
from peer.ports import Conditions, Disk, FolderEvents, Lan, TrackerTransport
from peer.problems import Problems, printable
from peer.quiet import Quiet
from peer.remote import RemoteTree
from peer.root import SyncRoot, claim_root
from peer.sparing import spare
from peer.subscription import LocalAddress, Subscription
from peer.synchronizer.context import Context
from peer.synchronizer.downloads import Downloads
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.outgoing import OutgoingRoom
from peer.synchronizer.prefetching import Prefetching
from peer.synchronizer.pulling import Pulling
from peer.synchronizer.reading import Reading
from peer.synchronizer.sending import Sending
from peer.synchronizer.surprises import ends
from peer.synchronizer.synchronizer import ERROR_RETRY, Synchronizer
from peer.synchronizer.uploads import Uploads
from peer.tracker_client import DeviceClient, TrackerClient
from peer.traffic import Traffic, TrafficOptions, Withheld
from peer.tree_store import TreeStore
from peer.version_store import VersionStore
from peer.watcher import Watcher
from protocol.breaker import Approval, Changes, sign_approval
from protocol.compression import LIBRARY
from protocol.errors import Problem, Refused, ShoalError, Unreachable, Usage, WrongRoot, first_of
from protocol.identifiers import ApprovalId, new_id
from protocol.ports import Machine
from protocol.signing import SigningKey

log = logging.getLogger(__name__)
FILE_THREADS = 4
ASK_AGAIN = 15.0
"""Seconds after an upload until the tracker is asked what it still lacks, if anything is not in the cloud by then."""
LOOK_AROUND = 30.0
"""Seconds between looks at what others announced, this device holds, and the cloud still doesn't have."""
LAN_FIRST = 0.3
"""Seconds that devices on the LAN have to ask for what is new before it goes to the cloud."""
LAN_AGAIN = 0.25
"""Seconds between looks at whether they still wait."""
WATCHED = 5.0
"""Seconds that a folder may take to be watched before it is looked at all the same."""
SWEEP = 15.0
"""Seconds between looks at `.shoal/outgoing`."""

_LAN_AS_A_RULE, _TRAFFIC_AS_A_RULE = LanOptions(), TrafficOptions()


@dataclass(frozen=True)
class Ports:
    """Everything a peer meets outside itself."""

    machine: Machine
    disk: Disk
    events: FolderEvents
    transport: TrackerTransport
    local_address: LocalAddress
    lan: Lan | None = None
    conditions: Conditions | None = None
    boot_id: str = ""
    """Another whenever the machine has been started anew; empty when it isn't known."""


@dataclass(frozen=True)
class Place:
    """Where a peer lives: its home's path, its folder, its database, and the tracker's last word on its workspaces."""

    home: str
    folder: str
    database: Database
    kept: Kept


def _context(
    ports: Ports,
    database: Database,
    workspace: OpenWorkspace,
    credentials: Credentials,
    root: SyncRoot,
    traffic: TrafficOptions,
) -> Context:
    return Context(
        machine=ports.machine,
        disk=ports.disk,
        root=root,
        keys=workspace.keys,
        device=credentials.device,
        device_name=credentials.device_name,
        store=TreeStore(database, workspace.workspace),
        versions=VersionStore(database, workspace.workspace),
        problems=Problems(database, workspace.workspace),
        quiet=Quiet(),
        limiter=trio.CapacityLimiter(FILE_THREADS),
        traffic=Traffic(traffic),
    )


def _indexer(context: Context) -> Indexer:
    return Indexer(
        machine=context.machine,
        disk=context.disk,
        root=context.root,
        store=context.store,
        problems=context.problems,
        quiet=context.quiet,
        limiter=context.limiter,
        turn=context.turn,
    )


class Peer:
    """One running device. Made by `start_peer`."""

    def __init__(
        self,
        ports: Ports,
        place: Place,
        client: DeviceClient,
        workspace: OpenWorkspace,
        members: Members,
        root: SyncRoot,
        lan: LanOptions,
        traffic: TrafficOptions,
    ) -> None:
        """Wire the parts together."""
        credentials = client.credentials
        self.context = context = _context(ports, place.database, workspace, credentials, root, traffic)
        context.versions.unstage_other(LIBRARY)
        self._conditions = ports.conditions
        self.remote = RemoteTree(
            database=place.database,
            store=context.store,
            versions=context.versions,
            problems=context.problems,
            keys=workspace.keys,
        )
        context.surprises.limits = lambda: members.limits
        self.remote.tell_approved = context.surprises.approved_elsewhere
        self._machine, self._signing_key = ports.machine, SigningKey(credentials.signing_seed)
        local_steps = LocalSteps(context)
        self._prefetching = Prefetching(context)
        self._downloads = Downloads(context, client, local_steps, self._prefetching)
        pulling = Pulling(context, client, self.remote, lambda: members, members.refresh)
        self.watcher = Watcher(context, ports.events)
        self.uploads = Uploads(context, client)
        self.synchronizer = Synchronizer(
            context=context,
            indexer=_indexer(context),
            watcher=self.watcher,
            reading=Reading(context),
            local_steps=local_steps,
            downloads=self._downloads,
            sending=Sending(context, client, self.remote, self._signing_key, pulling.pull),
        )
        self.synchronizer.boot_id = ports.boot_id
        self._prefetching.wanted = lambda: not self.synchronizer.progress.paused
        context.offers.may_hear = lambda device: members.may_read(device, workspace.workspace)
        self.client = client
        self.members = members
        self.meeting: Meeting | None = None
        if ports.lan is not None:
            self.meeting = Meeting(
                machine=ports.machine,
                lan=ports.lan,
                credentials=credentials,
                workspace=workspace.workspace,
                members=members,
                neighbours=context.neighbours,
                serving=Serving(context, members, context.neighbours, self._prefetching),
                peers=lan.peers,
            )
        self._upload_backoff = client.client.backoff()
        self._outgoing = OutgoingRoom(context, local_steps, self.remote.forget_overtaken)
        self.subscription = Subscription(
            machine=ports.machine,
            client=client,
            synchronizer=self.synchronizer,
            pulling=pulling,
            remote=self.remote,
            after_connect=self._after_connect,
            members_changed=members.ask_soon,
            moved=self._moved,
            local_address=ports.local_address,
            backoff=client.client.backoff(),
        )
        self.history = History(
            context,
            client,
            Reader(client, self.remote, lambda: members, members.refresh),
            Committing(ports.machine, client, self.remote, context.device, self._signing_key, self.approval),
            self.subscription.catch_up,
            lambda: self.synchronizer.behind.set(),
        )

    async def run(self) -> None:
        """Sync until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watcher.run)
            nursery.start_soon(self.watcher.look_regularly)
            nursery.start_soon(self._synchronise)
            nursery.start_soon(self.subscription.run)
            nursery.start_soon(self.subscription.notice_sleep_and_moves)
            nursery.start_soon(self.members.keep_fresh)
            nursery.start_soon(self._upload)
            nursery.start_soon(self._sweep)
            nursery.start_soon(self._prefetching.run)
            if self._conditions is not None and self.context.traffic.options.spares:
                nursery.start_soon(spare, self._conditions, self.context.traffic, self._conditions_changed)
            if self.meeting is not None:
                nursery.start_soon(self.meeting.run)

    def decide(self, *, approved: bool) -> int:
        """All that is held goes on, or is undone; returns how many files that are. `Usage` when nothing is held."""
        held = self.context.surprises.decide(approved=approved, sign=self.approval)
        if not held:
            raise Usage("nothing is held")
        self.context.wake.set()
        return sum(mark.kind is not Kind.DIRECTORY for mark in held)

    def approval(self, bound: Changes) -> Approval:
        """This device's word that so many deletes and overwrites are meant; it goes with the commits that make them."""
        context, machine = self.context, self._machine
        id, now = ApprovalId(new_id(machine.random_bytes)), machine.now() // 1_000_000
        return sign_approval(context.keys.workspace, context.device, id, now, bound, self._signing_key)

    def note_end(self) -> None:
        """Shoal ends, and the machine goes on."""
        if not self.synchronizer.boot_id:  # what the machine may have left of the files has been looked at
            ends(self.context.store)

    async def _synchronise(self) -> None:
        """Only once the folder is watched, as a rule: it is looked at as a whole when it is, and once is enough."""
        with trio.move_on_after(WATCHED):
            await self.watcher.ready.wait()
        await self.synchronizer.run()

    def _conditions_changed(self) -> None:
        self.context.try_all_again()
        self.synchronizer.uploads_wanted.set()
        self.context.wake.set()

    def _moved(self) -> None:
        if self.meeting is not None:
            self.meeting.renew()

    async def _after_connect(self) -> None:
        await self.uploads.ask_what_is_missing()
        self.synchronizer.uploads_wanted.set()

    async def _upload(self) -> None:
        synchronizer, patience = self.synchronizer, LOOK_AROUND
        while True:
            with trio.move_on_after(patience) as waiting:
                await synchronizer.uploads_wanted.wait()
            synchronizer.uploads_wanted, patience = trio.Event(), LOOK_AROUND
            if synchronizer.progress.paused or not synchronizer.progress.online:
                continue
            if self.context.traffic.withheld is not None:
                continue  # nor is a lease asked for: another device may bring it to the cloud meanwhile
            try:
                if not waiting.cancelled_caught:
                    await self._let_the_lan_ask()
                elif not self.uploads.waiting:
                    await self.uploads.ask_what_is_missing()
                await self.uploads.ask_what_is_damaged()
                await self.uploads.drain()
                self.uploads.failure = None
                patience = self._upload_again()
                self._upload_backoff.reset()
            except* Withheld:
                pass  # whoever withholds sets `uploads_wanted` when it is over
            except* Unreachable as group:
                # Whether the tracker is there at all, the subscription knows; packs alone may not get through.
                log.info("an upload was cut off: %s", first_of(group))
                await trio.sleep(self._upload_backoff.next_delay())
                synchronizer.uploads_wanted.set()
            except* (ShoalError, OSError) as group:
                self.uploads.failure = str(first_of(group))
                log.error("an upload failed: %s", self.uploads.failure)
                await trio.sleep(ERROR_RETRY)
                synchronizer.uploads_wanted.set()

    async def _let_the_lan_ask(self) -> None:
        """What is new was announced a moment ago, and may be wanted on the LAN first."""
        if self.context.neighbours.links:
            await trio.sleep(LAN_FIRST)

    def _upload_again(self) -> float:
        """In how many seconds there may be more to upload."""
        if self.uploads.waiting:
            return LAN_AGAIN
        return ASK_AGAIN if self.uploads.unfinished else LOOK_AROUND

    async def _sweep(self) -> None:
        while True:
            try:
                await self._outgoing.sweep(unknown=self.synchronizer.progress.ready)
                await self._downloads.tidy()
            except (Problem, OSError) as error:
                log.info("not swept: %s", error)
            await trio.sleep(SWEEP)


async def start_peer(
    ports: Ports,
    place: Place,
    credentials: Credentials,
    lan: LanOptions = _LAN_AS_A_RULE,
    traffic: TrafficOptions = _TRAFFIC_AS_A_RULE,
) -> Peer:
    """Open the home workspace, claim the folder, and put a peer together."""
    client = DeviceClient(TrackerClient(ports.transport, ports.machine), credentials)
    root = await ports.machine.offload(lambda: _claim(ports, place), trio.CapacityLimiter(1))
    place.database.set_setting(FOLDER_SETTING, place.folder.encode("utf-8", "surrogateescape"))
    place.database.set_setting(ROOT_SETTING, root.id)
    try:
        workspace, heard = await home_workspace(client, place.kept)
    except Refused as error:
        raise Usage(f"the tracker refused this device: {error}") from None
    members = Members(client, place.kept, workspace, heard=heard, most_age=DAY if lan.offline else HOUR)
    return Peer(ports, place, client, workspace, members, root, lan, traffic)


def _claim(ports: Ports, place: Place) -> SyncRoot:
    settle(ports.disk, place.database)
    folder = chosen_folder(place.database)
    if folder is not None and folder != place.folder:
        raise Usage(f"this home syncs {printable((folder,))}; another folder needs another --home, or shoal move")
    known = place.database.get_setting(ROOT_SETTING)
    try:
        return claim_root(ports.disk, place.folder, place.home, known, ports.machine.random_bytes)
    except WrongRoot:
        if known is None:
            raise
        # A disk that isn't mounted yet, a folder moved away: it may come back. Until then status says what is wrong.
        return SyncRoot(place.folder, known)
