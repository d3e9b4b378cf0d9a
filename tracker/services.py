"""The parts a request may need, in one argument."""

from dataclasses import dataclass

import trio

from protocol.ports import Machine
from tracker.accounts import Accounts
from tracker.blocks import Blocks
from tracker.database import Database
from tracker.identity import Identity
from tracker.notifications import Hub
from tracker.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Services:
    """Made by `tracker.assembly.build`, one for each app."""

    machine: Machine
    database: Database
    identity: Identity
    sessions: Sessions
    accounts: Accounts
    blocks: Blocks
    hub: Hub
    decoding: trio.CapacityLimiter
