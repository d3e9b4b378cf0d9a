"""`shoal explain`, asked of devices that really are in the states that it tells of."""

import errno
from typing import Any, get_args

import pytest
import trio

from peer.explaining.answer import explain
from peer.explaining.words import STEPS
from peer.problems import MOST_ALIKE
from peer.status import status_of
from peer.synchronizer.steps import Await, Step, Wait
from protocol.errors import Usage
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.inodes import failure
from tests.simulation.stage import NOTICED, UPLOADS, Stage, perform, save, visible


async def told(device: SimulatedDevice, path: str) -> dict[str, Any]:
    assert device.peer is not None
    return await explain(device.peer, f"{FOLDER}/{path}" if path else FOLDER)


def test_every_step_has_its_words() -> None:
    assert set(STEPS) == set(get_args(Step)) - {Wait, Await}


def test_a_file_from_one_device_on_another() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        stage.cut_off(laptop, UPLOADS)
        save(laptop, "f", bytes(range(256)) * 300)
        await stage.until(lambda: "f" in visible(desktop))
        await trio.sleep(NOTICED)
        here = await told(desktop, "f")
        assert here["summary"] == "synced, but not in the cloud yet: keep a device that has it on"
        assert here["on_the_lan"] == ["this device", "laptop"]
        stage.cut_off(laptop)
        await stage.all_well(laptop, desktop)
        here = await told(desktop, "f")
        assert (here["summary"], here["kind"], here["pending"]) == ("synced, in the cloud", "file", None)
        assert (here["local"], here["remote"], here["synced"]) == ("yes", "yes", "yes")
        assert here["version"]["device_name"] == "laptop"
        assert here["version"]["time_ms"] > 0
        assert here["bytes_from"]["lan"] == here["version"]["size"] == 76_800
        assert [device["name"] for device in here["bytes_from"]["devices"]] == ["laptop"]
        made = await told(laptop, "f")
        assert made["bytes_from"] == {"fetched": False, "cloud": 0, "lan": 0, "here": 0, "devices": []}

    perform(scene)


def test_a_file_from_the_cloud() -> None:
    async def scene(stage: Stage) -> None:
        stage.part_lan()
        laptop, desktop = stage.devices["laptop"], stage.devices["desktop"]
        await stage.begin("laptop")
        save(laptop, "f", bytes(5000))
        await stage.all_well(laptop)
        laptop.switch_off()
        desktop.disk.user.mkdir(FOLDER)
        stage.start(desktop)
        await stage.until(lambda: "f" in visible(desktop) and desktop.settled)
        here = await told(desktop, "f")
        assert here["version"]["device"] == laptop.credentials.device.hex()
        assert here["version"]["device_name"] == "", "these accounts give their devices no names"
        assert here["bytes_from"]["cloud"] == 5000

    perform(scene)


def test_paths_that_stand_in_no_tree() -> None:
    async def scene(stage: Stage) -> None:
        (laptop,) = await stage.begin("laptop")
        nowhere = "neither in the folder nor at the tracker: it never was, or it has been deleted everywhere"
        assert (await told(laptop, "no/such"))["summary"] == nowhere
        assert (await told(laptop, "latin-\udce4"))["summary"] == nowhere
        assert (await told(laptop, ""))["summary"] == "the folder itself: shoal status tells of it"
        assert (await told(laptop, ".shoal/temp"))["reasons"][0]["kind"] == "reserved"
        save(laptop, "fresh", b"seen in a moment")
        assert (await told(laptop, "fresh"))["summary"].startswith("it is in the folder, but was not seen yet")
        laptop.disk.user.mkfifo(f"{FOLDER}/fifo")
        await trio.sleep(NOTICED)
        assert (await told(laptop, "fifo"))["summary"] == "not synced: a socket, pipe or device"
        assert laptop.peer is not None
        with pytest.raises(Usage, match="/etc/passwd is not in the folder /Shoal, and nothing outside it is synced"):
            await explain(laptop.peer, "/etc/passwd")

    perform(scene)


def test_changes_that_wait() -> None:
    async def scene(stage: Stage) -> None:
        (laptop,) = await stage.begin("laptop")
        for name in ("edited", "moved", "deleted"):
            save(laptop, name, b"first")
        await stage.all_well(laptop)
        assert laptop.peer is not None
        laptop.peer.synchronizer.pause(paused=True)
        save(laptop, "edited", b"second")
        laptop.disk.user.move(f"{FOLDER}/moved", f"{FOLDER}/away")
        laptop.disk.user.remove(f"{FOLDER}/deleted")
        await trio.sleep(NOTICED)
        edited, away = await told(laptop, "edited"), await told(laptop, "away")
        moved, deleted = await told(laptop, "moved"), await told(laptop, "deleted")
        assert edited["local"] == "yes, perhaps changed: not read yet"
        assert edited["summary"] == "not synced: syncing is paused"
        assert edited["reasons"][0]["advice"] == "run shoal resume to go on"
        assert (away["local"], away["remote"]) == (
            "yes, perhaps changed: not read yet, moved from moved",
            "yes, as moved",
        )
        assert moved["node"] == away["node"]
        assert (deleted["local"], deleted["remote"]) == ("no: deleted here, or not put here yet", "yes")
        laptop.peer.synchronizer.pause(paused=False)
        await stage.all_well(laptop)
        assert (await told(laptop, "deleted"))["summary"].startswith("neither in the folder nor at the tracker")

    perform(scene)


def test_what_is_only_at_the_tracker() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        stage.part_lan()
        stage.cut_off(laptop, UPLOADS)
        save(laptop, "f", bytes(5000))
        await trio.sleep(NOTICED)
        here = await told(desktop, "f")
        assert (here["local"], here["remote"], here["synced"]) == (
            "no",
            "yes, never agreed on with this device",
            "never",
        )
        assert here["pending"] == "waiting: its content is neither in the cloud nor on the LAN yet"
        assert here["summary"] == f"not synced yet: {here['pending']}"
        assert here["on_the_lan"] == []

    perform(scene)


def test_a_refusal_of_the_disk() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")

        def refuse(who: str, call: str, arguments: tuple[Any, ...]) -> None:
            if call == "rename" and arguments[1] != arguments[3] and arguments[3] == "f":
                raise failure(errno.EACCES)

        desktop.mischief.meddle = refuse
        save(laptop, "f", b"one")
        await trio.sleep(NOTICED)
        here = await told(desktop, "f")
        assert here["summary"] == "not synced: permission denied"
        assert here["reasons"][0]["advice"] == "give Shoal permission to write there; it is tried again"
        assert here["reasons"][1]["kind"] == "postponed"
        desktop.mischief.meddle = lambda *_: None
        await stage.until(lambda: desktop.settled)
        assert (await told(desktop, "f"))["reasons"] == []

    perform(scene)


def test_many_problems_are_counted_not_listed() -> None:
    async def scene(stage: Stage) -> None:
        (laptop,) = await stage.begin("laptop")
        for number in range(MOST_ALIKE + 7):
            laptop.disk.user.mkfifo(f"{FOLDER}/{number:03}")
        await trio.sleep(NOTICED)
        assert laptop.peer is not None
        status = status_of(laptop.peer)
        assert status["problem_count"] == MOST_ALIKE + 7
        assert len(status["problems"]) == MOST_ALIKE
        assert [problem.get("more", 0) for problem in status["problems"]] == [*[0] * (MOST_ALIKE - 1), 7]

    perform(scene)
