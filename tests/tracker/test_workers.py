"""`serve --workers N`: one tracker of several processes, whichever of them comes, goes or is killed."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import trio
from trio_websocket import WebSocketConnection

from protocol import api
from protocol.commits import Commit
from protocol.errors import Problem
from protocol.notices import CatchUp, Changed
from tests.support.databases import PostgresDatabases
from tests.support.tracker import Account, Author, Client, Running, author_of, client_of, new_account, running_tracker
from tests.tracker.websockets import connect, receive, receive_change, subscribe
from tracker.system.workers import bind, launch

PATIENCE_S = 30


@pytest.fixture
async def running(postgres: PostgresDatabases, tmp_path: Path) -> AsyncIterator[Running]:
    """Two workers."""
    url = await postgres.migrated_url()
    with running_tracker(tmp_path / "data", "--database", url, "--workers", "2", "--log-level", "info") as started:
        yield started


def workers_of(running: Running) -> set[int]:
    return {child.pid for child in psutil.Process(running.process.pid).children()}


def worker_with(running: Running, port: int) -> int:
    """The worker that has the other end of a connection from this port."""
    for pid in workers_of(running):
        if any(each.raddr and each.raddr.port == port for each in psutil.Process(pid).net_connections("tcp")):
            return pid
    raise AssertionError("no worker has taken that connection")


@asynccontextmanager
async def a_subscription_at_each(
    running: Running, client: Client, author: Author
) -> AsyncIterator[dict[int, WebSocketConnection]]:
    """A WebSocket at each worker; which one takes a connection is the kernel's to say."""
    async with AsyncExitStack() as stack:
        found: dict[int, WebSocketConnection] = {}
        for _ in range(100):
            if found.keys() == workers_of(running):
                break
            websocket = await stack.enter_async_context(connect(running.url, client))
            await subscribe(websocket, (author.workspace, 0))
            await receive_change(websocket)  # it is behind, and now subscribed
            found.setdefault(worker_with(running, websocket.local.port), websocket)  # type: ignore[union-attr]
        yield found


@asynccontextmanager
async def an_account(running: Running) -> AsyncIterator[tuple[Account, Author, Client]]:
    """One whose first device has committed once."""
    account = new_account()
    async with client_of(running.url) as client:
        await client.sign_up(account)
        author = author_of(account.first)
        await client.call(api.COMMIT, author.commit(author.create("first")))
        yield account, author, client


async def second_device(running: Running, account: Account, stack: AsyncExitStack) -> Client:
    """A client of another device."""
    device, client = account.new_device(), await stack.enter_async_context(client_of(running.url))
    request = api.RegisterRequest(email=account.email, auth=account.auth, device=device.new())
    client.token = (await client.call(api.REGISTER, request)).token
    return client


async def test_a_commit_through_any_worker_reaches_the_devices_at_all_of_them(running: Running) -> None:
    async with an_account(running) as (account, author, client), AsyncExitStack() as stack:
        other = await second_device(running, account, stack)
        async with a_subscription_at_each(running, other, author) as subscribed:
            assert len(subscribed) == 2
            await client.call(api.COMMIT, author.commit(author.create("second")))
            for websocket in subscribed.values():
                told = await receive_change(websocket)
                assert (told.since, told.through) == (1, 2)
                assert told.delta is not None


# httpx leaves the iterator of a request's body behind when the connection ends while it is written.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object ByteStream")
async def test_a_rolling_restart_fails_no_commit(running: Running) -> None:
    """Devices commit all the while, one after the other. A connection may end; no commit may be refused or lost."""
    before, accounts = workers_of(running), [new_account(f"{number}@example.org") for number in range(4)]
    restarted = trio.Event()
    answered: dict[str, list[int]] = {}

    async def keep_committing(account: Account) -> None:
        author = author_of(account.first)
        async with client_of(running.url) as client:
            await client.sign_up(account)
            mine = answered[account.email] = []
            while not restarted.is_set() or len(mine) < 20:
                reply = await sent(client, author.commit(author.create(f"{len(mine)}")))
                mine.append(reply.revision)

    async with trio.open_nursery() as nursery:
        for account in accounts:
            nursery.start_soon(keep_committing, account)
        while sum(map(len, answered.values())) < 20:
            await trio.testing.wait_all_tasks_blocked(0.01)
        running.process.send_signal(signal.SIGHUP)
        with trio.fail_after(PATIENCE_S):
            await trio.to_thread.run_sync(
                lambda: next(line for line in follow(running.log) if "have been replaced" in line)
            )
        restarted.set()
    assert not before & workers_of(running)
    for mine in answered.values():
        assert mine == list(range(1, len(mine) + 1))


async def sent(client: Client, commit: Commit) -> api.CommitReply:
    """The answer to a commit, asked for again, as a device does, when the connection has ended."""
    for _ in range(3):
        try:
            return await client.call(api.COMMIT, commit)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            continue
    raise AssertionError("three connections in a row have ended")


def follow(log: Path) -> Iterator[str]:
    """Lines of a log as they come."""
    with log.open() as file:
        while True:
            if line := file.readline():
                yield line


async def test_a_killed_worker_is_replaced_and_the_devices_of_the_others_catch_up(running: Running) -> None:
    """It may have ended between its transaction and telling of it."""
    async with an_account(running) as (account, author, client), AsyncExitStack() as stack:
        other = await second_device(running, account, stack)
        async with a_subscription_at_each(running, other, author) as subscribed:
            victim, survivor = subscribed
            psutil.Process(victim).kill()
            assert await receive(subscribed[survivor]) == CatchUp()
            assert len(workers_of(running)) == 2
            await sent(client, author.commit(author.create("second")))
            assert isinstance(await receive(subscribed[survivor]), Changed)
    assert running.stop() == 0
    assert "a worker ended with -9; another takes its place" in running.log.read_text()


async def test_workers_end_with_the_process_that_looks_after_them(running: Running) -> None:
    workers = [psutil.Process(pid) for pid in workers_of(running)]
    running.kill()
    _, alive = psutil.wait_procs(workers, PATIENCE_S)
    assert alive == []


async def test_all_stop_on_sigterm_with_subscriptions_open(running: Running) -> None:
    workers = workers_of(running)
    async with an_account(running) as (_, author, client), a_subscription_at_each(running, client, author):
        assert running.stop() == 0
    assert not any(map(psutil.pid_exists, workers))


async def test_a_worker_that_does_not_start_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {"SHOAL_DATA": str(tmp_path), "SHOAL_DATABASE": "nonsense"}
    with bind("127.0.0.1", 0, 1) as listening, pytest.raises(Problem, match="a worker did not start"):
        await launch(listening, environment, False)
    assert [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE] == []
