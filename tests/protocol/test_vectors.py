"""The golden vectors are what the code makes today, and a decoder that knows only docs/protocol.md reads them."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.exceptions import CryptoError

from scripts import make_vectors
from tests.vectors import decode

FILES = sorted(make_vectors.MAKERS)
OURS = {"protocol", "storage", "tracker", "peer", "bench", "tests", "scripts"}
ALLOWED = {"blake3", "nacl", "zstandard"}


@pytest.mark.parametrize("name", FILES)
def test_code_makes_exactly_the_vectors(name: str) -> None:
    assert make_vectors.render(name) == (make_vectors.FOLDER / f"{name}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_independent_decoder_reads_them(name: str) -> None:
    assert decode.check_file(make_vectors.FOLDER / f"{name}.json") > 0


def test_every_file_has_a_maker() -> None:
    assert [path.stem for path in sorted(make_vectors.FOLDER.glob("*.json"))] == FILES


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield (node.module or "").partition(".")[0]


def test_independent_decoder_imports_nothing_of_ours() -> None:
    names = set(imported(Path(decode.__file__)))
    assert not names & OURS
    assert names <= ALLOWED | sys.stdlib_module_names
    assert "__import__" not in Path(decode.__file__).read_text(encoding="utf-8")
    assert "importlib" not in names


@pytest.mark.parametrize("name", FILES)
def test_decoder_notices_a_changed_output(name: str) -> None:
    for case in make_vectors.MAKERS[name]():
        for field, value in case["outputs"].items():
            if isinstance(value, str) and field not in decode.TEXTS and case["inputs"].get("kind") != "password":
                changed = value[:-1] + ("0" if value[-1] != "0" else "1")
                with pytest.raises((AssertionError, ValueError, LookupError, CryptoError)):
                    decode.check_case(name, {**case, "outputs": {**case["outputs"], field: changed}})
