"""What a peer says of itself: `status` (laws 5 and 9).

"synced" is said only when nothing is left to compare, to send or to fetch; "in the cloud" only when the tracker has
said that every newest version is durable.
"""

from typing import Any

import trio

from peer.excluding import excluded
from peer.lan.link import Link
from peer.peer import Peer
from peer.problems import PathProblem
from peer.synchronizer.context import POSTPONED
from peer.synchronizer.synchronizer import is_coming
from protocol.errors import Problem, Usage

GRACE = POSTPONED + 5.0
"""Seconds of error after which a wait is given up: until then what was refused is tried again at least once."""
STATES = ("starting", "scanning", "syncing", "synced", "paused", "offline", "held", "error")


def status_of(peer: Peer) -> dict[str, Any]:
    """The answer to `status`, as design §9 lays it out."""
    state, detail = state_of(peer)
    context, coming = peer.context, _coming(peer)
    counters = context.counters
    return {
        "state": state,
        "detail": detail,
        "folder": context.root.path,
        "device": {"id": context.device.hex(), "name": context.device_name},
        "workspaces": [
            {
                "id": context.keys.workspace.hex(),
                "name": "home",
                "revision": peer.remote.cursor().revision,
                "local_pending": max(0, context.store.dirty_count() - coming),
                "remote_pending": coming,
                "not_durable": context.store.not_durable_count(),
                "held": sum(group["files"] for group in context.surprises.summary()),
            }
        ],
        "watch": _watch(peer),
        "lan": _lan(peer),
        "lan_unreachable": [] if peer.meeting is None else list(peer.meeting.unreachable.values()),
        "lan_dropped": {} if peer.meeting is None else dict(peer.meeting.dropped),
        "peers": [_neighbour(link) for link in context.neighbours.links],
        "bytes": {way: counters[way] for way in ("lan_in", "lan_out", "cloud_in", "cloud_out")},
        "limits": {
            "upload": context.traffic.options.upload,
            "download": context.traffic.options.download,
            "waiting": context.traffic.withheld,
        },
        "scan_seconds": peer.synchronizer.progress.scan_seconds,
        "progress": {"done_bytes": context.transfer.done, "total_bytes": context.transfer.goal},
        "excluded": excluded(context),
        "problems": [*map(_problem, _general(peer)), *(_problem(*each) for each in context.problems.some())],
        "problem_count": len(_general(peer)) + context.problems.count(),
    }


def _watch(peer: Peer) -> str:
    """Whether all changes are heard of when they are made; if not, how they are found."""
    shared = peer.watcher.shared
    if shared is None or peer.watcher.limit is not None:
        return "on" if peer.watcher.limit is None else "off"
    seconds = peer.watcher.interval
    return f"the folder is on {shared}: changes made on other machines are found by scanning every {seconds:.0f} s"


def _lan(peer: Peer) -> str:
    """Whether devices are looked for on the LAN; if they can't be, why."""
    if peer.meeting is None:
        return "off"
    return "on" if peer.meeting.problem is None else peer.meeting.problem


def _neighbour(link: Link) -> dict[str, str]:
    address = link.channel.address
    host = f"[{address.host}]" if ":" in address.host else address.host
    return {"device": link.device.hex(), "name": link.channel.name, "address": f"{host}:{address.port}"}


_ONLY_THERE = """SELECT count(*) FROM dirty d CROSS JOIN remote r ON r.workspace = d.workspace AND r.node = d.node
    LEFT JOIN local l ON l.workspace = d.workspace AND l.node = d.node AND NOT l.gone
    WHERE d.workspace = ? AND l.node IS NULL"""


def _coming(peer: Peer) -> int:
    """How many nodes the tracker has something new of: those not here at all, and those here whose step says so."""
    store, steps = peer.context.store, peer.synchronizer.progress.steps
    changing = store.locals(node for node, step in steps.items() if is_coming(step))
    return len(changing) + int(store.database.row(_ONLY_THERE, store.workspace)[0])


def _problem(problem: PathProblem, more: int = 0) -> dict[str, Any]:
    """`more` like this one are not listed."""
    told = {"path": problem.path, "reason": problem.reason, "advice": problem.advice}
    return told | {"more": more} if more else told


