"""The real machine behind `protocol.ports`."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

import trio

from protocol.ports import Machine

T = TypeVar("T")


async def offload_to_thread(function: Callable[[], T], limiter: trio.CapacityLimiter, /) -> T:
    """Run `function` in one of trio's worker threads."""
    return await trio.to_thread.run_sync(function, limiter=limiter)


async def offload_and_leave(function: Callable[[], T], limiter: trio.CapacityLimiter, /) -> T:
    """The same, but cancellation doesn't wait: the function goes on by itself, and keeps its place in `limiter`."""
    return await trio.to_thread.run_sync(function, limiter=limiter, abandon_on_cancel=True)


def real_machine() -> Machine:
    """The operating system's clock and randomness, and worker threads."""
    return Machine(now=time.time_ns, random_bytes=os.urandom, offload=offload_to_thread)
