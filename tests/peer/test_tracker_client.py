"""The tracker client against a transport in memory: what refusals become, and when a token is made anew."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from peer.ports import Notifications, Response
from peer.tracker_client import Backoff, DeviceClient, TrackerClient
from protocol.api import (
    ACCOUNT,
    CHALLENGE,
    CHUNKS_PATH,
    NOTIFICATIONS_PATH,
    PACK_PATH,
    RENEW,
    RUNS,
    SALT,
    SMALL,
    AccountReply,
    ChallengeReply,
    ChallengeRequest,
    ChunksRequest,
    Empty,
    PackReply,
    Refusal,
    RenewRequest,
    RunsRequest,
    SaltReply,
    SaltRequest,
    Session,
)
from protocol.codec import decode, encode
from protocol.errors import Code, Malformed, Refused, TooLarge, Unreachable
from protocol.identifiers import MAX_PACK_BYTES, ChunkId, RunId, WorkspaceId
from protocol.login import KdfParameters
from protocol.signing import SigningKey, verify
from protocol.system import real_machine
from tests.peer.test_home import CREDENTIALS

SALTED = SaltReply(salt_part=bytes(16), cost=KdfParameters())
FULL = AccountReply(email="ann@example.org", plan="free", quota_bytes=2, used_bytes=1, devices=())
HOUR_MS = 3600 * 1000


class Script:
    """A tracker of a few lines: takes tokens "1", "2", ... as it gave them out, newest only, and counts what is
    asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.renewals = 0
        self.lifetime_ms = HOUR_MS
        self.now_ms = 5  # this tracker lives in 1970
        self.answers: dict[str, Callable[[bytes], Response]] = {
            SALT.path: lambda _: ok(SALTED),
            ACCOUNT.path: lambda _: ok(FULL),
            PACK_PATH: lambda body: ok(PackReply(stored=len(body))),
            CHUNKS_PATH: lambda body: Response(200, body),
        }
        self.knows_device = True

    async def request(
        self, path: str, body: bytes, *, token: str | None, patience: float, response_limit: int
    ) -> Response:
        await trio.lowlevel.checkpoint()
        self.asked.append(path)
        if path == CHALLENGE.path:
            assert decode(ChallengeRequest, body, SMALL).device == CREDENTIALS.device
            return ok(ChallengeReply(nonce=b"n%d" % self.renewals))
        if path == RENEW.path:
            return self._renew(decode(RenewRequest, body, SMALL))
        if path != SALT.path and token != str(self.renewals):
            return refusal(401, Code.UNAUTHENTICATED)
        return self.answers[path](body)

    def _renew(self, request: RenewRequest) -> Response:
        assert request.nonce == b"n%d" % self.renewals
        verify(SigningKey(CREDENTIALS.signing_seed).public, "session", request.nonce, request.signature)
        if not self.knows_device:
            return refusal(401, Code.UNAUTHENTICATED)
        self.renewals += 1
        return ok(Session(token=str(self.renewals), now_ms=self.now_ms, expires_ms=self.now_ms + self.lifetime_ms))

    @asynccontextmanager
    async def notifications(self, path: str, *, token: str) -> AsyncIterator[Notifications]:
        await trio.lowlevel.checkpoint()
        self.asked.append(path)
        if token != str(self.renewals):
            raise Unreachable("HTTP status 401 instead of a WebSocket")
        yield Socket()


class Socket:
    async def send(self, frame: bytes) -> None: ...

    async def receive(self) -> bytes:
        return b"frame"


def ok(reply: object) -> Response:
    return Response(200, encode(reply))


def refusal(status: int, code: str, message: str = "no", detail: bytes = b"") -> Response:
    return Response(status, encode(Refusal(code=code, message=message, detail=detail)))


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def client(script: Script) -> TrackerClient:
    return TrackerClient(script, real_machine())


@pytest.fixture
def device(client: TrackerClient) -> DeviceClient:
    return DeviceClient(client, CREDENTIALS)


# One request, one answer


async def test_an_answer_is_decoded(client: TrackerClient) -> None:
    assert await client.call(SALT, SaltRequest(email="a@b")) == SALTED


async def test_a_refusal_keeps_code_words_and_detail(script: Script, client: TrackerClient) -> None:
    script.answers[SALT.path] = lambda _: refusal(409, "commit", "stale", b"detail")
    with pytest.raises(Refused, match=r"^stale$") as caught:
        await client.call(SALT, SaltRequest(email="a@b"))
    assert (caught.value.code, caught.value.detail) == (Code.COMMIT, b"detail")


async def test_an_unknown_code_is_internal(script: Script, client: TrackerClient) -> None:
    script.answers[SALT.path] = lambda _: refusal(418, "teapot", "short and stout")
    with pytest.raises(Refused, match="short and stout") as caught:
        await client.call(SALT, SaltRequest(email="a@b"))
    assert caught.value.code is Code.INTERNAL