def _general(peer: Peer) -> list[PathProblem]:
    """Problems that are not those of a path."""
    found = []
    if peer.watcher.limit is not None:
        advice = f"until then changes are found by scanning every {peer.watcher.interval:.0f} s"
        found.append(PathProblem("", "watch", peer.watcher.limit, advice))
    if peer.uploads.failure is not None:
        found.append(PathProblem("", "upload", f"uploads fail: {peer.uploads.failure}", "it is tried again"))
    return found


def state_of(peer: Peer) -> tuple[str, str]:
    """One of STATES, and one line that says more."""
    progress, context = peer.synchronizer.progress, peer.context
    if progress.error is not None:
        return "error", progress.error
    if peer.subscription.turned_away is not None:
        return "error", peer.subscription.turned_away
    if progress.paused:
        return "paused", "run shoal resume to go on"
    if context.surprises.holding:
        return "held", _held(context.surprises.summary())
    if not progress.online:
        if not progress.ready and peer.subscription.reason == "connecting":
            return "starting", "connecting to the tracker"
        return "offline", peer.subscription.reason
    if progress.scanning or context.look_at_all:
        return "scanning", "looking at the folder"
    if is_settled(peer):
        return "synced", "this device and the tracker agree"
    stuck = stuck_problem(peer)
    if stuck is not None:
        return "error", stuck
    waiting = context.traffic.withheld
    return "syncing", f"{_paths(context.store.dirty_count())} to go" + (
        f"; contents wait: {waiting}" if waiting else ""
    )


def _held(groups: list[dict[str, Any]]) -> str:
    """In one line: what waits for a person."""
    found = "; ".join(f"{_files(group['files'])} {group['text']}" for group in groups)
    return f"{found}: run shoal held, then shoal approve or shoal reject"


def _files(count: int) -> str:
    return "1 file was" if count == 1 else f"{count} files were"


def is_settled(peer: Peer) -> bool:
    """Whether the three trees are known to be equal."""
    progress, context = peer.synchronizer.progress, peer.context
    looking = progress.scanning or progress.looking or context.look_at_all or context.to_look_at or peer.watcher.held
    quiet = not (looking or progress.fetching)
    return progress.online and progress.ready and quiet and context.store.dirty_count() == 0


def stuck_problem(peer: Peer) -> str | None:
    """One line about paths that can't be synced as things are, when nothing else is going on."""
    progress, context = peer.synchronizer.progress, peer.context
    if progress.working or progress.fetching or progress.sending or context.to_look_at:
        return None
    dirty = [node for _, node in context.store.dirty_after(0, context.store.dirty_count())]
    rows = context.store.locals(dirty)
    stuck = sum(node in context.stuck or (node in rows and rows[node].blocked) for node in dirty)
    if not dirty or stuck < len(dirty):
        return None
    return f"{_paths(len(dirty))} can't be synced: see the problems"


def _paths(count: int) -> str:
    return "1 path" if count == 1 else f"{count} paths"


async def wait_for(peer: Peer, what: str) -> None:
    """Return once the peer is "synced" or "durable"; `Problem` when it isn't going to be by itself: it is paused, holds
    something, or is in error, and for longer than GRACE where it tries again by itself.

    Said of what was on the disk and at the tracker when asked: news of a change may still be on its way, so the tracker
    is asked and the folder looked at first.
    """
    if what not in ("synced", "durable"):
        raise Usage(f"there is no waiting for {what!r}")
    await peer.subscription.catch_up()
    peer.synchronizer.look_at_everything()
    well = trio.current_time()
    while True:
        settled = peer.synchronizer.progress.settled
        if is_settled(peer) and (what == "synced" or peer.context.store.not_durable_count() == 0):
            return
        state, detail = state_of(peer)
        tries_again = peer.synchronizer.progress.error is not None or bool(peer.context.stuck)
        if state != "error":
            well = trio.current_time()
        elif not tries_again or trio.current_time() - well > GRACE:
            raise Problem(f"{state}: {detail}")
        if state in ("paused", "held"):
            raise Problem(f"{state}: {detail}")
        with trio.move_on_after(1.0):
            await settled.wait()
