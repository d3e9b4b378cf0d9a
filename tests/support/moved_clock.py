"""A program whose wall clock is ahead: `python -m tests.support.moved_clock SECONDS MODULE ...`.

What takes a day or a week is tested by starting everybody again "later". Only what people call the time moves: timers
run as they always do, and the kernel goes on stamping files with its own time.
"""

import runpy
import sys
import time


def move(seconds: int) -> None:
    """Put the clock forward for this process."""
    now, now_ns = time.time, time.time_ns
    vars(time).update(time=lambda: now() + seconds, time_ns=lambda: now_ns() + seconds * 10**9)


if __name__ == "__main__":
    move(int(sys.argv.pop(1)))
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
