"""Times as people give them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from peer.cli.times import local_time, parsed_time


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in India."""
    monkeypatch.setenv("TZ", "IST-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def ms(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-29T14:30:00Z", ms("2026-11-29 14:30")),
        ("2026-11-29 14:30", ms("2026-11-29 09:00")),
        ("2026-11-29", ms("2026-11-28 18:30")),
        ("2026-11-29T14:30:00.250+02:00", ms("2026-11-29 12:30") + 250),
    ],
)
def test_points_in_time(text: str, meant: int) -> None:
    assert parsed_time(text) == {"time_ms": meant}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10 minutes ago", 600), ("10m", 600), ("10 min ago", 600), ("1 hour ago", 3600), ("90s", 90),
        ("2 Days Ago", 172_800), ("3 weeks", 1_814_400), ("0 seconds ago", 0),
    ],
)  # fmt: skip
def test_ages(text: str, seconds: int) -> None:
    assert parsed_time(text) == {"ago_ms": seconds * 1000}


def test_a_revision() -> None:
    assert parsed_time("@17") == {"revision": 17}


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "10 parsecs ago", "-5 minutes ago", "@", "@-1", "1969-01-01", "2026-13-01", "99999999999999d"],
)
def test_what_is_no_time(text: str) -> None:
    assert parsed_time(text) is None


def test_the_trackers_times_are_shown_in_the_zone_of_this_machine() -> None:
    assert local_time("2026-11-29T14:30:00.250Z") == "2026-11-29 20:00:00"
