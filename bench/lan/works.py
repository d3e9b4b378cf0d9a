"""The works: what a user's program saves in the source folder.

Nothing is fsynced when it is saved, as few programs do that.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from bench.made import BLOCK, MadeFile
from bench.seeded import seeded_bytes
from bench.words import sized

KIB, MIB = 1 << 10, 1 << 20
FILES_IN_DIRECTORY = 100
BULK_FILE = "bulk.bin"


@dataclass(frozen=True)
class Sizes:
    """How large the works are; sizes in bytes."""

    latency_files: int = 20
    latency: int = KIB
    bulk: int = 1000 * MIB
    append: int = MIB
    small_files: int = 10_000
    small: int = 4 * KIB
    crowd: int = 100_000
    crowded_files: int = 100

    @property
    def needed(self) -> int:
        """Bytes of disk for one rival at work.

        The bulk file is there as prepared, at both sides, sealed at the tracker, and four times more on the receiver
        while it is replaced three times. A small file takes as much as a large sector at both sides and the tracker.
        """
        return 9 * self.bulk + self.small_files * 8 * self.small + (256 << 20)


def scaled(scale: float) -> Sizes:
    """Sizes times `scale`, which is at most 1; what a file is in latency and small stays."""
    full = Sizes()
    return Sizes(
        latency_files=max(3, round(full.latency_files * scale)),
        bulk=max(MIB, round(full.bulk * scale)),
        append=max(KIB, round(full.append * scale)),
        small_files=max(10, round(full.small_files * scale)),
        crowd=max(10, round(full.crowd * scale)),
        crowded_files=max(3, round(full.crowded_files * scale)),
    )


@dataclass(frozen=True)
class Saved:
    """A file as it should arrive: where below the folder, how many bytes, and what is at an offset, if the size is the
    same as before."""

    name: str
    size: int
    mark: tuple[int, bytes] | None = None


@dataclass(frozen=True)
class Save:
    """What a program saves at one go: `write` writes `files` into a folder and returns when the last is closed."""

    files: tuple[Saved, ...]
    write: Callable[[Path], None]


@dataclass(frozen=True)
class Prepared:
    """What is made before anything is measured: the sizes, and the bulk file, outside of any folder that is synced."""

    sizes: Sizes
    bulk: Path


def prepare(place: Path, sizes: Sizes) -> Prepared:
    """Make the bulk file in `place`, with the same incompressible bytes each time."""
    bulk = place / BULK_FILE
    _write(bulk, blocks_of(MadeFile(sizes.bulk)))
    return Prepared(sizes, bulk)


@dataclass(frozen=True)
class Work:
    """One kind of work.

    `what` tells people what is done, at given sizes. `saves` are done one after the other, each timed by itself; the
    second argument is the folder as it is before. `stands_on` is the work that must have been done earlier.
    """

    name: str
    what: Callable[[Sizes], str]
    saves: Callable[[Prepared, Path], Iterator[Save]]
    look_seconds: float = 0.005  # between two looks whether it is in place
    stands_on: str | None = None
    by_default: bool = True  # when no works are named


# The works ------------------------------------------------------------------------------------------------------------


def warm_up() -> Save:
    """A small file before the works: it shows that the two sides are connected."""
    return _one("warm-up.txt", KIB, partial(_write, blocks=[seeded_bytes("Shoal bench warm-up")(KIB)]))


def _latency(prepared: Prepared, _: Path) -> Iterator[Save]:
    return _notes(prepared.sizes.latency_files, prepared.sizes.latency, "note")


def _crowd(prepared: Prepared, _: Path) -> Iterator[Save]:
    """As many files as somebody may have, of some ten bytes each."""
    names = [f"crowd/{number // FILES_IN_DIRECTORY:04}/{number:06}.txt" for number in range(prepared.sizes.crowd)]

    def write(folder: Path) -> None:
        for name in names:
            file = folder / name
            if int(file.stem) % FILES_IN_DIRECTORY == 0:
                file.parent.mkdir(parents=True)
            file.write_text(name, "ascii")

    yield Save(tuple(Saved(name, len(name)) for name in names), write)


def _crowded(prepared: Prepared, _: Path) -> Iterator[Save]:
    return _notes(prepared.sizes.crowded_files, prepared.sizes.latency, "crowded")


def _notes(count: int, size: int, name: str) -> Iterator[Save]:
    content = seeded_bytes(f"Shoal bench {name}")
    for number in range(count):
        yield _one(f"{name}-{number:03}.txt", size, partial(_write, blocks=[content(size)]))


def _bulk(prepared: Prepared, _: Path) -> Iterator[Save]:
    yield _one(BULK_FILE, prepared.sizes.bulk, lambda file: _write(file, _read(prepared.bulk)))


def _insert(prepared: Prepared, _: Path) -> Iterator[Save]:
    def write(file: Path) -> None:
        _write(file, chain([b"x"], _read(prepared.bulk)))

    yield _one(BULK_FILE, 1 + prepared.sizes.bulk, write)


def _append(prepared: Prepared, folder: Path) -> Iterator[Save]:
    end = seeded_bytes("Shoal bench append")(prepared.sizes.append)
    before = (folder / BULK_FILE).stat().st_size

    def write(file: Path) -> None:
        with file.open("ab") as out:
            out.write(end)

    yield _one(BULK_FILE, before + len(end), write)


def _edit(_: Prepared, folder: Path) -> Iterator[Save]:
    with (folder / BULK_FILE).open("rb") as before:
        size = before.seek(0, os.SEEK_END)
        middle = before.seek(size // 2)
        changed = bytes([before.read(1)[0] ^ 1])

    def write(folder: Path) -> None:
        with (folder / BULK_FILE).open("r+b") as file:
            file.seek(middle)
            file.write(changed)

    yield Save((Saved(BULK_FILE, size, (middle, changed)),), write)


def _small(prepared: Prepared, _: Path) -> Iterator[Save]:
    count, size = prepared.sizes.small_files, prepared.sizes.small
    names = [f"small/{number // FILES_IN_DIRECTORY:03}/{number:05}.bin" for number in range(count)]

    def write(folder: Path) -> None:
        content = seeded_bytes("Shoal bench small")
        for name in names:
            file = folder / name
            if int(file.stem) % FILES_IN_DIRECTORY == 0:
                file.parent.mkdir(parents=True)
            _write(file, [content(size)])

    yield Save(tuple(Saved(name, size) for name in names), write)


WORKS = (
    Work(
        "latency",
        lambda sizes: f"{sizes.latency_files} files of {sizes.latency // KIB} KiB, each saved when the last is settled",
        _latency,
        look_seconds=0.0005,
    ),
    Work("bulk", lambda sizes: f"a new file of {sized(sizes.bulk)}, copied into the folder", _bulk),
    Work(
        "insert",
        lambda _: "the same file with 1 byte more at its front, written anew in place",
        _insert,
        stands_on="bulk",
    ),
    Work(
        "append",
        lambda sizes: f"{sized(sizes.append)} written at the end of that file",
        _append,
        stands_on="bulk",
    ),
    Work("edit", lambda _: "1 byte changed in the middle of that file, in place", _edit, stands_on="bulk"),
    Work(
        "small",
        lambda sizes: (
            f"{sizes.small_files:,} new files of {sizes.small // KIB} KiB, {FILES_IN_DIRECTORY} to a directory"
        ),
        _small,
    ),
    Work("crowd", lambda sizes: f"{sizes.crowd:,} new files of some 20 bytes", _crowd, by_default=False),
    Work(
        "crowded",
        lambda sizes: f"like latency, {sizes.crowded_files} files beside those of crowd",
        _crowded,
        look_seconds=0.0005,
        stands_on="crowd",
        by_default=False,
    ),
)
WORK_NAMES = tuple(work.name for work in WORKS)


def _one(name: str, size: int, write: Callable[[Path], None]) -> Save:
    return Save((Saved(name, size),), lambda folder: write(folder / name))


def _write(file: Path, blocks: Iterable[bytes | memoryview]) -> None:
    with file.open("wb") as out:
        for block in blocks:
            out.write(block)


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb", buffering=0) as source:
        while block := source.read(BLOCK):
            yield block


def blocks_of(made: MadeFile) -> Iterator[memoryview]:
    """A made file in blocks; each is valid until the next is asked for."""
    buffer = memoryview(bytearray(BLOCK))
    while count := made.readinto(buffer):
        yield buffer[:count]
