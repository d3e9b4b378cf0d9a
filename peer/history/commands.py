"""`history`, `restore` and `rewind`, as the control socket asks the daemon for them."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from peer.account import open_device_name
from peer.history.committing import Committing
from peer.history.listing import deleted_rows, iso, numbered, rows_of
from peer.history.past import Answer, Change, Event, counted, pasts
from peer.history.reading import Reader, latest
from peer.history.restoring import Found, Restoring, find
from peer.history.rewinding import Rewind, rewind
from peer.paths import find_remote
from peer.synchronizer.context import Context
from peer.tracker_client import DeviceClient
from protocol.api import ACCOUNT, CommitRefusal, CommitReply, Empty
from protocol.codec import decode
from protocol.commits import DIRECTORY
from protocol.errors import CannotOpen, Code, Malformed, Problem, Refused, Unreachable, Usage
from protocol.hashing import digest
from protocol.identifiers import ROOT, DeviceId, NodeId

log = logging.getLogger(__name__)
TRIES = 4
"""How often a change is planned anew because somebody else has changed the same meanwhile."""
PATHS = 20
"""Paths that a preview shows."""
NS = 1_000_000
"""In a millisecond."""
QUOTA = "your plan's storage is full: nothing was changed"

Names = tuple[str, ...]


class History:
    """The past of one workspace, for people. One change of the past at a time."""

    def __init__(
        self,
        context: Context,
        client: DeviceClient,
        reader: Reader,
        committing: Committing,
        catch_up: Callable[[], Awaitable[None]],
        fall_behind: Callable[[], None],
    ) -> None:
        """`catch_up` brings REMOTE up to date, if the tracker answers; `fall_behind` has that done for certain."""
        self._context = context
        self._client = client
        self._reader = reader
        self._committing = committing
        self._catch_up = catch_up
        self._fall_behind = fall_behind
        self._turn = trio.Lock()

    # Looking

    async def history(self, names: Names) -> dict[str, Any]:
        """What happened at a path. `Usage` when nothing is or was there."""
        await self._catch_up()
        devices = await self._device_names()
        if not names:
            return {"path": "", "kind": "folder", "there": True, "rows": [], **await self._deleted_in([ROOT], devices)}
        found = await find(self._reader, self._context.store, names)
        if not found.nodes:
            raise await self._unknown(found)
        events = await self._events(found)
        live = found.live
        folders = _folders(found)
        return {
            "path": "/".join(names),
            "kind": "folder" if folders else "file",
            "there": live is not None,
            "rows": rows_of(events, None if live is None else live.version, devices, self._path_of, found.all_folders),
            **(await self._deleted_in(folders, devices) if folders else {}),
        }

    async def _events(self, found: Found) -> list[Event]:
        return (await self._reader.history(found.nodes)).events

    async def _deleted_in(self, folders: Sequence[NodeId], devices: Mapping[DeviceId, str]) -> dict[str, Any]:
        return {"deleted": deleted_rows(latest(await self._reader.deleted(folders)), devices)}

    def _path_of(self, node: NodeId) -> Names | None:
        return () if node == ROOT else self._context.store.remote_path(node)

    async def _device_names(self) -> dict[DeviceId, str]:
        """The names of the user's own devices."""
        names = {self._context.device: self._context.device_name}
        account = await self._client.call(ACCOUNT, Empty())
        for info in account.devices:
            try:
                names[info.device] = open_device_name(self._client.credentials, info.device, info.name)
            except (CannotOpen, Malformed):
                continue
        return names

    # Restoring

    async def restore(self, names: Names, version: int | None) -> dict[str, Any]:
        """Bring back a version, or what was deleted last, of a path."""
        if not names:
            raise Usage("the whole folder has no versions: see shoal rewind")
        async with self._turn:
            for left in reversed(range(TRIES)):
                await self._catch_up()
                changes = await self._restoring(names, version)
                if not changes:
                    return {"paths": [], "files": 0, "revision": None, "not_here": self._not_here(names)}
                reply = await self._commit(changes, again=left > 0)
                if reply is not None:
                    path = _chief(changes, names).path
                    return {
                        "paths": ["/".join(change.path) for change in changes[:PATHS]],
                        "files": sum(change.kind != DIRECTORY for change in changes),
                        "path": "/".join(path),
                        "revision": reply.revision,
                        "not_here": self._not_here(path),
                    }
        raise AssertionError

    async def _restoring(self, names: Names, version: int | None) -> list[Change]:
        found = await find(self._reader, self._context.store, names)
        if not found.nodes:
            raise await self._unknown(found)
        restoring = Restoring(
            self._reader,
            self._context.store,
            found,
            self._context.machine.random_bytes,
            self._context.machine.now(),
        )
        if version is None:
            return await restoring.last()
        versions = numbered(await self._events(found))
        if not versions:
            raise Usage(f"{'/'.join(names)} is a folder and has no versions: see shoal rewind")
        if version not in versions:
            raise Usage(f"there are versions 1 to {len(versions)} of {'/'.join(names)}")
        return restoring.version(versions[version])

    def _not_here(self, names: Names) -> str | None:
        """Why what the tracker has at a path isn't to come to this device; None if it is."""
        store, selection = self._context.store, self._context.selection
        node = find_remote(store, names)
        if node is None or store.local(node) is not None:
            return None
        if selection.excluded_of([node]):
            return "it is excluded here; shoal include brings it"
        remote = store.remote(node)
        rule = selection.ignoring(names, directory=remote is not None and remote.kind == DIRECTORY)
        return None if rule is None else f"it is ignored here, by {rule}"

    async def _unknown(self, found: Found) -> Usage:
        """What to say of a path at which nothing is or was."""
        path, rest = "/".join(found.names[: found.depth]), found.names[found.depth :]
        moved = await self._reader.moved(found.parents, found.names[found.depth - 1])
        if moved:
            place, deleted = moved[-1]
            now = "/".join((*(self._path_of(place.parent) or ()), place.name))
            end = ", and deleted there" if deleted else ""
            return Usage(f"{path} was moved to {now}{end}: see shoal history {'/'.join((now, *rest))}")
        rule = self._context.selection.ignoring(found.names)
        why = "" if rule is None else f"; it is ignored here, by {rule}"
        return Usage(f"{'/'.join(found.names)}: nothing of that name is or was in the cloud{why}")

    # Rewinding

    async def rewind(self, names: Names, since: dict[str, int], agreed: str | None, *, apply: bool) -> dict[str, Any]:
        """What a rewind would change; with `apply` it is done, if that is still what was `agreed` to."""
        async with self._turn:
            for left in reversed(range(TRIES)):
                await self._catch_up()
                answer = await self._reader.changed(**since)
                since = {"revision": answer.revision}  # what a time means is settled
                if not self._reader.is_up_to_date(answer):
                    if not left:
                        raise Problem("this device is behind the tracker: nothing was changed, try again")
                    continue
                plan = await self._rewinding(names, answer)
                preview = self._preview(names, answer, plan)
                if apply and agreed is not None and agreed != preview["plan"]:
                    raise Problem("something has changed meanwhile: look at what would change now")
                if not apply or not plan.changes:
                    return preview
                reply = await self._commit(plan.changes, again=left > 0)
                if reply is not None:
                    return {**preview, "done": True, "undo": f"@{reply.since}", "at": reply.revision}
        raise AssertionError

    async def _rewinding(self, names: Names, answer: Answer) -> Rewind:
        folder = await self._folder(names)
        changed = pasts(answer)
        if folder == ROOT and answer.revision == 0:
            raise Usage("there was nothing yet at that time")
        if any(past.node == folder and past.place is None for past in changed):
            raise Usage(f"{'/'.join(names)} wasn't there yet at that time")
        return rewind(changed, self._context.store, folder, answer.now_ms * NS)

    async def _folder(self, names: Names) -> NodeId:
        """The folder at a path, or the one that was deleted there last."""
        if not names:
            return ROOT
        found = await find(self._reader, self._context.store, names)
        if found.live is not None and found.live.kind != DIRECTORY:
            raise Usage(f"{'/'.join(names)} is no folder: see shoal restore")
        folders = _folders(found)
        if not folders:
            raise Usage(f"{'/'.join(names)}: no folder of that name is or was there")
        return folders[0]

    def _preview(self, names: Names, answer: Answer, plan: Rewind) -> dict[str, Any]:
        return {
            "folder": "/".join(names),
            "time": iso(answer.time_ms),
            "revision": answer.revision,
            "counts": dict(counted(plan.changes)),
            "left": plan.left,
            "paths": [{"what": change.what, "path": "/".join(change.path)} for change in plan.changes[:PATHS]],
            "unsynced": self._context.store.dirty_count(),
            "plan": _fingerprint(answer.revision, plan.changes),
            "done": False,
        }

    # Committing

    async def _commit(self, changes: Sequence[Change], *, again: bool) -> CommitReply | None:
        """None when it is to be planned anew (`again`), as others were faster."""
        try:
            reply = await self._committing.commit(changes)
        except Unreachable as error:
            raise Unreachable(f"{error}; whether it was done the history will show") from None
        except Refused as refusal:
            if refusal.code is not Code.COMMIT:
                raise
            reasons = _reasons(refusal)
            log.info("a change of the past was refused: %s (%s)", refusal, ", ".join(sorted(reasons)))
            if "quota" in reasons:
                raise Problem(QUOTA) from None
            if not again:
                raise Problem("others keep changing the same: nothing was changed, try again") from None
            return None
        finally:
            self._fall_behind()  # nobody tells a device of its own commits, not even of one whose answer was lost
        await self._catch_up()
        return reply


def _reasons(refusal: Refused) -> set[str]:
    detail = decode(CommitRefusal, refusal.detail, len(refusal.detail))
    return {failed.reason for failed in detail.operations}


def _folders(found: Found) -> list[NodeId]:
    """The folders among what is and was at a path."""
    live = found.live
    if live is not None:
        return [live.node] if live.kind == DIRECTORY else []
    return [past.node for past in found.gone[:1] if past.is_directory]


def _chief(changes: Sequence[Change], names: Names) -> Change:
    """The change that is about the path itself: those before it are about the folders above."""
    return next(change for change in changes if len(change.path) >= len(names))


def _fingerprint(revision: int, changes: Sequence[Change]) -> str:
    """Stands for what was shown; the same for the same."""
    told = [(each.node, each.what, each.path, each.place, each.version, each.to) for each in changes]
    return digest(repr((revision, told)).encode()).hex()[:32]
