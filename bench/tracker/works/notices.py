"""Notices: how long after a commit was sent each watcher has it.

One thread sends the commit and looks after all watchers. What has come is taken off all sockets that have something,
with the time, before it is looked into.
"""

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial

from bench.devices import Account
from bench.failures import BenchFailed
from bench.tracker import prepared
from bench.tracker.connection import SECONDS, Connection, Frames, message
from bench.tracker.pairs import Stand
from bench.tracker.prepared import Sizes
from bench.tracker.works.base import TRACKER, Task, Work, connect
from bench.tracker.works.commits import sign_up
from protocol import api

_RECEIVE = 64 << 10
FIRST = 1
"""Commits before anybody watches: who subscribes then is told of them at once, and so is known to be subscribed."""


@lru_cache(maxsize=1)  # the next pair is asked the same
def _bodies(run: int, count: int, content: int) -> tuple[Account, list[bytes]]:
    (account,) = prepared.accounts("notices", run, 1)
    (author,) = prepared.authors([account])
    return account, prepared.commits(author, count, 1, content)


def _tasks(stand: Stand, run: int, sizes: Sizes) -> Iterator[Task]:
    account, bodies = _bodies(run, sizes.notices + FIRST, sizes.content)
    with ExitStack() as stack:
        author, *watching = connect(stack, stand, 1 + sizes.watchers)
        (token,) = sign_up([author], [account])
        requests = [message(api.COMMIT.path, body, token) for body in bodies]
        for request in requests[:FIRST]:
            author.exchange(request)
        watcher = author.call(api.REGISTER, prepared.register(account, account.new_device())).token
        for connection in watching:
            connection.subscribe(account.home, 0, watcher)
        with selectors.DefaultSelector() as selector:
            watchers = Watchers(selector, watching)
            watchers.gather(0.0)
            yield Task(
                "notices",
                TRACKER,
                "ms",
                sizes.notices * sizes.watchers,
                partial(_tell_all, watchers, author, requests[FIRST:]),
            )


def _tell_all(watchers: "Watchers", author: Connection, requests: Sequence[bytes]) -> list[float]:
    return [second for request in requests for second in watchers.tell(author, request)]


class Watchers:
    """Those who are told."""

    def __init__(self, selector: selectors.BaseSelector, watching: Sequence[Connection]) -> None:
        """They have subscribed."""
        self._selector = selector
        self._frames: dict[socket.socket, Frames] = {connection.socket: Frames() for connection in watching}
        for each in self._frames:
            selector.register(each, selectors.EVENT_READ)

    def tell(self, author: Connection, request: bytes) -> list[float]:
        """Commit, and wait until each has been told and the answer is there; seconds until each had its notice."""
        sent = time.perf_counter()
        author.socket.sendall(request)
        seconds = self.gather(sent)
        author.answer()
        return seconds

    def gather(self, since: float) -> list[float]:
        """Wait for one notice each; seconds from `since`, of the first to have it first."""
        seconds: list[float] = []
        while len(seconds) < len(self._frames):
            come = self._come()
            seconds += [at - since for data, at, frames in come for _ in range(frames.feed(data))]
        return seconds

    def _come(self) -> list[tuple[bytes, float, Frames]]:
        ready = self._selector.select(SECONDS)
        if not ready:
            raise BenchFailed(f"no notice within {SECONDS:g} s")
        come = []
        for key, _ in ready:
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(_RECEIVE)
            if not data:
                raise BenchFailed("the tracker hung up on a watcher")
            come.append((data, time.perf_counter(), self._frames[key.fileobj]))
        return come


NOTICES = Work(
    "notices",
    lambda sizes: f"{sizes.notices} commits of one file, each told to {sizes.watchers} watchers",
    _tasks,
)
