"""How the C library keeps memory."""

import ctypes

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
