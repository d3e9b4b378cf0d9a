"""`shoal history`: the events of one path, its versions numbered. Pure.

Version 1 is the oldest, and numbers stay. What happened to one node in one commit is one row: a file that is restored
gets its content anew, and a file may be moved and changed at once.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from peer.history.past import CHANGED, Event, Past
from protocol.commits import DIRECTORY
from protocol.identifiers import DeviceId, NodeId, VersionId

MAX_ROWS = 5000
"""In one answer; of more the newest are shown."""

PathOf = Callable[[NodeId], tuple[str, ...] | None]


def merged(events: Iterable[Event]) -> list[Event]:
    """One event for each node and commit, in order."""
    rows = []
    for _, group in groupby(sorted(events, key=lambda event: (event.revision, event.node, event.position)), _same_act):
        acts = list(group)
        event = next((act for act in acts if act.what != CHANGED), acts[0])
        content = next((act for act in reversed(acts) if act.stored is not None), event)
        rows.append(event._replace(stored=content.stored, durable=content.durable))
    return sorted(rows, key=lambda event: (event.revision, event.position))


def _same_act(event: Event) -> tuple[int, NodeId]:
    return event.revision, event.node


def numbered(events: Iterable[Event]) -> dict[int, Event]:
    """The merged events that brought content, by the version numbers that people use."""
    return dict(enumerate((event for event in merged(events) if event.stored is not None), 1))


def rows_of(
    events: Sequence[Event],
    current: VersionId | None,
    names: Mapping[DeviceId, str],
    path_of: PathOf,
    folders: Container[NodeId],
) -> list[dict[str, Any]]:
    """The rows of a listing, oldest first, as they go to the command line; `folders` are those among the nodes."""
    rows, number = [], 0
    for event in merged(events):
        number += event.stored is not None
        stored = event.stored
        row = {
            "version": None if stored is None else number,
            "what": event.what,
            "kind": "folder" if event.node in folders else "file",
            "time": iso(event.time_ms),
            "revision": event.revision,
            "device": names.get(event.device, event.device.hex()[:8]),
            "device_id": event.device.hex(),
            "path": _path(event, path_of),
            "size": None if stored is None else stored.manifest.size,
            "in_the_cloud": stored is not None and event.durable,
            "current": stored is not None and stored.version == current,
        }
        rows.append(row)
    return rows[-MAX_ROWS:]


def _path(event: Event, path_of: PathOf) -> str | None:
    """Where the event put the node; only its name, if the folder isn't there any more."""
    if event.place is None:
        return None
    above = path_of(event.place.parent)
    return "/".join((*(above or ()), event.place.name)) if above is not None else event.place.name


def deleted_rows(found: Iterable[Past], names: Mapping[DeviceId, str]) -> list[dict[str, Any]]:
    """What was deleted in a folder and can be restored, the latest first."""
    rows = []
    for past in found:
        if past.place is None or past.deleted is None or not past.can_be_had:
            continue
        rows.append(
            {
                "name": past.place.name,
                "kind": "folder" if past.now.kind == DIRECTORY else "file",
                "time": iso(past.deleted.time_ms),
                "device": names.get(past.deleted.device, past.deleted.device.hex()[:8]),
                "size": None if past.stored is None else past.stored.manifest.size,
            }
        )
    return rows[:MAX_ROWS]


def iso(time_ms: int) -> str:
    """A time of the tracker's in UTC, to the millisecond, as `rewind --to` takes it."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
