"""One tracker of several processes: what comes in through one reaches the devices of the others, whatever breaks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from sqlalchemy import make_url

from protocol import api
from protocol.deltas import decode_delta
from protocol.identifiers import DeviceId, WorkspaceId
from protocol.notices import CatchUp, Changed, Members, Notice
from protocol.system import real_machine
from tests.support.databases import PostgresDatabases
from tests.support.relay import Relay
from tests.tracker.served import Served, open_served
from tests.tracker.websockets import connect, receive_change, subscribe
from tracker.fanout import MAX_MESSAGE
from tracker.notifications import Hub, Mailbox
from tracker.system.channel import MAX_WAITING, PostgresqlChannel

WORKSPACE, OTHER = WorkspaceId(b"w" * 16), WorkspaceId(b"o" * 16)
DEVICE, AUTHOR = DeviceId(b"d" * 16), DeviceId(b"a" * 16)


@asynccontextmanager
async def open_hub(postgres: PostgresDatabases, url: str) -> AsyncIterator[Hub]:
    """A hub as one process has it."""
    hub = Hub(PostgresqlChannel(real_machine(), postgres.loop, make_url(url)))
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.listen)
        yield hub
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_hubs(postgres: PostgresDatabases) -> AsyncIterator[tuple[Hub, Hub]]:
    """Two of one tracker."""
    async with open_hub(postgres, postgres.server.url()) as one, open_hub(postgres, postgres.server.url()) as two:
        yield one, two


async def taken(mailbox: Mailbox) -> Notice | None:
    with trio.fail_after(10):
        return await mailbox.take()


async def test_a_change_reaches_the_other_process_but_not_its_author(postgres: PostgresDatabases) -> None:
    async with open_hubs(postgres) as (one, two):
        with (
            two.subscribed(DEVICE, [WORKSPACE]) as device,
            two.subscribed(AUTHOR, [WORKSPACE]) as author,
            one.subscribed(DEVICE, [WORKSPACE]) as here,
            two.subscribed(DEVICE, [OTHER]) as elsewhere,
        ):
            one.publish(WORKSPACE, 1, 2, AUTHOR, lambda: None)
            assert await taken(device) == await taken(here) == Changed(workspace=WORKSPACE, since=1, through=2)
            one.publish_members(OTHER)  # what they hear next
            one.publish_members(WORKSPACE)
            assert await taken(elsewhere) == Members(workspace=OTHER)
            assert await taken(author) == Members(workspace=WORKSPACE)
            # What this process said itself does not come back to it.
            assert [await taken(here), await taken(device)] == [Members(workspace=WORKSPACE)] * 2
            two.publish_members(WORKSPACE)
            assert await taken(here) == Members(workspace=WORKSPACE)


async def test_a_device_logged_out_through_one_process_is_disconnected_from_the_other(
    postgres: PostgresDatabases,
) -> None:
    async with open_hubs(postgres) as (one, two):
        with two.subscribed(DEVICE, [WORKSPACE]) as device, two.subscribed(AUTHOR, [WORKSPACE]) as other:
            one.disconnect(DEVICE)
            assert await taken(device) is None
            one.warn()
            assert await taken(other) == CatchUp()


async def test_many_at_once_come_in_order(postgres: PostgresDatabases) -> None:
    async with open_hubs(postgres) as (one, two):
        with two.subscribed(DEVICE, [WORKSPACE]) as device:
            for revision in range(200):
                one.publish(WORKSPACE, revision, revision + 1, AUTHOR, lambda: None)
            heard = [await taken(device) for _ in range(200)]
    assert heard == [Changed(workspace=WORKSPACE, since=at, through=at + 1) for at in range(200)]


async def test_more_than_may_wait_is_missed_and_said_to_be(postgres: PostgresDatabases) -> None:
    async with open_hubs(postgres) as (one, two):
        with two.subscribed(DEVICE, [WORKSPACE]) as device:
            for revision in range(MAX_WAITING + 1000):
                one.publish(WORKSPACE, revision, revision + 1, AUTHOR, lambda: None)
            while not isinstance(await taken(device), CatchUp):
                pass


async def test_a_lost_connection_makes_its_subscribers_catch_up(postgres: PostgresDatabases) -> None:
    """Whoever ended it: what was sent while nobody listened can't be known."""
    relay = Relay(postgres.server.port)
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        url = make_url(postgres.server.url()).set(port=relay.port).render_as_string(hide_password=False)
        async with open_hub(postgres, postgres.server.url()) as one, open_hub(postgres, url) as two:
            with two.subscribed(DEVICE, [WORKSPACE]) as there, one.subscribed(DEVICE, [WORKSPACE]) as here:
                relay.cut = b"pg_notify"
                two.publish_members(WORKSPACE)  # and so its own connection goes
                assert await taken(there) == Members(workspace=WORKSPACE)
                one.publish_members(WORKSPACE)
                while not relay.cuts:
                    await trio.lowlevel.checkpoint()
                relay.cut = None
                while not isinstance(await taken(there), CatchUp):
                    pass
                # What could not be sent was kept.
                assert await taken(here) == Members(workspace=WORKSPACE)
                assert await taken(here) == Members(workspace=WORKSPACE)
        nursery.cancel_scope.cancel()


async def test_what_is_no_message_makes_catch_up(postgres: PostgresDatabases, caplog: pytest.LogCaptureFixture) -> None:
    """A newer release may say what an older one doesn't know."""
    async with open_hubs(postgres) as (_, two):
        with two.subscribed(DEVICE, [WORKSPACE]) as device:
            postgres.server.psql("NOTIFY shoal, 'AAAA'")
            assert await taken(device) == CatchUp()
            postgres.server.psql("NOTIFY shoal, 'not base64!'")
            assert await taken(device) == CatchUp()
    assert len([record for record in caplog.records if "not understood" in record.message]) == 4  # both hear it


# Two trackers --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_two(postgres: PostgresDatabases, folder: Path) -> AsyncIterator[tuple[Served, Served]]:
    """Two trackers over one database, as two machines serve it."""
    url = await postgres.migrated_url()
    async with open_served(folder / "one", url) as one, open_served(folder / "two", url, "bob@example.org") as two:
        yield one, two


async def test_a_commit_through_one_reaches_the_devices_of_the_other_with_its_delta(
    postgres: PostgresDatabases, tmp_path: Path
) -> None:
    async with open_two(postgres, tmp_path) as (one, two):
        async with connect(two.url, await one.second_device()) as websocket:
            await subscribe(websocket, (one.author.workspace, 0))
            await two.settled(websocket)
            await one.client.call(api.COMMIT, one.author.commit(one.author.create("small")))
            told = await receive_change(websocket)
            assert told.delta is not None
            assert decode_delta(told.delta).through == 1
            await one.client.call(
                api.COMMIT, one.author.commit(*(one.author.create(f"{at}") for at in range(MAX_MESSAGE // 100)))
            )
            assert await receive_change(websocket) == Changed(workspace=one.author.workspace, since=1, through=2)
