"""Which chunks of a version somebody has: bit `n % 8` of byte `n // 8`, the lowest first, stands for chunk n."""

from collections.abc import Iterator


def has(bitmap: bytes, number: int) -> bool:
    """Whether the bit of a chunk is set."""
    return number // 8 < len(bitmap) and bool(bitmap[number // 8] >> number % 8 & 1)


def numbers(bitmap: bytes) -> Iterator[int]:
    """The chunks whose bits are set, in order."""
    return (8 * index + bit for index, byte in enumerate(bitmap) if byte for bit in range(8) if byte >> bit & 1)
