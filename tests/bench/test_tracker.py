"""`shoal-bench tracker`: its statistics and verdicts, its frames, and the whole of it on a tiny scale."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench import cli
from bench.failures import BenchFailed
from bench.lan.usage import Usage
from bench.tracker.connection import Frames
from bench.tracker.figures import Measure, summarise
from bench.tracker.pairs import PAIR_NAMES, PAIRS
from bench.tracker.usage import Tree
from bench.tracker.verdicts import EXPECTED, judge
from tests.support.leftovers import assert_nothing_is_left

WATCHERS = 3
FIGURES = {"commits", "rows", "up", "down", "notices"}


def measured(figure: str, who: str, amount: float, *, run: int = 1, pair: str = "postgresql") -> Measure:
    """In two seconds."""
    usage = {"tracker": Usage(1.0, 0)}
    return Measure(figure, pair, who, run, "rows/s", amount, 2.0, (0.1, 0.2, 0.3), (), usage)


def test_a_summary_has_the_median_of_rates_and_the_ratio_to_the_floor() -> None:
    measures = [measured("rows", "tracker", amount, run=run) for run, amount in enumerate((10, 40, 20), 1)]
    own, floor = summarise([*measures, measured("rows", "floor", 400)])
    assert (own.value, own.least, own.most) == (10, 5, 20)
    assert own.of_floor == 0.05
    assert floor.of_floor is None
    assert (own.median_seconds, own.p99_seconds, own.last_seconds) == (0.2, 0.3, None)
    assert own.busy == {"tracker": 0.5}
    assert own.cpu_each == {"tracker": 0.05}


@pytest.mark.parametrize(("factor", "word"), [(2.0, "ok"), (1.9, "RED")])
def test_what_is_expected_is_held_against_postgresql_only(factor: float, word: str) -> None:
    enough = EXPECTED["rows"] * factor  # in two seconds
    measures = [measured("rows", "tracker", enough), measured("rows", "tracker", 1, pair="sqlite")]
    (verdict,) = judge(summarise(measures), full_scale=True)
    assert verdict.word == word
    (verdict,) = judge(summarise(measures), full_scale=False)
    assert verdict.word == "not judged"


def frame(payload: bytes, kind: int = 2) -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes([length])
    else:
        head = b"\x7e" + length.to_bytes(2, "big") if length < 1 << 16 else b"\x7f" + length.to_bytes(8, "big")
    return bytes([0x80 | kind]) + head + payload


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_are_counted_when_they_are_complete(length: int) -> None:
    data = frame(bytes(length)) + frame(b"ping", 9) + frame(b"x")
    frames = Frames()
    assert sum(frames.feed(data[at : at + 1000]) for at in range(0, len(data), 1000)) == 2
    assert frames.feed(frame(b"y")[:1]) == 0
    assert frames.feed(frame(b"y")[1:]) == 1
    with pytest.raises(BenchFailed):
        frames.feed(frame(b"", 8))


async def test_a_tree_counts_its_root() -> None:
    tree = Tree(os.getpid())
    used = await tree.used()
    assert used.cpu_seconds > 0
    assert used.peak_bytes > 1 << 20


@pytest.mark.slow
def test_the_whole_on_a_tiny_scale(place: Path, tmp_path: Path) -> None:
    place.chmod(0o711)  # PostgreSQL doesn't run as root, and has to come to its own folder
    out = tmp_path / "out.json"
    arguments = ["--runs", "1", "--scale", "0.002", "--watchers", str(WATCHERS), "--json", str(out)]
    result = CliRunner().invoke(cli.main, ["tracker", *arguments])
    figures: dict[str, Any] = json.loads(out.read_text())
    assert figures["failure"] is None, result.output
    assert result.exit_code == 0
    assert [pair.missing() for pair in PAIRS] == [None] * len(PAIRS)
    assert figures["left_out"] == {}
    assert figures["full_scale"] is False
    assert list(figures["pairs"]) == list(PAIR_NAMES)
    assert {(row["pair"], row["figure"]) for row in figures["measures"]} == {
        (pair, figure) for pair in PAIR_NAMES for figure in FIGURES
    }
    assert all(row["value"] > 0 for row in figures["measures"])
    for row in figures["summary"]:
        assert {"tracker", "client"} <= row["busy"].keys()
        assert ("PostgreSQL" in row["busy"]) == (row["pair"] == "postgresql")
        if row["who"] == "tracker":
            assert row["p99_seconds"] >= row["median_seconds"] > 0
            assert (row["of_floor"] is None) == (row["figure"] == "notices") == (row["last_seconds"] is not None)
    assert {verdict["word"] for verdict in figures["verdicts"]} == {"not judged"}
    assert "What one tracker process does" in result.output
    assert_nothing_is_left(place)
