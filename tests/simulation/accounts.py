"""Prepared accounts: one user with three devices in a tracker's database, made once a process.

A password hash takes half a second, so the auth secret is a fixed one; everything else goes the real way through the
tracker's own sign-up. Each simulation starts from a copy.
"""

import sqlite3
from functools import cache
from typing import Any, NamedTuple

import trio
from sqlalchemy import Engine

from peer.home import Credentials
from protocol.api import RegisterRequest
from protocol.ports import Machine
from storage.memory import MemoryStorage
from tests.simulation.machine import seeded_bytes
from tests.support.tracker import credentials_of, new_account, offload_inline
from tracker.assembly import build
from tracker.migrating import migrate
from tracker.sqlite import SqliteDatabase, make_engine

EMAIL = "ann@example.org"
DEVICES = ("laptop", "desktop", "phone")


_COMPILED: dict[Any, Any] = {}
"""Statements that SQLAlchemy has compiled: for every simulation anew that took a tenth of the time."""


class Prepared(NamedTuple):
    """A tracker's database, serialised, and what the devices know."""

    database: bytes
    credentials: tuple[Credentials, ...]


@cache
def prepared() -> Prepared:
    """The same in every process."""
    return trio.run(_prepare)


@cache
def nobodys() -> bytes:
    """The database of a tracker at which nobody has signed up."""
    engine = make_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
    content = content_of(engine)
    engine.dispose()
    return content


def engine_of(database: bytes) -> Engine:
    """A database in memory that begins as a copy."""
    engine = make_engine("sqlite://")
    engine.update_execution_options(compiled_cache=_COMPILED)
    raw = engine.raw_connection()
    try:
        driver = raw.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        source = sqlite3.connect(":memory:")
        source.deserialize(database)
        source.backup(driver)
        source.close()
    finally:
        raw.close()
    return engine


def content_of(engine: Engine) -> bytes:
    """What is in a database in memory."""
    raw = engine.raw_connection()
    try:
        driver = raw.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        return driver.serialize()
    finally:
        raw.close()


async def _prepare() -> Prepared:
    machine = Machine(
        now=lambda: 1_700_000_000_000_000_000, random_bytes=seeded_bytes("prepared"), offload=offload_inline
    )
    account = new_account(EMAIL, seeded_bytes("account"))
    engine = make_engine("sqlite://")
    database = SqliteDatabase(machine, engine)
    await database.transact(migrate)
    tracker = await build(machine, database, MemoryStorage())
    await tracker.services.accounts.sign_up(account.signup())
    devices = [account.first, *(account.new_device() for _ in DEVICES[1:])]
    for device in devices[1:]:
        request = RegisterRequest(email=account.email, auth=account.auth, device=device.new())
        await tracker.services.accounts.register(request)
    content = content_of(engine)
    await tracker.close()
    named = zip(devices, DEVICES, strict=True)
    return Prepared(content, tuple(credentials_of(device, name) for device, name in named))
