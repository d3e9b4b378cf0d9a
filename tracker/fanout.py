"""What the processes of one tracker tell each other, so that a device hears of what came in through any of them.

A channel may lose messages when its connection breaks; then it says so, and all of that process's subscribers are told
to catch up. It is a shortcut: what is true is in the database.
"""

from typing import Protocol, TypeAlias

import trio

from protocol.codec import blob, decode_union, encode, message, octets, optional, wire
from protocol.identifiers import ID_LENGTH, DeviceId, WorkspaceId
from protocol.notices import MAX_FRAME

MAX_MESSAGE = 5_900
"""Bytes. PostgreSQL carries 7,999 characters, in which this is base64."""


class Receiver(Protocol):
    """Who takes what the others sent."""

    def receive(self, message: bytes) -> None:
        """One message of another process."""
        ...

    def missed(self) -> None:
        """Some may not have come."""
        ...


class Channel(Protocol):
    """From this process to all others that share the database."""

    def send(self, message: bytes) -> None:
        """Send to all others, at most MAX_MESSAGE bytes. Never waits, never fails; what gets lost, they miss."""
        ...

    async def run(self, receiver: Receiver, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry messages until cancelled, through any loss of the connection; started once the first one stands."""
        ...


@message(tag=1)
class Told:
    """A notice for the subscribers of a workspace, but for its author."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    notice: bytes = wire(2, blob(MAX_FRAME))
    author: DeviceId | None = wire(3, optional(octets(ID_LENGTH)), default=None)


@message(tag=2)
class LoggedOut:
    """A device whose subscriptions end."""

    device: DeviceId = wire(1, octets(ID_LENGTH))


@message(tag=3)
class Missed:
    """Something was not told, nobody knows what."""


Message: TypeAlias = Told | LoggedOut | Missed
_MESSAGES: tuple[type[Message], ...] = (Told, LoggedOut, Missed)


def encode_message(message: Message) -> bytes:
    """The bytes of one."""
    return encode(message)


def decode_message(data: bytes) -> Message:
    """What another process said; `Malformed` for anything else."""
    found: Message = decode_union(_MESSAGES, data, MAX_MESSAGE)
    return found
