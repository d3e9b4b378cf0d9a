"""What makes a tracker's database that one: its epoch, and the secret that salts and challenges are keyed with."""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from protocol.hashing import derive_key
from protocol.identifiers import TrackerEpoch
from tracker.schema import meta

_EPOCH, _SECRET = "tracker epoch", "secret"


@dataclass(frozen=True, slots=True)
class Identity:
    """`epoch` is drawn when the database is made or restored; `secret` never leaves the tracker."""

    epoch: TrackerEpoch
    secret: bytes

    def key_for(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose."""
        return derive_key(purpose, self.secret)


def find_identity(connection: Connection) -> Identity | None:
    """The database's identity, if it has one yet."""
    found = {row.name: row.value for row in connection.execute(select(meta))}
    return Identity(TrackerEpoch(found[_EPOCH]), found[_SECRET]) if _EPOCH in found else None


def settle_identity(connection: Connection, fresh: Identity) -> Identity:
    """The database's identity; a new database takes `fresh`."""
    found = find_identity(connection)
    if found is not None:
        return found
    rows = [{"name": _EPOCH, "value": fresh.epoch}, {"name": _SECRET, "value": fresh.secret}]
    connection.execute(insert(meta), rows)
    return fresh
