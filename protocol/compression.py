"""Compression of chunks with zstd (RFC 8878), where it pays.

The bytes of a frame are settled by the body, LEVEL and the version of zstd. Whoever seals a chunk again needs the same
frame, so all three are part of what a chunk is: the package is pinned to one version of zstd, and a change of it is a
change of format in all but name (decision 0011).
"""

import threading

import zstandard

from protocol.errors import Malformed
from protocol.identifiers import MAX_CHUNK

LIBRARY = "zstd " + ".".join(map(str, zstandard.ZSTD_VERSION))
"""What has made the frames of this device; of another library they may be others."""
LEVEL = 1
"""The fastest of the regular levels: a chunk is compressed up to three times, when it is read, for the LAN and for the
cloud, and level 3 saves a twentieth more for a third more time."""
SAMPLE_PIECE, SAMPLE_PIECES = 1024, 4
"""Bytes of a piece of the sample, and how many are taken."""
LEAST_SAVED = 16
"""A chunk is compressed if that saves at least one part in so many."""


class _Contexts(threading.local):
    """zstd's working memory: half a megabyte that takes longer to get than a small chunk does to compress."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL)
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK)


_contexts = _Contexts()


def compress(body: bytes | memoryview) -> bytes:
    """The frame of a body."""
    return _contexts.compressor.compress(body)


def compress_if_worth(body: memoryview) -> bytes | None:
    """The frame of a body; None where it saves too little, of which most is seen by a sample."""
    sample_length = SAMPLE_PIECE * SAMPLE_PIECES
    if len(body) > 2 * sample_length:
        step = (len(body) - SAMPLE_PIECE) // (SAMPLE_PIECES - 1)
        sample = b"".join(body[at * step : at * step + SAMPLE_PIECE] for at in range(SAMPLE_PIECES))
        if not _pays(sample_length, len(compress(sample))):
            return None
    frame = compress(body)
    return frame if _pays(len(body), len(frame)) else None


def _pays(before: int, after: int) -> bool:
    return after < before - before // LEAST_SAVED


def decompress(frame: bytes | memoryview, length: int) -> bytes:
    """The body of `length` bytes, at most MAX_CHUNK, that a frame holds. `Malformed` for anything but one whole frame
    that says this length; no more memory is taken than for that."""
    try:
        header = zstandard.get_frame_parameters(frame)
        if header.content_size != length or length > MAX_CHUNK:
            raise Malformed("a compressed chunk's length differs from its list")
        body = _contexts.decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed(f"a chunk that doesn't decompress: {error}") from error
    if len(body) != length:
        raise Malformed("a compressed chunk's length differs from its list")
    return body
