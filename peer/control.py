"""The control socket: how `shoal status` and its kin talk to a running daemon.

    request   length: u32 ‖ CBOR map {"command": text, argument: value ...}      at most 64 KiB
    reply     length: u32 ‖ CBOR map {"ok": true, "result": value}               at most 4 MiB
                                  or {"ok": false, "error": one line}

One request a connection. Who closes the connection before the reply cancels the request. The socket is the user's own
(0600, in a folder 0700), so there is nothing else to prove; input is checked all the same, and can at worst end its own
connection.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import cbor2
import trio

from peer.system import sockets
from protocol.codec import load
from protocol.errors import Malformed, Problem, ShoalError, TooLarge, Unreachable, Usage

MAX_REQUEST = 64 << 10
MAX_REPLY = 4 << 20
MAX_REQUESTS = 64
"""Served at once; more wait their turn."""
_PREFIX = 4
_READ_SECONDS = 10.0  # for a request to arrive
_WRITE_SECONDS = 10.0  # for a reply to be taken

Handler = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Carries out one command with its arguments and returns a result that CBOR can carry."""

_log = logging.getLogger(__name__)


class NoDaemon(Usage):
    """Nobody listens on the control socket."""


async def serve_control(
    path: str, handler: Handler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer commands at `path` until cancelled; connections are taken from when `task_status` is told.

    A `ShoalError` of the handler becomes the reply; anything else that it raises is a defect: logged, and answered with
    its name. `Usage` when another daemon answers at `path`, `Problem` when no socket can be made there.
    """
    turns = trio.CapacityLimiter(MAX_REQUESTS)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream, turns:
            try:
                await _serve_one(stream, handler)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as failure:
                _log.debug("a control connection ended: %r", failure)

    with sockets.listening(path) as listener:
        task_status.started()
        await trio.serve_listeners(serve, [listener])


async def _serve_one(stream: trio.SocketStream, handler: Handler) -> None:
    try:
        with trio.fail_after(_READ_SECONDS):
            command, arguments = _parsed_request(await _receive(stream, MAX_REQUEST))
    except Malformed as error:
        reply = _refusal(f"not a request: {error}")
    except EOFError:
        return
    else:
        answer = await _while_connected(stream, lambda: _handled(handler, command, arguments))
        if answer is None:
            return
        reply = answer
    with trio.fail_after(_WRITE_SECONDS):
        await _send(stream, reply)


async def _handled(handler: Handler, command: str, arguments: dict[str, Any]) -> bytes:
    """The reply to one request, whatever becomes of it."""
    try:
        reply = _dumps({"ok": True, "result": await handler(command, arguments)})
    except ShoalError as error:
        return _refusal(str(error))
    except Exception as failure:  # noqa: BLE001  a task boundary: one bad command must not end the daemon
        _log.exception("the command %r failed", command)
        return _refusal(f"a defect in Shoal: {failure!r}; the log has the details")
    return reply if len(reply) <= MAX_REPLY else _refusal("the answer is too long")


async def _while_connected(stream: trio.SocketStream, work: Callable[[], Awaitable[bytes]]) -> bytes | None:
    """What `work` returns, or None when the other side hangs up (or breaks the rule of one request) before."""
    result: bytes | None = None

    async def watch() -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some(1)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        result = await work()
        nursery.cancel_scope.cancel()
    return result


async def ask(path: str, command: str, /, **arguments: Any) -> Any:
    """The daemon's answer to one command. Wait as long as it takes: a caller who won't sets a deadline around.

    `NoDaemon` when there is none, `Problem` with the daemon's own words when it says no, `Unreachable` when it goes
    away.
    """
    stream = await sockets.connect(path)
    if stream is None:
        raise NoDaemon(f"no daemon is running for {path.rpartition('/')[0]}: start it with shoal run")
    async with stream:
        try:
            await _send(stream, _dumps({"command": command, **arguments}))
            reply = load(await _receive(stream, MAX_REPLY), MAX_REPLY)
        except (trio.BrokenResourceError, EOFError):
            raise Unreachable("the daemon went away before it answered") from None
    if type(reply) is not dict or type(reply.get("ok")) is not bool:
        raise Malformed("the daemon's answer is no answer")
    if not reply["ok"]:
        raise Problem(str(reply.get("error", "the daemon gave no reason")))
    return reply.get("result")


def _parsed_request(body: bytes) -> tuple[str, dict[str, Any]]:
    request = load(body, MAX_REQUEST)
    if type(request) is not dict or any(type(key) is not str for key in request):
        raise Malformed("expected a map with text keys")
    command = request.pop("command", None)
    if type(command) is not str:
        raise Malformed("no command")
    return command, request


def _refusal(error: str) -> bytes:
    return _dumps({"ok": False, "error": error[:4000]})


def _dumps(value: dict[str, Any]) -> bytes:
    return cbor2.dumps(_plain(value))


def _plain(value: Any) -> Any:
    """`value` with \\udcNN in place of lone surrogates, which stand for names that are not UTF-8 and can't travel."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


async def _send(stream: trio.SocketStream, body: bytes) -> None:
    await stream.send_all(len(body).to_bytes(_PREFIX, "big") + body)


async def _receive(stream: trio.SocketStream, limit: int) -> bytes:
    length = int.from_bytes(await _exactly(stream, _PREFIX), "big")
    if length > limit:
        raise TooLarge(f"{length} bytes, at most {limit} allowed")
    return await _exactly(stream, length)


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    """`count` bytes; `EOFError` when the other side closes before."""
    parts = bytearray()
    while len(parts) < count:
        part = await stream.receive_some(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
