"""A tracker to test against, and what a device would send to it.

running_tracker()    the real `shoal-tracker serve` in a process of its own, on a port of its own
memory_tracker()     the real app in this process, over in-memory SQLite and memory storage, thread work inline
Account, Device      keys, certificates, names, contents and signed commits (out of `bench/devices.py`)
Client               typed requests over HTTP
"""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import trio
from sqlalchemy import PoolProxiedConnection

from bench.devices import Account as Account
from bench.devices import Author as Author
from bench.devices import Device as Device
from bench.devices import Sealed as Sealed
from bench.devices import author_of as author_of
from bench.devices import new_account as new_account
from bench.devices import seeded as seeded
from bench.devices import version_of as version_of
from peer.home import Credentials, TrackerAddress
from protocol import api
from protocol.codec import decode, encode
from protocol.errors import Code, Refused
from protocol.ports import Machine
from storage.interface import Storage
from storage.memory import MemoryStorage
from tracker.assembly import Tracker, build
from tracker.migrating import migrate
from tracker.sqlite import IN_MEMORY, SqliteDatabase, make_engine

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")

START_S = 20.0


# Machines and trackers -----------------------------------------------------------------------------------------------


async def offload_inline(function: Callable[[], T], _: trio.CapacityLimiter, /) -> T:
    """Thread work, run where it is asked for."""
    return function()


@dataclass
class Clock:
    """A wall clock that a test moves."""

    ns: int = 1_800_000_000_000_000_000

    def __call__(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


def seeded_machine(seed: int = 1, clock: Clock | None = None) -> Machine:
    """Everything seeded, nothing in threads."""
    return Machine(now=clock or Clock(), random_bytes=seeded(seed), offload=offload_inline)


async def memory_database(machine: Machine) -> SqliteDatabase:
    """A migrated database in memory."""
    engine = make_engine(IN_MEMORY)
    with closing(engine.raw_connection()) as connection:
        _sqlite(connection).deserialize(_migrated())
    return SqliteDatabase(machine, engine)


@cache
def _migrated() -> bytes:
    """What is in such a database: a copy takes a fraction of the time of the migrations, which have their own tests."""
    engine = make_engine(IN_MEMORY)
    with engine.begin() as transaction:
        migrate(transaction)
    with closing(engine.raw_connection()) as connection:
        content = _sqlite(connection).serialize()
    engine.dispose()
    return content


def _sqlite(connection: PoolProxiedConnection) -> sqlite3.Connection:
    assert isinstance(connection.driver_connection, sqlite3.Connection)
    return connection.driver_connection


@asynccontextmanager
async def memory_tracker(machine: Machine | None = None, storage: Storage | None = None) -> AsyncIterator[Tracker]:
    """The real app in this process."""
    machine = machine or seeded_machine()
    tracker = await build(machine, await memory_database(machine), storage or MemoryStorage())
    try:
        yield tracker
    finally:
        await tracker.close()


@dataclass
class Running:
    """A tracker in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    data: Path
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> int:
        """SIGTERM, as an administrator would; the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=15)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


def start_tracker(
    data: Path, *arguments: str, listen: str = "127.0.0.1:0", environment: Mapping[str, str] | None = None
) -> Running:
    """Start `shoal-tracker serve` over `data` and wait for its ready line. Whoever starts it stops it."""
    data.mkdir(parents=True, exist_ok=True)
    log = data.parent / f"{data.name}.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tracker", "serve", "--data", str(data), "--listen", listen, *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **(environment or {})},
            cwd=Path(__file__).parents[2],
        )
    assert process.stdout is not None
    with process.stdout as stdout:
        line = stdout.readline().decode()
    if not line.startswith("listening on "):
        process.kill()
        process.wait()
        raise AssertionError(f"the tracker did not start: {log.read_text()}")
    return Running(process, line.removeprefix("listening on ").strip(), data, log)


@contextmanager
def running_tracker(
    data: Path, *arguments: str, listen: str = "127.0.0.1:0", environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """A real tracker over `data`; it is stopped at the end unless the test did that."""
    running = start_tracker(data, *arguments, listen=listen, environment=environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            try:
                running.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                running.kill()
                raise


# Devices -------------------------------------------------------------------------------------------------------------


def credentials_of(device: Device, name: str) -> Credentials:
    """What a device's home folder holds."""
    account = device.account
    return Credentials(
        tracker=TrackerAddress(url="http://tracker"),
        email=account.email,
        user=account.user,
        device=device.id,
        device_name=name,
        signing_seed=device.signing.seed,
        exchange_private=device.exchange.private,
        identity_key=account.identity.public,
        sealing_keys=((1, account.sealing.private),),
    )


# Talking HTTP --------------------------------------------------------------------------------------------------------


@dataclass
class Client:
    """Requests to a tracker; `token` is used where one is needed."""

    http: httpx.AsyncClient
    token: str | None = None

    def headers(self) -> dict[str, str]:
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {api.PROTOCOL_HEADER: api.PROTOCOL_RANGE, **bearer}

    async def post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        """Any body to any path."""
        return await self.http.post(path, content=body, headers={**self.headers(), **headers})

    async def call(self, endpoint: api.Endpoint[Q, A], request: Q) -> A:
        """A typed request; a refusal raises `Refused`."""
        response = await self.post(endpoint.path, encode(request))
        if response.status_code != 200:
            raise refused(response)
        return decode(endpoint.reply, response.content, endpoint.reply_limit)

    async def sign_up(self, account: Account) -> None:
        """Make the account known and go on as its first device."""
        self.token = (await self.call(api.SIGNUP, account.signup())).token

    async def send_pack(self, pack: bytes) -> api.PackReply:
        """Upload; a refusal raises `Refused`."""
        response = await self.post(api.PACK_PATH, pack)
        if response.status_code != 200:
            raise refused(response)
        return decode(api.PackReply, response.content, api.LARGE)


def refused(response: httpx.Response) -> Refused:
    """The refusal in an answer; the status must be the code's."""
    refusal = decode(api.Refusal, response.content, api.LARGE)
    assert response.status_code == api.HTTP_STATUS[Code(refusal.code)]
    return Refused(Code(refusal.code), refusal.message, refusal.detail)


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Client]:
    """A client of a running tracker."""
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
        yield Client(http)


@asynccontextmanager
async def client_in(tracker: Tracker) -> AsyncIterator[Client]:
    """A client of an app in this process, without a socket."""
    app: Any = tracker.app  # its ASGI types are narrower than httpx's
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://tracker", trust_env=False) as http:
        yield Client(http)
