"""Limits that are far away in folders as small as the simulation's, brought near in some seeds.

What a limit does is the same wherever it stands: a list that is let go, a commit that is cut in two, a file that is too
large for the plan. Only the numbers are other ones, and they are put into the modules from here.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

KIB = 1024


class _InPlace:
    """A pool of threads of which each works at once where it is asked: the disk must not be used by two at a time, or
    a seed would not say all that happens."""

    def __init__(self, _threads: int) -> None:
        pass

    def __enter__(self) -> "_InPlace":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Do it, and tell later what came of it."""
        future = Future[Any]()
        try:
            future.set_result(function(*arguments))
        except OSError as error:
            future.set_exception(error)
        return future


NARROW: dict[tuple[str, str], Any] = {
    ("peer.root", "MAX_OPEN"): 2,
    ("peer.chunker", "SMALLEST_AVERAGE"): 4 * KIB,
    ("peer.indexer", "MAX_FILE_SIZE"): 80_000,
    ("peer.indexer", "MAX_LINK_BYTES"): 9,
    ("peer.indexer", "TOGETHER"): 2,
    ("peer.quiet", "SMALL"): KIB,
    ("peer.synchronizer.assembly", "SYNC_BYTES"): 20 * KIB,
    ("peer.synchronizer.downloads", "ONE_BY_ONE"): 1,
    ("peer.synchronizer.jobs", "GROUP_FILES"): 3,
    ("peer.synchronizer.lists", "MOST_CHUNKS"): 20,
    ("peer.synchronizer.reading", "BATCH_FILES"): 2,
    ("peer.synchronizer.pool", "MOST_BYTES"): 64 * KIB,
    ("peer.synchronizer.prefetching", "MAX_GET_BYTES"): 16 * KIB,
    ("peer.synchronizer.reading", "OFFERED_BYTES"): 2 * KIB,
    ("peer.synchronizer.reading", "WINDOW"): 30 * KIB,
    ("peer.synchronizer.reading", "ThreadPoolExecutor"): _InPlace,
    ("peer.synchronizer.sending", "COMMIT_TARGET"): 300_800,
    ("peer.synchronizer.sending", "ATTEMPTS"): 1,
    ("peer.synchronizer.sources", "MAX_GET_BYTES"): 8 * KIB,
    ("peer.synchronizer.swarm", "MAX_GET_BYTES"): 16 * KIB,
    ("peer.synchronizer.swarm", "SHARED_BYTES"): 20 * KIB,
    ("peer.synchronizer.temps", "ONE_BY_ONE"): 1,
    ("peer.synchronizer.synchronizer", "FIRST_BATCH"): 4,
    ("peer.synchronizer.synchronizer", "BATCH"): 64,
}
"""By module and name."""


@contextmanager
def near_limits(*, near: bool) -> Iterator[None]:
    """Meanwhile all of these limits are `near`, or none."""
    with ExitStack() as stack:
        for (module, name), value in NARROW.items() if near else ():
            stack.enter_context(patch.object(import_module(module), name, value))
        yield


def limit(module: str, name: str) -> int:
    """A limit as it is now."""
    value: int = getattr(import_module(module), name)
    return value
