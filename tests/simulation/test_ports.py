"""That what the simulation does at the ports is what it says, and that its judges can find somebody guilty."""

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

import pytest
import trio

from tests.simulation.bait import check_bait, lay_bait
from tests.simulation.counts import CHUNK_REFUSED, COMMIT_RETRIED, DISK_FULL
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.stage import Stage, perform, save, visible
from tests.simulation.user import Entry

CONTENT = Random(1).randbytes(60_000)
SCENES: list[Callable[[Stage], Awaitable[None]]] = []


def scene(act: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    SCENES.append(act)
    return act


def sees(device: SimulatedDevice, wanted: dict[str, bytes]) -> bool:
    return visible(device) == wanted


@scene
async def what_a_liar_sends_is_refused_and_comes_from_elsewhere(stage: Stage) -> None:
    stage.devices["laptop"].lies = 1.0
    laptop, desktop = await stage.begin("laptop", "desktop")
    for number in range(12):
        wanted = {"f": CONTENT + bytes([number])}
        save(laptop, "f", wanted["f"])
        await stage.until(partial(sees, desktop, wanted))
        if stage.log.happened[CHUNK_REFUSED]:
            break
        await stage.pass_time(700)  # it is left alone for ten minutes
    assert stage.log.happened[CHUNK_REFUSED]


@scene
async def a_disk_that_fills_in_mid_file_has_space_again(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    desktop.trouble.full_disks, desktop.trouble.full_chance = 1, 1.0
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop, desktop)
    assert stage.log.happened[DISK_FULL] == 1
    assert visible(desktop) == {"f": CONTENT}


@scene
async def a_request_that_comes_late_is_a_commit_sent_twice(stage: Stage) -> None:
    (laptop,) = await stage.begin("laptop")
    for number in range(200):
        stage.weather.refused = 0.5
        save(laptop, f"{number}", b"%d" % number)
        await stage.pass_time(5)
        stage.weather.refused = 0.0
        await stage.until(lambda: laptop.settled)
        if stage.log.happened[COMMIT_RETRIED]:
            break
    assert stage.log.happened[COMMIT_RETRIED]
    assert await stage.host.check() == []


@scene
async def a_tracker_that_crashes_at_any_call_goes_on_from_what_it_had_committed(stage: Stage) -> None:
    (laptop,) = await stage.begin("laptop")
    for number in range(20):
        stage.host.trouble.left, stage.host.trouble.chance = 1, 0.2
        save(laptop, f"{number}", CONTENT + bytes([number]))
        with trio.move_on_after(30):
            await stage.host.died.wait()
        stage.host.trouble.left = 0
        if not stage.host.up:
            await stage.raise_tracker()
        await stage.all_well(laptop)
    assert sum("crashes before" in line or "crashes after" in line for line in stage.log.lines) > 10


@scene
async def bait_that_was_touched_is_seen(stage: Stage) -> None:
    laptop = stage.devices["laptop"]
    lay_bait(laptop)
    check_bait(laptop)
    laptop.disk.user.touch("/Outside/D/a", 2)
    with pytest.raises(Violation, match="nothing outside the folder is touched"):
        check_bait(laptop)
    await trio.lowlevel.checkpoint()


@scene
async def clocks_of_days_ahead_keep_nobody_from_syncing(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    for device, seconds in ((laptop, 1e6), (desktop, -1e6), (laptop, -3e6)):
        device.clock.jump(seconds)
        save(device, f"{seconds}", CONTENT)
        await stage.all_well(laptop, desktop, seconds=1000)
    assert len(visible(desktop)) == 3
    assert desktop.disk.user.exists(f"{FOLDER}/1000000.0")


@pytest.mark.parametrize("act", SCENES)
def test_ports(act: Callable[[Stage], Awaitable[None]]) -> None:
    perform(act)


def a_file(content: bytes) -> Entry:
    return "file", content, 1, 0o644


async def test_the_oracle_finds_what_is_wrong() -> None:
    """One guilty tree for each rule, and one that is not."""
    copy, one, two = "a (conflicted copy, x, 2027-01-15)", a_file(b"one"), a_file(b"two")
    guilty: dict[str, dict[str, Entry]] = {
        "nothing is lost": {"b": two},
        "nothing is invented": {"a": one, "b": two, copy: a_file(b"three")},
        "no needless copies": {"a": one, "b": two, copy: one},
        "what is gone stays gone": {"a": one, "b": two, copy: a_file(b"removed")},
    }
    for rule, tree in guilty.items():
        with pytest.raises(Violation) as caught:
            judged({"laptop": tree, "desktop": tree})
        assert caught.value.rule == rule
    good = {"a": one, "b": two}
    judged({"laptop": good, "desktop": good})
    with pytest.raises(Violation, match="the folders are equal"):
        judged({"laptop": good, "desktop": {}})


def judged(trees: dict[str, dict[str, Entry]]) -> None:
    oracle = Oracle()
    oracle.save("ann", "a", b"one")
    oracle.save("ann", "b", b"removed")
    oracle.supersede("ann", [a_file(b"removed")], "removed b")
    oracle.save("ann", "b", b"two")
    oracle.judge(trees)


async def test_a_power_cut_excuses_only_what_nobody_else_knew_of() -> None:
    for published in (False, True):
        oracle = Oracle()
        oracle.save("ann", "a", b"one")
        oracle.power_cut("laptop", {b"one"}, [a_file(b"torn")], {b"one": published}.__getitem__)
        tree: dict[str, Entry] = {"a": a_file(b"torn")}
        if published:
            with pytest.raises(Violation, match="nothing is lost"):
                oracle.judge({"laptop": tree, "desktop": tree})
        else:
            oracle.judge({"laptop": tree, "desktop": tree})
