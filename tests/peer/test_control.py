"""The control socket: commands answered, and nothing that comes in hurts the daemon."""

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cbor2
import pytest
import trio
import trio.testing

from peer.control import MAX_REPLY, MAX_REQUEST, Handler, NoDaemon, ask, serve_control
from protocol.errors import Problem, Unreachable, Usage


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "control")


@asynccontextmanager
async def serving(path: str, handler: Handler) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, handler)
        yield
        nursery.cancel_scope.cancel()


async def echo(command: str, arguments: dict[str, Any]) -> Any:
    return {"command": command, **arguments}


async def raw(path: str, data: bytes) -> bytes:
    """What the daemon answers to `data`, after which nothing more is sent."""
    stream = await trio.open_unix_socket(path)
    async with stream:
        await stream.send_all(data)
        answer = b"".join([part async for part in stream])
        return answer[4:]


async def test_a_command_and_its_answer(path: str) -> None:
    async with serving(path, echo):
        assert await ask(path, "explain", path="a/b") == {"command": "explain", "path": "a/b"}
        assert await ask(path, "status") == {"command": "status"}
    assert not os.path.exists(path)


async def test_nobody_else_on_the_machine_can_connect(path: str) -> None:
    old = os.umask(0)
    try:
        async with serving(path, echo):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    finally:
        os.umask(old)


async def test_an_error_arrives_as_its_words(path: str) -> None:
    async def refuse(command: str, arguments: dict[str, Any]) -> Any:
        raise Usage("no such path in the folder")

    async with serving(path, refuse):
        with pytest.raises(Problem, match=r"^no such path in the folder$"):
            await ask(path, "explain", path="x")


async def test_a_defect_ends_the_command_and_not_the_daemon(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(command: str, arguments: dict[str, Any]) -> Any:
        if command == "crash":
            raise ValueError("oops")
        if command == "strange":
            return object()
        return "x" * MAX_REPLY

    async with serving(path, handler):
        with pytest.raises(Problem, match=r"defect.*oops"):
            await ask(path, "crash")
        with pytest.raises(Problem, match="defect"):
            await ask(path, "strange")
        with pytest.raises(Problem, match="too long"):
            await ask(path, "long")
    assert "oops" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        cbor2.dumps(7),
        cbor2.dumps({1: "command"}),
        cbor2.dumps({"command": 7}),
        cbor2.dumps({"path": "x"}),
        b"\x81" * 1000,
        b"\xbf\xff",
        b"\xc0\x60",
    ],
)
async def test_what_is_no_request_is_refused(path: str, body: bytes) -> None:
    async with serving(path, echo):
        answer = cbor2.loads(await raw(path, len(body).to_bytes(4, "big") + body))
        assert answer["ok"] is False
        assert "not a request" in answer["error"]
        assert await ask(path, "status") == {"command": "status"}


async def test_a_length_past_the_limit_is_refused_before_it_is_read(path: str) -> None:
    async with serving(path, echo):
        answer = cbor2.loads(await raw(path, (MAX_REQUEST + 1).to_bytes(4, "big")))
        assert "at most" in answer["error"]


async def test_a_connection_cut_short_hurts_nobody(path: str) -> None:
    async with serving(path, echo):
        for data in (b"", b"\0\0", b"\0\0\0\x09abc"):
            stream = await trio.open_unix_socket(path)
            async with stream:
                await stream.send_all(data)
                await stream.send_eof()
                assert await stream.receive_some(1) == b""
        assert await ask(path, "status") == {"command": "status"}


async def test_who_hangs_up_cancels_what_was_asked(path: str) -> None:
    begun, cancelled = trio.Event(), trio.Event()

    async def wait(command: str, arguments: dict[str, Any]) -> Any:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(path, wait):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, path, "wait")
                await begun.wait()
                scope.cancel()
        await cancelled.wait()


async def test_commands_are_answered_side_by_side(path: str) -> None:
    released = trio.Event()

    async def handler(command: str, arguments: dict[str, Any]) -> Any:
        if command == "wait":
            await released.wait()
        else:
            released.set()
        return command

    answers: list[str] = []

    async def waiting() -> None:
        answers.append(await ask(path, "wait"))

    async with serving(path, handler):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(waiting)
            await trio.testing.wait_all_tasks_blocked()
            answers.append(await ask(path, "go"))
    assert sorted(answers) == ["go"] + 5 * ["wait"]


async def test_a_name_that_is_no_utf8_can_be_told_of(path: str) -> None:
    async def handler(command: str, arguments: dict[str, Any]) -> Any:
        return [arguments["path"], ("nested", {"x\udcff": b"\0"})]

    async with serving(path, handler):
        assert await ask(path, "explain", path="a\udcffb") == ["a\\udcffb", ["nested", {"x\\udcff": b"\0"}]]


async def test_without_a_daemon_the_way_to_start_one(path: str) -> None:
    words = f"^no daemon is running for {os.path.dirname(path)}: start it with shoal run$"
    with pytest.raises(NoDaemon, match=words):
        await ask(path, "status")
    left_behind(path)
    with pytest.raises(NoDaemon, match=words):
        await ask(path, "status")


def left_behind(path: str) -> None:
    """A socket file as a crashed daemon leaves it."""
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(path)


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(path: str) -> None:
    left_behind(path)
    async with serving(path, echo):
        with pytest.raises(Usage, match="another daemon answers"):
            await serve_control(path, echo)
        assert await ask(path, "status") == {"command": "status"}


async def test_a_file_in_the_way_is_left_alone(path: str) -> None:
    Path(path).write_text("precious")
    with pytest.raises(Problem, match=f"can't listen at {path}: address already in use"):
        await serve_control(path, echo)
    assert Path(path).read_text() == "precious"


async def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    long = str(tmp_path / ("x" * 100))
    for attempt in (serve_control(long, echo), ask(long, "status")):
        with pytest.raises(Problem, match=r"too long for a socket.*at most 107; choose a shorter --home"):
            await attempt


async def test_a_daemon_that_goes_away_is_noticed(path: str) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        await stream.aclose()

    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(path)
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listener)])
            with pytest.raises(Unreachable, match="went away"):
                await ask(path, "status")
            nursery.cancel_scope.cancel()
