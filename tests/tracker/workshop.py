"""A workspace in memory to commit to, and shorthands for looking at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import insert, select

from protocol.api import CommitRefusal, CommitReply, DeltaRequest, RegisterRequest
from protocol.codec import decode, encode
from protocol.commits import Commit, Operation
from protocol.deltas import Delta, decode_delta
from protocol.errors import Code, Refused
from protocol.identifiers import NodeId, UserId
from protocol.ports import Machine
from storage.memory import MemoryStorage
from tests.support.databases import Databases
from tests.support.tracker import (
    Account,
    Author,
    Clock,
    Device,
    Sealed,
    author_of,
    new_account,
    seeded_machine,
)
from tracker.assembly import Tracker, build
from tracker.blocks import Blocks
from tracker.checking import check_tracker
from tracker.database import Database
from tracker.metadata.commit import commit, prepare
from tracker.metadata.deltas import read_delta
from tracker.metadata.durable import Recorded
from tracker.metadata.loading import find_nodes
from tracker.metadata.rules import Node
from tracker.migrating import migrate
from tracker.schema import members, users


@dataclass
class Workshop:
    """One account, its first device, and the tracker that knows both."""

    tracker: Tracker
    account: Account
    author: Author
    clock: Clock
    devices: list[Device]
    """All that the tracker knows of this account."""

    @property
    def now_ms(self) -> int:
        """The tracker's time."""
        return self.clock.ns // 1_000_000

    @property
    def database(self) -> Database:
        return self.tracker.services.database

    @property
    def blocks(self) -> Blocks:
        return self.tracker.services.blocks

    async def send(self, sent: Commit, device: Device | None = None) -> CommitReply:
        """Commit as a device would; `Refused` as it would see it."""
        device = device or self.author.device
        prepared = prepare(sent, device.account.user, device.id, device.signing.public)
        return (await self.database.transact(commit, prepared, self.now_ms)).reply

    async def commit(self, *operations: Operation, runs: tuple[bytes, ...] = ()) -> CommitReply:
        return await self.send(self.author.commit(*operations, runs=runs))

    async def refusal(self, *operations: Operation, runs: tuple[bytes, ...] = ()) -> CommitRefusal:
        """The refusal that this commit meets; nothing may have been recorded."""
        before = await self.head()
        with pytest.raises(Refused) as caught:
            await self.commit(*operations, runs=runs)
        assert caught.value.code is Code.COMMIT
        assert await self.head() == before
        return decode(CommitRefusal, caught.value.detail, 1 << 20)

    async def reasons(self, *operations: Operation, runs: tuple[bytes, ...] = ()) -> dict[int, str]:
        """Why each failing operation of this commit fails."""
        return {each.index: each.reason for each in (await self.refusal(*operations, runs=runs)).operations}

    async def store(self, *sealed: Sealed, device: Device | None = None) -> Recorded:
        """Upload the chunks of these contents in one pack."""
        device = device or self.author.device
        return await self.blocks.store(device.account.user, device.id, self.author.pack(*sealed))

    async def node(self, id: NodeId) -> Node:
        return (await self.database.read(find_nodes, self.author.workspace, [id]))[id]

    async def delta(self, since: Delta | None = None) -> Delta:
        """One page after a delta, or of the snapshot; it went over the wire."""
        workspace = self.author.workspace
        request = DeltaRequest(workspace=workspace, revision=0)
        if since is not None:
            request = DeltaRequest(
                workspace=workspace, revision=since.through, tracker_epoch=since.tracker_epoch, hash=since.hash
            )
        epoch = self.tracker.services.identity.epoch
        return decode_delta(encode(await self.database.read(read_delta, self.account.user, request, epoch)))

    async def head(self) -> int:
        return (await self.delta()).head

    async def used(self) -> int:
        query = select(users.c.used_bytes).where(users.c.id == self.account.user)
        return await self.database.read(lambda connection: int(connection.execute(query).scalar_one()))

    async def set_used(self, used: int) -> None:
        """Pretend that other workspaces of the owner take that much."""
        change = users.update().where(users.c.id == self.account.user).values(used_bytes=used)
        await self.database.transact(lambda connection: connection.execute(change))

    async def add_device(self) -> Author:
        """One more device of this user."""
        device = self.account.new_device()
        request = RegisterRequest(email=self.account.email, auth=self.account.auth, device=device.new())
        await self.tracker.services.accounts.register(request)
        self.devices.append(device)
        return author_of(device)

    async def sign_up(self, email: str) -> Account:
        """One more user."""
        account = new_account(email)
        await self.tracker.services.accounts.sign_up(account.signup())
        return account

    async def add_member(self, user: UserId, role: int) -> None:
        """Give a user a role in this workspace (sharing has no request yet)."""
        row = {"workspace": self.author.workspace, "user": user, "role": role}
        await self.database.transact(lambda connection: connection.execute(insert(members), [row]))

    async def check(self) -> None:
        """The tracker's own check finds nothing."""
        services = self.tracker.services
        report = await check_tracker(services.machine, services.database, services.blocks.storage, quick=False)
        assert report.problems == []


@asynccontextmanager
async def open_workshop(databases: Databases) -> AsyncIterator[Workshop]:
    clock = Clock()
    machine = seeded_machine(clock=clock)
    async with databases.migrated(machine) as database:
        yield await _furnish(machine, database, clock)


@asynccontextmanager
async def open_workshop_at(databases: Databases, url: str) -> AsyncIterator[Workshop]:
    """In the database there, which others may open, too."""
    clock = Clock()
    machine = seeded_machine(clock=clock)
    async with databases.opened(machine, url) as database:
        await database.transact(migrate)
        yield await _furnish(machine, database, clock)


async def _furnish(machine: Machine, database: Database, clock: Clock) -> Workshop:
    tracker = await build(machine, database, MemoryStorage())
    account = new_account()
    await tracker.services.accounts.sign_up(account.signup())
    return Workshop(tracker, account, author_of(account.first), clock, [account.first])
