"""A daemon that neither advertises itself nor hears who does: `python -m tests.support.silent MODULE ...`.

It listens and dials as ever, so it meets only devices that it is told of with `--lan-peer`, or that are told of it.
"""

import runpy
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from peer.ports import Advertisement
from peer.system.lan import LocalNetwork


class NoBeacons:
    """See `peer.ports.Beacons`."""

    async def announce(self, name: str, tag: bytes, port: int) -> None:
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Advertisement:
        await trio.sleep_forever()
        raise AssertionError


@asynccontextmanager
async def no_beacons(_: LocalNetwork) -> AsyncIterator[NoBeacons]:
    yield NoBeacons()


if __name__ == "__main__":
    LocalNetwork.beacons = no_beacons  # type: ignore[method-assign,assignment]
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
