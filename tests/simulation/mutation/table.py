"""The table of faults, read from `faults.diff`."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.patching import Edit


class Fault(NamedTuple):
    """A mistake: edits in one or several modules."""

    name: str
    edits: tuple[Edit, ...]


_FILE = Path(__file__).with_name("faults.diff")


def _read(text: str) -> Iterator[Fault]:
    for section in text.split("\n# ")[1:]:
        name, *files = section.split("\n--- ")
        yield Fault(name.strip().replace(" ", "-"), tuple(map(_edit, files)))


def _edit(text: str) -> Edit:
    path, *lines = text.splitlines()
    marked = [(line[0], line[1:] + "\n") for line in lines if line[:1] in ("-", "+", " ")]
    before = "".join(line for mark, line in marked if mark != "+")
    after = "".join(line for mark, line in marked if mark != "-")
    return Edit(path.removesuffix(".py").replace("/", "."), before, after)


FAULTS = {fault.name: fault for fault in _read(_FILE.read_text("utf-8"))}
