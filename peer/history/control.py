"""The commands about the past on the control socket: what they take, and what is waited for before."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import trio

from peer.paths import names_in
from peer.peer import Peer
from peer.status import wait_for
from protocol.errors import Malformed, Problem, Usage

SETTLE_S = 5.0
"""How long a change of the past waits for what was just changed here to go up, so that it is in the history, too."""
SINCE = ("revision", "time_ms", "ago_ms")

Arguments = Mapping[str, Any]


async def _history(peer: Peer, arguments: Arguments) -> Any:
    return await peer.history.history(names_in(peer.context.root.path, _text(arguments, "path")))


async def _restore(peer: Peer, arguments: Arguments) -> Any:
    version = arguments.get("version")
    if version is not None and (type(version) is not int or version < 1):
        raise Malformed("a version is a number from 1 on")
    names = names_in(peer.context.root.path, _text(arguments, "path"))
    await _settle(peer)
    return await peer.history.restore(names, version)


async def _rewind(peer: Peer, arguments: Arguments) -> Any:
    since = {name: arguments[name] for name in SINCE if arguments.get(name) is not None}
    if len(since) != 1 or any(type(value) is not int or value < 0 for value in since.values()):
        raise Malformed("one of a revision, a time and an age is to be given")
    path = arguments.get("path")
    names = () if path is None else names_in(peer.context.root.path, _text(arguments, "path"))
    await _settle(peer)
    agreed = arguments.get("agreed")
    return await peer.history.rewind(names, since, agreed, apply=arguments.get("apply") is True)


def _text(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if type(value) is not str:
        raise Malformed(f"no {name}")
    return value


async def _settle(peer: Peer) -> None:
    """What can't be sent in time stays here: it is merged with what comes back."""
    if peer.synchronizer.progress.paused:
        raise Usage("paused: run shoal resume first")
    with trio.move_on_after(SETTLE_S), suppress(Problem):
        await wait_for(peer, "synced")


PAST: dict[str, Callable[[Peer, Arguments], Awaitable[Any]]] = {
    "history": _history,
    "restore": _restore,
    "rewind": _rewind,
}
