"""The documents name files, commands, cases and places that exist."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from peer.synchronizer import planner
from protocol.api import ENDPOINTS
from protocol.identifiers import MAX_PACK_BYTES
from tests.support.documents import PROGRAMS, README, ROOT, code_blocks, parse
from tracker.failpoints import FAILPOINTS

HIDDEN = {".venv", "build", "node_modules"}
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in HIDDEN for part in path.relative_to(ROOT).parts[:-1])
)
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
SYNC_ENGINE = ROOT / "docs" / "sync-engine.md"
ROOMS = "protocol|storage|tracker|peer|bench|tests|scripts|docs|packaging"

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def called(path: Path) -> str:
    return str(path.relative_to(ROOT))


def short(value: Path | str) -> str:
    return called(value) if isinstance(value, Path) else value


def found_in(documents: list[Path], pattern: re.Pattern[str]) -> list[tuple[Path, str]]:
    return [(path, found) for path in documents for found in pattern.findall(text_of(path))]


# Links --------------------


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(document)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("document", "link"), found_in(DOCUMENTS, LINK), ids=short)
def test_links_lead_somewhere(document: Path, link: str) -> None:
    if link.startswith(("http://", "https://", "mailto:")):
        return
    path, _, anchor = link.partition("#")
    goal = (document.parent / path).resolve() if path else document
    assert goal.is_relative_to(ROOT), f"{called(document)} links out of the repository: {link}"
    assert goal.exists(), f"{called(document)} links to {link}"
    if anchor:
        assert anchor in anchors(goal), f"{called(document)} links to {link}"


# Files and functions --------------------

FILE = re.compile(rf"`((?:{ROOMS})/[\w./*-]*)`")
STEP = re.compile(r"`([\w/]+\.py)` ((?:`_?\w+`(?:, )?)+)|((?:`_?\w+`(?:, )?)+) in `([\w/]+\.py)`")


@pytest.mark.parametrize(("document", "name"), sorted(set(found_in(DOCUMENTS, FILE))), ids=short)
def test_files_that_are_named_exist(document: Path, name: str) -> None:
    assert list(ROOT.glob(name.rstrip("/"))), f"{called(document)} names {name}"


def functions() -> Iterator[tuple[str, str]]:
    for before, names, other_names, after in STEP.findall(text_of(ARCHITECTURE)):
        for name in re.findall(r"`(\w+)`", names or other_names):
            yield before or after, name


@pytest.mark.parametrize(("file", "name"), sorted(set(functions())))
def test_functions_that_the_map_names_are_where_it_says(file: str, name: str) -> None:
    assert re.search(rf"\b(?:def|class) {name}\b", text_of(ROOT / file)), f"no {name} in {file}"


def test_the_map_is_a_map() -> None:
    assert len(text_of(ARCHITECTURE).splitlines()) <= 200
    assert len(set(functions())) >= 15


# Commands --------------------


def command_lines(document: Path) -> Iterator[str]:
    """The commands of this repository in a document's code blocks."""
    for line in text_of(document).splitlines():
        if re.match(r"    (?:SHOAL_\w+=\S+ )*shoal(?:-tracker|-bench)? ", line):
            yield line.strip()


def quoted_commands(document: Path) -> Iterator[str]:
    """Those within a sentence, which may leave out arguments and give none with `…`."""
    for quoted in INLINE.findall(FENCE.sub("", text_of(document))):
        words = quoted.split()
        if len(words) > 1 and words[0] in PROGRAMS and words[-1].isascii():
            yield " ".join(words)


@pytest.mark.parametrize("line", [line for path in DOCUMENTS for line in command_lines(path)])
def test_commands_in_code_blocks_can_be_given(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").touch()  # has to be there
    parse(line)


@pytest.mark.parametrize("line", sorted({line for path in DOCUMENTS for line in quoted_commands(path)}))
def test_commands_in_sentences_can_be_given(line: str) -> None:
    with suppress(click.MissingParameter, click.exceptions.Exit):  # `shoal login`, `shoal --version`
        parse(line)


def test_the_readme_shows_commands() -> None:
    assert len(list(command_lines(README))) >= 10


@pytest.mark.parametrize(
    "line", ["shoal run --fast", "shoal share PATH", "shoal-tracker serve --lan", "shoal status x", "shoal-bench x"]
)
def test_what_there_is_not_is_found_out(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = {
        name for path in DOCUMENTS for name in re.findall(r"(?:`|^    )make ([a-z]+)", text_of(path), re.MULTILINE)
    }
    assert named <= targets
    assert {"demo", "test"} <= named


def test_the_proxy_takes_all_that_the_tracker_does() -> None:
    _, nginx = code_blocks(README, "Behind a reverse proxy")
    (size,) = re.findall(r"client_max_body_size (\d+)m;", nginx)
    assert int(size) << 20 >= max(MAX_PACK_BYTES, *(endpoint.request_limit for endpoint in ENDPOINTS))


# The sync engine --------------------


def test_the_planners_cases_are_those_of_its_docstring() -> None:
    assert planner.__doc__ is not None
    cases = planner.__doc__[planner.__doc__.index("     1 ") :].rstrip()
    assert f"```\n{cases}\n```" in text_of(SYNC_ENGINE)


def failpoints() -> set[str]:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "peer").rglob("*.py")]
    return {name for source in sources for name in re.findall(r'failpoint\("([^"]+)"\)', source)} | set(FAILPOINTS)


def test_every_place_to_crash_at_is_described() -> None:
    described = set(re.findall(r"^\| `((?:peer|tracker)\.[a-z.-]+)` \|", text_of(SYNC_ENGINE), re.MULTILINE))
    assert described == failpoints()
    assert len(described) >= 10
