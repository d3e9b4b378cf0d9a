"""How the C library and Python keep memory."""

import ctypes
import gc

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST, _KEPT = 16 << 20, 64 << 20
"""Bytes."""


def keep_freed_buffers() -> None:
    """Let buffers of a chunk's or a window's size come from memory that was freed a moment ago; see mallopt(3).

    By itself glibc gives each one back to the kernel, and every page of the next one is a page fault: more work than
    sealing what is in it. One arena, as each would keep as much. Up to 64 MiB stay with the process."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not every C library has it
    if mallopt is None:
        return
    for parameter, value in ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _KEPT), (_ARENA_MAX, 1)):
        mallopt(parameter, value)


def collect_seldom() -> None:
    """Look for garbage in cycles a hundred times as seldom, and never among what is there now.

    A batch of small files makes some hundred thousand objects that all live until it is done, and none in cycles:
    looking at them again and again was a twelfth of all work. What is in cycles waits for a few megabytes of others."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
