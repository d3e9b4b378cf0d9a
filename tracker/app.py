"""The ASGI application: every path and what serves it."""

from collections.abc import Awaitable, Callable
from typing import Any

from quart import Request, Response, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from protocol import api
from protocol.codec import decode, encode
from tracker.http.blocks import fetch_chunks, store_pack
from tracker.http.commits import take_commit
from tracker.http.endpoints import CLOSED, OPEN, Closed, Open
from tracker.http.envelope import MAX_BUFFERED, answer, answer_http_error, principal_of, read_body
from tracker.http.subscriptions import subscribe
from tracker.services import Services

View = Callable[[], Awaitable[Response]]


def make_app(services: Services) -> QuartTrio:
    """A fresh application; it can be served once (quart-trio)."""
    app = QuartTrio("shoal-tracker", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BUFFERED  # each endpoint has a cap of its own besides
    app.config["RESPONSE_TIMEOUT"] = 300
    for endpoint, handler in OPEN.items():
        _add(app, endpoint.path, _open_view(services, endpoint, handler))
    for endpoint, closed in CLOSED.items():
        _add(app, endpoint.path, _closed_view(services, endpoint, closed))
    _add(app, api.COMMIT.path, _raw_view(services, take_commit))
    _add(app, api.PACK_PATH, _raw_view(services, store_pack))
    _add(app, api.CHUNKS_PATH, _raw_view(services, fetch_chunks))
    app.add_url_rule(api.HEALTH_PATH, "health", _healthy, methods=["GET"])
    _add_websocket(app, services)
    app.register_error_handler(HTTPException, answer_http_error)
    return app


def _add(app: QuartTrio, path: str, view: View) -> None:
    app.add_url_rule(path, path, view, methods=["POST"], provide_automatic_options=False)


def _view(services: Services, respond: Callable[[], Awaitable[bytes]]) -> View:
    async def view() -> Response:  # must be a coroutine function: Quart runs any other in a thread
        return await answer(services, respond)

    return view


def _open_view(services: Services, endpoint: api.Endpoint[Any, Any], handler: Open[Any, Any]) -> View:
    async def respond() -> bytes:
        body = await read_body(request, endpoint.request_limit)
        return encode(await handler(services, decode(endpoint.request, body, endpoint.request_limit)))

    return _view(services, respond)


def _closed_view(services: Services, endpoint: api.Endpoint[Any, Any], handler: Closed[Any, Any]) -> View:
    async def respond() -> bytes:
        who = await principal_of(services, request.headers.get("Authorization"))
        body = await read_body(request, endpoint.request_limit)
        return encode(await handler(services, who, decode(endpoint.request, body, endpoint.request_limit)))

    return _view(services, respond)


def _raw_view(services: Services, handler: Callable[[Services, Request], Awaitable[bytes]]) -> View:
    async def respond() -> bytes:
        return await handler(services, request)

    return _view(services, respond)


async def _healthy() -> Response:
    return Response("ok\n", content_type="text/plain")


def _add_websocket(app: QuartTrio, services: Services) -> None:
    async def notifications() -> None:
        await subscribe(services, websocket)

    app.add_websocket(api.NOTIFICATIONS_PATH, "notifications", notifications)
