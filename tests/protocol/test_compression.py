"""Compressed chunks: what pays, what comes of frames that nobody here has made, and that they can be made again."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zstandard import ZstdCompressor

from bench.seeded import seeded_bytes
from protocol import chunks
from protocol.chunks import ChunkRef, seal_chunk
from protocol.compression import LEVEL, compress
from protocol.errors import Malformed
from protocol.identifiers import MAX_CHUNK
from tests.protocol.strategies import EVERY_BYTE, FLIPS, altered
from tests.support.chunks import open_chunk, resealed, sealed_as_is

draw = seeded_bytes("tests of compression")
TEXT = b"a line that comes again and again\n" * 100


def framed(frame: bytes, length: int) -> tuple[ChunkRef, bytes]:
    """The same of a frame, with a list that is right about the sealed length."""
    return sealed_as_is(chunks.COMPRESSED + frame, length, length - len(frame))


@given(st.binary(max_size=64), EVERY_BYTE, FLIPS)
def test_frame_that_is_not_the_listed_body_is_refused(tail: bytes, at: int, flip: int) -> None:
    frame = compress(TEXT)
    assert open_chunk(*framed(frame, len(TEXT))) == TEXT
    for wrong in (frame[: -1 - len(tail)], frame + b"x" + tail, frame + frame, tail, b""):
        with pytest.raises(Malformed):
            open_chunk(*framed(wrong, len(TEXT)))
    for length in (len(TEXT) - 1, len(TEXT) + 1, MAX_CHUNK, len(frame) + 1):
        with pytest.raises(Malformed, match="length"):
            open_chunk(*framed(frame, length))
    with suppress(Malformed):  # zstd has no checksum here: what it makes of altered bytes is for the content hash
        assert len(open_chunk(*framed(altered(frame, at, flip), len(TEXT)))) == len(TEXT)


def test_bomb_takes_no_more_memory_than_its_list_says() -> None:
    bomb = compress(bytes(256 << 20))
    for length in (MAX_CHUNK, 256 << 20):
        tracemalloc.start()
        with pytest.raises(Malformed, match="length"):
            open_chunk(*framed(bomb, length))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_frame_without_its_length_is_refused() -> None:
    frame = ZstdCompressor(write_content_size=False).compress(TEXT)
    with pytest.raises(Malformed, match="length"):
        open_chunk(*framed(frame, len(TEXT)))


def test_frame_that_says_less_than_is_in_it_is_refused() -> None:
    frame = bytearray(compress(TEXT))
    said = (len(TEXT) - 256).to_bytes(2, "little")
    at = frame.index(said)
    frame[at : at + 2] = (len(TEXT) - 257).to_bytes(2, "little")
    with pytest.raises(Malformed, match="doesn't decompress"):
        open_chunk(*framed(bytes(frame), len(TEXT) - 1))


def test_codec_that_its_lengths_deny_is_refused() -> None:
    frame = compress(TEXT)
    for ref, sealed in (
        sealed_as_is(chunks.COMPRESSED + frame, len(frame)),
        sealed_as_is(chunks.STORED + frame, len(TEXT), len(TEXT) - len(frame)),
        sealed_as_is(chunks.COMPRESSED + frame, len(TEXT)),
    ):
        with pytest.raises(Malformed, match="length"):
            open_chunk(ref, sealed)


def test_what_another_zstd_compressed_can_be_opened_but_not_made_again() -> None:
    other = ZstdCompressor(level=LEVEL, write_checksum=True).compress(TEXT)
    ref, sealed = framed(other, len(TEXT))
    assert other != compress(TEXT)
    assert open_chunk(ref, sealed) == TEXT
    assert resealed(ref, TEXT) is None


def test_frames_depend_on_nothing_but_the_body() -> None:
    bodies = [TEXT, bytes(MAX_CHUNK), draw(5000), TEXT[:1500] + draw(300), draw(700) * 90]
    fresh = [ZstdCompressor(level=LEVEL).compress(body) for body in bodies]
    assert [compress(body) for body in bodies * 3] == fresh * 3
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(compress, bodies * 10)) == fresh * 10


def test_only_what_pays_is_compressed() -> None:
    half = b"".join(draw(1024) + bytes(1024) for _ in range(32))
    saved = {name: seal_chunk(bytes(32), body)[0].saved for name, body in {
        "text": TEXT * 20, "short": TEXT[:1100], "zeros": bytes(MAX_CHUNK), "half": half,
        "random": draw(MAX_CHUNK), "short random": draw(1100), "tiny": b"aaaa", "nearly": draw(6000) + bytes(300),
    }.items()}  # fmt: skip
    assert {name for name, count in saved.items() if count} == {"text", "short", "zeros", "half"}
    assert saved["zeros"] > MAX_CHUNK - 200
    assert len(half) // 2 - 1000 < saved["half"] <= len(half) // 2
