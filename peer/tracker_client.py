"""What a device says to its tracker: typed requests over a transport of bytes, and a session that renews itself.

    TrackerClient   one request, one answer; every refusal a `Refused`, every wrong answer a `Malformed`
    DeviceClient    the same as a device: keeps a token in memory, makes a new one by signing a nonce

Nothing is tried again here, save once after a token has turned out to be worthless.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import trio

from peer.home import Credentials
from peer.ports import Notifications, Response, TrackerTransport
from protocol.api import (
    CHALLENGE,
    CHUNKS_PATH,
    LARGE,
    MAX_CHUNKS_REQUEST_BYTES,
    NOTIFICATIONS_PATH,
    PACK_PATH,
    RENEW,
    ChallengeRequest,
    ChunksRequest,
    Endpoint,
    PackReply,
    Refusal,
    RenewRequest,
    Session,
)
from protocol.codec import decode, encode
from protocol.errors import Code, Malformed, Refused, TooLarge, Unreachable
from protocol.identifiers import MAX_PACK_BYTES
from protocol.ports import Machine, RandomBytes
from protocol.signing import SigningKey

PATIENCE = 30.0
"""Seconds without progress after which a request is given up: a proxy on a bad day answers within them."""
RENEW_BEFORE = 60.0
"""A token with fewer seconds left is not used any more: it must outlive the request that carries it."""
SESSION_PURPOSE = "session"

_OK = 200
_PROXY_STATUSES = (502, 503, 504)
_MAX_MESSAGE = 500

Q = TypeVar("Q")
A = TypeVar("A")


class TrackerClient:
    """Requests to one tracker. Holds no state of its own and may be used by any number of tasks."""

    def __init__(self, transport: TrackerTransport, machine: Machine) -> None:
        self.transport = transport
        self.machine = machine

    async def call(
        self, endpoint: Endpoint[Q, A], request: Q, *, token: str | None = None, patience: float = PATIENCE
    ) -> A:
        """Ask `endpoint` and return its answer, after at most `patience` seconds without progress.

        `Refused` when the tracker says no, `Unreachable` when it says nothing, `Malformed` when what it says is
        nonsense, `TooLarge` when the request is longer than the tracker takes. Cancelled, the request may have been
        carried out or not.
        """
        body = encode(request)
        answer = await self.post(
            endpoint.path,
            body,
            request_limit=endpoint.request_limit,
            reply_limit=endpoint.reply_limit,
            token=token,
            patience=patience,
        )
        return decode(endpoint.reply, answer, endpoint.reply_limit)

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        request_limit: int,
        reply_limit: int,
        token: str | None,
        patience: float = PATIENCE,
    ) -> bytes:
        """The body of the answer to `body` at `path`; errors as in `call`."""
        if len(body) > request_limit:
            raise TooLarge(f"a request of {len(body)} bytes to {path}, at most {request_limit} allowed")
        response = await self.transport.request(path, body, token=token, patience=patience, response_limit=reply_limit)
        if len(response.body) > reply_limit:
            raise TooLarge(f"the tracker's answer has {len(response.body)} bytes; {reply_limit} are allowed")
        if response.status != _OK:
            raise _refused(response)
        return response.body

    def backoff(self) -> "Backoff":
        """Fresh delays for a caller that keeps trying."""
        return Backoff(self.machine.random_bytes)


def _refused(response: Response) -> Refused | Malformed | Unreachable:
    """What an answer other than 200 means. Its text is the tracker's, so nothing in it may steer a terminal."""
    try:
        refusal = decode(Refusal, response.body, len(response.body))
    except Malformed:
        if response.status in _PROXY_STATUSES:
            return Unreachable(f"no answer from the tracker: the proxy before it says HTTP status {response.status}")
        return Malformed(f"HTTP status {response.status} without a reason: is that a Shoal tracker?")
    try:
        code = Code(refusal.code)
    except ValueError:
        code = Code.INTERNAL
    return Refused(code, _one_line(refusal.message) or code.value, refusal.detail)


def _one_line(message: str) -> str:
    return "".join(c if c.isprintable() else " " for c in message[:_MAX_MESSAGE]).strip()


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    good_until: float  # by trio.current_time()


