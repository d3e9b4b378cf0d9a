"""The measurements that make a network of their own, on a tiny scale; nothing is left of any."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from bench.network.machine import ETC, NAMESPACES
from tests.support.leftovers import assert_nothing_is_left
from tests.support.processes import until

TINY = ("--scale", "0.001", "--runs", "1")


@pytest.fixture
def place() -> Iterator[Path]:
    """Where they put their things; its path is short enough for sockets. Nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        yield Path(folder)
        assert_nothing_is_left(Path(folder))


def assert_no_network_is_left(process: int) -> None:
    """None that this process has made."""
    assert not [left for where in (NAMESPACES, ETC) for left in where.glob(f"shoal-{process}-*")]


def started(place: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from bench.cli import main; main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(place)},
    )


def measured(place: Path, out: Path, *words: str) -> dict[str, Any]:
    """What a command has written; all went well."""
    with started(place, *words, "--json", str(out)) as bench:
        said, _ = bench.communicate()
    assert bench.returncode == 0, said
    assert_no_network_is_left(bench.pid)
    figures: dict[str, Any] = json.loads(out.read_text())
    assert {verdict["word"] for verdict in figures["verdicts"]} == {"not judged"}
    return figures


def test_swarm(place: Path, tmp_path: Path) -> None:
    figures = measured(place, tmp_path / "out.json", "swarm", "2", *TINY)
    alone, both = figures["rounds"]
    size = figures["settings"]["size"]
    assert (len(alone["seconds"]), len(both["seconds"])) == (1, 2)
    assert all(seconds > 0 for seconds in both["seconds"])
    for row in (alone, both):
        assert row["origin_lan_out"] + sum(each["cloud"] for each in row["received"]) >= size
        assert row["origin_sent"] - row["uplink_sent"] >= row["origin_lan_out"]
        assert all(each["lan"] + each["cloud"] >= size for each in row["received"])
        assert row["moments"][-1]["from_origin"] == row["origin_lan_out"]


def test_uplink(place: Path, tmp_path: Path) -> None:
    figures = measured(place, tmp_path / "out.json", "uplink", *TINY)
    assert [turn["uplink"] for turn in figures["turns"]] == ["limited", "no limit"]
    for turn in figures["turns"]:
        assert turn["from_lan"] + turn["from_cloud"] >= turn["size"]
        assert turn["moments"][-1]["in_cloud"] >= turn["size"]
        assert 0 < turn["seconds"] <= turn["durable_seconds"]
        assert all(seconds > 0 for seconds in turn["small_at_rest"] + turn["small_meanwhile"])
    # What goes up can't be there sooner than its line carries it.
    limited, _ = figures["turns"]
    assert limited["durable_seconds"] >= limited["size"] * 8 / (figures["settings"]["uplink"] * 10**6)


def test_offload(place: Path, tmp_path: Path) -> None:
    figures = measured(place, tmp_path / "out.json", "offload", "2", *TINY)
    assert [scene["name"] for scene in figures["scenes"]] == ["running", "started", "one by one"]
    for scene in figures["scenes"]:
        assert all(each["lan_in"] + each["cloud_in"] >= scene["size"] for each in scene["taken"])
        # Nobody else has it: at least one copy comes over the uplink, and what it carries is more than what counts.
        assert scene["copies"] >= 1
        assert scene["wire_copies"] >= scene["copies"]
        assert all(seconds > 0 for seconds in scene["seconds"])


def test_traffic(place: Path, tmp_path: Path) -> None:
    rivals = ["shoal", *(["rsync"] if shutil.which("rsync") else [])]
    words = [word for rival in rivals for word in ("--rival", rival)] + ["--only", "one", "--only", "edit"]
    figures = measured(place, tmp_path / "out.json", "traffic", *words, *TINY)
    assert [(row["rival"], row["update"]) for row in figures["measures"]] == [
        (rival, update) for rival in rivals for update in ("one", "edit")
    ]
    for row in figures["measures"]:
        # The contents of a small file have to come over the wire; of an edit less than all of it does.
        size = 1024 if row["update"] == "one" else figures["settings"]["edited"]
        assert (row["most"] > size) == (row["update"] == "one")
        assert row["receiver"]["received"] > 0
        assert row["most"] == max(sum(row[side].values()) for side in ("sender", "receiver"))


async def test_an_interrupt_ends_everything(place: Path) -> None:
    with started(place, "swarm", "1", "--rate", "10") as bench:
        await until(lambda: list(place.glob("*/swarm-1-1/receiver-01/home/control")))
        assert list(NAMESPACES.glob(f"shoal-{bench.pid}-*-receiver-01"))
        bench.send_signal(signal.SIGINT)
        said, _ = await trio.to_thread.run_sync(bench.communicate)
    assert said.endswith("interrupted: stopping\neverything is stopped and removed\n")
    assert bench.returncode == 128 + signal.SIGINT
    assert_no_network_is_left(bench.pid)
