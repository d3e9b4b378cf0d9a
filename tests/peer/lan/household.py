"""Devices of one user on one LAN, without a tracker: real folders, real sockets on loopback, real certificates.

Household    the account: who belongs to it, as a tracker would list it
Resident     one device: its folder, its database, and all of `peer/lan`
Intruder     somebody who speaks the protocol and means no good
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import trio

from peer.account import open_workspaces
from peer.chunker import Staged, stage_file
from peer.home import Credentials
from peer.lan.channel import Channel, answer_channel, dial_channel
from peer.lan.link import Link
from peer.lan.meeting import Meeting
from peer.lan.serving import Serving
from peer.members import Kept, Members
from peer.ports import Advertisement, Beacons, LanAddress, LanStream
from peer.root import open_folder
from peer.synchronizer.downloads import Downloads
from peer.synchronizer.jobs import Job
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.prefetching import Prefetching
from peer.synchronizer.reading import Reading
from peer.synchronizer.steps import Fetch
from peer.system.lan import LocalNetwork, TcpListener
from peer.tracker_client import DeviceClient
from peer.trees import Content, Fingerprint, Local, Remote, fingerprint
from peer.version_store import Version
from protocol.api import OWNER, Member, MemberDevice, WorkspaceInfo, WorkspacesReply
from protocol.commits import FILE
from protocol.errors import Unreachable
from protocol.identifiers import ROOT, ContentHash, DeviceId, NodeId, PlaceMark, VersionId
from protocol.manifests import Manifest
from protocol.runs import SealedRun, cut_runs, seal_run
from protocol.system import real_machine
from tests.peer.folders import SyncFolder, sync_folder
from tests.support.tracker import Account, Device, credentials_of, new_account

LOOPBACK = "127.0.0.1"
PATIENCE = 20.0


@dataclass
class Household:
    """An account whose list of devices a test changes."""

    account: Account = field(default_factory=new_account)
    devices: list[Device] = field(default_factory=list)
    retired: set[bytes] = field(default_factory=set)
    reachable: bool = True
    """Whether the tracker answers."""

    def new_device(self) -> Device:
        device = self.account.first if not self.devices else self.account.new_device()
        self.devices.append(device)
        return device

    def listed(self) -> WorkspacesReply:
        """What the tracker says of the user's workspaces."""
        account = self.account
        devices = tuple(
            MemberDevice(certificate=each.new().certificate, retired=each.id in self.retired) for each in self.devices
        )
        member = Member(user=account.user, role=OWNER, identity_key=account.identity.public, devices=devices)
        info = WorkspaceInfo(
            workspace=account.home, role=OWNER, home=True, epoch=1, grant=account.signup().home, members=(member,)
        )
        return WorkspacesReply(workspaces=(info,))

    async def call(self, *_: object) -> WorkspacesReply:
        """What stands for `DeviceClient.call`; it is asked for workspaces only."""
        await trio.lowlevel.checkpoint()
        if not self.reachable:
            raise Unreachable("no tracker")
        return self.listed()


class Network(LocalNetwork):
    """Loopback, without beacons: they have tests of their own, and take their time. A test may put a `board` in their
    place, and say that the interfaces have changed by giving another `address`."""

    def __init__(self, interface: str) -> None:
        super().__init__(interface)
        self.listening = trio.Event()
        self.port = 0
        self.address = interface
        self.board: Beacons | None = None

    async def interfaces(self) -> frozenset[str]:
        await trio.lowlevel.checkpoint()
        return frozenset({self.address})

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[TcpListener]:
        async with super().listen() as listener:
            self.port = listener.port
            self.listening.set()
            yield listener

    @asynccontextmanager
    async def beacons(self) -> AsyncIterator[Beacons]:  # type: ignore[override]
        yield self.board or _Silence()


class _Silence:
    """Beacons that nobody hears, and that hear nobody."""

    async def announce(self, name: str, tag: bytes, port: int) -> None:
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Advertisement:
        await trio.sleep_forever()


