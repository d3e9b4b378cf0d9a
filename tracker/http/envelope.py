"""What every request goes through: protocol range, size cap, token, and one refusal for each error."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from quart import Request, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from protocol.api import (
    CONTENT_TYPE,
    HTTP_STATUS,
    MAX_TOKEN,
    PROTOCOL_HEADER,
    PROTOCOL_HIGHEST,
    PROTOCOL_LOWEST,
    SLOWEST_UPLINK,
    refusal_of,
)
from protocol.errors import BadSignature, Code, Malformed, Refused, TooLarge
from protocol.identifiers import MAX_PACK_BYTES
from storage.errors import Full, StorageError
from tracker.services import Services
from tracker.sessions import Principal

BODY_TIMEOUT_S = 60.0
"""What a request's body may take beyond what the slowest uplink needs for the bytes that have come: who sends next to
nothing doesn't hold a connection for long."""

MAX_BUFFERED = 2 * MAX_PACK_BYTES
"""Quart holds what of a body nobody has read yet, up to this."""
DRAIN_S, DRAIN_BYTES = 5.0, 4 * MAX_PACK_BYTES
"""What is still read of a request that is refused: a device that is cut off while sending never sees why."""

RETRY_S = 5
"""When a device that was told UNAVAILABLE is to ask again."""

_BEARER = "Bearer "
_log = logging.getLogger("shoal.tracker.http")


async def answer(services: Services, respond: Callable[[], Awaitable[bytes]]) -> Response:
    """The one place where errors become answers. Bodies, tokens and addresses are never logged."""
    try:
        check_protocol(request.headers.get(PROTOCOL_HEADER))
        return _response(200, await respond())
    except Refused as error:
        refusal = error
    except TooLarge as error:
        refusal = Refused(Code.TOO_LARGE, str(error))
    except Malformed as error:
        refusal = Refused(Code.MALFORMED, str(error))
    except BadSignature as error:
        refusal = Refused(Code.BAD_SIGNATURE, str(error))
    except StorageError as error:
        _log.error("the storage failed: %s", error)
        refusal = Refused(Code.UNAVAILABLE, storage_trouble(error))
    except Exception:  # noqa: BLE001 a task boundary: a defect in one request must not end the server
        refusal = internal(services)
    await _drain(request)
    response = _response(HTTP_STATUS[refusal.code], refusal_of(refusal))
    if refusal.code is Code.UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_S)
    return response


async def _drain(incoming: Request) -> None:
    """Read the rest of a body and forget it, within limits."""
    total = 0
    with trio.move_on_after(DRAIN_S), suppress(RequestEntityTooLarge):
        async for part in incoming.body:
            total += len(part)
            if total > DRAIN_BYTES:
                return


def storage_trouble(error: StorageError) -> str:
    """What a device is told of a store that fails."""
    return "the tracker's storage is full" if isinstance(error, Full) else "the tracker's storage does not work now"


def internal(services: Services) -> Refused:
    """The refusal for the exception being handled; the log has the traceback under the same id."""
    number = services.machine.random_bytes(6).hex()
    _log.exception("error %s", number)
    return Refused(Code.INTERNAL, f"the tracker made an error; its log knows it as {number}")


def _response(status: int, body: bytes) -> Response:
    return Response(body, status=status, content_type=CONTENT_TYPE)


def check_protocol(header: str | None) -> None:
    """`Refused` (VERSION) unless the device's range of protocol versions and ours overlap."""
    lowest, dash, highest = (header or "").partition("-")
    if not (dash and lowest.isascii() and lowest.isdigit() and highest.isascii() and highest.isdigit()):
        raise Refused(Code.VERSION, f"the header {PROTOCOL_HEADER}: LOWEST-HIGHEST is missing or wrong")
    if len(header or "") > 20 or int(lowest) > PROTOCOL_HIGHEST:
        raise Refused(Code.VERSION, "the tracker is too old for this device: upgrade the tracker")
    if int(highest) < PROTOCOL_LOWEST:
        raise Refused(Code.VERSION, "this device is too old for the tracker: upgrade Shoal on the device")


async def read_body(incoming: Request, limit: int) -> bytes:
    """The whole body; `TooLarge` before it is read when it says so itself, `Refused` when it is too slow."""
    if incoming.content_length is not None and incoming.content_length > limit:
        raise TooLarge(f"{incoming.content_length} bytes, at most {limit} allowed")
    body = bytearray()
    with trio.move_on_after(BODY_TIMEOUT_S) as scope:
        latest = scope.deadline
        try:
            async for part in incoming.body:
                body += part
                scope.deadline = latest + len(body) / SLOWEST_UPLINK
                if len(body) > limit:
                    raise TooLarge(f"more than the {limit} bytes allowed")
        except RequestEntityTooLarge:
            raise TooLarge(f"more than the {limit} bytes allowed") from None
    if scope.cancelled_caught:
        raise Refused(Code.UNAVAILABLE, "the request came too slowly")
    return bytes(body)


async def principal_of(services: Services, authorization: str | None) -> Principal:
    """Who asks, by the bearer token; `Refused` (UNAUTHENTICATED) without a good one."""
    return await services.sessions.authenticate(token_of(authorization))


def token_of(authorization: str | None) -> str:
    """The bearer token, whosever it is; `Refused` (UNAUTHENTICATED) for what can't be one."""
    header = authorization or ""
    token = header.removeprefix(_BEARER)
    if not header.startswith(_BEARER) or not token or len(token) > MAX_TOKEN:
        raise Refused(Code.UNAUTHENTICATED, "this request needs a device's token")
    return token


async def answer_http_error(error: HTTPException) -> Response:
    """Quart's own errors (unknown path, wrong method) as refusals."""
    code = {404: Code.NOT_FOUND, 405: Code.NOT_FOUND, 413: Code.TOO_LARGE}.get(error.code or 500, Code.MALFORMED)
    return _response(
        HTTP_STATUS[code], refusal_of(Refused(code, f"{request.method} {request.path[:100]}: no such request"))
    )
