"""The chunker and its inverse: what is cut and sealed, opened and put together is the file (design §4, §5)."""

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

import peer.chunker
from peer.chunker import (
    LARGEST_AVERAGE,
    MOST_CHUNKS,
    SMALLEST_AVERAGE,
    Cut,
    Staged,
    cut_file,
    cut_parameters,
    file_digest,
    file_mode,
    is_executable,
    is_private,
    stage_file,
)
from peer.trees import Content, Fingerprint
from protocol.chunks import ChunkRef, seal_chunk
from protocol.identifiers import GIB, MAX_CHUNK, MAX_INLINE, WorkspaceId
from protocol.keys import new_workspace_keys
from tests.simulation.disk import SimulatedDisk
from tests.support.chunks import open_chunk

KEYS = new_workspace_keys(WorkspaceId(bytes(16)), Random(1).randbytes)
OTHER_KEYS = new_workspace_keys(WorkspaceId(bytes(16)), Random(2).randbytes)
TINY: Cut = (64, 256, 1024)
"""Cuts small enough for tests of many chunks."""
READS = ("read_at", "read_into")


def disk_with(data: bytes) -> SimulatedDisk:
    disk = SimulatedDisk(count(1_700_000_000_000_000_000).__next__, Random(7))
    disk.user.write("file", data)
    return disk


def stage(disk: SimulatedDisk, inherited: Cut | None = None) -> tuple[Staged, Fingerprint] | None:
    top = disk.open_root("/")
    descriptor = disk.open_file(top, "file")
    return stage_file(disk, descriptor, KEYS, inherited)


def staged(data: bytes, inherited: Cut | None = None) -> Staged:
    found = stage(disk_with(data), inherited)
    assert found is not None
    return found[0]


def bodies(data: bytes, cut: Cut, seed: int = KEYS.chunker_seed) -> list[bytes]:
    disk = disk_with(data)
    descriptor = disk.open_file(disk.open_root("/"), "file")
    return [bytes(body) for window in cut_file(disk, descriptor, cut, seed, len(data)) for body in window]


def digest_in_windows(data: bytes, window: int) -> bytes:
    """The hash of a file as it lies on a disk, read a window at a time."""
    disk = disk_with(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peer.chunker, "WINDOW", window)
        return file_digest(disk, disk.open_file(disk.open_root("/"), "file"))


def random_data(size: int, seed: int = 5) -> bytes:
    return Random(seed).randbytes(size)


def reassembled(version: Staged, sealed: dict[bytes, bytes]) -> bytes:
    """The de-chunker's work, from what another device would be sent."""
    if version.inline is not None:
        return version.inline
    return b"".join(open_chunk(ref, sealed[ref.id]) for ref in version.chunks)


def sealed_chunks(data: bytes, refs: tuple[ChunkRef, ...]) -> dict[bytes, bytes]:
    """The sealed chunks of a file, by the lengths in its list."""
    out, offset = {}, 0
    for ref in refs:
        again, sealed = seal_chunk(KEYS.newest.convergence, data[offset : offset + ref.length])
        assert again == ref
        out[bytes(ref.id)] = sealed
        offset += ref.length
    assert offset == (len(data) if refs else 0)
    return out


# Round trips --------------------

CONTENTS = st.one_of(
    st.binary(max_size=4000),
    st.builds(lambda seed, size: random_data(size, seed), st.integers(0, 99), st.integers(0, 60_000)),
    st.builds(lambda unit, times: unit * times, st.binary(min_size=1, max_size=40), st.integers(1, 1500)),
)


@settings(max_examples=150, deadline=None)
@given(data=CONTENTS, inherited=st.sampled_from([None, TINY, (256, 256, 1024)]))
def test_what_is_staged_can_be_put_together_again(data: bytes, inherited: Cut | None) -> None:
    version = staged(data, inherited)
    assert reassembled(version, sealed_chunks(data, version.chunks)) == data
    assert version.size == len(data)
    assert version.content.digest == blake3(data).digest() == digest_in_windows(data, 7000)


