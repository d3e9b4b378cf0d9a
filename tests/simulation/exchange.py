"""One connection to the tracker's app, as ASGI has it: what the app sends, and that either side has gone."""

from typing import Any

import trio

Message = dict[str, Any]


class Exchange:
    """What the app sends on one connection. It ends with the app's task, whatever has been sent by then."""

    def __init__(self) -> None:
        self.gone = trio.Event()
        """The device has gone."""
        self.over = trio.Event()
        self.body = b""
        self.status: int | None = None

    async def receive_up(self) -> Message:
        """The app's `receive`."""
        raise NotImplementedError

    async def take(self, message: Message) -> None:
        """The app's `send`."""
        raise NotImplementedError

    def end(self) -> None:
        """The app's task has ended."""
        self.over.set()