async def test_a_refusal_is_one_harmless_line(script: Script, client: TrackerClient) -> None:
    script.answers[SALT.path] = lambda _: refusal(400, "malformed", "bad\n\x1b[2Jthing")
    with pytest.raises(Refused, match=r"^bad  \[2Jthing$"):
        await client.call(SALT, SaltRequest(email="a@b"))


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (Response(200, b"<html>"), Malformed),
        (Response(200, encode(Empty())), Malformed),
        (Response(200, bytes(SMALL + 1)), TooLarge),
        (Response(404, b"<html>Not Found"), Malformed),
        (Response(301, b""), Malformed),
        (Response(503, b"<html>"), Unreachable),
        (Response(502, b""), Unreachable),
    ],
)
async def test_what_is_no_answer(
    script: Script, client: TrackerClient, response: Response, error: type[Exception]
) -> None:
    script.answers[SALT.path] = lambda _: response
    with pytest.raises(error) as caught:
        await client.call(SALT, SaltRequest(email="a@b"))
    assert type(caught.value) is error


async def test_a_request_too_large_is_not_sent(script: Script, device: DeviceClient) -> None:
    many = RunsRequest(workspace=WorkspaceId(bytes(16)), runs=(RunId(bytes(32)),) * 3000)
    with pytest.raises(TooLarge):
        await device.call(RUNS, many)
    with pytest.raises(TooLarge):
        await device.upload_pack(bytes(MAX_PACK_BYTES + 1))
    assert RUNS.path not in script.asked
    assert PACK_PATH not in script.asked


# Tokens


async def test_a_token_is_made_once_and_used_again(script: Script, device: DeviceClient) -> None:
    assert await device.call(ACCOUNT, Empty()) == FULL
    assert (await device.upload_pack(b"pack")).stored == 4
    asked = ChunksRequest(workspace=WorkspaceId(bytes(16)), chunks=(ChunkId(bytes(32)),))
    assert await device.fetch_chunks(asked) == encode(asked)
    assert script.asked == [CHALLENGE.path, RENEW.path, ACCOUNT.path, PACK_PATH, CHUNKS_PATH]


async def test_a_refused_token_is_renewed_once_a_call(script: Script, device: DeviceClient) -> None:
    await device.call(ACCOUNT, Empty())
    script.renewals = 7  # as if the tracker had forgotten "1"
    await device.call(ACCOUNT, Empty())
    assert script.renewals == 8

    script.answers[ACCOUNT.path] = lambda _: refusal(401, Code.UNAUTHENTICATED)
    with pytest.raises(Refused) as caught:
        await device.call(ACCOUNT, Empty())
    assert caught.value.code is Code.UNAUTHENTICATED
    assert script.renewals == 9


async def test_another_refusal_renews_nothing(script: Script, device: DeviceClient) -> None:
    script.answers[ACCOUNT.path] = lambda _: refusal(403, Code.SUSPENDED)
    with pytest.raises(Refused) as caught:
        await device.call(ACCOUNT, Empty())
    assert caught.value.code is Code.SUSPENDED
    assert script.renewals == 1


async def test_a_device_that_is_not_known_any_more(script: Script, device: DeviceClient) -> None:
    script.knows_device = False
    with pytest.raises(Refused) as caught:
        await device.call(ACCOUNT, Empty())
    assert caught.value.code is Code.UNAUTHENTICATED
    assert script.asked == 2 * [CHALLENGE.path, RENEW.path]


async def test_a_token_is_renewed_before_it_expires(
    script: Script, device: DeviceClient, autojump_clock: trio.testing.MockClock
) -> None:
    await device.call(ACCOUNT, Empty())
    autojump_clock.jump(3500)
    await device.call(ACCOUNT, Empty())
    assert script.renewals == 1
    autojump_clock.jump(50)  # less than a minute is left
    await device.call(ACCOUNT, Empty())
    assert script.renewals == 2


async def test_a_token_without_a_life_is_used_all_the_same(script: Script, device: DeviceClient) -> None:
    script.lifetime_ms = -5
    for _ in range(2):
        await device.call(ACCOUNT, Empty())
    assert script.renewals == 2


async def test_many_callers_renew_once(script: Script, device: DeviceClient) -> None:
    async def call() -> None:
        assert await device.call(ACCOUNT, Empty()) == FULL

    for _ in range(2):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(call)
        script.renewals += 10
    # Of those whose token is refused, the first makes the one that the others take.
    assert script.asked.count(RENEW.path) == 2


async def test_a_renewal_given_up_is_the_next_callers(script: Script, device: DeviceClient) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await device.call(ACCOUNT, Empty())
    assert await device.call(ACCOUNT, Empty()) == FULL


async def test_notifications_don_t_come_back_with_a_refused_token(script: Script, device: DeviceClient) -> None:
    async with device.notifications() as socket:
        assert await socket.receive() == b"frame"
    script.renewals = 5
    with pytest.raises(Unreachable):
        async with device.notifications():
            pass
    async with device.notifications() as socket:
        assert await socket.receive() == b"frame"
    assert script.asked.count(NOTIFICATIONS_PATH) == 3


async def test_a_failure_inside_notifications_is_the_callers_own(device: DeviceClient) -> None:
    with pytest.raises(Unreachable, match="mine"):
        async with device.notifications():
            raise Unreachable("mine")


# Waiting


def test_delays_double_under_full_jitter_until_reset() -> None:
    backoff = Backoff(lambda count: b"\xff" * count)
    assert [backoff.next_delay() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 32, 32]
    backoff.reset()
    assert backoff.next_delay() == 0.5
    least = Backoff(lambda count: bytes(count))
    assert all(0 < least.next_delay() < 1e-6 for _ in range(5))
