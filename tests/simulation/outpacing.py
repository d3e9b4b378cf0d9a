"""A file is saved again and again before any of that is in the cloud.

Another device follows over the LAN, and its disk fails when one version has just taken the place of another.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from protocol.api import PACK_PATH
from protocol.hashing import digest
from tests.simulation.counts import BETWEEN_SWAP_AND_SYNCED
from tests.simulation.device import SimulatedDevice
from tests.simulation.filling import saving
from tests.simulation.inodes import failure
from tests.simulation.people import Person
from tests.simulation.surroundings import Surroundings
from tests.simulation.waiting import until

_TIMES = 3
_SEEN = 2.0
"""Seconds in which everybody has heard of a version, as a rule."""


async def outpace(around: Surroundings) -> None:
    """While all else is at rest."""
    rng = around.rng
    for _ in range(_TIMES):
        author, other = rng.sample(list(around.people.values()), 2)
        common = author.files_in_common(other)
        if not common:
            continue
        _cut_all_off(around, frozenset((PACK_PATH,)))
        try:
            await _save_thrice(around, author, other, rng.choice(common))
        finally:
            _cut_all_off(around, frozenset())


async def _save_thrice(around: Surroundings, author: Person, other: Person, path: str) -> None:
    follower = around.devices[other.name]
    author.do(saving(path, large=True))
    if not await until(lambda: _only_agreed_on(author, follower, path)):
        return
    with _failing_after_a_swap(follower):
        around.oracle.replace_alone(author.user.read(author.full(path)))
        author.do(saving(path, large=True))
        if not await until(lambda: path in author.files_in_common(other)):
            return
    around.log.happened["outpaced"] += 1
    author.do(saving(path, large=True))
    await trio.sleep(_SEEN)


def _only_agreed_on(author: Person, follower: SimulatedDevice, path: str) -> bool:
    """Whether the follower has just what the author has, and the cloud hasn't."""
    entry = author.tree().get(path)
    return entry is not None and entry[0] == "file" and bool(follower.ledger.agreed_on_only(digest(entry[1])))


@contextmanager
def _failing_after_a_swap(device: SimulatedDevice) -> Iterator[None]:
    """The disk doesn't say that a swap will last."""
    mischief, meddle = device.mischief, device.mischief.meddle

    def fail(at: str, call: str, arguments: tuple[Any, ...]) -> None:
        meddle(at, call, arguments)
        if call in ("fsync", "sync_file_system") and mischief.phases.now == BETWEEN_SWAP_AND_SYNCED:
            raise failure(errno.EIO)

    mischief.meddle = fail
    try:
        yield
    finally:
        mischief.meddle = meddle


def _cut_all_off(around: Surroundings, paths: frozenset[str]) -> None:
    for device in around.devices.values():
        device.cut_off_from(paths)
