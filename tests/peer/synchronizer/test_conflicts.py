"""The names of conflict copies: readable, free, and possible on every disk that could hold the original."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.synchronizer.conflicts import conflict_name, ends_of_copies, shorten
from protocol.identifiers import MAX_NAME_BYTES
from protocol.names import check_name

NOW = 1_700_000_000_000_000_000  # 2023-11-14, in the evening


def name_for(name: str, device: str = "laptop", taken: frozenset[str] = frozenset()) -> str:
    return conflict_name(name, device, NOW, taken.__contains__)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.txt", "report (conflicted copy, laptop, 2023-11-14).txt"),
        ("report", "report (conflicted copy, laptop, 2023-11-14)"),
        (".bashrc", ".bashrc (conflicted copy, laptop, 2023-11-14)"),
        ("a.tar.gz", "a.tar (conflicted copy, laptop, 2023-11-14).gz"),
        ("ends.", "ends (conflicted copy, laptop, 2023-11-14)."),
        ("a. " + "b" * 50, "a. " + "b" * 50 + " (conflicted copy, laptop, 2023-11-14)"),
        ("ü.ß", "ü (conflicted copy, laptop, 2023-11-14).ß"),
    ],
)
def test_the_extension_stays(name: str, expected: str) -> None:
    assert name_for(name) == expected


@pytest.mark.parametrize("name", ["report.txt", ".bashrc", "a.tar.gz", "ends.", "a. " + "b" * 50, "ü.ß"])
def test_how_the_names_of_copies_begin_and_end(name: str) -> None:
    begin, end = ends_of_copies(name)
    for copy in (name_for(name), name_for(name, "desktop", frozenset({name_for(name, "desktop")}))):
        assert copy.startswith(begin)
        assert copy.endswith(end)
    assert not name_for(f"other {name}").startswith(begin)


def test_a_name_that_is_taken_is_numbered() -> None:
    first = name_for("a.b")
    second = name_for("a.b", taken=frozenset({first}))
    assert second == "a (conflicted copy, laptop, 2023-11-14 2).b"
    assert name_for("a.b", taken=frozenset({first, second})) == "a (conflicted copy, laptop, 2023-11-14 3).b"


@pytest.mark.parametrize("device", ["a/b", "x\0y", "tab\there", "\u202egnp", "long" * 50, ""])
def test_devices_with_any_name(device: str) -> None:
    assert check_name(name_for("a.b", device))


def test_a_copy_of_a_copy() -> None:
    assert name_for(name_for("a.b")).count("conflicted copy") == 2


@given(
    name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=255).filter(
        lambda name: len(name.encode()) <= MAX_NAME_BYTES and name not in (".", "..")
    ),
    device=st.text(max_size=64),
    rivals=st.integers(0, 12),
)
def test_every_copy_of_any_name_is_a_name_of_its_own(name: str, device: str, rivals: int) -> None:
    taken = {name}
    for _ in range(rivals):
        fresh = conflict_name(name, device, NOW, taken.__contains__)
        assert fresh not in taken
        assert len(check_name(fresh)) <= MAX_NAME_BYTES
        taken.add(fresh)


@given(text=st.text(), limit=st.integers(0, 300))
def test_shortening_cuts_between_characters(text: str, limit: int) -> None:
    text = text.encode("utf-8", "ignore").decode()
    short = shorten(text, limit)
    assert text.startswith(short)
    assert len(short.encode()) <= limit
    assert short == text or len(short.encode()) > limit - 4
