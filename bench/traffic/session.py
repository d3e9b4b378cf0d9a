"""The whole measurement: each rival in its turn does all updates, alone on the machine and from nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from bench.compare import content_hash
from bench.failures import BenchFailed, failure_of
from bench.lan.clock import DEADLINE_SECONDS
from bench.lan.order import interleaved
from bench.lan.works import Save
from bench.traffic.figures import Measure
from bench.traffic.rivals import Rival, Stand
from bench.traffic.updates import Sizes, Update

QUIET_SECONDS = 1.0
"""After it has come to rest, so that what trails along is counted as well."""
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Setting:
    """What to measure."""

    rivals: tuple[Rival, ...]
    updates: tuple[Update, ...]
    sizes: Sizes
    runs: int


async def measure(setting: Setting, place: Path, told: Callable[[Measure], None]) -> None:
    """`BenchFailed` at the first thing that goes wrong."""
    for run, rival in interleaved(setting.rivals, setting.runs):
        failure = await failure_of(partial(_turn, setting, run, rival, place / f"{rival.name}-{run}", told))
        if failure is not None:
            logs = failure.logs if isinstance(failure, BenchFailed) else ()
            raise BenchFailed(f"{rival.name}, run {run}: {failure}", *logs)


async def _turn(setting: Setting, run: int, rival: Rival, place: Path, told: Callable[[Measure], None]) -> None:
    async with rival.start(place) as stand:
        for update in setting.updates:
            told(await _measure(setting.sizes, run, rival, stand, update))


async def _measure(sizes: Sizes, run: int, rival: Rival, stand: Stand, update: Update) -> Measure:
    if update.before is not None:
        before = update.before(sizes)
        await _save(before, stand)
        await _arrived(before, stand)
    await _rest(stand)
    sender, receiver, began = stand.sender.carried(), stand.receiver.carried(), trio.current_time()
    await _do(update, sizes, stand)
    if update.rests is not None:
        await trio.sleep(update.rests(sizes))
    else:
        await _rest(stand)
    return Measure(
        update=update.name,
        rival=rival.name,
        run=run,
        payload=update.payload(sizes),
        seconds=trio.current_time() - began,
        sender=stand.sender.carried().since(sender),
        receiver=stand.receiver.carried().since(receiver),
    )


async def _do(update: Update, sizes: Sizes, stand: Stand) -> None:
    """Save all at its pace; return when the last is there."""
    due = trio.current_time()
    last: Save | None = None
    for last in update.saves(sizes):
        await trio.sleep_until(due)
        await _save(last, stand)
        due += update.pace
    if last is not None:
        await _arrived(last, stand)


async def _save(save: Save, stand: Stand) -> None:
    await trio.to_thread.run_sync(save.write, stand.source)
    await stand.saved(save.files)


async def _arrived(save: Save, stand: Stand) -> None:
    """Return when the contents are the same on both sides: an edit leaves the size as it was."""
    with trio.move_on_after(DEADLINE_SECONDS):
        while True:
            if await trio.to_thread.run_sync(_alike, stand, save):
                return
            await trio.sleep(LOOK_SECONDS)
    raise BenchFailed(f"{save.files[-1].name} has not arrived within {DEADLINE_SECONDS:g} s")


def _alike(stand: Stand, save: Save) -> bool:
    try:
        return all(_same(stand.source / saved.name, stand.target / saved.name) for saved in save.files)
    except FileNotFoundError:
        return False


def _same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and content_hash(one) == content_hash(other)


async def _rest(stand: Stand) -> None:
    await stand.settle()
    await trio.sleep(QUIET_SECONDS)
