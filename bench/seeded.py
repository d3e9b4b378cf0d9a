"""Random bytes that are the same in every run, for measurements and golden vectors. Never for real keys."""

from blake3 import blake3

from protocol.ports import RandomBytes


def seeded_bytes(seed: str) -> RandomBytes:
    """BLAKE3 of `seed` in counter mode: the n-th call takes up where the one before ended."""
    source = blake3(seed.encode())
    at = 0

    def random_bytes(count: int, /) -> bytes:
        nonlocal at
        at += count
        return source.digest(length=count, seek=at - count)

    return random_bytes
