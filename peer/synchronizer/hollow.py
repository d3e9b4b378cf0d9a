"""What a power cut may leave of a file: nothing, or as many zeros as it had bytes."""

from functools import lru_cache

from blake3 import blake3

from peer.trees import Local, Synced

_ZEROS = bytes(1 << 20)


def is_hollow(local: Local, synced: Synced | None) -> bool:
    """Whether a file that held something is empty or holds nothing but zeros by now."""
    if local.content is None or synced is None or synced.content is None:
        return False
    if local.content.same_bytes(synced.content):
        return False
    return local.content.digest == _digest_of_zeros(local.print.size)


@lru_cache(maxsize=64)
def _digest_of_zeros(size: int) -> bytes:
    """Some 3 GB a second, and only for files that a crash may have damaged."""
    hasher = blake3()
    for _ in range(size // len(_ZEROS)):
        hasher.update(_ZEROS)
    hasher.update(_ZEROS[: size % len(_ZEROS)])
    return hasher.digest()
