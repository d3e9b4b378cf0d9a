"""A big surprise is held (law 8): scenes of what is deleted and overwritten, and of what a person says to it."""

from collections.abc import Awaitable, Callable, Iterable
from random import Random
from unittest import mock

import pytest
import trio

from peer import held as peer_held
from peer.daemon import Control
from peer.explaining.answer import explain
from peer.history import committing
from peer.history.control import PAST
from peer.members import RENEW
from peer.status import state_of, wait_for
from peer.synchronizer import synchronizer
from protocol.breaker import Limits
from protocol.errors import Problem, Usage
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.stage import HOUR, NOTICED, Stage, once_at, perform, save, visible

SMALL = Limits(delete_percent=25, delete_least=4, overwrite_percent=50, overwrite_least=4)
FILES = {f"{folder}/{number}": Random(f"{folder}{number}").randbytes(2000) for folder in "ab" for number in range(6)}
SCENES: list[Callable[[Stage], Awaitable[None]]] = []


def scene(act: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    SCENES.append(act)
    return act


async def two(stage: Stage, limits: Limits = SMALL) -> tuple[SimulatedDevice, SimulatedDevice]:
    """Two devices that have the same twelve files in two folders."""
    stage.limit(limits)
    laptop, desktop = await stage.begin("laptop", "desktop")
    for folder in "ab":
        laptop.disk.user.mkdir(f"{FOLDER}/{folder}")
    for name, content in FILES.items():
        save(laptop, name, content)
    await stage.all_well(laptop, desktop)
    return laptop, desktop


def remove(device: SimulatedDevice, *names: str) -> None:
    for name in names:
        device.disk.user.remove(f"{FOLDER}/{name}")


def remove_all(device: SimulatedDevice) -> None:
    """`rm -rf` of both folders."""
    remove(device, *FILES, "a", "b")


def is_held(device: SimulatedDevice) -> bool:
    return device.alive and device.peer is not None and state_of(device.peer)[0] == "held"


def held(device: SimulatedDevice) -> dict[tuple[str, str], int]:
    """How many files are held, by direction and change."""
    assert device.peer is not None
    groups = device.peer.context.surprises.summary()
    return {(group["direction"], group["change"]): group["files"] for group in groups}


def commits(stage: Stage) -> int:
    """How often the tracker was asked to take one."""
    return sum("asks /v1/commit" in line for line in stage.log.lines)


def decide(device: SimulatedDevice, *, approved: bool) -> None:
    assert device.peer is not None
    device.peer.decide(approved=approved)


def without(names: Iterable[str]) -> dict[str, bytes]:
    return {name: content for name, content in FILES.items() if name not in set(names)}


# What goes out


@scene
async def a_delete_under_the_limit_goes_at_once(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove(laptop, "a/1", "a/2", "a/3")
    await stage.until(lambda: visible(desktop) == without(["a/1", "a/2", "a/3"]), 10)
    await stage.all_well(laptop, desktop)


@scene
async def rm_rf_is_held_and_goes_when_approved(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove_all(laptop)
    await stage.until(lambda: is_held(laptop), 10)
    await stage.pass_time(HOUR)
    assert held(laptop) == {("outgoing", "delete"): 12}
    assert visible(desktop) == FILES
    save(laptop, "new", b"goes")
    await stage.until(lambda: "new" in visible(desktop))  # nothing else is held
    decide(laptop, approved=True)
    await stage.until(lambda: visible(desktop) == {"new": b"goes"})
    await stage.all_well(laptop, desktop)
    assert set(desktop.disk.user.tree(FOLDER)) == set(laptop.disk.user.tree(FOLDER))


@scene
async def what_is_held_is_told_by_folder_and_path(stage: Stage) -> None:
    laptop, _ = await two(stage)
    save(laptop, "top", b"in no folder")
    await stage.pass_time(NOTICED)
    remove(laptop, "top", *list(FILES)[:-1])
    await stage.until(lambda: is_held(laptop), 10)
    control = Control()
    control.peer = laptop.peer
    (group,) = (await control.handle("held", {}))["held"]
    counts = [("a", 6), ("b", 5), ("", 1)]
    assert [(folder["path"], folder["files"]) for folder in group["folders"]] == counts
    gone = sorted(["top", *list(FILES)[:-1]])
    assert group["paths"] == gone[:10]
    asked = {"direction": "outgoing", "change": "delete"}
    for what, size in (("_A_WHILE", 5), ("MAX_PAGE", 5)):
        with mock.patch.object(peer_held, what, size):
            pages, skip = list[list[str]](), 0
            while skip is not None:
                page = await control.handle("held paths", {**asked, "skip": skip})
                pages.append(page["paths"])
                skip = page["next"]
        assert len(pages) > 2
        assert sorted(path for paths in pages for path in paths) == gone
    assert await control.handle("held paths", {**asked, "change": "overwrite"}) == {"paths": [], "next": None}
    with pytest.raises(Usage, match="expected how many"):
        await control.handle("held paths", {**asked, "skip": "all"})


@scene
async def what_is_new_at_a_name_whose_delete_is_held_waits_and_says_so(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove(laptop, *FILES, "a")
    save(laptop, "a", b"a file where a folder was")
    laptop.disk.user.mkdir(f"{FOLDER}/b/1")
    save(laptop, "b/1/new", b"in a folder where a file was")
    await stage.until(lambda: is_held(laptop), 10)
    await stage.pass_time(60)
    peer = laptop.peer
    assert peer is not None
    for path, who in (("a", "it"), ("b/1", "it"), ("b/1/new", "its folder b/1")):
        answer = await explain(peer, f"{FOLDER}/{path}")
        assert answer["summary"] == f"not synced: {who} has the name of something whose delete is held"
    assert (await explain(peer, f"{FOLDER}/a/1"))["summary"] == "not synced: it is part of a big surprise, and is held"
    decide(laptop, approved=True)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"a": b"a file where a folder was", "b/1/new": b"in a folder where a file was"}
    assert (await explain(peer, f"{FOLDER}/a"))["reasons"] == []


@scene
async def what_is_new_at_a_name_whose_delete_is_rejected_stays_beside_it(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove_all(laptop)
    save(laptop, "a", b"a file where a folder was")
    await stage.until(lambda: is_held(laptop), 10)
    decide(laptop, approved=False)
    await stage.pass_time(NOTICED)
    await stage.all_well(laptop, desktop)
    kept = [path for path, content in visible(desktop).items() if content == b"a file where a folder was"]
    assert [path.startswith("a (conflicted copy, laptop, ") for path in kept] == [True]
    assert {path: content for path, content in visible(desktop).items() if path not in kept} == FILES


@scene
async def rm_rf_comes_back_when_rejected(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove_all(laptop)
    await stage.until(lambda: is_held(laptop), 10)
    decide(laptop, approved=False)
    await stage.until(lambda: visible(laptop) == FILES)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == FILES


@scene
async def a_limit_crossed_in_a_second_go_holds_all_that_is_still_here(stage: Stage) -> None:
    """Those that have gone, have gone; of the others not one goes. An hour later they are still held."""
    laptop, desktop = await two(stage)
    remove(laptop, "a/1", "a/2", "a/3")
    await stage.all_well(laptop, desktop)
    remove(laptop, "b/1", "b/2")
    await stage.until(lambda: is_held(laptop), 10)
    await stage.pass_time(HOUR)
    assert held(laptop) == {("outgoing", "delete"): 2}
    assert visible(desktop) == without(["a/1", "a/2", "a/3"])
    remove(laptop, "b/3")
    await stage.until(lambda: held(laptop) == {("outgoing", "delete"): 3})
    decide(laptop, approved=True)
    await stage.all_well(laptop, desktop)


@scene
async def what_the_user_puts_back_is_held_no_longer(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove(laptop, "a/1", "a/2", "a/3", "a/4")
    await stage.until(lambda: is_held(laptop), 10)
    for name in ("a/1", "a/2", "a/3", "a/4"):
        save(laptop, name, FILES[name])
    await stage.all_well(laptop, desktop)
    assert not held(laptop)
    assert visible(desktop) == FILES


@scene
async def an_empty_folder_waits_with_the_files_and_no_longer(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    for device in (laptop, desktop):
        device.disk.user.mkdir(f"{FOLDER}/empty")
    await stage.all_well(laptop, desktop)
    remove(laptop, "empty", "a/1", "a/2", "a/3", "a/4")
    await stage.until(lambda: is_held(laptop), 10)
    await stage.pass_time(60)
    assert "empty" in desktop.disk.user.tree(FOLDER)
    for name in ("a/1", "a/2", "a/3", "a/4"):
        save(laptop, name, FILES[name])
    await stage.all_well(laptop, desktop)
    assert "empty" not in desktop.disk.user.tree(FOLDER)


@scene
async def a_slow_delete_of_everything_is_not_held(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    for name in FILES:
        remove(laptop, name)
        await stage.pass_time(5 * 60)
        assert not is_held(laptop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {}


@scene
async def encrypting_everything_is_held_and_undone(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    for name in FILES:
        save(laptop, name, b"pay " + name.encode())
    await stage.until(lambda: is_held(laptop), 10)
    await stage.pass_time(HOUR)
    assert sum(desktop_content != FILES[name] for name, desktop_content in visible(desktop).items()) < 7
    decide(laptop, approved=False)
    await stage.until(lambda: len(visible(laptop)) > len(FILES))
    await stage.all_well(laptop, desktop)
    # What was held is back, and kept beside it.
    assert sum(content.startswith(b"pay") for content in visible(laptop).values()) == len(FILES)


@scene
async def all_at_once_overwritten_and_approved(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    for name in FILES:
        save(laptop, name, b"new " + name.encode())
    await stage.until(lambda: is_held(laptop), 10)
    decide(laptop, approved=True)
    await stage.until(lambda: all(content.startswith(b"new") for content in visible(desktop).values()))
    await stage.all_well(laptop, desktop)


@scene
async def a_crash_forgets_nothing_of_what_is_held(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove_all(laptop)
    await stage.until(lambda: is_held(laptop), 10)
    laptop.crash()
    await stage.until(lambda: is_held(laptop))
    assert visible(desktop) == FILES
    decide(laptop, approved=True)
    laptop.crash()
    await stage.until(lambda: visible(desktop) == {})
    await stage.all_well(laptop, desktop)


@scene
async def a_crash_forgets_nothing_of_what_counts(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove(laptop, "a/1", "a/2", "a/3")
    await stage.all_well(laptop, desktop)
    laptop.crash()
    remove(laptop, "b/1")
    before = commits(stage)
    await stage.until(lambda: is_held(laptop))
    assert commits(stage) == before  # it wasn't the tracker that held it
    assert visible(desktop) == without(["a/1", "a/2", "a/3"])


@scene
async def a_crash_in_the_middle_of_undoing(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove_all(laptop)
    await stage.until(lambda: is_held(laptop), 10)
    decide(laptop, approved=False)
    await trio.sleep(0.05)
    laptop.crash()
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == visible(desktop) == FILES


@scene
async def an_approval_covers_nothing_that_comes_after_it(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove(laptop, *(name for name in FILES if name.startswith("a/")))
    await stage.until(lambda: is_held(laptop), 10)
    decide(laptop, approved=True)
    await stage.until(lambda: len(visible(desktop)) == 6)
    await stage.all_well(laptop, desktop)
    remove(laptop, *(name for name in FILES if name.startswith("b/")))
    await stage.until(lambda: is_held(laptop), 10)
    assert held(laptop) == {("outgoing", "delete"): 6}
    assert len(visible(desktop)) == 6


@scene
async def waiting_ends_when_something_is_held(stage: Stage) -> None:
    laptop, _ = await two(stage)
    peer = laptop.peer
    assert peer is not None
    with pytest.raises(Usage, match="nothing is held"):
        decide(laptop, approved=True)
    remove_all(laptop)
    with pytest.raises(Problem, match="held: 12 files were deleted here"):
        await wait_for(peer, "synced")


# Limits


@scene
async def new_limits_are_learnt_with_the_next_connection(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    stage.limit(Limits())
    for device in (laptop, desktop):
        assert device.peer is not None
        device.peer.subscription.reconnect("for this scene")
    await stage.pass_time(NOTICED)
    remove_all(laptop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {}


@scene
async def new_limits_are_learnt_within_twenty_minutes(stage: Stage) -> None:
    laptop, desktop = await two(stage, Limits())
    stage.limit(SMALL)
    await stage.pass_time(RENEW + NOTICED)
    before = commits(stage)
    remove_all(laptop)
    await stage.until(lambda: is_held(laptop), 10)
    assert commits(stage) == before  # it wasn't the tracker that held it
    assert visible(desktop) == FILES


# At the tracker


@scene
async def what_two_devices_do_together_is_held_at_the_tracker(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    remove(laptop, "a/1", "a/2", "a/3")
    await stage.all_well(laptop, desktop)
    remove(desktop, "b/1", "b/2")
    await stage.until(lambda: is_held(desktop), 10)
    assert held(desktop) == {("outgoing", "delete"): 2}
    assert visible(laptop) == without(["a/1", "a/2", "a/3"])
    decide(desktop, approved=True)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == without(["a/1", "a/2", "a/3", "b/1", "b/2"])


@scene
async def two_devices_approve_at_once(stage: Stage) -> None:
    """Nobody on the other device is asked again: what was approved where it was made is meant."""
    laptop, desktop = await two(stage)
    remove(laptop, *(name for name in FILES if name.startswith("a/")))
    remove(desktop, *(name for name in FILES if name.startswith("b/")))
    await stage.until(lambda: is_held(laptop) and is_held(desktop), 10)
    decide(laptop, approved=True)
    decide(desktop, approved=True)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == visible(desktop) == {}


# What comes in


async def away(stage: Stage, desktop: SimulatedDevice, change: Callable[[str], None]) -> None:
    """While the desktop is off, half of the files change, slowly; then it comes back."""
    desktop.switch_off()
    for name in list(FILES)[::2]:
        change(name)
        await stage.pass_time(5 * 60)
    stage.start(desktop)


@scene
async def what_others_deleted_is_held_and_goes_when_approved(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    await away(stage, desktop, lambda name: remove(laptop, name))
    await stage.until(lambda: is_held(desktop))
    assert held(desktop) == {("incoming", "delete"): 6}
    assert visible(desktop) == FILES
    decide(desktop, approved=True)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == without(list(FILES)[::2])


@scene
async def what_others_deleted_is_back_with_all_when_rejected(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    await away(stage, desktop, lambda name: remove(laptop, name))
    await stage.until(lambda: is_held(desktop))
    decide(desktop, approved=False)
    await stage.until(lambda: visible(laptop) == FILES)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == FILES


@scene
async def folders_that_others_deleted_come_back_as_well(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    desktop.switch_off()
    for name in (name for name in FILES if name.startswith("a/")):
        remove(laptop, name)
        await stage.pass_time(5 * 60)
    remove(laptop, "a")
    await stage.all_well(laptop)
    stage.start(desktop)
    await stage.until(lambda: is_held(desktop))
    assert visible(desktop) == FILES
    decide(desktop, approved=False)
    await stage.until(lambda: visible(laptop) == FILES)
    await stage.all_well(laptop, desktop)


@scene
async def what_was_approved_where_it_was_made_is_not_held_elsewhere(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    desktop.switch_off()
    remove_all(laptop)
    await stage.until(lambda: is_held(laptop))
    decide(laptop, approved=True)
    await stage.all_well(laptop)
    stage.start(desktop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {}


@scene
async def what_others_overwrote_is_held(stage: Stage) -> None:
    laptop, desktop = await two(stage, Limits(delete_least=4, overwrite_percent=40, overwrite_least=4))
    await away(stage, desktop, lambda name: save(laptop, name, b"pay " + name.encode()))
    await stage.until(lambda: is_held(desktop))
    assert held(desktop) == {("incoming", "overwrite"): 6}
    assert visible(desktop) == FILES
    decide(desktop, approved=False)
    await stage.until(lambda: visible(laptop) == FILES)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == FILES


@scene
async def what_others_overwrote_comes_when_approved(stage: Stage) -> None:
    laptop, desktop = await two(stage, Limits(delete_least=4, overwrite_percent=40, overwrite_least=4))
    await away(stage, desktop, lambda name: save(laptop, name, b"pay " + name.encode()))
    await stage.until(lambda: is_held(desktop))
    decide(desktop, approved=True)
    await stage.all_well(laptop, desktop)
    assert sum(content.startswith(b"pay") for content in visible(desktop).values()) == 6


# After the machine went down


async def down(stage: Stage, device: SimulatedDevice, change: Callable[[], None]) -> None:
    """The machine loses power, and comes back with files changed."""
    device.switch_off()
    await stage.pass_time(NOTICED)
    change()
    device.boot_id = "second"
    stage.start(device)


@scene
async def files_that_a_power_cut_emptied_are_held_and_restored(stage: Stage) -> None:
    laptop, desktop = await two(stage)

    def lose() -> None:
        laptop.disk.user.write(f"{FOLDER}/a/1", b"")
        laptop.disk.user.write(f"{FOLDER}/a/2", bytes(2000))
        laptop.disk.user.write(f"{FOLDER}/a/3", b"an edit")

    await down(stage, laptop, lose)
    await stage.until(lambda: is_held(laptop))
    await stage.until(lambda: visible(desktop)["a/3"] == b"an edit")  # which is one
    assert held(laptop) == {("outgoing", "damage"): 2}
    assert visible(desktop) == {**FILES, "a/3": b"an edit"}
    laptop.crash()
    await stage.until(lambda: is_held(laptop))
    decide(laptop, approved=False)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {**FILES, "a/3": b"an edit"}


@scene
async def what_is_written_to_a_damaged_file_once_it_was_rejected_is_an_edit(stage: Stage) -> None:
    """It was as it was taken away, and so it stayed there; the next attempt took the edit."""
    laptop, desktop = await two(stage)
    await down(stage, laptop, lambda: laptop.disk.user.write(f"{FOLDER}/a/1", b""))
    await stage.until(lambda: is_held(laptop))
    written = once_at(laptop, "rename", lambda: laptop.disk.user.write(f"{FOLDER}/a/1", b"an edit"))
    decide(laptop, approved=False)
    await stage.until(lambda: written)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {**FILES, "a/1": b"an edit"}


@scene
async def a_damaged_file_that_is_written_to_is_held_no_longer(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    await down(stage, laptop, lambda: laptop.disk.user.write(f"{FOLDER}/a/1", b""))
    await stage.until(lambda: is_held(laptop))
    save(laptop, "a/1", b"an edit")
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {**FILES, "a/1": b"an edit"}


@scene
async def files_that_somebody_meant_to_empty_go_when_approved(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    await down(stage, laptop, lambda: laptop.disk.user.write(f"{FOLDER}/a/1", b""))
    await stage.until(lambda: is_held(laptop))
    decide(laptop, approved=True)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {**FILES, "a/1": b""}


@scene
async def without_a_power_cut_an_empty_file_is_an_edit(stage: Stage) -> None:
    laptop, desktop = await two(stage)
    laptop.switch_off()
    await stage.pass_time(NOTICED)
    laptop.disk.user.write(f"{FOLDER}/a/1", b"")
    stage.start(laptop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {**FILES, "a/1": b""}


@scene
async def a_rewind_is_approved_by_who_asks_for_it(stage: Stage) -> None:
    """It takes away all that came since, at the tracker and on every device, in several parts, and nobody is asked."""
    stage.limit(SMALL)
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "first", b"first")
    await stage.all_well(laptop, desktop)
    assert laptop.peer is not None
    then = laptop.peer.remote.cursor().revision
    for number in range(12):
        save(laptop, f"{number}", bytes([number]) * 3000)
    await stage.all_well(laptop, desktop)
    with mock.patch.object(committing, "MAX_COMMIT_OPERATIONS", 5):
        await PAST["rewind"](laptop.peer, {"revision": then, "apply": True})
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == visible(desktop) == {"first": b"first"}


@pytest.mark.parametrize("act", [rm_rf_is_held_and_goes_when_approved, rm_rf_comes_back_when_rejected])
def test_not_half_goes_when_it_takes_many_plans(
    act: Callable[[Stage], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synchronizer, "FIRST_BATCH", 1)
    monkeypatch.setattr(synchronizer, "BATCH", 2)
    perform(act)


@pytest.mark.parametrize("act", SCENES, ids=lambda act: act.__name__)
def test_scene(act: Callable[[Stage], Awaitable[None]]) -> None:
    perform(act)
