"""The connection to the tracker: open or not, and what comes over it.

    offline ─connect, subscribe, pull─→ online ─no answer, closed, the machine slept, another network─→ offline
    offline ─connect, the tracker turns this device away─→ offline, until it is taken in again

While online the tracker's notices bring REMOTE up to date; small changes come with the notice itself. While offline it
is tried again with growing pauses.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from peer.ports import Notifications
from peer.remote import RemoteTree
from peer.synchronizer.pulling import Pulling
from peer.synchronizer.synchronizer import Synchronizer
from peer.tracker_client import Backoff, DeviceClient
from protocol.deltas import decode_delta
from protocol.errors import BadSignature, Code, Malformed, Problem, Refused, ShoalError, Unreachable, first_of
from protocol.notices import CatchUp, Changed, Members, Subscribe, decode_notice, encode_notice
from protocol.ports import Machine

log = logging.getLogger(__name__)
TICK = 5.0
"""Seconds between looks at the clocks and at the network."""
SLEPT = 30.0
"""Seconds by which the wall clock may run ahead of the monotonic one before the machine is taken to have slept."""

TURNED_AWAY = {
    Code.UNAUTHENTICATED: "the tracker no longer knows this device; what is here stays as it is: "
    "run shoal logout, then shoal login",
    Code.SUSPENDED: "this account is suspended; what is here stays as it is: ask whoever keeps the tracker",
}
"""Refusals that end only when a person does something."""

LocalAddress = Callable[[], Awaitable[str | None]]
"""This machine's address towards the tracker, None when there is none."""


class Subscription:
    """Keeps the connection, and tells the synchronizer."""

    def __init__(
        self,
        *,
        machine: Machine,
        client: DeviceClient,
        synchronizer: Synchronizer,
        pulling: Pulling,
        remote: RemoteTree,
        after_connect: Callable[[], Awaitable[None]],
        members_changed: Callable[[], None],
        moved: Callable[[], None],
        local_address: LocalAddress,
        backoff: Backoff,
    ) -> None:
        """`after_connect` is awaited once REMOTE is up to date after each connection. `members_changed` is called when
        the members of a workspace or their devices may be others than before, `moved` when the machine slept or is on
        another network."""
        self._machine = machine
        self._client = client
        self._synchronizer = synchronizer
        self._pulling = pulling
        self._remote = remote
        self._after_connect = after_connect
        self._members_changed = members_changed
        self._moved = moved
        self._local_address = local_address
        self._backoff = backoff
        self._scope = trio.CancelScope()
        self.reason = "connecting"
        """Why it is offline, in one line."""
        self.turned_away: str | None = None
        """Why the tracker, when it last answered, would have nothing to do with this device, and what a person can do;
        until it is taken in again. It is tried all the same: a tracker can be restored."""

    async def run(self) -> None:
        """Connect, again and again, until cancelled."""
        while True:
            self._synchronizer.lost = trio.Event()
            with trio.CancelScope() as self._scope:
                await self._connected()
            self._synchronizer.disconnected()
            with trio.move_on_after(self._backoff.next_delay()) as self._scope:
                await trio.sleep_forever()

    def reconnect(self, why: str) -> None:
        """Give up the present connection, or the present pause, and connect anew."""
        log.info("connecting anew: %s", why)
        self._backoff.reset()
        self._scope.cancel()

    async def _connected(self) -> None:
        """One connection, from beginning to end."""
        try:
            async with self._client.notifications() as connection, trio.open_nursery() as nursery:
                await self._pulling.pull()
                cursor = self._remote.cursor()
                subscribe = Subscribe(cursors=((self._remote.keys.workspace, cursor.revision),))
                await connection.send(encode_notice(subscribe))
                nursery.start_soon(self._receive, connection)
                self._members_changed()  # nobody tells what was missed before
                await self._after_connect()
                log.info("connected to the tracker")
                self.turned_away = None
                self._backoff.reset()
                self._synchronizer.connected()
                nursery.start_soon(self._catch_up)
                await self._synchronizer.lost.wait()
                nursery.cancel_scope.cancel()
        except* (Unreachable, Malformed, BadSignature, Refused, Problem) as group:
            self._failed(group.exceptions[0])

    def _failed(self, error: BaseException) -> None:
        error, before = first_of(error), self.reason
        self.reason = str(error)
        if isinstance(error, Refused) and error.code in TURNED_AWAY:
            self.reason = self.turned_away = TURNED_AWAY[error.code]
        unexpected = not isinstance(error, Unreachable) and self.reason != before  # once is enough
        log.log(logging.ERROR if unexpected else logging.INFO, "offline: %s", error)

    async def _receive(self, connection: Notifications) -> None:
        while True:
            notice = decode_notice(await connection.receive())
            if isinstance(notice, CatchUp):
                self._synchronizer.behind.set()
                self._members_changed()
            elif isinstance(notice, Members):
                self._members_changed()
            elif isinstance(notice, Changed) and notice.workspace == self._remote.keys.workspace:
                taken = notice.through <= self._remote.cursor().revision
                if not taken and notice.delta is not None:
                    taken = await self._pulling.take(decode_delta(notice.delta))
                if not taken:
                    self._synchronizer.behind.set()

    async def _catch_up(self) -> None:
        """Pull whenever somebody has found REMOTE to be behind."""
        while True:
            await self._synchronizer.behind.wait()
            self._synchronizer.behind = trio.Event()
            await self._pulling.pull()

    async def catch_up(self) -> None:
        """Ask for what the tracker has now, without waiting for a notice of it; nothing while there is no tracker."""
        if self._synchronizer.progress.online:
            try:
                await self._pulling.pull()
            except ShoalError as error:  # the connection will say so as well
                log.debug("not caught up: %s", error)

    async def notice_sleep_and_moves(self) -> None:
        """Connect anew and look at everything when the machine slept, or is on another network."""
        ahead, address = self._ahead(), await self._local_address()
        while True:
            await trio.sleep(TICK)
            ahead_now, address_now = self._ahead(), await self._local_address()
            if ahead_now - ahead > SLEPT:
                self.reconnect("this machine was asleep")
                self._synchronizer.look_at_everything()
                self._moved()
            elif address_now != address:
                self.reconnect("the network has changed")
                self._moved()
            ahead, address = ahead_now, address_now

    def _ahead(self) -> float:
        """By how many seconds the wall clock is ahead of the monotonic one; only changes of it mean anything."""
        return self._machine.now() / 1e9 - trio.current_time()
