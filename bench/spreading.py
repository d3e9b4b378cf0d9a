"""A file that appears on one device, and how long until each of several others has it in place and durable."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from bench.compare import content_hash
from bench.failures import BenchFailed
from bench.lan.clock import DEADLINE_SECONDS, Arrivals
from bench.lan.works import Save, Saved, blocks_of
from bench.made import MadeFile
from bench.parts import Device

LOOK_SECONDS = 0.005


@dataclass(frozen=True)
class Spread:
    """Seconds: `writing` is the program's own; the clock starts when it has closed the file. `seconds` are of each
    receiver."""

    saved: float  # the moment, of `time.perf_counter`
    writing: float
    seconds: tuple[float, ...]


def new_file(name: str, size: int) -> Save:
    """`size` incompressible bytes, the same each time, written by a program block by block."""

    def write(folder: Path) -> None:
        with (folder / name).open("wb") as out:
            for block in blocks_of(MadeFile(size)):
                out.write(block)

    return Save((Saved(name, size),), write)


async def spread(save: Save, source: Device, receivers: Sequence[Device], seconds: float = DEADLINE_SECONDS) -> Spread:
    """Write it, and wait until it is in place and durable on each receiver; `BenchFailed` when it isn't in time."""
    began = time.perf_counter()
    await trio.to_thread.run_sync(save.write, source.folder)
    saved = time.perf_counter()
    return Spread(saved, saved - began, await arrivals(save, receivers, saved, seconds))


async def arrivals(
    save: Save, receivers: Sequence[Device], since: float, seconds: float = DEADLINE_SECONDS
) -> tuple[float, ...]:
    """Seconds after `since` until each receiver has it in place and durable."""
    came: dict[str, float] = {}

    async def one(receiver: Device) -> None:
        came[receiver.name] = await Arrivals(receiver.folder, save.files, LOOK_SECONDS).all_durable() - since

    with trio.move_on_after(seconds) as waiting:
        async with trio.open_nursery() as nursery:
            for receiver in receivers:
                nursery.start_soon(one, receiver)
    if waiting.cancelled_caught:
        missing = [receiver.name for receiver in receivers if receiver.name not in came]
        raise BenchFailed(f"{save.files[0].name} not on {', '.join(missing)} within {seconds:g} s", *_logs(receivers))
    return tuple(came[receiver.name] for receiver in receivers)


def _logs(receivers: Sequence[Device]) -> list[Path]:
    return [receiver.running.log for receiver in receivers if receiver.running is not None]


async def verify_all(save: Save, source: Path, receivers: Sequence[Device]) -> None:
    """`BenchFailed` unless all have the content that is in the folder `source`."""
    for saved in save.files:
        whole = await trio.to_thread.run_sync(content_hash, source / saved.name)
        for receiver in receivers:
            if await trio.to_thread.run_sync(partial(content_hash, receiver.folder / saved.name)) != whole:
                raise BenchFailed(f"{saved.name} arrived on {receiver.name} with another content")
