"""Bringing REMOTE up to date: deltas, page by page, or from a notification; a snapshot where nothing fits together."""

import logging
from collections.abc import Awaitable, Callable

import trio

from peer.remote import Fold, NeedsSnapshot, OwnCommit, RemoteTree, Signers, UnknownDevice, runs_of
from peer.synchronizer.context import Context
from peer.tracker_client import DeviceClient
from protocol.api import DELTA, DeltaRequest
from protocol.commits import decode_commit
from protocol.deltas import Delta
from protocol.errors import BadSignature, Code, Malformed, Refused
from protocol.failpoints import failpoint

log = logging.getLogger(__name__)


class Pulling:
    """Takes in what the tracker ordered. One delta at a time, whoever asks."""

    def __init__(
        self,
        context: Context,
        client: DeviceClient,
        remote: RemoteTree,
        signers: Callable[[], Signers],
        refresh_signers: Callable[[], Awaitable[None]],
    ) -> None:
        """`refresh_signers` asks the tracker for the members' certificates once more."""
        self._context = context
        self._client = client
        self._remote = remote
        self._signers = signers
        self._refresh_signers = refresh_signers
        self._lock = trio.Lock()

    async def pull(self) -> None:
        """Ask for everything after the cursor. Raises `Unreachable`."""
        async with self._lock:
            try:
                if self._remote.cursor().tracker_epoch is None:
                    await self._pull_snapshot()
                else:
                    await self._pull(snapshot=False)
            except (NeedsSnapshot, Refused) as error:
                if isinstance(error, Refused) and error.code is not Code.CURSOR_UNKNOWN:
                    raise
                log.warning("merging with the tracker from a full snapshot: %s", error)
                await self._pull_snapshot()
        self._context.wake.set()

    async def _pull_snapshot(self) -> None:
        try:
            await self._pull(snapshot=True)
        except NeedsSnapshot as error:
            raise Malformed(f"the tracker's snapshot doesn't fit together: {error}") from None

    async def take(self, data: Delta) -> bool:
        """Take in a delta that came with a notification. False when it doesn't follow on what is here."""
        async with self._lock:
            cursor = self._remote.cursor()
            if data.since != cursor.revision or data.tracker_epoch != cursor.tracker_epoch or data.head != data.through:
                return data.through <= cursor.revision
            fold = Fold(snapshot=False)
            try:
                await self._take_page(fold, data)
                if self._remote.is_stale(data) or self._remote.lacks_own([data]):
                    return False
                self._show(fold, [data])
            except NeedsSnapshot:
                return False
        self._context.wake.set()
        return True

    async def _pull(self, *, snapshot: bool) -> None:
        cursor, fold, pages = self._remote.cursor(), Fold(snapshot=snapshot), list[Delta]()
        request = DeltaRequest(workspace=self._context.keys.workspace, revision=0)
        if not snapshot:
            request = DeltaRequest(
                workspace=self._context.keys.workspace,
                revision=cursor.revision,
                tracker_epoch=cursor.tracker_epoch,
                hash=cursor.hash,
            )
        while True:  # each page gets on, and there is an end to them
            known = self._remote.own
            page = await self._client.call(DELTA, request)
            if page.since != request.revision or page.workspace != self._context.keys.workspace:
                raise Malformed("the tracker sent another delta than was asked for")
            if page.since == page.through < page.head:
                raise Malformed("the tracker says that there is more, and doesn't send it")
            if not snapshot and page.tracker_epoch != cursor.tracker_epoch:
                raise NeedsSnapshot("the tracker's database is not the one from before")
            await self._take_page(fold, page)
            pages.append(page)
            if page.through >= page.head:
                own = self._remote.own
                if own is not None and not snapshot and self._remote.lacks_own(pages):
                    await self._require(own)
                if not self._remote.is_stale(page):
                    break
                if self._remote.own == known:  # it was answered before this was asked, and isn't there
                    if not snapshot:
                        raise NeedsSnapshot("the tracker has lost a commit of this device")
                    break
            request = DeltaRequest(
                workspace=page.workspace, revision=page.through, tracker_epoch=page.tracker_epoch, hash=page.hash
            )
        failpoint("peer.delta.received")
        self._show(fold, pages)
        failpoint("peer.delta.applied")

    async def _require(self, own: OwnCommit) -> None:
        """`Refused` (CURSOR_UNKNOWN) when this commit of the device's is none of the tracker's history."""
        cursor = DeltaRequest(
            workspace=self._context.keys.workspace,
            revision=own.revision,
            tracker_epoch=own.tracker_epoch,
            hash=own.hash,
        )
        await self._client.call(DELTA, cursor)

    async def _take_page(self, fold: Fold, page: Delta) -> None:
        if not fold.snapshot:
            self._remote.check_chain(page)
        try:
            self._remote.take_in(fold, page, self._signers())
        except (UnknownDevice, BadSignature, KeyError):
            # A device or a key epoch that is newer than the list held here; fetched once, then it must fit.
            await self._refresh_signers()
            try:
                self._remote.take_in(fold, page, self._signers())
            except UnknownDevice as error:
                raise BadSignature(str(error)) from None

    def _show(self, fold: Fold, pages: list[Delta]) -> None:
        """Settle this device's own commits first, then show the rest, all in one transaction."""
        with self._context.store.database.transaction():
            for page in pages:
                self._context.versions.put_runs(runs_of(page))
                self._accept_own(page)
            self._remote.show(fold, pages[-1])

    def _accept_own(self, page: Delta) -> None:
        database, workspace = self._context.store.database, self._context.store.workspace
        for entry in page.entries:
            if entry.commit is not None and entry.commit.device == self._context.device:
                row = database.row("SELECT body FROM outbox WHERE workspace = ? AND id = ?", workspace, entry.commit.id)
                if row is not None:
                    self._remote.accept(decode_commit(row[0]), entry, self._context.device)
