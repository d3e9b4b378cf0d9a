"""Notifications: what a mailbox does when it is full, whom the hub tells what, and the WebSocket itself."""

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection

from protocol import api
from protocol.deltas import INLINE_DELTA_BYTES, Delta, decode_delta
from protocol.identifiers import DeviceId, TrackerEpoch, WorkspaceId
from protocol.notices import CatchUp, Changed, Members, Notice, encode_notice
from tests.support.tracker import Client, author_of, client_of, new_account, running_tracker, version_of
from tests.tracker.served import Served
from tests.tracker.websockets import connect, receive, subscribe
from tracker.http.subscriptions import GOING_AWAY, POLICY, PROTOCOL_ERROR
from tracker.notifications import MAX_BYTES, MAX_NOTICES, Hub, Mailbox

WORKSPACE = WorkspaceId(bytes(16))
DEVICE, OTHER = DeviceId(b"d" * 16), DeviceId(b"o" * 16)


def changed(through: int, delta: bytes | None = None) -> Changed:
    return Changed(workspace=WORKSPACE, since=through - 1, through=through, delta=delta)


# Mailbox and hub -----------------------------------------------------------------------------------------------------


async def test_notices_come_in_order() -> None:
    mailbox = Mailbox(DEVICE)
    mailbox.put(changed(1))
    mailbox.put(changed(2))
    assert [await mailbox.take(), await mailbox.take()] == [changed(1), changed(2)]


async def test_an_overflowing_mailbox_says_catch_up_once() -> None:
    mailbox = Mailbox(DEVICE)
    for revision in range(1, MAX_NOTICES + 50):
        mailbox.put(changed(revision))
    assert await mailbox.take() == CatchUp()
    mailbox.put(changed(9))
    assert await mailbox.take() == changed(9)