class DeviceClient:
    """Requests in the name of one device. The token lives in memory only; any number of tasks may share it.

    Every method raises what `TrackerClient.call` does. `Refused` with `UNAUTHENTICATED` then means that the tracker
    does not know this device (any more): logging in anew is the only cure.
    """

    def __init__(self, client: TrackerClient, credentials: Credentials) -> None:
        self.client = client
        self.credentials = credentials
        self._signing_key = SigningKey(credentials.signing_seed)
        self._token: _Token | None = None
        self._renewing = trio.Lock()

    async def call(self, endpoint: Endpoint[Q, A], request: Q, *, patience: float = PATIENCE) -> A:
        """Ask `endpoint` as this device."""
        return await self._as_device(lambda token: self.client.call(endpoint, request, token=token, patience=patience))

    async def upload_pack(self, body: bytes) -> PackReply:
        """Send a pack (`protocol.packs.build_pack`); its chunks are durable when this returns."""
        answer = await self._as_device(
            lambda token: self.client.post(
                PACK_PATH, body, request_limit=MAX_PACK_BYTES, reply_limit=LARGE, token=token
            )
        )
        return decode(PackReply, answer, LARGE)

    async def fetch_chunks(self, request: ChunksRequest) -> bytes:
        """A pack with the chunks that fit into one (`protocol.packs.read_index`); nothing in it is verified yet."""
        body = encode(request)
        return await self._as_device(
            lambda token: self.client.post(
                CHUNKS_PATH, body, request_limit=MAX_CHUNKS_REQUEST_BYTES, reply_limit=MAX_PACK_BYTES, token=token
            )
        )

    @asynccontextmanager
    async def notifications(self) -> AsyncIterator[Notifications]:
        """The notification WebSocket, open while the context lasts."""
        async with AsyncExitStack() as stack:

            async def connect(token: str) -> Notifications:
                return await stack.enter_async_context(
                    self.client.transport.notifications(NOTIFICATIONS_PATH, token=token)
                )

            try:
                connection = await self._as_device(connect)
            except Unreachable:
                # A refused upgrade may look the same as no answer: don't come back with the token it refused.
                self._token = None
                raise
            yield connection

    async def _as_device(self, request: Callable[[str], Awaitable[A]]) -> A:
        token = await self._valid_token(worthless=None)
        try:
            return await request(token)
        except Refused as refusal:
            if refusal.code is not Code.UNAUTHENTICATED:
                raise
        return await request(await self._valid_token(worthless=token))

    async def _valid_token(self, *, worthless: str | None) -> str:
        """A token with time left that is not the `worthless` one. Who comes while another renews takes that one's."""
        async with self._renewing:
            held = self._token
            if held is None or held.text == worthless or trio.current_time() >= held.good_until:
                held = self._token = await self._renewed()
            return held.text

    async def _renewed(self) -> _Token:
        """A token, at the second attempt if the challenge was no longer good when its answer came: the tracker's clock
        was set meanwhile, or it was restored from a backup."""
        try:
            return await self._renew()
        except Refused as refusal:
            if refusal.code is not Code.UNAUTHENTICATED:
                raise
        return await self._renew()

    async def _renew(self) -> _Token:
        """Sign a fresh nonce. Times are the tracker's, so that the device's own clock may be wrong."""
        device = self.credentials.device
        challenge = await self.client.call(CHALLENGE, ChallengeRequest(device=device))
        signature = self._signing_key.sign(SESSION_PURPOSE, challenge.nonce)
        asked_at = trio.current_time()
        session = await self.client.call(RENEW, RenewRequest(device=device, nonce=challenge.nonce, signature=signature))
        return _Token(session.token, asked_at + _lifetime(session))


def _lifetime(session: Session) -> float:
    """Seconds for which a new token is used; short-lived ones still get half their life."""
    seconds = max(0, session.expires_ms - session.now_ms) / 1000
    return max(seconds - RENEW_BEFORE, seconds / 2)


class Backoff:
    """How long to wait before the next attempt: exponential with full jitter, so that many devices don't return as one.

    Pure: whoever asks does the waiting. The n-th delay since `reset` is uniform between 0 and FIRST * 2ⁿ, at most
    LONGEST (Brooker, "Exponential Backoff And Jitter", AWS 2015).
    """

    FIRST, LONGEST = 0.5, 32.0  # seconds

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._bound = self.FIRST

    def reset(self) -> None:
        """An attempt went well: begin with the shortest again."""
        self._bound = self.FIRST

    def next_delay(self) -> float:
        """Seconds to wait now."""
        fraction = (int.from_bytes(self._random_bytes(4), "big") + 1) / (1 << 32)
        delay = self._bound * fraction
        self._bound = min(2 * self._bound, self.LONGEST)
        return delay
