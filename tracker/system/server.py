"""Serving the tracker's app with anycorn. The only file that knows the server.

Anycorn instead of hypercorn because one unauthenticated request kills hypercorn 0.18 (its issue #225). It is always
stopped through its shutdown trigger, by which it takes no more connections and finishes what it has begun.
"""

import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from anycorn import Config, serve

from protocol.errors import Problem
from tracker.assembly import Tracker
from tracker.system.listening import Listen, check_listen

READ_TIMEOUT_S = 120
"""For the next bytes of a connection; pings keep a quiet WebSocket from reaching it."""
PING_S = 30.0
KEEP_ALIVE_S = 75.0
GRACE_S = 5.0
"""For requests in flight once the tracker is asked to stop."""
CLOSING_S = 0.2
"""For anycorn to close what is idle then."""
BACKLOG = 1024
"""Connections that wait to be taken."""
MAX_SUBSCRIBE_BYTES = 1 << 20
"""The longest WebSocket message taken: 10,000 cursors take some 300 kB."""

App = Callable[[Any, Any, Any], Awaitable[None]]
"""ASGI: scope, receive, send."""


def _config(listen: Listen) -> Config:
    config = Config()
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    config.bind = [f"{host}:{listen.port}" if listen.inherited is None else f"fd://{listen.inherited}"]
    config.backlog = BACKLOG
    config.alpn_protocols = ["http/1.1"]
    config.accesslog = None
    config.errorlog = logging.getLogger("shoal.tracker.server")
    config.include_server_header = False
    config.websocket_max_message_size = MAX_SUBSCRIBE_BYTES
    config.websocket_permessage_deflate = False  # sealed bytes don't shrink
    config.websocket_ping_interval = PING_S
    config.read_timeout = READ_TIMEOUT_S
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = 1_000_000
    config.graceful_timeout = GRACE_S
    config.shutdown_timeout = GRACE_S
    if listen.certificate is not None and listen.key is not None:
        config.certfile, config.keyfile = str(listen.certificate), str(listen.key)
    return config


class _Adapted:
    """The app as anycorn is to see it: counted, HTTP/1 only, its last word on a request not cut off.

    HTTP/2 carries blocks eight times slower here (stack-notes); anycorn would still take it unencrypted. And with a
    response's end anycorn starts the connection's idle timer, in the app's task, while telling quart-trio that the
    request is over, which cancels that task: without the shield the timer never runs, and an idle connection
    lasts until the read time-out.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._active = 0
        self._idle = trio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Wait until no request is being served and no WebSocket is open."""
        await self._idle.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if not self._active:
            self._idle = trio.Event()
        self._active += 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_to_the_end(message: Any) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            with trio.CancelScope(shield=last):
                await send(message)

        if scope["http_version"] in ("1.0", "1.1"):
            await self._app(scope, receive, send_to_the_end)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 505, "headers": []})
            await send({"type": "http.response.body", "body": b""})


async def run_server(
    tracker: Tracker,
    listen: Listen,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set; reports the real address when ready. `Problem` when it can't listen there."""
    check_listen(listen)
    config = _config(listen)
    try:
        config.create_ssl_context()
    except OSError as error:
        raise Problem(f"the certificate or its key can't be used: {error.strerror or error}") from None
    app = _Adapted(tracker.app)

    async def stopping() -> None:
        await stop.wait()
        tracker.services.hub.close()  # or open WebSockets would last for the whole grace

    async def cut_off(serving: trio.CancelScope) -> None:
        """End what anycorn would still wait for once no request is left: timers of WebSockets that are gone."""
        await stop.wait()
        with trio.move_on_after(GRACE_S):
            await app.idle()
            await trio.sleep(CLOSING_S)
            serving.cancel()

    try:
        async with trio.open_nursery() as nursery:
            addresses: list[str] = await nursery.start(
                lambda task_status: serve(app, config, shutdown_trigger=stopping, task_status=task_status, mode="asgi")
            )
            nursery.start_soon(cut_off, nursery.cancel_scope)
            task_status.started(addresses[0])
    except* OSError as group:
        raise Problem(f"can't listen on {listen.host}:{listen.port}: {_first(group)}") from None


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return getattr(error, "strerror", None) or str(error)


async def stop_on_signals(stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Set `stop` at the first SIGTERM or SIGINT."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            stop.set()
            return
