"""What a work is: several things to do, one after the other, each with a clock of its own."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

from bench.tracker.connection import Connection
from bench.tracker.pairs import Stand
from bench.tracker.prepared import Sizes

Unit = Literal["commits/s", "rows/s", "MB/s", "ms"]
TRACKER, FLOOR = "tracker", "floor"


@dataclass(frozen=True)
class Task:
    """Something to be timed. `run` does it and returns the seconds of each request, if it knows them."""

    figure: str
    who: str  # TRACKER or FLOOR
    unit: Unit
    amount: float  # of what is counted a second; for `ms`, of notices awaited
    run: Callable[[], Sequence[float]]


@dataclass(frozen=True)
class Work:
    """`tasks` prepares, and yields what is to be timed; it is gone through in threads, one at a time."""

    name: str
    what: Callable[[Sizes], str]
    tasks: Callable[[Stand, int, Sizes], Iterator[Task]]


def floor_task(figure: str, unit: Unit, amount: float, run: Callable[[], object]) -> Task:
    """A floor, whose single requests are not timed."""

    def silent() -> Sequence[float]:
        run()
        return ()

    return Task(figure, FLOOR, unit, amount, silent)


def connect(stack: ExitStack, stand: Stand, count: int) -> list[Connection]:
    """So many connections, closed with the stack."""
    return [stack.enter_context(Connection(stand.url)) for _ in range(count)]


def drive(connections: Sequence[Connection], requests: Sequence[Sequence[bytes]]) -> list[float]:
    """Each connection sends its requests one after the other, all connections at once; seconds of each request."""
    begin = threading.Barrier(len(connections))

    def one(connection: Connection, own: Sequence[bytes]) -> list[float]:
        begin.wait()
        seconds = []
        for request in own:
            sent = time.perf_counter()
            connection.exchange(request)
            seconds.append(time.perf_counter() - sent)
        return seconds

    with ThreadPoolExecutor(len(connections)) as pool:
        return [second for each in pool.map(one, connections, requests) for second in each]
