"""A real tracker in a process of its own, with one account whose first device talks to it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from trio_websocket import WebSocketConnection

from protocol import api
from tests.support.tracker import Account, Author, Client, Running, author_of, client_of, new_account, running_tracker


@dataclass
class Served:
    """The running tracker, and the first device's client and author."""

    running: Running
    account: Account
    author: Author
    client: Client
    stack: AsyncExitStack

    async def second_device(self) -> Client:
        """A client of another device of the same user."""
        device = self.account.new_device()
        client = await self.stack.enter_async_context(client_of(self.running.url))
        request = api.RegisterRequest(email=self.account.email, auth=self.account.auth, device=device.new())
        client.token = (await client.call(api.REGISTER, request)).token
        return client

    async def settled(self, *websockets: WebSocketConnection) -> None:
        """Wait until the tracker has read what these sent: it answers pings in order."""
        for websocket in websockets:
            await websocket.ping()
        await self.client.call(api.WORKSPACES, api.Empty())

    async def alive(self) -> None:
        """The tracker still answers."""
        assert (await self.client.http.get(api.HEALTH_PATH)).text == "ok\n"
        assert self.running.process.poll() is None


@asynccontextmanager
async def open_served(data: Path) -> AsyncIterator[Served]:
    account = new_account()
    with running_tracker(data) as running:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(client_of(running.url))
            await client.sign_up(account)
            yield Served(running, account, author_of(account.first), client, stack)
