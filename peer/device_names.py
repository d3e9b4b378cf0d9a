"""Names of devices for people, kept in the client database as they are heard: from devices that are met on the LAN, and
from the tracker, which holds the names of the account's own sealed."""

from collections.abc import Iterable
from contextlib import suppress

import trio

from peer.account import open_device_name
from peer.database import Database
from peer.tracker_client import DeviceClient
from protocol.api import ACCOUNT, Empty
from protocol.errors import CannotOpen, Malformed, Refused, Unreachable
from protocol.identifiers import DeviceId

PATIENCE = 3.0
"""Seconds for the tracker to tell names; without its answer people see ids."""


class DeviceNames:
    """What devices are called."""

    def __init__(self, database: Database) -> None:
        """Keep them in `database`."""
        self._database = database
        self._heard: dict[DeviceId, str] = {}  # in this life

    def heard(self, device: DeviceId, name: str) -> None:
        """A device is called so now."""
        if name and self._heard.get(device) != name:
            self._database.run("INSERT OR REPLACE INTO devices VALUES (?, ?)", device, name)
            self._heard[device] = name

    def get(self, device: DeviceId) -> str | None:
        """What it was called last; None when that was never heard."""
        row = self._database.row("SELECT name FROM devices WHERE device = ?", device)
        return None if row is None else str(row[0])

    async def learn(self, devices: Iterable[DeviceId], client: DeviceClient) -> None:
        """Have the tracker tell the names of devices of the account, if one of these has none yet. Whatever goes wrong
        leaves them without."""
        if all(self.get(device) is not None for device in devices):
            return
        with trio.move_on_after(PATIENCE), suppress(Unreachable, Refused, Malformed):
            reply = await client.call(ACCOUNT, Empty())
            for each in reply.devices:
                with suppress(CannotOpen, Malformed):
                    self.heard(each.device, open_device_name(client.credentials, each.device, each.name))
