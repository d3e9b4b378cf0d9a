"""News of local change: `peer.ports.FolderEvents` over inotify (decision 0004 says why not over watchfiles)."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from peer.ports import Changes
from peer.system.inotify import FolderWatch, News

EVERYTHING = ""
"""The path that means "look at everything"."""
GATHER = 0.005
"""Seconds for which news is gathered after the first: one save is several events."""


class InotifyEvents:
    """See `peer.ports.FolderEvents`. Everything below `.shoal` in the folder is left out.

    The watch is in place when the context is entered; a missing folder is then an `OSError`. When the folder itself is
    moved or removed, "" is told and the news ends.
    """

    @asynccontextmanager
    async def watch(self, folder: str) -> AsyncIterator[AsyncIterator[Changes]]:
        watch = FolderWatch(os.fsencode(folder))
        limiter = trio.CapacityLimiter(1)
        try:
            await trio.to_thread.run_sync(watch.add_tree, b"", limiter=limiter)
            yield _Changes(watch, limiter)
        finally:
            watch.close()


class _Changes:
    """Those that hold anything, one after the other."""

    def __init__(self, watch: FolderWatch, limiter: trio.CapacityLimiter) -> None:
        self._watch = watch
        self._limiter = limiter
        self._over = False

    def __aiter__(self) -> AsyncIterator[Changes]:
        return self

    async def __anext__(self) -> Changes:
        if self._over:
            raise StopAsyncIteration
        while True:
            await trio.lowlevel.wait_readable(self._watch.descriptor)
            await trio.sleep(GATHER)
            # Cancellation waits for the thread: what was read from the queue is gone from it.
            with trio.CancelScope(shield=True):
                news = await trio.to_thread.run_sync(self._watch.read, limiter=self._limiter)
            self._over = news.over
            found = _shown(news)
            if found.paths:
                return found


def _shown(news: News) -> Changes:
    found = {os.fsdecode(path) for path in news.paths}
    if news.lost or news.over:
        found.add(EVERYTHING)
    return Changes(found, {os.fsdecode(path) for path in news.closed})
