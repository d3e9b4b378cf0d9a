"""A slow line between two networks: `python -m bench.network.wan DESCRIPTOR DESCRIPTOR`, each an open TUN device.

`tc netem` is not in every kernel, so the packets are carried here, each way on a line with a rate, a delay and a queue.
A line of stdin, a `Line` in JSON, changes both ways at once; `set` on stdout says that this is in force, also for the
line at the start. It ends with its stdin, so it never outlives who started it.
"""

import json
import os
import select
import sys
import time
from collections import deque
from contextlib import suppress

from bench.network.line import Line

MAX_PACKET = 1 << 16
BATCH = 64
"""Packets taken from one side before the other has its turn."""


class Way:
    """One direction. Times are of `time.monotonic`."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self._sink = sink
        self._carried: deque[tuple[float, bytes]] = deque()
        self._free = 0.0

    def take(self, line: Line, now: float) -> None:
        """Take what waits at the source; what the queue has no room for is lost, as routers do it."""
        for _ in range(BATCH):
            try:
                packet = os.read(self.source, MAX_PACKET)
            except OSError:  # no more of them, or the device is down
                return
            begins = max(now, self._free)
            if not line.cut and begins - now <= line.queue:
                self._free = begins + len(packet) * 8 / line.rate
                self._carried.append((self._free + line.delay, packet))

    def due(self) -> float:
        """When the next packet arrives."""
        return self._carried[0][0] if self._carried else float("inf")

    def deliver(self, now: float) -> None:
        """Hand over what has arrived."""
        while self.due() <= now:
            _, packet = self._carried.popleft()
            with suppress(OSError):  # nobody takes it any more
                os.write(self._sink, packet)

    def lose_all(self) -> None:
        """Forget what is on its way."""
        self._carried.clear()


def carry(one: int, other: int) -> None:
    """Carry packets between two descriptors until stdin ends."""
    ways, line = (Way(one, other), Way(other, one)), Line()
    control = sys.stdin.fileno()
    print("set", flush=True)
    while True:
        wait = min(way.due() for way in ways) - time.monotonic()
        ready, _, _ = select.select([control, one, other], [], [], None if wait == float("inf") else max(0.0, wait))
        now = time.monotonic()
        for way in ways:
            if way.source in ready:
                way.take(line, now)
            way.deliver(now)
        if control in ready:
            # After the packets: what was sent before the order went over the line as it was. One order at a time comes
            # in, as who writes it waits for the answer.
            order = os.read(control, MAX_PACKET)
            if not order:
                return
            line = Line(**json.loads(order))
            if line.cut:
                for way in ways:
                    way.lose_all()
            print("set", flush=True)


if __name__ == "__main__":
    carry(int(sys.argv[1]), int(sys.argv[2]))