@settings(max_examples=150, deadline=None)
@given(data=CONTENTS, window=st.integers(1, 5000))
def test_cuts_do_not_depend_on_the_window(data: bytes, window: int) -> None:
    whole = bodies(data, TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peer.chunker, "WINDOW", max(window, len(data) // 100 + 1))
        assert bodies(data, TINY) == whole


@pytest.mark.parametrize("size", [2048 - 1, 2048, 2048 + 1, 4096 - 1, 4096, 4096 + 1, 3 * 2048])
def test_files_as_long_as_windows(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bodies(random_data(size), TINY)
    monkeypatch.setattr(peer.chunker, "WINDOW", 2048)
    assert bodies(random_data(size), TINY) == whole
    assert b"".join(whole) == random_data(size)


@pytest.mark.parametrize("size", [0, 1, MAX_INLINE])
def test_small_content_travels_inside_the_manifest(size: int) -> None:
    version = staged(random_data(size))
    assert (version.inline, version.chunks, version.cut) == (random_data(size), (), None)
    assert version.size == size


@pytest.mark.parametrize("size", [MAX_INLINE + 1, 5000])
def test_one_byte_more_is_chunked(size: int) -> None:
    version = staged(random_data(size))
    assert version.inline is None
    assert version.cut == cut_parameters(size)
    assert sum(ref.length for ref in version.chunks) == version.size == size


def test_attributes_are_part_of_the_content() -> None:
    disk = disk_with(b"content")
    disk.user.chmod("file", 0o700)
    disk.user.touch("file", 5_000_000_123)
    found = stage(disk)
    assert found is not None
    version, print_ = found
    assert version.content == Content(blake3(b"content").digest(), 5_000_000_123, executable=True, private=True)
    assert (print_.mtime_ns, print_.mode, print_.size) == (5_000_000_123, 0o700, 7)


# Changing while it is read --------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda disk: disk.user.append("file", b"more"),
        lambda disk: disk.user.write("file", b"less"),
        lambda disk: disk.user.write("file", b""),
        lambda disk: disk.user.overwrite("file", b"X", 0),
        lambda disk: disk.user.touch("file", 5),
        lambda disk: disk.user.chmod("file", 0o600),
    ],
    ids=["longer", "shorter", "empty", "same length", "touched", "other permissions"],
)
@pytest.mark.parametrize("size", [100, 9000])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_file_that_changes_while_it_is_read_is_no_version(
    change: Callable[[SimulatedDisk], None], size: int, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the nth read, if there is one, or before the last look at it."""
    monkeypatch.setattr(peer.chunker, "WINDOW", 4096)
    disk, calls = disk_with(random_data(size)), count(1)
    looks = count(1)

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        read = method in READS and next(calls) == nth
        last = method == "stat_open" and next(looks) == 2
        if (read or last) and disk.before_call is not None:
            disk.before_call = None
            change(disk)

    disk.before_call = before
    assert stage(disk, TINY) is None
    disk.before_call = None
    assert stage(disk, TINY) is not None


def test_a_file_that_grows_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer.chunker, "WINDOW", 1024)
    disk = disk_with(random_data(4096))
    reads = count()

    def grow(method: str, arguments: tuple[Any, ...]) -> None:
        if method in READS:
            assert next(reads) < 20
            disk.user.append("file", random_data(2048))

    disk.before_call = grow
    assert stage(disk, TINY) is None


# Cutting --------------------


@pytest.mark.parametrize("size", [1 << 20, 32 << 20, (32 << 20) + 1, 100 << 20, GIB])
def test_no_file_has_many_more_than_2000_chunks(size: int) -> None:
    minimum, average, maximum = cut_parameters(size)
    assert size / (minimum + average) <= MOST_CHUNKS
    assert maximum <= MAX_CHUNK
    assert SMALLEST_AVERAGE // 2 <= average <= LARGEST_AVERAGE // 2


def test_chunks_grow_with_the_file() -> None:
    assert cut_parameters(2 << 20) == (4 << 10, 4 << 10, 16 << 10)
    assert cut_parameters((2 << 20) + 1) == cut_parameters(32 << 20) == (8 << 10, 8 << 10, 32 << 10)
    assert cut_parameters(GIB) == (256 << 10, 256 << 10, 1 << 20)


def test_a_file_that_grows_keeps_its_parameters_until_it_has_outgrown_them() -> None:
    small = cut_parameters(1 << 20)
    limit = 2 * small[1] * MOST_CHUNKS * peer.chunker.OUTGROWN
    assert cut_parameters(limit, small) == small
    assert cut_parameters(limit + 1, small) == cut_parameters(limit + 1) != small


def test_a_file_that_shrinks_keeps_its_parameters() -> None:
    large = cut_parameters(GIB)
    assert cut_parameters(2000, large) == large


def test_parameters_of_the_last_version_are_used() -> None:
    data = random_data(50_000)
    assert staged(data, TINY).cut == TINY
    assert len(staged(data, TINY).chunks) > 100
    assert staged(data).cut == cut_parameters(50_000)


def test_chunks_are_as_long_as_the_parameters_say() -> None:
    lengths = [len(body) for body in bodies(random_data(1 << 20), (1024, 1024, 4096))]
    assert max(lengths) <= 4096
    assert min(lengths[:-1]) >= 1024
    assert 1024 < sum(lengths) / len(lengths) < 2048


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), front=st.binary(min_size=1, max_size=100))
def test_an_insertion_at_the_front_keeps_most_chunks(seed: int, front: bytes) -> None:
    data = random_data(300_000, seed)
    before = staged(data, (256, 256, 1024))
    after = staged(front + data, (256, 256, 1024))
    ids = {ref.id for ref in before.chunks}
    kept = sum(ref.length for ref in after.chunks if ref.id in ids)
    assert kept > 0.97 * len(data)


def test_an_append_keeps_all_but_the_last_chunk() -> None:
    data = random_data(100_000)
    before, after = staged(data, TINY), staged(data + b"more", TINY)
    assert after.chunks[: len(before.chunks) - 1] == before.chunks[:-1]


def test_another_workspace_cuts_and_seals_otherwise() -> None:
    data = random_data(100_000)
    assert list(map(len, bodies(data, TINY))) != list(map(len, bodies(data, TINY, OTHER_KEYS.chunker_seed)))
    disk = disk_with(data)
    other = stage_file(disk, disk.open_file(disk.open_root("/"), "file"), OTHER_KEYS, TINY)
    assert other is not None
    assert not {ref.id for ref in other[0].chunks} & {ref.id for ref in staged(data, TINY).chunks}


# Permissions --------------------


@pytest.mark.parametrize("executable", [False, True])
@pytest.mark.parametrize("private", [False, True])
def test_the_mode_says_what_it_is_made_from(executable: bool, private: bool) -> None:
    print_ = Fingerprint(1, 1, 0, 0, 0, file_mode(executable, private))
    assert (is_executable(print_), is_private(print_)) == (executable, private)


MODES = [
    (0o640, False, False),
    (0o710, True, False),
    (0o077, False, False),
    (0o4700, True, True),
    (0o400, False, True),
]


@pytest.mark.parametrize(("mode", "executable", "private"), MODES)
def test_modes_of_people(mode: int, executable: bool, private: bool) -> None:
    print_ = Fingerprint(1, 1, 0, 0, 0, mode)
    assert (is_executable(print_), is_private(print_)) == (executable, private)
