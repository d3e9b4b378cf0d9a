"""Telling subscribed devices what changed, without ever buffering for a slow one without bound.

The hub serves the subscribers of one process, and through a channel tells the others of the same tracker. Publishing
never waits: each subscriber has a mailbox of bounded size, and one that overflows is emptied and told to catch up by
delta instead.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import trio

from protocol.codec import encode
from protocol.deltas import INLINE_DELTA_BYTES, Delta
from protocol.errors import Malformed
from protocol.identifiers import DeviceId, WorkspaceId
from protocol.notices import CatchUp, Changed, Members, Notice, decode_notice, encode_notice
from tracker.fanout import (
    MAX_MESSAGE,
    Channel,
    LoggedOut,
    Message,
    Missed,
    Told,
    decode_message,
    encode_message,
)

_log = logging.getLogger("shoal.tracker.notifications")

MAX_NOTICES = 256
MAX_BYTES = 1 << 20
"""A mailbox with more notices or more bytes of deltas than this overflows."""


class Mailbox:
    """One subscriber's notices, oldest first."""

    def __init__(self, device: DeviceId) -> None:
        self.device = device
        self._notices: deque[Notice] = deque()
        self._bytes = 0
        self._closed = False
        self._news = trio.Event()

    def put(self, notice: Notice) -> None:
        """Add a notice; on overflow all of them become one CatchUp."""
        if self._notices and isinstance(self._notices[0], CatchUp):
            return  # the device will ask for everything anyway
        self._notices.append(notice)
        self._bytes += _weight(notice)
        if len(self._notices) > MAX_NOTICES or self._bytes > MAX_BYTES:
            self._notices = deque([CatchUp()])
            self._bytes = 0
        self._news.set()

    def close(self) -> None:
        """End the subscription: `take` gives what is left, then None."""
        self._closed = True
        self._news.set()

    async def take(self) -> Notice | None:
        """The next notice; None when the subscription has ended."""
        while not self._notices:
            if self._closed:
                return None
            self._news = trio.Event()
            await self._news.wait()
        notice = self._notices.popleft()
        self._bytes -= _weight(notice)
        return notice


def _weight(notice: Notice) -> int:
    return len(notice.delta or b"") if isinstance(notice, Changed) else 0


class Hub:
    """The notification service of one process. Everything in it is synchronous, so it needs no lock under trio."""

    def __init__(self, channel: Channel | None = None) -> None:
        """`channel` leads to the other processes, if there can be others."""
        self._channel = channel
        self._subscribers: dict[WorkspaceId, dict[Mailbox, None]] = {}
        self._mailboxes: dict[Mailbox, None] = {}
        self._closed = False

    async def listen(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hear the other processes, if there can be any, until cancelled; started once nothing can be missed."""
        if self._channel is None:
            task_status.started()
        else:
            await self._channel.run(self, task_status=task_status)

    @contextmanager
    def subscribed(self, device: DeviceId, workspaces: Iterable[WorkspaceId]) -> Iterator[Mailbox]:
        """A mailbox for these workspaces, whose membership the caller has checked."""
        mailbox = Mailbox(device)
        workspaces = list(dict.fromkeys(workspaces))
        self._mailboxes[mailbox] = None
        if self._closed:
            mailbox.close()
        for workspace in workspaces:
            self._subscribers.setdefault(workspace, {})[mailbox] = None
        try:
            yield mailbox
        finally:
            del self._mailboxes[mailbox]
            for workspace in workspaces:
                self._leave(workspace, mailbox)

    def _leave(self, workspace: WorkspaceId, mailbox: Mailbox) -> None:
        subscribers = self._subscribers[workspace]
        del subscribers[mailbox]
        if not subscribers:
            del self._subscribers[workspace]

    def publish(
        self,
        workspace: WorkspaceId,
        since: int,
        through: int,
        author: DeviceId | None,
        delta: Callable[[], Delta | None],
        *,
        brief: bool = False,
    ) -> None:
        """Tell subscribers of a change. Never waits.

        Not its `author`: the answer to its commit tells it more, but comes later, and so it would ask for a delta each
        time. `delta` is called only if somebody else listens here, or may elsewhere and it is `brief`.
        """
        notice = Changed(workspace=workspace, since=since, through=through)
        others = self._others(workspace, author)
        carried = notice
        if others or (brief and self._channel is not None):
            carried = _with_delta(notice, delta)
        for mailbox in others:
            mailbox.put(carried)
        self._tell(Told(workspace=workspace, notice=encode_notice(each), author=author) for each in (carried, notice))

    def publish_members(self, workspace: WorkspaceId) -> None:
        """Tell subscribers that the workspace's list of members or of their devices has changed. Never waits."""
        notice = Members(workspace=workspace)
        for mailbox in self._others(workspace, None):
            mailbox.put(notice)
        self._tell([Told(workspace=workspace, notice=encode_notice(notice))])

    def disconnect(self, device: DeviceId) -> None:
        """End the subscriptions of a device that was logged out."""
        self._disconnect(device)
        self._tell([LoggedOut(device=device)])

    def warn(self) -> None:
        """Tell all others that they may have missed something."""
        self._tell([Missed()])

    def receive(self, message: bytes) -> None:
        """What another process tells its subscribers and ours."""
        try:
            told = decode_message(message)
        except Malformed as error:  # of another release of Shoal, perhaps
            _log.warning("a message of another process was not understood: %s", error)
            told = Missed()
        match told:
            case Told(workspace=workspace, notice=frame, author=author):
                notice = decode_notice(frame)
                for mailbox in self._others(workspace, author):
                    mailbox.put(notice)
            case LoggedOut(device=device):
                self._disconnect(device)
            case Missed():
                self.missed()

    def missed(self) -> None:
        """Have every subscriber catch up: something may not have come."""
        for mailbox in self._mailboxes:
            mailbox.put(CatchUp())

    def _others(self, workspace: WorkspaceId, author: DeviceId | None) -> list[Mailbox]:
        return [mailbox for mailbox in self._subscribers.get(workspace, {}) if mailbox.device != author]

    def _disconnect(self, device: DeviceId) -> None:
        for mailbox in self._mailboxes:
            if mailbox.device == device:
                mailbox.close()

    def _tell(self, messages: Iterable[Message]) -> None:
        """Send the others the first of these that is short enough."""
        if self._channel is None:
            return
        encoded = map(encode_message, messages)
        self._channel.send(next(each for each in encoded if len(each) <= MAX_MESSAGE))

    def close(self) -> None:
        """End all subscriptions, those to come included; the tracker stops."""
        self._closed = True
        for mailbox in self._mailboxes:
            mailbox.close()


def _with_delta(notice: Changed, delta: Callable[[], Delta | None]) -> Changed:
    made = delta()
    encoded = None if made is None else encode(made)
    if encoded is None or len(encoded) > INLINE_DELTA_BYTES:
        return notice
    return Changed(workspace=notice.workspace, since=notice.since, through=notice.through, delta=encoded)
