"""Importing modules with a fault in them: only in a process that has not imported them yet."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[3]


class DoesNotFit(ValueError):
    """The lines that a fault replaces are not in the module just once: the code changed, and the table must follow."""


@dataclass(frozen=True)
class Edit:
    """In `module`, the text `before` becomes `after`."""

    module: str
    before: str
    after: str

    @property
    def path(self) -> Path:
        """The file of the module."""
        return ROOT / (self.module.replace(".", "/") + ".py")

    def patched(self) -> str:
        """The module's text with the edit made."""
        text = self.path.read_text("utf-8")
        if text.count(self.before) != 1:
            raise DoesNotFit(f"found {text.count(self.before)} times in {self.module}: {self.before!r}")
        return text.replace(self.before, self.after)


@dataclass(frozen=True)
class Fault:
    """A mistake: edits in as many modules."""

    name: str
    edits: tuple[Edit, ...]


class _Loader(SourceFileLoader):
    def __init__(self, edit: Edit) -> None:
        super().__init__(edit.module, str(edit.path))
        self._edit = edit

    def get_code(self, fullname: str) -> CodeType:
        """As the original's, without its cache of compiled code."""
        return compile(self._edit.patched(), self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, edit: Edit) -> None:
        self._edit = edit

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._edit.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        spec.loader = _Loader(self._edit)
        return spec


def put_in(fault: Fault) -> None:
    """From now on the modules of its edits are imported with them."""
    for edit in fault.edits:
        if edit.module in sys.modules:
            raise ImportError(f"{edit.module} has been imported already")
        sys.meta_path.insert(0, _Finder(edit))
