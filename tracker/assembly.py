"""Building a tracker out of its ports: the same for the real server, the tests and the simulation."""

from dataclasses import dataclass

import trio
from quart_trio import QuartTrio

from protocol.identifiers import ID_LENGTH, TrackerEpoch
from protocol.ports import Machine
from storage.interface import Storage
from tracker.accounts import Accounts
from tracker.app import make_app
from tracker.blocks import Blocks
from tracker.database import Database
from tracker.identity import Identity, settle_identity
from tracker.notifications import Hub
from tracker.services import Services
from tracker.sessions import Sessions
from tracker.upkeep import look_after

DECODERS = 2
"""Threads that take commits apart and verify signatures."""


@dataclass(frozen=True, slots=True)
class Tracker:
    """A tracker ready to be served. `app` is an ASGI application that may be served once.

    Whoever serves it starts `services.hub.listen` before, and runs `look_after` beside it.
    """

    app: QuartTrio
    services: Services

    async def look_after(self) -> None:
        """What a tracker does by itself, until cancelled. Whoever serves `app` runs this beside it."""
        await look_after(self.services)

    async def close(self) -> None:
        """End all subscriptions, then close the database."""
        self.services.hub.close()
        await self.services.database.close()


async def build(machine: Machine, database: Database, storage: Storage) -> Tracker:
    """A tracker over a database whose schema is in place (see `tracker.migrating`). Takes over the database."""
    fresh = Identity(TrackerEpoch(machine.random_bytes(ID_LENGTH)), machine.random_bytes(32))
    identity = await database.transact(settle_identity, fresh)
    sessions = Sessions(machine, database, identity)
    services = Services(
        machine=machine,
        database=database,
        identity=identity,
        sessions=sessions,
        accounts=Accounts(machine, database, identity, sessions),
        blocks=Blocks(machine, database, storage),
        hub=Hub(database.channel()),
        decoding=trio.CapacityLimiter(DECODERS),
    )
    return Tracker(make_app(services), services)
