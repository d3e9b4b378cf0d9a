"""Bad input over real sockets: each gets a clear typed refusal, and the tracker lives on."""

import random
import re

import httpx
import pytest
import trio

from protocol import api
from protocol.codec import encode
from protocol.errors import Code, Refused
from protocol.identifiers import MAX_COMMIT_BYTES, MAX_PACK_BYTES
from storage.errors import Full
from tests.support.tracker import Client, author_of, client_of, new_account, refused
from tests.tracker.served import Served
from tracker.http.endpoints import CLOSED, OPEN

PATHS = [endpoint.path for endpoint in api.ENDPOINTS] + [api.PACK_PATH, api.CHUNKS_PATH]


async def code_of(response: httpx.Response) -> Code:
    assert response.headers["content-type"] == api.CONTENT_TYPE
    return refused(response).code


@pytest.mark.parametrize(
    "header", ["", "2-3", "0-0", "1", "a-b", "-", "1-", "١-٢", "9" * 30 + "-" + "9" * 30], ids=lambda text: text[:8]
)
async def test_no_common_protocol_version(served: Served, header: str) -> None:
    raw = {api.PROTOCOL_HEADER.encode(): header.encode()}
    response = await served.client.http.post(api.SALT.path, content=b"", headers=raw)
    assert await code_of(response) is Code.VERSION
    if header == "2-3":
        assert "upgrade the tracker" in refused(response).args[0]
    if header == "0-0":
        assert "on the device" in refused(response).args[0]


async def test_a_wider_range_is_fine(served: Served) -> None:
    request = encode(api.SaltRequest(email="a@example.org"))
    response = await served.client.http.post(api.SALT.path, content=request, headers={api.PROTOCOL_HEADER: "1-7"})
    assert response.status_code == 200


async def test_malformed_bodies_at_every_path(served: Served) -> None:
    draw = random.Random(5)
    bodies = [b"", b"\xff", b"\xa1", b"\x9f", b"\xc0\x00", b"[" * 500, b"\x81" * 5000, draw.randbytes(300)]
    for path in PATHS:
        if path == api.LOGOUT.path:
            continue  # it takes anything that is a map, and ends the session
        for body in bodies:
            response = await served.client.post(path, body)
            code = await code_of(response)
            assert code in (Code.MALFORMED, Code.TOO_LARGE, Code.NOT_FOUND), path
    await served.alive()


@pytest.mark.parametrize("path", PATHS)
async def test_oversized_bodies_are_refused_unread(served: Served, path: str) -> None:
    """By the length they declare, and by what comes when they declare none."""
    limits = {endpoint.path: endpoint.request_limit for endpoint in api.ENDPOINTS}
    limit = limits.get(path, MAX_PACK_BYTES if path == api.PACK_PATH else api.MAX_CHUNKS_REQUEST_BYTES)

    async def pieces() -> object:
        for _ in range(0, limit + 1, 1 << 16):
            yield bytes(1 << 16)

    declared = await served.client.post(path, bytes(limit + 1))
    assert await code_of(declared) is Code.TOO_LARGE
    streamed = await served.client.http.post(path, content=pieces(), headers=served.client.headers())  # type: ignore[arg-type]
    assert await code_of(streamed) is Code.TOO_LARGE


async def test_unknown_paths_and_methods(served: Served) -> None:
    assert await code_of(await served.client.post("/v1/nonsense", b"")) is Code.NOT_FOUND
    assert await code_of(await served.client.http.get("/v1/commit")) is Code.NOT_FOUND
    assert await code_of(await served.client.http.get("/static/x")) is Code.NOT_FOUND
    assert (await served.client.http.get(api.HEALTH_PATH)).text == "ok\n"


@pytest.mark.parametrize("header", [None, "Bearer", "Basic abc", "Bearer " + "x" * 300, "Bearer nonsense"])
async def test_tokens_nobody_gave(served: Served, header: str | None) -> None:
    headers = {api.PROTOCOL_HEADER: api.PROTOCOL_RANGE} | ({"Authorization": header} if header else {})
    for path in PATHS[6:]:
        response = await served.client.http.post(path, content=b"\xa0", headers=headers)
        assert await code_of(response) is Code.UNAUTHENTICATED, path


async def test_a_foreign_device_sees_nothing(served: Served) -> None:
    author = served.author
    create = author.create("a")
    await served.client.call(api.COMMIT, author.commit(create))
    stranger = new_account("bob@example.org")
    async with client_of(served.url) as client:
        await client.sign_up(stranger)
        delta = api.DeltaRequest(workspace=author.workspace, revision=0)
        commit = author_of(stranger.first, served.account.keys).commit(create)
        chunks = api.ChunksRequest(workspace=author.workspace, chunks=())
        for path, body in (
            (api.DELTA.path, encode(delta)),
            (api.COMMIT.path, encode(commit)),
            (api.CHUNKS_PATH, encode(chunks)),
            (api.RUNS.path, encode(api.RunsRequest(workspace=author.workspace, runs=()))),
            (api.LEASE.path, encode(api.LeaseRequest(workspace=author.workspace, versions=()))),
            (api.WITHDRAW.path, encode(api.WithdrawRequest(workspace=author.workspace, versions=()))),
        ):
            assert await code_of(await client.post(path, body)) is Code.NOT_FOUND, path


