"""A tracker served on a real socket from this process, with one account whose first device talks to it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from trio_websocket import WebSocketConnection

from protocol import api
from protocol.system import real_machine
from storage.filesystem import FilesystemStorage
from tests.support.tracker import Account, Author, Client, author_of, client_of, new_account
from tracker.assembly import Tracker, build
from tracker.system.listening import Listen
from tracker.system.opening import Locations, open_database
from tracker.system.server import run_server


@dataclass
class Served:
    """The tracker, its address, and the first device's client and author."""

    tracker: Tracker
    url: str
    account: Account
    author: Author
    client: Client
    stack: AsyncExitStack
    stop: trio.Event

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def second_device(self) -> Client:
        """A client of another device of the same user."""
        device = self.account.new_device()
        client = await self.stack.enter_async_context(client_of(self.url))
        request = api.RegisterRequest(email=self.account.email, auth=self.account.auth, device=device.new())
        client.token = (await client.call(api.REGISTER, request)).token
        return client

    async def settled(self, *websockets: WebSocketConnection) -> None:
        """Wait until the tracker has subscribed these: it answers pings in order, and requests after them."""
        for websocket in websockets:
            await websocket.ping()
        await self.client.call(api.WORKSPACES, api.Empty())

    async def alive(self) -> None:
        """The tracker still answers."""
        assert (await self.client.http.get(api.HEALTH_PATH)).text == "ok\n"


@asynccontextmanager
async def open_served(data: Path, database_url: str, email: str = "ann@example.org") -> AsyncIterator[Served]:
    account, machine, stop = new_account(email), real_machine(), trio.Event()
    data.mkdir()
    async with open_database(Locations(data, database_url), make=True) as database:
        tracker = await build(machine, database, FilesystemStorage(machine, data / "objects"))
        async with trio.open_nursery() as nursery:
            await nursery.start(tracker.services.hub.listen)
            url: str = await nursery.start(run_server, tracker, Listen("127.0.0.1", 0), stop)
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(client_of(url))
                await client.sign_up(account)
                yield Served(tracker, url, account, author_of(account.first), client, stack, stop)
            stop.set()
            nursery.cancel_scope.cancel()
