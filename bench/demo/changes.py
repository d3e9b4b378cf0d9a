"""What a user does to a folder while the demo watches. Done to the original as well, it tells what has to come out.

Every file written gets a time of its own that is the same wherever the change is made, so that two copies of one change
are equal to the nanosecond.
"""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.compare import Listing
from bench.demo.tree import BIG_FILE, ODD, SOURCES
from bench.failures import BenchFailed

NOW_NS = 1_800_000_000_123_456_789
CONFLICT = "(conflicted copy, "


@dataclass(frozen=True)
class Choice:
    """Which paths are changed: the fullest directory in `stdlib`, and files right in it."""

    directory: str
    edited: str
    renamed: str
    deleted: str
    deleted_offline: str
    edited_there: str
    edited_offline: str
    edited_on_both: str


def choose(tree: Listing) -> Choice:
    """Some of the tree's own paths. The tree must have seven files right in `stdlib` and a directory there."""
    prefix = SOURCES + "/"
    paths = [path for path in sorted(map(os.fsdecode, tree)) if path.startswith(prefix)]
    below = [path.removeprefix(prefix) for path in paths]
    files = [prefix + name for name in below if "/" not in name and tree[os.fsencode(prefix + name)].type == "file"]
    fullness = Counter(name.partition("/")[0] for name in below if "/" in name)
    if len(files) < 7 or not fullness:
        raise BenchFailed("the tree is too small to change: give more --files and --directories")
    return Choice(prefix + fullness.most_common(1)[0][0], *files[:7])


class Change:
    """Changes to one copy of the tree."""

    def __init__(self, root: Path, choice: Choice) -> None:
        """Change the folder `root`."""
        self._root = root
        self._choice = choice

    def on_second(self) -> None:
        """An edit, a byte in the big file, a rename, a directory move, a delete, and a bit."""
        choice = self._choice
        self._append(choice.edited, "# edited on the second device\n", 1)
        self._flip(BIG_FILE, 2)
        self._rename(choice.renamed, choice.renamed.removesuffix(".py") + " renamed.py")
        self._rename(choice.directory, f"{ODD}/nest/moved here")
        (self._root / choice.deleted).unlink()
        (self._root / ODD / "modes" / "plain").chmod(0o755)
        self._relink(f"{ODD}/links/dangling", "somewhere else", 3)

    def while_first_is_off(self) -> None:
        """What the second device does alone."""
        choice = self._choice
        self._append(choice.edited_there, "# edited while the other was off\n", 10)
        self._append(choice.edited_on_both, "# the second device's edit\n", 11)
        self._write("new on the second/note.txt", "hello from the second device\n", 12)

    def while_off(self) -> None:
        """What happens to the first device's folder while it does not sync, but for the edit that conflicts."""
        choice = self._choice
        self._append(choice.edited_offline, "# edited offline\n", 20)
        self._write("new on the first/deep/note.txt", "hello from the first device\n", 21)
        (self._root / choice.deleted_offline).unlink()
        self._rename(f"{ODD}/names/CON", f"{ODD}/names/renamed offline")

    def conflicting(self, path: str | None = None) -> None:
        """The first device's edit of what the second has edited, made at `path` when that is given."""
        target = self._choice.edited_on_both if path is None else path
        self._append(target, "# the first device's edit\n", 22)

    def keep_other_edit(self, name: str) -> None:
        """What has to come of the conflict: the first device's edit under `name`, besides the second's."""
        original = (self._root / self._choice.edited_on_both).read_bytes()
        (self._root / name).write_bytes(original)
        self.conflicting(name)

    # Single changes

    def _append(self, path: str, text: str, number: int) -> None:
        with (self._root / path).open("ab") as file:
            file.write(text.encode())
        self._stamp(path, number)

    def _write(self, path: str, text: str, number: int) -> None:
        (self._root / path).parent.mkdir(parents=True)
        (self._root / path).write_bytes(text.encode())
        self._stamp(path, number)

    def _flip(self, path: str, number: int) -> None:
        """Change the byte in the middle, in place."""
        with (self._root / path).open("r+b") as file:
            middle = file.seek(0, os.SEEK_END) // 2
            file.seek(middle)
            old = file.read(1)
            file.seek(middle)
            file.write(bytes([old[0] ^ 1]))
        self._stamp(path, number)

    def _rename(self, path: str, to: str) -> None:
        (self._root / path).rename(self._root / to)

    def _relink(self, path: str, target: str, number: int) -> None:
        (self._root / path).unlink()
        (self._root / path).symlink_to(target)
        self._stamp(path, number)

    def _stamp(self, path: str, number: int) -> None:
        mtime_ns = NOW_NS + number * 1_000_000_001
        os.utime(self._root / path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


def conflict_copies(tree: Listing) -> list[str]:
    """Paths of conflict copies."""
    return [path for path in map(os.fsdecode, tree) if CONFLICT in path]
