"""The answer to `shoal explain`, for programs; `peer/cli/explanation.py` tells it to people."""

from typing import Any

from peer.explaining.reasons import UNWANTED, Reason, reasons_for
from peer.explaining.subject import Subject, find_subject
from peer.explaining.words import kind_of, local_words, pending_words, remote_words, synced_words
from peer.paths import names_in
from peer.peer import Peer
from peer.problems import printable
from peer.synchronizer.steps import Read, SendWrite
from peer.trees import Fetched
from peer.version_store import Version
from protocol.identifiers import DeviceId, VersionId


async def explain(peer: Peer, path: str) -> dict[str, Any]:
    """What is known of one path: each tree's view, what is pending and why, which version it is, and where its bytes
    are. Devices on the LAN are asked whether they have it. `Usage` for a path outside the folder."""
    names = names_in(peer.context.root.path, path)
    answer: dict[str, Any] = {"path": printable(names), "folder": peer.context.root.path}
    if not names:
        return answer | {"summary": "the folder itself: shoal status tells of it", "reasons": []}
    subject = await find_subject(peer, names)
    reasons = reasons_for(peer, subject)
    pending = pending_words(peer, subject)
    if subject.node is None:
        summary = _in_trouble(peer, _unknown(peer, subject, reasons))
        return answer | {"summary": summary, "reasons": [_reason(reason) for reason in reasons]}
    return answer | {
        "summary": _in_trouble(peer, _summary(subject, pending, reasons)),
        "node": subject.node.hex(),
        "kind": kind_of(subject),
        "local": local_words(peer, subject),
        "remote": remote_words(peer, subject),
        "synced": synced_words(peer, subject),
        "pending": pending,
        "reasons": [_reason(reason) for reason in reasons],
        **await _content(peer, subject),
    }


def _reason(reason: Reason) -> dict[str, str]:
    return {"kind": reason.kind, "reason": reason.reason, "advice": reason.advice}


def _in_trouble(peer: Peer, summary: str) -> str:
    """With what keeps all from being synced, and from being known: the folder may be gone."""
    error = peer.synchronizer.progress.error
    return summary if error is None else f"{error}; before that: {summary}"


def _unknown(peer: Peer, subject: Subject, reasons: list[Reason]) -> str:
    """Of a path that is in none of the trees."""
    if reasons and (subject.on_disk or subject.reserved):
        return f"not synced: {reasons[0].reason}"
    if subject.on_disk:
        return "it is in the folder, but was not seen yet: it is looked at in a moment"
    if not peer.synchronizer.progress.ready:
        return "not in the folder; the tracker has not been asked yet what it has"
    return "neither in the folder nor at the tracker: it never was, or it has been deleted everywhere"


def _summary(subject: Subject, pending: str | None, reasons: list[Reason]) -> str:
    if reasons and reasons[0].kind in UNWANTED:
        return f"{'not synced' if subject.on_disk or subject.local else 'not here'}: {reasons[0].reason}"
    if reasons and (subject.dirty or subject.remote is None):
        return f"not synced: {reasons[0].reason}"
    if pending is not None:
        return f"not synced yet: {pending}"
    if reasons:
        return f"synced, but: {reasons[0].reason}"
    remote = subject.remote
    if remote is None or remote.in_the_cloud:
        return "synced, in the cloud"
    return "synced, but not in the cloud yet: keep a device that has it on"


async def _content(peer: Peer, subject: Subject) -> dict[str, Any]:
    """Of a file or symlink: its versions, where the newest one is, and where the bytes that are here came from."""
    remote, synced, local = subject.remote, subject.synced, subject.local
    out: dict[str, Any] = {}
    if remote is not None and remote.version is not None:
        out["version"] = await _version(peer, remote.version)
        out["in_the_cloud"] = remote.in_the_cloud
        out["change_to_send"] = isinstance(subject.step, Read | SendWrite)
        if not remote.in_the_cloud:
            out["on_the_lan"] = await _holders(peer, subject, remote.version)
    if local is not None and synced is not None and synced.version is not None:
        if remote is None or remote.version != synced.version:
            out["version_here"] = await _version(peer, synced.version)
        out["bytes_from"] = await _sources(peer, subject, synced.version)
    return out


async def _version(peer: Peer, id: VersionId) -> dict[str, Any]:
    found = peer.context.versions.get(id)
    if found is None:
        return {"id": id.hex()}
    return {"id": id.hex(), "size": found.manifest.size, "time_ms": found.announced_ms, **await _author(peer, found)}


async def _author(peer: Peer, version: Version) -> dict[str, Any]:
    return {"device": version.author.hex(), "device_name": (await _named(peer, version.author))["name"]}


async def _named(peer: Peer, device: DeviceId) -> dict[str, str]:
    """A device with its name, "" when nobody knows it."""
    context = peer.context
    if device == context.device:
        return {"id": device.hex(), "name": context.device_name}
    link = context.neighbours.find(device)
    if link is not None:
        context.names.heard(device, link.channel.name)
    elif peer.synchronizer.progress.online:
        await context.names.learn([device], peer.client)
    return {"id": device.hex(), "name": context.names.get(device) or ""}


async def _holders(peer: Peer, subject: Subject, head: VersionId) -> list[str]:
    """Who has a version that is not in the cloud, as far as is known here."""
    links = await peer.context.neighbours.find_holders(head)
    names = [link.channel.name or link.device.hex() for link in links]
    here = subject.local is not None and subject.remote is not None and subject.local.content == subject.remote.content
    return ["this device", *names] if here else names


async def _sources(peer: Peer, subject: Subject, held: VersionId) -> dict[str, Any]:
    """Where the bytes of the version that is here came from. What this device has made itself was never fetched."""
    assert subject.node is not None
    version = peer.context.versions.get(held)
    own = version is not None and version.author == peer.context.device
    fetched = None if own else peer.context.store.fetched(subject.node)
    found = fetched or Fetched(0, 0, 0)
    devices = [await _named(peer, device) for device in found.devices]
    return {"fetched": fetched is not None, **found._asdict(), "devices": devices}
