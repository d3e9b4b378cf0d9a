"""A program with one fault in it: `python -m tests.support.patched FAULT MODULE ...`.

The source of one module is changed as it is loaded, so a fault costs the product nothing, and a fault that no longer
fits the source fails at once.
"""

import importlib.abc
import importlib.machinery
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import NamedTuple


class Fault(NamedTuple):
    """In a module, the only `right` becomes `wrong`."""

    module: str
    right: str
    wrong: str


FAULTS = {
    "no fsync before the swap": Fault(
        "peer.synchronizer.downloads",
        "    if job.sync:\n        disk.fsync(descriptor)\n",
        "",
    ),
    "no barrier before the commit": Fault(
        "peer.synchronizer.sending",
        "        await context.machine.offload(work, context.limiter)\n\n    # Settling",
        "\n    # Settling",
    ),
}


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, fault: Fault) -> None:
        super().__init__(fullname, path)
        self._fault = fault

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_source(fullname)
        assert source is not None
        assert source.count(self._fault.right) == 1, f"the fault doesn't fit {fullname} any more"
        code: CodeType = compile(source.replace(self._fault.right, self._fault.wrong), self.path, "exec")
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._fault.module:
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert found is not None
        assert found.origin is not None
        found.loader = _Loader(fullname, found.origin, self._fault)
        return found


if __name__ == "__main__":
    sys.meta_path.insert(0, _Finder(FAULTS[sys.argv.pop(1)]))
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
