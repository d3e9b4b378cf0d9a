"""Who belongs to a workspace: a device asks anew when it is told, may have missed it, or is told to catch up."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from peer.subscription import Subscription
from protocol.api import LOGOUT, REGISTER, Empty, RegisterRequest, Session
from protocol.codec import decode, encode
from protocol.errors import Unreachable
from protocol.identifiers import WorkspaceId
from protocol.notices import CatchUp, Changed, Members, Notice, encode_notice
from tests.simulation.accounts import Prepared, engine_of, prepared
from tests.simulation.device import SimulatedDevice
from tests.simulation.host import TrackerHost
from tests.simulation.log import EventLog
from tests.simulation.machine import seeded_bytes, simulated_machine
from tests.simulation.network import SimulatedTransport, Weather
from tests.support.tracker import Account, Device, new_account

PATIENCE = 60.0
"""Seconds of simulated time: enough for a connection that was cut to be back."""


@dataclass
class Town:
    """A tracker and one device of an account whose password is known."""

    host: TrackerHost
    device: SimulatedDevice
    account: Account
    outside: SimulatedTransport

    async def register(self) -> tuple[Device, str]:
        """One more device of the account, and its token."""
        device = self.account.new_device()
        request = RegisterRequest(email=self.account.email, auth=self.account.auth, device=device.new())
        body = await self._ask(REGISTER.path, encode(request), None)
        return device, decode(Session, body, REGISTER.reply_limit).token

    async def log_out(self, token: str) -> None:
        await self._ask(LOGOUT.path, encode(Empty()), token)

    async def _ask(self, path: str, body: bytes, token: str | None) -> bytes:
        response = await self.outside.request(path, body, token=token, patience=10, response_limit=1 << 20)
        assert response.status == 200
        return response.body

    def knows(self, device: Device, *, retired: bool = False) -> bool:
        """Whether the peer has this device among the members' by now."""
        peer = self.device.peer
        found = None if peer is None else peer.members.find(device.id)
        return found is not None and cast(Any, found).retired == retired

    async def until(self, happened: Callable[[], bool]) -> None:
        """Let simulated time go on until something has happened."""
        with trio.fail_after(PATIENCE):
            while not happened():  # noqa: ASYNC110 the simulation's time is free, and nothing else tells
                await trio.sleep(0.1)

    @property
    def online(self) -> bool:
        peer = self.device.peer
        return peer is not None and peer.synchronizer.progress.online


@pytest.fixture
def kept() -> Prepared:
    """Made before trio runs, as it runs trio itself."""
    return prepared()


@asynccontextmanager
async def running_town(kept: Prepared) -> AsyncIterator[Town]:
    log, weather = EventLog(), Weather()
    host = TrackerHost(simulated_machine("members/tracker"), engine_of(kept.database), log)
    device = SimulatedDevice(
        "laptop", "members", kept.credentials[0], host, weather, None, log, lambda *_: None, lambda *_: None
    )
    device.disk.user.mkdir("/Shoal")
    account = new_account("ann@example.org", seeded_bytes("account"))
    for _ in kept.credentials[1:]:
        account.new_device()  # the tracker knows these already
    outside = SimulatedTransport(host, weather, Random(1), log, "outside", lambda: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        nursery.start_soon(device.run)
        yield Town(host, device, account, outside)
        nursery.cancel_scope.cancel()


async def test_a_device_that_comes_or_goes_is_known_to_the_others(kept: Prepared, autojump_clock: MockClock) -> None:
    async with running_town(kept) as town:
        await town.until(lambda: town.online)
        device, token = await town.register()
        begin = trio.current_time()
        await town.until(lambda: town.knows(device))
        await town.log_out(token)
        await town.until(lambda: town.knows(device, retired=True))
        assert trio.current_time() - begin < 2


async def test_what_was_missed_is_asked_for_once_connected_again(kept: Prepared, autojump_clock: MockClock) -> None:
    async with running_town(kept) as town:
        await town.until(lambda: town.online)
        assert town.device.transport is not None
        town.device.transport.cut(silently=False)
        device, _ = await town.register()
        await town.until(lambda: town.knows(device))


# Notice by notice ----------------------------------------------------------------------------------------------------

WORKSPACE = WorkspaceId(b"w" * 16)


class Script:
    """A connection over which these notices come; then it breaks."""

    def __init__(self, *notices: Notice) -> None:
        self._frames = [encode_notice(notice) for notice in notices]

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._frames:
            raise Unreachable("the script is over")
        return self._frames.pop(0)


@dataclass
class Stub:
    """As much of a synchronizer, of a REMOTE tree and of its keys as receiving needs."""

    workspace: WorkspaceId
    revision: int
    behind: trio.Event

    @property
    def keys(self) -> "Stub":
        return self

    def cursor(self) -> "Stub":
        return self


@pytest.mark.parametrize(
    ("notice", "members", "behind"),
    [
        (Members(workspace=WORKSPACE), 1, False),
        (CatchUp(), 1, True),
        (Changed(workspace=WORKSPACE, since=1, through=2), 0, True),
        (Changed(workspace=WORKSPACE, since=0, through=1), 0, False),
    ],
    ids=["members", "catch up", "changed", "known already"],
)
async def test_which_notice_has_what_looked_after(notice: Notice, members: int, behind: bool) -> None:
    told: list[None] = []
    stub: Any = Stub(WORKSPACE, 1, trio.Event())
    nobody = cast(Callable[[], Awaitable[None]], None)
    subscription = Subscription(
        machine=cast(Any, None),
        client=cast(Any, None),
        synchronizer=stub,
        pulling=cast(Any, None),
        remote=stub,
        after_connect=nobody,
        members_changed=lambda: told.append(None),
        moved=lambda: None,
        local_address=cast(Any, None),
        backoff=cast(Any, None),
    )
    with pytest.raises(Unreachable):
        await subscription._receive(cast(Any, Script(notice)))
    assert (len(told), stub.behind.is_set()) == (members, behind)