@dataclass
class Resident:
    """One device at home."""

    household: Household
    device: Device
    folder: SyncFolder
    members: Members
    network: Network
    meeting: Meeting
    address: LanAddress
    credentials: Credentials
    prefetching: Prefetching

    @property
    def links(self) -> Sequence[Link]:
        return self.folder.context.neighbours.links

    @property
    def counters(self) -> dict[str, int]:
        return dict(self.folder.context.counters)

    async def until_linked(self, *others: "Resident") -> None:
        """Wait for links with exactly these."""
        wanted = {other.device.id for other in others}
        await until(lambda: {link.device for link in self.links} == wanted)

    def save(self, name: str, data: bytes) -> Version:
        """A file in the folder, read and announced, as if a commit of it had been accepted."""
        folder, context = self.folder, self.folder.context
        folder.hand.write(name, data)
        node = NodeId(context.machine.random_bytes(16))
        with open_folder(context.disk, context.root) as opened:
            descriptor = context.disk.open_file(opened.directory(()), name)
            try:
                staged = stage_file(context.disk, descriptor, context.keys, None)
            finally:
                context.disk.close(descriptor)
        assert staged is not None
        self._put_local(name, node, staged[0].content, staged[1])
        return self.announce(name, node, staged[0], VersionId(context.machine.random_bytes(16)))

    def notice(self, name: str, data: bytes) -> NodeId:
        """A file in the folder that is to be read."""
        folder, context = self.folder, self.folder.context
        folder.hand.write(name, data)
        node = NodeId(context.machine.random_bytes(16))
        with open_folder(context.disk, context.root) as opened:
            print_ = fingerprint(context.disk.stat(opened.directory(()), name))
        folder.store.put_local(Local(node, ROOT, name, FILE, None, print_))
        return node

    async def offer(self, name: str, data: bytes) -> tuple[NodeId, Staged, VersionId]:
        """A file in the folder, read as the synchronizer does it, while it is offered; under which id it was."""
        folder, context = self.folder, self.folder.context
        node = self.notice(name, data)
        assert (await Reading(context).read([node]))[0]
        local = folder.store.local(node)
        assert local is not None
        assert local.content is not None
        staged = context.versions.staged({node: local.content})[node]
        version = context.offers.version_of(node, staged)
        assert version is not None
        return node, staged, version

    def announce(self, name: str, node: NodeId, made: Staged, id_: VersionId) -> Version:
        """As if a commit of what was read had been accepted."""
        context = self.folder.context
        runs = [seal_run(context.keys.newest.run, run) for run in cut_runs(made.chunks)]
        manifest = Manifest(
            size=made.size,
            mtime_ns=made.content.mtime_ns,
            content_hash=ContentHash(made.content.digest),
            run_keys=tuple(run.key for run in runs),
            cut=made.cut,
        )
        version = Version(id_, node, self.device.id, manifest, tuple(run.id for run in runs), 1, 1)
        self.learn(name, version, runs)
        return version

    def _put_local(self, name: str, node: NodeId, content: Content, print_: Fingerprint) -> None:
        self.folder.store.put_local(Local(node, ROOT, name, FILE, content, print_))

    def learn(self, name: str, version: Version, runs: Sequence[SealedRun], *, in_the_cloud: bool = False) -> None:
        """What a delta says of a file."""
        context = self.folder.context
        context.versions.put(version)
        context.versions.put_runs((run.id, run.body) for run in runs)
        durable = version.id if in_the_cloud else None
        self.folder.store.put_remote(
            Remote(version.node, ROOT, name, FILE, PlaceMark(bytes(16)), version.id, None, durable)
        )

    def runs_of(self, version: Version) -> list[SealedRun]:
        """The runs of a version that is known here."""
        chunks = self.folder.context.versions.chunks(version)
        return [seal_run(self.folder.context.keys.newest.run, run) for run in cut_runs(chunks)]

    async def fetch(self, version: Version) -> Job:
        """Fetch a file into place, or find that it can't be had; the cloud never answers."""
        context = self.folder.context
        cloud = cast(DeviceClient, SimpleNamespace(fetch_chunks=_no_cloud, call=self.household.call))
        downloads = Downloads(context, cloud, LocalSteps(context), self.prefetching)
        ((job,),) = await downloads.groups([Fetch(version.node, version.id)])
        await downloads.carry_out([job])
        return job


