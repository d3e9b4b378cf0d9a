"""Notification WebSockets as a device opens them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from protocol import api
from protocol.identifiers import WorkspaceId
from protocol.notices import Changed, Members, Notice, Subscribe, decode_notice, encode_notice
from tests.support.tracker import Client


@asynccontextmanager
async def connect(address: str, client: Client) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket of this client. trio-websocket leaves the socket open when the other side closed first."""
    url = address.replace("http", "ws", 1) + api.NOTIFICATIONS_PATH
    headers = [(k.encode(), v.encode()) for k, v in client.headers().items()]
    async with open_websocket_url(url, extra_headers=headers) as websocket:
        try:
            yield websocket
        finally:
            with trio.CancelScope(shield=True):
                await websocket._stream.aclose()


async def subscribe(websocket: WebSocketConnection, *cursors: tuple[WorkspaceId, int]) -> None:
    await websocket.send_message(encode_notice(Subscribe(cursors=cursors)))


async def receive(websocket: WebSocketConnection) -> Notice:
    with trio.fail_after(10):
        frame = await websocket.get_message()
    assert isinstance(frame, bytes)
    return decode_notice(frame)


async def receive_change(websocket: WebSocketConnection) -> Changed:
    """The next notice that isn't about devices: that there is another may only be on its way."""
    notice = await receive(websocket)
    while isinstance(notice, Members):
        notice = await receive(websocket)
    assert isinstance(notice, Changed)
    return notice