async def test_deltas_count_by_their_bytes() -> None:
    mailbox = Mailbox(DEVICE)
    for revision in range(1, 7):
        mailbox.put(changed(revision, bytes(MAX_BYTES // 4)))
    assert await mailbox.take() == CatchUp()
    for _ in range(20):  # what was taken counts no longer
        mailbox.put(changed(1, bytes(MAX_BYTES // 2)))
        assert await mailbox.take() == changed(1, bytes(MAX_BYTES // 2))


async def test_a_waiting_taker_wakes_for_news_and_for_the_end() -> None:
    mailbox = Mailbox(DEVICE)
    taken: list[Notice | None] = []

    async def take() -> None:
        while taken[-1:] != [None]:
            taken.append(await mailbox.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        mailbox.put(changed(1))
        await wait_all_tasks_blocked()
        mailbox.close()
    assert taken == [changed(1), None]


def _delta(size: int = 0) -> Delta:
    return Delta(
        workspace=WORKSPACE,
        tracker_epoch=TrackerEpoch(bytes(16)),
        since=0,
        through=1,
        head=1,
        hash=bytes(32),  # type: ignore[arg-type]
        runs=(bytes(1000),) * (size // 1000),
    )


async def test_the_author_is_told_nothing_and_nobody_a_large_delta() -> None:
    hub = Hub()
    with hub.subscribed(DEVICE, [WORKSPACE]) as author, hub.subscribed(OTHER, [WORKSPACE]) as other:
        hub.publish(WORKSPACE, 0, 1, DEVICE, _delta)
        told = await other.take()
        assert isinstance(told, Changed)
        assert decode_delta(told.delta or b"") == _delta()
        hub.publish(WORKSPACE, 0, 1, DEVICE, lambda: _delta(INLINE_DELTA_BYTES))
        assert await other.take() == changed(1)
        author.close()
        assert await author.take() is None


async def test_no_delta_is_made_when_nobody_else_listens() -> None:
    def unwanted() -> Delta:
        raise AssertionError

    hub = Hub()
    hub.publish(WORKSPACE, 0, 1, DEVICE, unwanted)
    with hub.subscribed(DEVICE, [WORKSPACE]):
        hub.publish(WORKSPACE, 0, 1, DEVICE, unwanted)
    hub.publish(WORKSPACE, 0, 1, OTHER, unwanted)  # gone again


async def test_members_are_told_to_every_subscriber_of_the_workspace_and_kept_with_the_rest() -> None:
    hub, members = Hub(), Members(workspace=WORKSPACE)
    elsewhere = WorkspaceId(b"e" * 16)
    with hub.subscribed(DEVICE, [WORKSPACE]) as one, hub.subscribed(OTHER, [WORKSPACE, elsewhere]) as other:
        hub.publish_members(WORKSPACE)
        hub.publish_members(WorkspaceId(b"n" * 16))  # nobody is there
        hub.publish(WORKSPACE, 0, 1, None, lambda: None)
        hub.publish_members(elsewhere)
        assert [await one.take(), await one.take()] == [members, changed(1)]
        assert [await other.take() for _ in range(3)] == [members, changed(1), Members(workspace=elsewhere)]
        for _ in range(MAX_NOTICES + 1):
            hub.publish_members(WORKSPACE)
        assert await one.take() == CatchUp(), "which has a device ask for the members too"


# The WebSocket -------------------------------------------------------------------------------------------------------


async def closed_with(websocket: WebSocketConnection) -> int:
    with trio.fail_after(15), pytest.raises(ConnectionClosed) as caught:
        await websocket.get_message()
    assert caught.value.reason is not None
    return int(caught.value.reason.code)


async def test_a_commit_is_told_with_its_delta(served: Served) -> None:
    author, second = served.author, await served.second_device()
    async with connect(served.url, second) as websocket, connect(served.url, served.client) as own:
        await subscribe(websocket, (author.workspace, 0))
        await subscribe(own, (author.workspace, 0))
        await served.settled(websocket, own)
        node = author.new_node()
        sealed = author.seal(node, bytes(5000), 2000)
        create = author.create("a", content=sealed, node=node)
        reply = await served.client.call(api.COMMIT, author.commit(create, runs=sealed.runs))
        told = await receive(websocket)
        assert isinstance(told, Changed)
        delta = decode_delta(told.delta or b"")
        assert (delta.through, delta.hash, delta.announced) == (reply.revision, reply.hash, (version_of(create),))
        assert delta.runs == sealed.runs
        await served.client.send_pack(author.pack(sealed))
        record = await receive(websocket)
        assert await receive(own) == record, "of its own commit it has heard nothing"
        assert isinstance(record, Changed)
        entry = decode_delta(record.delta or b"").entries[0]
        assert entry.record is not None
        assert entry.record.durable == ((node, version_of(create)),)


async def test_who_was_away_is_told_at_once(served: Served) -> None:
    author = served.author
    await served.client.call(api.COMMIT, author.commit(author.create("a")))
    async with connect(served.url, served.client) as websocket:
        await subscribe(websocket, (author.workspace, 0))
        assert await receive(websocket) == Changed(workspace=author.workspace, since=0, through=1)
    async with connect(served.url, served.client) as websocket:
        await subscribe(websocket, (author.workspace, 5))
        assert await receive(websocket) == CatchUp()


async def test_only_members_subscribe(served: Served) -> None:
    stranger = new_account("bob@example.org")
    async with client_of(served.url) as client:
        await client.sign_up(stranger)
        async with connect(served.url, client) as websocket:
            await subscribe(websocket, (stranger.home, 0), (served.author.workspace, 0))
            assert await closed_with(websocket) == POLICY


@pytest.mark.parametrize("frame", [b"", b"\x01", b"\x02\xa0", encode_notice(CatchUp()), bytes(100), "text"])
async def test_a_first_frame_that_is_no_subscription_ends_the_connection(served: Served, frame: bytes | str) -> None:
    async with connect(served.url, served.client) as websocket:
        await websocket.send_message(frame)
        assert await closed_with(websocket) in (PROTOCOL_ERROR, POLICY)
    await served.alive()


async def test_anything_after_the_subscription_ends_the_connection(served: Served) -> None:
    async with connect(served.url, served.client) as websocket:
        await subscribe(websocket, (served.author.workspace, 0))
        await websocket.send_message(b"more")
        assert await closed_with(websocket) == PROTOCOL_ERROR
    await served.alive()


async def test_a_message_larger_than_any_subscription_ends_the_connection(served: Served) -> None:
    async with connect(served.url, served.client) as websocket:
        await websocket.send_message(bytes(3 << 20))
        with trio.fail_after(15), pytest.raises(ConnectionClosed):
            await websocket.get_message()
    await served.alive()


@pytest.mark.parametrize("token", [None, "nonsense"])
async def test_a_subscription_needs_a_session(served: Served, token: str | None) -> None:
    client = Client(served.client.http, token)
    async with connect(served.url, client) as websocket:
        assert await closed_with(websocket) == POLICY


async def test_a_device_that_comes_or_goes_is_told_to_the_members(served: Served) -> None:
    workspace = served.author.workspace
    stranger = new_account("bob@example.org")
    async with client_of(served.url) as theirs:
        await theirs.sign_up(stranger)
        async with connect(served.url, served.client) as own, connect(served.url, theirs) as foreign:
            await subscribe(own, (workspace, 0))
            await subscribe(foreign, (stranger.home, 0))
            await served.settled(own, foreign)
            second = await served.second_device()
            assert await receive(own) == Members(workspace=workspace)
            members = (await served.client.call(api.WORKSPACES, api.Empty())).workspaces[0].members
            assert [device.retired for device in members[0].devices] == [False, False]
            await second.call(api.LOGOUT, api.Empty())
            assert await receive(own) == Members(workspace=workspace)
            members = (await served.client.call(api.WORKSPACES, api.Empty())).workspaces[0].members
            assert sorted(device.retired for device in members[0].devices) == [False, True]
            author = author_of(stranger.first)
            node = author.new_node()
            sealed = author.seal(node, bytes(5000))
            create = author.create("a", content=sealed, node=node)
            await theirs.call(api.COMMIT, author.commit(create, runs=sealed.runs))
            await theirs.send_pack(author.pack(sealed))
            assert isinstance(await receive(foreign), Changed), "strangers hear nothing of it"


async def test_logging_out_ends_the_subscription(served: Served) -> None:
    second = await served.second_device()
    async with connect(served.url, second) as websocket:
        await subscribe(websocket, (served.author.workspace, 0))
        await served.settled(websocket)
        await second.call(api.LOGOUT, api.Empty())
        assert await closed_with(websocket) == GOING_AWAY


@pytest.mark.usefixtures("any_database")
async def test_the_tracker_stops_at_once_with_open_subscriptions(tmp_path: Path) -> None:
    account = new_account()
    with running_tracker(tmp_path / "data") as running:
        async with client_of(running.url) as client:
            await client.sign_up(account)
            async with connect(running.url, client) as websocket:
                await subscribe(websocket, (account.home, 0))
                await websocket.ping()
                running.process.terminate()
                assert await closed_with(websocket) == GOING_AWAY
            with trio.fail_after(10):
                assert await trio.to_thread.run_sync(running.process.wait) == 0


async def test_a_plain_request_for_the_notifications_is_no_subscription(served: Served) -> None:
    response = await served.client.http.get(api.NOTIFICATIONS_PATH)
    assert response.status_code in (400, 404)