async def _no_cloud(*_: object) -> bytes:
    await trio.lowlevel.checkpoint()
    raise Unreachable("no cloud here")


async def until(condition: Any) -> None:
    """Wait for something that is about to happen."""
    with trio.fail_after(PATIENCE):
        while True:
            if condition():
                return
            await trio.sleep(0.005)


@contextmanager
def _folder(device: Device, place: Path) -> Iterator[SyncFolder]:
    place.mkdir()
    with sync_folder("linux", place, keys=device.account.keys, device=device.id, machine=real_machine()) as folder:
        yield folder


async def _live(
    household: Household,
    device: Device,
    folder: SyncFolder,
    name: str,
    peers: tuple[LanAddress, ...],
    *,
    task_status: trio.TaskStatus[Resident],
) -> None:
    credentials = credentials_of(device, name)
    context = folder.context
    client = SimpleNamespace(
        call=household.call, credentials=credentials, client=SimpleNamespace(machine=context.machine)
    )
    (workspace,) = open_workspaces(credentials, household.listed())
    members = Members(cast(DeviceClient, client), Kept(lambda: None, lambda _: None), workspace, heard=True)
    network, prefetching = Network(LOOPBACK), Prefetching(context)
    context.offers.may_hear = lambda device: members.may_read(device, workspace.workspace)
    meeting = Meeting(
        machine=context.machine,
        lan=network,
        credentials=credentials,
        workspace=workspace.workspace,
        members=members,
        neighbours=context.neighbours,
        serving=Serving(context, members, context.neighbours, prefetching),
        peers=peers,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(members.keep_fresh)
        nursery.start_soon(meeting.run)
        nursery.start_soon(prefetching.run)
        await network.listening.wait()
        address = LanAddress(LOOPBACK, network.port)
        made = Resident(household, device, folder, members, network, meeting, address, credentials, prefetching)
        task_status.started(made)


@asynccontextmanager
async def residents(
    household: Household, place: Path, *names: str, knowing: tuple[LanAddress, ...] = (), strangers: bool = False
) -> AsyncIterator[list[Resident]]:
    """Devices of which each is told the addresses of those before it, unless they are `strangers`, and of others that
    they are `knowing`."""
    with ExitStack() as stack:
        devices = [household.new_device() for _ in names]
        folders = [
            stack.enter_context(_folder(device, place / name)) for device, name in zip(devices, names, strict=True)
        ]
        made: list[Resident] = []
        async with trio.open_nursery() as nursery:
            for device, folder, name in zip(devices, folders, names, strict=True):
                peers = knowing if strangers else (*knowing, *(other.address for other in made))
                made.append(await nursery.start(_live, household, device, folder, name, peers))
            yield made
            nursery.cancel_scope.cancel()


# Those who mean no good ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def intruder(resident: Resident, device: Device, by_way_of: LanAddress | None = None) -> AsyncIterator[Channel]:
    """Dial a resident with a device's keys, whoever that is, and say hello."""
    stream = await LocalNetwork(LOOPBACK).dial(by_way_of or resident.address)
    known = {resident.device.id: resident.device.exchange.public}
    try:
        channel = await dial_channel(stream, device.exchange, known, os.urandom)
        await channel.greet("intruder")
        yield channel
    finally:
        stream.close()


@asynccontextmanager
async def false_device(device: Device, answers: "Callable[[Channel], Awaitable[None]]") -> AsyncIterator[LanAddress]:
    """A device that listens and does as `answers` says with whoever dials, after the hellos."""

    async def serve(stream: LanStream) -> None:
        try:
            channel = await answer_channel(stream, device.exchange, lambda _: DeviceId(bytes(16)), os.urandom)
            await channel.greet("false")
            await answers(channel)
        except Unreachable:
            pass
        finally:
            stream.close()

    async with LocalNetwork(LOOPBACK).listen() as listener, trio.open_nursery() as nursery:

        async def accept() -> None:
            while True:
                nursery.start_soon(serve, await listener.accept())

        nursery.start_soon(accept)
        yield LanAddress(LOOPBACK, listener.port)
        nursery.cancel_scope.cancel()
