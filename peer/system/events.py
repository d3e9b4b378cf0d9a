"""News of local change: `peer.ports.FolderEvents` over watchfiles.

`watchfiles.awatch` says nothing about when its watch is in place, can't be left for up to 5 s, and has one pace for all
times. The class below it, `RustNotify`, is ready once constructed, and each call of its `watch` has a pace of its own;
its module has a private name, but it is what awatch is made of. It *polls*: every call sleeps in steps and returns once
a step brought nothing more, so that news takes one to two steps. Measured on two cores: at 5 ms 8 ms (1.2 % of a core),
at 10 ms 16 ms (0.8 %), at 20 ms 30 ms (0.3 %). Hence two paces.

Its errors stick: once it has met a path that is not UTF-8 it tells nothing else for ever. So every error means a new
one, and "look at everything", because what happened between the two is unknown.
"""

import errno
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import trio
from watchfiles._rust_notify import RustNotify

from protocol.errors import Problem, WatchLimit
from protocol.names import RESERVED

T = TypeVar("T")

EVERYTHING = ""
"""The path that means "look at everything"."""

_DEBOUNCE_MS = 50  # news of a busy folder is grouped for this long at most
_BUSY_STEP_MS = 5
_IDLE_STEP_MS = 20
_BUSY_SECONDS = 60.0  # after the last change
_IDLE_TIMEOUT_MS = 600_000
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0
_CALM_SECONDS = 30.0  # without an error, after which pauses begin from the first again


class WatchfilesEvents:
    """See `peer.ports.FolderEvents`. Everything below `.shoal` in the folder is left out.

    The watch is in place when the context is entered. A missing folder is then an `OSError`; one that vanishes later is
    reported as "" until it is there again.
    """

    @asynccontextmanager
    async def watch(self, folder: str) -> AsyncIterator[AsyncIterator[set[str]]]:
        watch = _Watch(folder)
        await watch.start()
        try:
            async with _changes(watch) as changes:
                try:
                    yield changes
                finally:
                    # Before the channel waits for its generator, which waits for the thread.
                    watch.stop()
        finally:
            watch.close()


@trio.as_safe_channel
async def _changes(watch: "_Watch") -> AsyncGenerator[set[str], None]:
    """The sets that hold anything. While nobody asks for the next, watchfiles gathers."""
    pause = _FIRST_PAUSE_SECONDS
    while not watch.stopped:
        try:
            found = await watch.next()
        except (OSError, RuntimeError) as failure:
            _raise_limit(failure)
            calm = watch.seconds_since_start() > _CALM_SECONDS
            pause = _FIRST_PAUSE_SECONDS if calm else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await watch.restart(pause)
            found = {EVERYTHING}
        if found:
            yield found


class _Watch:
    """One folder and the `RustNotify` on it now."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.abspath(folder)
        self._below = self._folder.rstrip("/") + "/"
        self._stop = threading.Event()
        self._limiter = trio.CapacityLimiter(1)
        self._notify: RustNotify | None = None
        self._started = self._changed = trio.current_time()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def seconds_since_start(self) -> float:
        return trio.current_time() - self._started

    async def start(self) -> None:
        """Put the watch in place. `WatchLimit`, or an `OSError` when there is no such folder."""
        try:
            self._notify = await trio.to_thread.run_sync(partial(_made, self._folder), limiter=self._limiter)
        except (OSError, RuntimeError) as failure:
            _raise_limit(failure)
            if isinstance(failure, OSError):
                raise
            raise Problem(f"can't watch {self._folder}: {failure}") from failure
        self._started = trio.current_time()

    async def restart(self, pause: float) -> None:
        """A new watch after `pause` seconds; a folder that is gone leaves none, and the next `next` fails."""
        self.close()
        await trio.sleep(pause)
        try:
            await self.start()
        except WatchLimit:
            raise
        except (OSError, Problem):
            self._started = trio.current_time()

    async def next(self) -> set[str]:
        """What changed, perhaps nothing. Can't be cancelled; `stop` ends it within a step."""
        if self._notify is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._folder)
        busy = trio.current_time() - self._changed < _BUSY_SECONDS
        step = _BUSY_STEP_MS if busy else _IDLE_STEP_MS
        timeout = int(_BUSY_SECONDS * 1000) if busy else _IDLE_TIMEOUT_MS
        wait = partial(self._notify.watch, _DEBOUNCE_MS, step, timeout, self._stop)
        found = await trio.to_thread.run_sync(wait, limiter=self._limiter)
        if isinstance(found, str):  # "timeout" or "stop"
            return set()
        self._changed = trio.current_time()
        return {path for _change, full in found if not _reserved(path := self._relative(full))}

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def _relative(self, full: str) -> str:
        return full.removeprefix(self._below) if full.startswith(self._below) else EVERYTHING


def _made(folder: str) -> RustNotify:
    """A watch in place, without what may not be read.

    Not at once so: told to pass over what is forbidden, it passes over the limits too.
    """
    make = partial(RustNotify, [folder], False, False, 0, True)
    try:
        return make(False)
    except PermissionError:
        return make(True)


def _reserved(path: str) -> bool:
    return path == RESERVED or path.startswith(RESERVED + "/")


def _raise_limit(failure: Exception) -> None:
    """Raise `WatchLimit` if that is what `failure` says; its text is all there is to tell by."""
    text = str(failure)
    if "watch limit" in text:
        raise WatchLimit(
            "can't watch all folders for changes: raise fs.inotify.max_user_watches (sysctl), now "
            + _sysctl("max_user_watches")
        ) from failure
    if f"os error {errno.EMFILE}" in text:
        raise WatchLimit(
            "can't watch for changes: raise fs.inotify.max_user_instances (sysctl), now "
            + _sysctl("max_user_instances")
        ) from failure


def _sysctl(name: str) -> str:
    try:
        with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
