"""Importing modules whose source is changed as it is loaded, by a program that has not imported them yet. No file
changes, and an edit that no longer fits the source fails at once."""

import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class DoesNotFit(ValueError):
    """What an edit replaces is not in the module just once: the code changed, and the edit must follow."""


class Edit(NamedTuple):
    """In `module`, the only `before` becomes `after`."""

    module: str
    before: str
    after: str


def patched(module: str, edits: Iterable[Edit]) -> str:
    """The module's source with those of these edits that are its own."""
    text = (ROOT / (module.replace(".", "/") + ".py")).read_text("utf-8")
    for edit in edits:
        if edit.module == module:
            if text.count(edit.before) != 1:
                raise DoesNotFit(f"found {text.count(edit.before)} times in {module}: {edit.before!r}")
            text = text.replace(edit.before, edit.after)
    return text


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(fullname, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        """As the original's, without its cache of compiled code."""
        code: CodeType = compile(patched(fullname, self._edits), self.path, "exec", dont_inherit=True)
        return code


class _Finder(MetaPathFinder):
    def __init__(self, edits: Sequence[Edit]) -> None:
        self._edits = edits

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if all(edit.module != fullname for edit in self._edits):
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.origin is not None:
            found.loader = _Loader(fullname, found.origin, self._edits)
        return found


def put_in(edits: Sequence[Edit]) -> None:
    """From now on the modules of these edits are imported with them."""
    for edit in edits:
        if edit.module in sys.modules:
            raise ImportError(f"{edit.module} has been imported already")
    sys.meta_path.insert(0, _Finder(edits))
