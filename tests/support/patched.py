"""A program whose source is changed as it is loaded: `python -m tests.support.patched PATCH[,PATCH...] MODULE ...`.

For faults that a test has to notice, and for patience that no test has. Either costs the product nothing, and a patch
that no longer fits the source fails at once.
"""

import importlib.abc
import importlib.machinery
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import NamedTuple


class Change(NamedTuple):
    """In a module, the only `old` becomes `new`."""

    module: str
    old: str
    new: str


FAULTS = {
    "no fsync before the swap": [
        Change("peer.synchronizer.downloads", "    if job.sync:\n        disk.fsync(descriptor)\n", ""),
    ],
    "no barrier before the commit": [
        Change(
            "peer.synchronizer.sending",
            "        await context.machine.offload(work, context.limiter)\n\n    # Settling",
            "\n    # Settling",
        ),
    ],
}
IMPATIENT = "impatient"
"""Asks after two seconds what the cloud still lacks, and gives up after five what it has lost."""
PATCHES = {
    **FAULTS,
    IMPATIENT: [
        Change("peer.peer", "ASK_AGAIN = 15.0", "ASK_AGAIN = 2.0"),
        Change("peer.peer", "LOOK_AROUND = 30.0", "LOOK_AROUND = 2.0"),
        Change("peer.synchronizer.uploads", "GIVE_UP = 300.0", "GIVE_UP = 5.0"),
    ],
}


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, changes: Sequence[Change]) -> None:
        super().__init__(fullname, path)
        self._changes = changes

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_source(fullname)
        assert source is not None
        for change in self._changes:
            assert source.count(change.old) == 1, f"a patch doesn't fit {fullname} any more: {change.old}"
            source = source.replace(change.old, change.new)
        code: CodeType = compile(source, self.path, "exec")
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        changes = [change for change in self._changes if change.module == fullname]
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target) if changes else None
        if found is not None and found.origin is not None:
            found.loader = _Loader(fullname, found.origin, changes)
        return found


if __name__ == "__main__":
    patches = sys.argv.pop(1).split(",")
    sys.meta_path.insert(0, _Finder([change for name in patches for change in PATCHES[name]]))
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
