"""`shoal-bench lan`: its statistics, order and verdicts, and the whole of it on a tiny scale."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench import cli
from bench.failures import BenchFailed
from bench.lan import profiling
from bench.lan.command import measure
from bench.lan.figures import Measure, Summary, percentile, summarise
from bench.lan.order import interleaved, to_do
from bench.lan.report import Printer
from bench.lan.rivals import RIVALS
from bench.lan.rivals.base import Rival, Running
from bench.lan.rivals.cp import CP, Copies
from bench.lan.session import Plan, Session
from bench.lan.usage import Usage
from bench.lan.verdicts import judge
from bench.lan.works import WORKS, Saved, scaled
from bench.programs import Programs
from tests.support.leftovers import assert_nothing_is_left

TINY = 0.001
DONE = [work.name for work in WORKS if work.by_default]
"""What is done when no work is named."""


def measured(work: str, rival: str, *seconds: float, run: int = 1, moved: int = 0, peak: int = 0) -> Measure:
    usage = {name: Usage(1.0, peak) for name in ("sender", "receiver")}
    return Measure(
        work=work,
        rival=rival,
        run=run,
        seconds=seconds,
        writing_seconds=tuple(0.5 for _ in seconds),
        settling_seconds=float(run),
        usage=usage,
        settled_usage={name: replace(used, cpu_seconds=2.0) for name, used in usage.items()},
        counters={"in": moved},
        moved=moved,
    )


# Statistics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "percent", "rank"), [(1, 99, 1), (20, 99, 20), (60, 99, 60), (100, 99, 99), (200, 99, 198), (4, 50, 2)]
)
def test_percentiles_are_by_nearest_rank(count: int, percent: int, rank: int) -> None:
    values = [float(count - number) for number in range(count)]
    assert percentile(values, percent) == rank


def test_a_summary_takes_all_saves_of_all_runs() -> None:
    (summary,) = summarise(
        [
            measured("latency", "shoal", 3.0, 1.0, run=1, moved=10, peak=7),
            measured("latency", "shoal", 2.0, 9.0, run=2, moved=30, peak=5),
            measured("latency", "shoal", 4.0, 5.0, run=3, moved=20, peak=6),
        ]
    )
    assert (summary.median, summary.least, summary.most, summary.p99) == (3.5, 1.0, 9.0, 9.0)
    assert (summary.saves, summary.writing, summary.settling) == (6, 0.5, 2.0)
    assert (summary.cpu_seconds, summary.moved, summary.peak_bytes) == (2.0, 20, 7)
    assert summary.usage == {"sender": Usage(1.0, 7), "receiver": Usage(1.0, 7)}
    assert summary.counters == {"in": 20}


def test_ratios_are_of_medians() -> None:
    measures = [
        measured("bulk", rival, seconds, run=run)
        for run, times in enumerate([(2.0, 10.0, 1.0), (4.0, 30.0, 0.5), (3.0, 20.0, 7.0)], 1)
        for rival, seconds in zip(("shoal", "syncthing", "cp"), times, strict=True)
    ]
    shoal, syncthing, cp = summarise(measures)
    assert (shoal.times_faster, shoal.times_floor) == (20.0 / 3.0, 3.0)
    assert (syncthing.times_faster, cp.times_floor) == (1.0, 1.0)


def test_without_a_rival_there_is_no_ratio_to_it() -> None:
    bulk, small, other = summarise(
        [measured("bulk", "shoal", 1.0), measured("small", "shoal", 1.0), measured("small", "cp", 1.0)]
    )
    assert (bulk.times_faster, bulk.times_floor) == (None, None)
    assert (small.times_faster, small.times_floor) == (None, 1.0)
    assert other.rival == "cp"


# Order ---------------------------------------------------------------------------------------------------------------


def test_rivals_take_turns() -> None:
    assert list(interleaved("ab", 3)) == [(1, "a"), (1, "b"), (2, "a"), (2, "b"), (3, "a"), (3, "b")]


def named(*chosen: str) -> list[tuple[str, bool]]:
    return [(work.name, counts) for work, counts in to_do(chosen)]


def test_what_a_work_stands_on_is_done_first_and_does_not_count() -> None:
    assert named("append", "insert") == [("bulk", False), ("insert", True), ("append", True)]
    assert named("bulk", "insert") == [("bulk", True), ("insert", True)]
    assert named("small") == [("small", True)]
    assert named("crowded") == [("crowd", False), ("crowded", True)]
    assert named() == [(name, True) for name in DONE]


# Verdicts ------------------------------------------------------------------------------------------------------------

WELL = {"latency": 0.04, "bulk": 2.0, "small": 1.5, "insert": 1.0}
MIB = 1 << 20


def summaries(
    times: Mapping[str, float], moved: int = 2 * MIB, peak: int = 200_000_000, anchor: bool = True
) -> list[Summary]:
    """Shoal as given; Syncthing takes 10 s for bulk, 12 s for small and 8 s for insert."""
    measures = [measured(work, "shoal", seconds, moved=moved, peak=peak) for work, seconds in times.items()]
    if anchor:
        measures += [
            measured(work, "syncthing", seconds) for work, seconds in (("bulk", 10.0), ("small", 12.0), ("insert", 8.0))
        ]
    return summarise(measures)


def words(found: Sequence[Summary], *, full_scale: bool = True) -> dict[str, str]:
    return {verdict.what.partition(", at")[0]: verdict.word for verdict in judge(found, full_scale=full_scale)}


def test_what_just_meets_its_limit_is_well() -> None:
    assert set(words(summaries(WELL)).values()) == {"ok"}
    assert len(words(summaries(WELL))) == 7


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        (summaries(WELL | {"latency": 0.0401}), "latency, median"),
        (summaries(WELL | {"bulk": 2.01}), "bulk, as fast as syncthing"),
        (summaries(WELL | {"small": 1.51}), "small, as fast as syncthing"),
        (summaries(WELL | {"insert": 1.01}), "insert, as fast as syncthing"),
        (summaries(WELL, moved=2 * MIB + 1), "insert, bytes to the receiver"),
        (summaries(WELL, peak=200_000_001), "peak memory of a peer in any work"),
        (summaries({"crowded": 0.0401}), "crowded, median"),
        (summarise([measured("crowded", "shoal", seconds) for seconds in (0.03, 0.03, 0.1201)]), "crowded, p99"),
    ],
    ids=["latency", "bulk", "small", "insert", "moved", "memory", "crowded", "p99"],
)
def test_each_limit_can_be_missed(found: list[Summary], missed: str) -> None:
    assert [what for what, word in words(found).items() if word == "RED"] == [missed]


def test_only_what_was_measured_is_judged() -> None:
    assert words(summaries({"bulk": 1.0, "insert": 1.0}, anchor=False)).keys() == {
        "insert, bytes to the receiver",
        "peak memory of a peer in any work",
    }
    assert judge(summarise([measured("bulk", "cp", 1.0)]), full_scale=True) == []


def test_smaller_works_are_not_judged() -> None:
    assert set(words(summaries({"latency": 9.0}), full_scale=False).values()) == {"not judged"}


# The command ---------------------------------------------------------------------------------------------------------


async def _latency_only(session: Session) -> None:
    session._told(measured("latency", "shoal", 0.2), True)


async def _half_of_it(session: Session) -> None:
    session._told(measured("latency", "shoal", 0.01), True)
    raise BenchFailed("the disk is full")


@pytest.mark.parametrize(
    ("run", "code", "said"),
    [
        (_latency_only, 1, "RED"),
        (_half_of_it, 1, "the measurement failed: the disk is full"),
    ],
)
def test_command_writes_json_and_fails_on_red(
    place: Path, monkeypatch: pytest.MonkeyPatch, run: Any, code: int, said: str
) -> None:
    monkeypatch.setattr(Session, "run", run)
    out = place / "out.json"
    result = CliRunner().invoke(cli.main, ["lan", "--rival", "shoal", "--json", str(out)])
    assert result.exit_code == code, result.output
    assert said in result.output
    figures = json.loads(out.read_text())
    assert [row["work"] for row in figures["measures"]] == ["latency"]
    assert (figures["failure"] is None) == (run is _latency_only)
    assert list(place.iterdir()) == [out]


def test_command_is_well_when_nothing_is_missed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(session: Session) -> None:
        session._told(measured("latency", "shoal", 0.01), True)

    monkeypatch.setattr(Session, "run", run)
    result = CliRunner().invoke(cli.main, ["lan", "--rival", "shoal"])
    assert result.exit_code == 0, result.output


def test_what_is_not_installed_is_left_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    result = CliRunner().invoke(cli.main, ["lan", "--rival", "syncthing", "--rival", "rsync"])
    assert result.exit_code == 1
    assert "syncthing is not installed; inotifywait and rsync not installed" in result.output


def test_a_full_disk_is_told_before_anything_is_made(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(place)._replace(free=1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    result = CliRunner().invoke(cli.main, ["lan", "--rival", "cp"])
    assert result.exit_code == 1
    assert "less than 9568 MiB free" in result.output
    assert "1024 MiB" in result.output
    assert list(place.iterdir()) == []


def test_without_py_spy_there_is_no_profile(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "py_spy", lambda: None)
    monkeypatch.setattr(Session, "run", _latency_only)
    result = CliRunner().invoke(cli.main, ["lan", "--rival", "cp", "--profile", str(place / "profile")])
    assert "py-spy is not installed" in result.output
    assert list(place.iterdir()) == []


# The whole -----------------------------------------------------------------------------------------------------------


async def run_tiny(out: Path, rivals: Sequence[Rival], runs: int = 1, works: tuple[str, ...] = ()) -> dict[str, Any]:
    plan = Plan(tuple(rivals), runs, works, scaled(TINY))
    code = await measure(plan, {}, Printer(Console(width=140)), out)
    figures: dict[str, Any] = json.loads(out.read_text())
    assert code == (0 if figures["failure"] is None else 1)
    return figures


async def test_copies_are_measured(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = await run_tiny(tmp_path / "out.json", [CP], runs=2)
    sizes = figures["sizes"]
    assert [(row["run"], row["work"]) for row in figures["measures"]] == [
        (run, work) for run in (1, 2) for work in DONE
    ]
    assert [row["moved"] for row in figures["measures"][:6]] == [
        sizes["latency_files"] * sizes["latency"],
        sizes["bulk"],
        sizes["bulk"] + 1,
        sizes["bulk"] + 1 + sizes["append"],
        sizes["bulk"] + 1 + sizes["append"],
        sizes["small_files"] * sizes["small"],
    ]
    assert all(row["times_floor"] == 1 and row["times_faster"] is None for row in figures["summary"])
    assert "Time until in place" in capsys.readouterr().out
    assert_nothing_is_left(place)


@pytest.mark.slow
async def test_the_whole_on_a_tiny_scale(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await the_whole(place, tmp_path, capsys, [rival for rival in RIVALS if rival.name in ("shoal", "cp")])


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_the_whole_with_all_rivals(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await the_whole(place, tmp_path, capsys, [rival for rival in RIVALS if rival.missing() is None])


async def the_whole(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rivals: Sequence[Rival]) -> None:
    figures = await run_tiny(tmp_path / "out.json", rivals)
    assert figures["failure"] is None
    assert figures["full_scale"] is False
    names = [rival.name for rival in rivals]
    assert {"shoal", "cp"} <= set(names)
    assert list(figures["rivals"]) == names
    assert {(row["work"], row["rival"]) for row in figures["summary"]} == {
        (work, name) for work in DONE for name in names
    }
    for row in figures["measures"]:
        assert len(row["seconds"]) == (figures["sizes"]["latency_files"] if row["work"] == "latency" else 1)
        assert all(0 < seconds < math.inf for seconds in row["seconds"])
        assert row["usage"].keys() == row["settled_usage"].keys()
    peaks = [row["settled_usage"] for row in figures["measures"] if row["rival"] == "shoal"]
    assert all(used["peak_bytes"] > 10 << 20 for each in peaks for used in each.values())
    bulk = next(row for row in figures["measures"] if (row["rival"], row["work"]) == ("shoal", "bulk"))
    assert bulk["moved"] >= figures["sizes"]["bulk"]
    assert bulk["counters"]["cloud_out"] >= figures["sizes"]["bulk"]
    assert {verdict["word"] for verdict in figures["verdicts"]} == {"not judged"}
    assert "What is expected of shoal" in capsys.readouterr().out
    assert_nothing_is_left(place)


class _Liar(Copies):
    """Says that it copies, and brings something else of that size."""

    async def saved(self, files: Sequence[Saved]) -> None:
        for file in files:
            (self.target / file.name).write_bytes(bytes(file.size))


@asynccontextmanager
async def _liar(place: Path, _: Programs) -> AsyncIterator[Running]:
    yield _Liar(place)


async def test_wrong_content_is_found_out(place: Path, tmp_path: Path) -> None:
    figures = await run_tiny(tmp_path / "out.json", [replace(CP, start=_liar)])
    assert figures["failure"] == "cp, run 1: note-000.txt arrived with another content"
    assert figures["measures"] == []
    assert_nothing_is_left(place)


def started(place: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from bench.cli import main; main()", "lan", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(place)},
    )


def test_when_nobody_reads_it_ends_quietly(place: Path) -> None:
    with started(place, "--scale", "0.001", "--rival", "cp") as bench:
        assert bench.stdout is not None
        assert bench.stderr is not None
        bench.stdout.readline()
        bench.stdout.close()
        assert bench.stderr.read() == ""
        assert bench.wait() == 1
    assert_nothing_is_left(place)


@pytest.mark.slow
def test_an_interrupt_ends_everything(place: Path) -> None:
    with started(place, "--scale", "0.01", "--rival", "shoal") as bench:
        assert bench.stdout is not None
        for line in bench.stdout:
            if line.startswith("run 1  shoal"):  # all three programs run
                bench.send_signal(signal.SIGINT)
        assert bench.wait() == 128 + signal.SIGINT
    assert_nothing_is_left(place)
