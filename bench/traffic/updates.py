"""The updates: what a user's program saves, in one go or one after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.lan.works import KIB, Save, Saved
from bench.made import MadeFile
from bench.seeded import seeded_bytes

SECOND = 1.0


@dataclass(frozen=True)
class Sizes:
    """How much there is; sizes in bytes."""

    files: int = 100
    edited: int = 1_000_000
    appends: int = 60
    rest_seconds: float = 20.0


def scaled(scale: float) -> Sizes:
    """Sizes times `scale`, which is at most 1."""
    full = Sizes()
    return Sizes(
        files=max(3, round(full.files * scale)),
        edited=max(100_000, round(full.edited * scale)),
        appends=max(3, round(full.appends * scale)),
        rest_seconds=max(1.0, full.rest_seconds * scale),
    )


@dataclass(frozen=True)
class Update:
    """One kind. `before` is saved earlier and not counted; `saves` are counted, one every `pace` seconds.

    `payload` is how many bytes a user has changed; the limit is for bytes on the wire, or with `per_byte` for those by
    the payload. None: nothing is expected.
    """

    name: str
    what: Callable[[Sizes], str]
    saves: Callable[[Sizes], Iterator[Save]]
    payload: Callable[[Sizes], int]
    limit: float | None = None
    per_byte: bool = False
    before: Callable[[Sizes], Save] | None = None
    pace: float = 0.0
    rests: Callable[[Sizes], float] | None = None  # how long nothing is done, instead of saving


def _one(_: Sizes) -> Iterator[Save]:
    yield _file("one.txt", seeded_bytes("Shoal bench one")(KIB))


def _many(sizes: Sizes) -> Iterator[Save]:
    content = seeded_bytes("Shoal bench many")
    files = {f"many-{number:03}.txt": content(KIB) for number in range(sizes.files)}

    def write(folder: Path) -> None:
        for name, data in files.items():
            (folder / name).write_bytes(data)

    yield Save(tuple(Saved(name, KIB) for name in files), write)


def _to_edit(sizes: Sizes) -> Save:
    return _file("edited.bin", MadeFile(sizes.edited).read())


def _edit(sizes: Sizes) -> Iterator[Save]:
    at = sizes.edited // 2
    flipped = MadeFile(sizes.edited, flipped=at).read()[at : at + 1]

    def write(folder: Path) -> None:
        with (folder / "edited.bin").open("r+b") as file:
            file.seek(at)
            file.write(flipped)

    yield Save((Saved("edited.bin", sizes.edited),), write)


def _append(sizes: Sizes) -> Iterator[Save]:
    content = seeded_bytes("Shoal bench append")
    for number in range(1, sizes.appends + 1):
        yield _appended("appended.log", content(KIB), number * KIB)


def _appended(name: str, data: bytes, size: int) -> Save:
    def write(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(data)

    return Save((Saved(name, size),), write)


def _file(name: str, data: bytes) -> Save:
    return Save((Saved(name, len(data)),), lambda folder: _written(folder / name, data))


def _written(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def _nothing(_: Sizes) -> Iterator[Save]:
    return iter(())


UPDATES = (
    # The lower end of the published 4 to 26 KB.
    Update("one", lambda _: "one new file of 1 KiB", _one, lambda _: KIB, limit=4_000),
    Update(
        "many",
        lambda sizes: f"{sizes.files} new files of 1 KiB, saved at one go",
        _many,
        lambda sizes: sizes.files * KIB,
        limit=132_000,
    ),
    Update(
        "edit",
        lambda sizes: f"1 byte in the middle of a file of {sizes.edited / 10**6:g} MB, written in place",
        _edit,
        lambda _: 1,
        limit=50_000,
        before=_to_edit,
    ),
    Update(
        "append",
        lambda sizes: f"1 KiB appended to a file every second, {sizes.appends} times, from nothing",
        _append,
        lambda sizes: sizes.appends * KIB,
        limit=6.4,
        per_byte=True,
        pace=SECOND,
    ),
    Update(
        "rest",
        lambda sizes: f"nothing for {sizes.rest_seconds:g} s",
        _nothing,
        lambda _: 0,
        rests=lambda sizes: sizes.rest_seconds,
    ),
)
UPDATE_NAMES = tuple(update.name for update in UPDATES)
