"""What a peer says of itself: `status` and `explain` (laws 5 and 9).

"synced" is said only when nothing is left to compare, to send or to fetch; "in the cloud" only when the tracker has
said that every newest version is durable.
"""

from typing import Any

import trio

from peer.excluding import excluded
from peer.lan.link import Link
from peer.paths import find_remote, names_in
from peer.peer import Peer
from peer.problems import PathProblem
from peer.synchronizer.context import POSTPONED
from peer.synchronizer.steps import Await, Read, SendWrite, Step, Wait
from peer.synchronizer.synchronizer import is_coming
from peer.trees import Local, Remote
from protocol.commits import DIRECTORY
from protocol.errors import Problem, Usage
from protocol.identifiers import NodeId

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
        "lan": _lan(peer),
        "peers": [_neighbour(link) for link in context.neighbours.links],
        "bytes": {way: counters[way] for way in ("lan_in", "lan_out", "cloud_in", "cloud_out")},
        "progress": {"done_bytes": context.transfer.done, "total_bytes": context.transfer.goal},
        "excluded": excluded(context),
        "problems": [_problem(problem) for problem in _problems(peer)],
    }


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


def _problem(problem: PathProblem) -> dict[str, str]:
    return {"path": problem.path, "reason": problem.reason, "advice": problem.advice}


def _problems(peer: Peer) -> list[PathProblem]:
    found = peer.context.problems.all()
    if peer.watcher.limit is not None:
        found.insert(0, PathProblem("", "watch", peer.watcher.limit, "until then changes are found by scanning"))
    if peer.uploads.failure is not None:
        found.insert(0, PathProblem("", "upload", f"uploads fail: {peer.uploads.failure}", "it is tried again"))
    return found


def state_of(peer: Peer) -> tuple[str, str]:
    """One of STATES, and one line that says more."""
    progress, context = peer.synchronizer.progress, peer.context
    if progress.error is not None:
        return "error", progress.error
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
    return "syncing", f"{_paths(context.store.dirty_count())} to go"


def _held(groups: list[dict[str, Any]]) -> str:
    """In one line: what waits for a person."""
    found = "; ".join(f"{_files(group['files'])} {group['text']}" for group in groups)
    return f"{found}: run shoal held, then shoal approve or shoal reject"


def _files(count: int) -> str:
    return "1 file was" if count == 1 else f"{count} files were"


def is_settled(peer: Peer) -> bool:
    """Whether the three trees are known to be equal."""
    progress, context = peer.synchronizer.progress, peer.context
    looking = progress.scanning or context.look_at_all or context.to_look_at or peer.watcher.held
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


async def explain(peer: Peer, path: str) -> dict[str, Any]:
    """What is known of one path: each tree's view, what is pending and why, and where its bytes are. Devices on the LAN
    are asked whether they have it."""
    names = names_in(peer.context.root.path, path)
    store = peer.context.store
    node = store.find(names) or find_remote(store, names)
    lines = [f"{path}"]
    lines += [f"problem: {p.reason}; {p.advice}" for p in _problems(peer) if p.path == "/".join(names)]
    rule = None if store.find(names) else peer.context.selection.ignoring(names)
    lines += [] if rule is None else [f"ignored here:   by {rule}; it stays as it is, and isn't synced"]
    if node is None and rule is not None:
        return {"lines": lines}
    if node is None:
        return {"lines": [*lines, "not known to Shoal: it is not in the folder, or has not been seen yet"]}
    if not names:
        return {"lines": [*lines, "the folder itself: see shoal status"]}
    return {"lines": [*lines, *await _explain_node(peer, node)], "node": node.hex()}


async def _explain_node(peer: Peer, node: NodeId) -> list[str]:
    store, versions = peer.context.store, peer.context.versions
    local, remote, synced = store.local(node), store.remote(node), store.synced(node)
    lines = [
        f"on this disk:   {'no' if local is None else 'yes, not read yet' if _unread(local) else 'yes'}",
        f"at the tracker: {'no' if remote is None else 'yes'}",
        f"last agreed:    {'never' if synced is None else 'yes'}",
    ]
    if peer.context.selection.excluded_of([node]):
        lines.append("excluded here:  yes; shoal include brings it back")
    step = peer.synchronizer.progress.steps.get(node)
    lines.append(f"pending:        {_pending(step)}")
    if remote is not None and remote.version is not None:
        version = versions.get(remote.version)
        author = "this device" if version and version.author == peer.context.device else "another device"
        lines.append(f"version:        {remote.version.hex()} by {author}")
        lines.append(f"in the cloud:   {_in_the_cloud(remote, step)}")
        lines += await _on_the_lan(peer, remote, local)
    if local is not None and synced is not None and synced.version is not None:
        held = versions.get(synced.version)
        own = held is not None and held.author == peer.context.device
        lines.append(f"bytes from:     {'this device' if own else _sources(store.fetched(node))}")
    return lines


async def _on_the_lan(peer: Peer, remote: Remote, local: Local | None) -> list[str]:
    """Who has a version that is not in the cloud, as far as is known here."""
    if remote.in_the_cloud or remote.version is None:
        return []
    links = await peer.context.neighbours.find_holders(remote.version)
    names = [link.channel.name or link.device.hex() for link in links]
    if local is not None and local.content == remote.content:
        names.insert(0, "this device")
    return [f"on your LAN:    {', '.join(names) or 'no device that has it is linked'}"]


def _sources(fetched: tuple[int, int, int] | None) -> str:
    if fetched is None:
        return "this device"
    cloud, lan, here = fetched
    if not cloud + lan + here:
        return "the cloud, with its metadata"
    shares = ((cloud, "the cloud"), (lan, "the LAN"), (here, "the version before"))
    return ", ".join(f"{name} ({size:,} bytes)" for size, name in shares if size)


def _unread(local: Any) -> bool:
    return local.content is None and local.kind != DIRECTORY


def _in_the_cloud(remote: Remote, step: Step | None) -> str:
    if not remote.in_the_cloud:
        return "not yet: keep the device that has it on"
    if isinstance(step, Read | SendWrite):
        return "the version before; the latest change is still to be sent"
    return "yes"


def _pending(step: Step | None) -> str:
    if step is None:
        return "nothing"
    if isinstance(step, Await):
        return "waiting: its content is neither in the cloud nor on the LAN yet"
    if isinstance(step, Wait):
        return f"waiting: {step.why}"
    return (step.__doc__ or type(step).__name__).split(".")[0].split(":")[0]