async def test_a_commit_with_a_bad_signature(served: Served) -> None:
    sent = served.author.commit(served.author.create("a"))
    body = bytearray(encode(sent))
    at = bytes(body).index(sent.signature)
    body[at] ^= 1
    assert await code_of(await served.client.post(api.COMMIT.path, bytes(body))) is Code.BAD_SIGNATURE


async def test_a_commit_of_the_largest_size(served: Served) -> None:
    author = served.author
    creates = []
    for number in range(1000):
        node = author.new_node()
        creates.append(author.create(f"{number}", content=author.seal(node, bytes(800)), node=node))
    sent = encode(author.commit(*creates))
    assert MAX_COMMIT_BYTES * 9 // 10 < len(sent) <= MAX_COMMIT_BYTES
    assert (await served.client.post(api.COMMIT.path, sent)).status_code == 200


async def test_a_full_store_says_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(key: str, data: bytes) -> None:
        raise Full("no room")

    author = served.author
    node = author.new_node()
    sealed = author.seal(node, bytes(5000))
    await served.client.call(api.COMMIT, author.commit(author.create("a", content=sealed, node=node), runs=sealed.runs))
    with monkeypatch.context() as patched:
        patched.setattr(served.tracker.services.blocks.storage, "put", full)
        with pytest.raises(Refused, match="storage is full") as caught:
            await served.client.send_pack(author.pack(sealed))
    assert caught.value.code is Code.UNAVAILABLE
    assert (await served.client.send_pack(author.pack(sealed))).stored == 1


async def test_a_defect_is_opaque_outside_and_whole_in_the_log(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(email: str) -> object:
        raise ZeroDivisionError("the inner trouble")

    monkeypatch.setattr(type(served.tracker.services.accounts), "salt", lambda self, email: broken(email))
    response = await served.client.post(api.SALT.path, encode(api.SaltRequest(email="someone@example.org")))
    assert await code_of(response) is Code.INTERNAL
    message = str(refused(response))
    assert "trouble" not in message
    number = re.findall(r"[0-9a-f]{12}", message)[0]
    assert number in caplog.text
    assert "the inner trouble" in caplog.text
    assert "someone@example.org" not in caplog.text


# Below HTTP ----------------------------------------------------------------------------------------------------------

UPGRADE = (
    b"GET /v1/notifications HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

DEADLY: dict[str, bytes] = {
    "a byte after the upgrade (kills hypercorn 0.18)": UPGRADE + b"x",
    "a frame after the upgrade": UPGRADE + b"\x82\x00",
    "an upgrade with a body": UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"),
    "an upgrade elsewhere": UPGRADE.replace(b"/v1/notifications", b"/nonsense"),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "an upgrade to HTTP/2": b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "a broken length": b"POST /v1/salt HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST /v1/salt HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a broken chunk": b"POST /v1/salt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000,
    "a strange path": b"GET /%00%ff%fe/../..//\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
    "half a request": b"POST /v1/salt HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
}


@pytest.mark.parametrize("name", DEADLY)
async def test_hostile_bytes_do_not_end_the_tracker(served: Served, name: str) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream:
        with trio.move_on_after(2):
            try:
                await stream.send_all(DEADLY[name])
                await stream.send_eof()
                while await stream.receive_some(1 << 16):
                    pass
            except trio.BrokenResourceError:
                pass  # it hung up on us, as it may
    await served.alive()
    await served.client.call(api.COMMIT, served.author.commit(served.author.create("a")))


async def test_a_device_that_goes_in_mid_request(served: Served) -> None:
    """Cancels the handler; what was recorded is recorded whole, and the retry gets its answer."""
    sent = served.author.commit(*(served.author.create(f"{number}") for number in range(300)))
    for wait in (0.001, 0.01, 0.03):
        with trio.move_on_after(wait):
            async with client_of(served.url) as client:
                await Client(client.http, served.client.token).call(api.COMMIT, sent)
    reply = await served.client.call(api.COMMIT, sent)
    assert reply.revision == 1
    await served.alive()


def test_every_endpoint_is_served() -> None:
    assert {*CLOSED, api.COMMIT} == {endpoint for endpoint in api.ENDPOINTS if endpoint.device}
    assert set(OPEN) == {endpoint for endpoint in api.ENDPOINTS if not endpoint.device}
