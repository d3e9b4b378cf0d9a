"""The tree that travels: the interpreter's own sources, one big file, and everything odd that a folder may hold."""

import os
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from bench.failures import BenchFailed

SOURCES = "stdlib"
ODD = "odd"
BIG_FILE = "big.bin"
_SKIPPED = {"site-packages", "dist-packages", "__pycache__"}
_SECOND = 10**9
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Scale:
    """How much travels. The odd part comes on top of `files` and `directories`."""

    files: int = 3000
    directories: int = 300
    big_bytes: int = 256 << 20


def python_sources() -> list[PurePath]:
    """The standard library's `.py` files, relative to `stdlib_folder()`, always in the same order."""
    top = stdlib_folder()
    found: list[PurePath] = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        here = Path(folder)
        found += ((here / name).relative_to(top) for name in sorted(names) if name.endswith(".py"))
    return [path for path in found if (top / path).is_file()]


def stdlib_folder() -> Path:
    """Where the interpreter keeps its own sources."""
    return Path(sysconfig.get_path("stdlib"))


def lay_out(sources: Sequence[PurePath], files: int, directories: int) -> Iterator[tuple[PurePath, PurePath]]:
    """Pairs (source, target): exactly so many files in exactly so many directories.

    Sources come where they are at home. What is missing is made up by the same sources under other names in further
    directories.
    """
    if not sources or files < directories or directories < 1:
        raise BenchFailed(f"can't make {files} files in {directories} directories of {len(sources)} sources")
    folders: set[PurePath] = set()
    count = 0
    for source in sources:
        target = SOURCES / source
        here = {folder for folder in target.parents if folder.name} | folders
        # Every directory that is still to come needs a file.
        if len(here) <= directories and count + 1 + directories - len(here) <= files:
            yield source, target
            folders, count = here, count + 1
    spare = directories - len(folders)
    for number in range(files - count):
        source = sources[number % len(sources)]
        place = PurePath(f"again {number % spare:03}") if spare else PurePath(SOURCES)
        yield source, place / f"{number // max(spare, 1):04} {source.name}"


def make_sources(folder: Path, scale: Scale) -> None:
    """Copy Python's sources into `folder`, times and modes included."""
    top = stdlib_folder()
    for source, target in lay_out(python_sources(), scale.files, scale.directories):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(top / source, folder / target)


def make_big_file(file: Path, size: int) -> None:
    """`size` random bytes, which nothing can compress or recognise."""
    with file.open("wb") as out:
        for start in range(0, size, _BLOCK):
            out.write(os.urandom(min(_BLOCK, size - start)))


# Odd things ----------------------------------------------------------------------------------------------------------

NAMES = (
    "caf\u00e9.txt",  # NFC
    "cafe\u0301.txt",  # NFD: another file
    "Readme.md",
    "README.md",
    " spaces  inside and around ",
    "-rf",
    "--help",
    'it\'s "quoted" `and` $HOME',
    "two\nlines",
    "tab\tand \x1b[31mescape",
    "back\\slash",
    "*.?[a-z]",
    "%s %n {0}",
    "...",
    ".hidden",
    "trailing dot.",
    "CON",
    "文件 Ελληνικά עברית",
    "🐟🐠",
    "n" * 251 + ".txt",  # 255 bytes
    "ß" * 127 + "x",  # 255 bytes of UTF-8
)

TIMES_NS = {
    "1970": 1,
    "1999": 946_684_799 * _SECOND + 999_999_999,
    "2038": (2**31) * _SECOND + 123_456_789,
    "2099": 4_070_908_800 * _SECOND + 1,
}

LINKS = {
    "relative": "../names/Readme.md",
    "dangling": "nowhere/at all",
    "to a directory": "../empty",
    "absolute": "/etc/hostname",
    "up and out": "../../../../..",
    "out to a directory": "/usr",
    "to itself": "to itself",
    "odd": "two\nlines ->\t文件",
}

SIZES = (0, 1, 1023, 1024, 1025, 16_384, 70_000)


def make_odd_things(folder: Path) -> None:
    """Names, times, links, modes and sizes that sync programs stumble over, in `folder`/odd."""
    odd = folder / ODD
    for name in NAMES:
        _write(odd / "names" / name, f"my name is {name!r}\n".encode())
    for name, mtime_ns in TIMES_NS.items():
        _write(odd / "times" / f"from {name}", name.encode(), mtime_ns)
    for name, target in LINKS.items():
        _link(odd / "links" / name, target)
    for size in SIZES:
        _write(odd / "sizes" / f"{size} bytes", os.urandom(size))
    for name, mode in (("executable", 0o755), ("private", 0o600), ("private executable", 0o700), ("plain", 0o644)):
        _write(odd / "modes" / name, b"#!/bin/sh\necho hello\n")
        (odd / "modes" / name).chmod(mode)
    for name in ("empty", "nest/of/empty/directories"):
        (odd / name).mkdir(parents=True)


def _write(file: Path, data: bytes, mtime_ns: int | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    if mtime_ns is not None:
        os.utime(file, ns=(mtime_ns, mtime_ns))


def _link(place: Path, target: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    os.utime(place, ns=(TIMES_NS["1999"], TIMES_NS["1999"]), follow_symlinks=False)
