"""Announce first, durable later: the five rules of design §6, each as a scene that takes as long as it takes."""

from collections.abc import Awaitable, Callable
from random import Random

import pytest
import trio

from peer.sparing import BATTERY, LOOK
from peer.status import status_of
from peer.synchronizer.precedence import LAN_ALONE, LAN_LONGEST
from peer.synchronizer.uploads import DAMAGED_AGAIN
from peer.traffic import TrafficOptions
from tests.simulation.stage import (
    HOUR,
    UPLOADS,
    Stage,
    left_behind,
    not_durable,
    perform,
    save,
    visible,
)

LONG = 300.0
FIRST, SECOND, THIRD = (Random(seed).randbytes(60_000) for seed in (1, 2, 3))
SCENES: list[Callable[[Stage], Awaitable[None]]] = []


def scene(act: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    SCENES.append(act)
    return act


def sent_packs(stage: Stage, name: str) -> int:
    """How many packs a device has sent."""
    return sum(f" {name} " in line and "asks /v1/pack" in line for line in stage.log.lines)


@scene
async def the_lan_has_it_first(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", FIRST)
    await stage.until(lambda: visible(desktop) == {"f": FIRST})
    assert desktop.lan_bytes > len(FIRST)
    assert not_durable(laptop) == not_durable(desktop) == 1
    assert not laptop.settled
    stage.cut_off(laptop)
    await stage.all_well(laptop, desktop)


@scene
async def the_lan_comes_before_the_uplink(stage: Stage) -> None:
    """Nothing of the file goes to the tracker while a device on the LAN waits for it; what is written about it does."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.air.weather.delay = 0.2
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    lines = list(stage.log.lines)
    placed = next(
        number for number, line in enumerate(lines) if " desktop " in line and ", 'f')" in line and "rename(" in line
    )
    assert any(" laptop " in line and "asks /v1/commit" in line for line in lines[:placed])
    assert not any("asks /v1/pack" in line for line in lines[:placed])
    assert any("asks /v1/pack" in line for line in lines[placed:])


@scene
async def files_that_follow_one_another_on_the_lan_keep_the_rest_from_the_cloud_but_not_for_long(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    began, number = trio.current_time(), 0
    while not any("asks /v1/pack" in line for line in stage.log.lines):
        number += 1
        save(laptop, f"{number}", Random(number).randbytes(60_000))
        await trio.sleep(0.3)
    assert LAN_ALONE < trio.current_time() - began < LAN_ALONE + 2
    assert len(visible(desktop)) > number / 2
    await stage.all_well(laptop, desktop)


@scene
async def who_waits_for_ever_does_not_keep_a_file_from_the_cloud(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    assert laptop.peer is not None
    laptop.peer.context.neighbours.is_waited_for = lambda version: True  # type: ignore[method-assign]
    stage.cut_off(desktop, UPLOADS)
    began = trio.current_time()
    save(laptop, "f", FIRST)
    await stage.until(lambda: not_durable(laptop) == 1)
    await stage.until(lambda: laptop.settled, 2 * LAN_LONGEST)
    assert trio.current_time() - began >= LAN_LONGEST
    stage.cut_off(desktop)
    await stage.all_well(laptop, desktop)


@scene
async def a_device_that_goes_in_the_middle_of_its_upload(stage: Stage) -> None:
    """Rule c: another that holds the file brings what is missing, and only that."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    content = Random(7).randbytes(6 << 20)
    save(laptop, "f", content)
    await stage.until(stage.host.stored_bytes, every=0.01)
    laptop.switch_off()
    brought = stage.host.stored_bytes()
    assert 0 < brought < len(content)
    await stage.until(lambda: visible(desktop) == {"f": content} and desktop.settled)
    assert desktop.peer is not None
    assert 0 < desktop.peer.context.counters["cloud_out"] < len(content)
    before = sent_packs(stage, "laptop")
    stage.start(laptop)
    await stage.all_well(laptop, desktop)
    assert sent_packs(stage, "laptop") == before, "what another has brought is not sent again"


@scene
async def an_author_that_comes_back_leaves_it_to_who_has_the_lease(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    content = Random(7).randbytes(6 << 20)
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", content)
    await stage.until(lambda: visible(desktop) == {"f": content})
    laptop.switch_off()
    await stage.until(lambda: stage.host.stored_bytes() > 0, every=0.01)
    stage.cut_off(desktop, UPLOADS)  # in the middle; it has the lease for a minute from now
    stage.cut_off(laptop)
    before = sent_packs(stage, "laptop")
    stage.start(laptop)
    await stage.pass_time(20)
    assert sent_packs(stage, "laptop") == before
    await stage.until(lambda: laptop.settled)
    stage.cut_off(desktop)
    await stage.all_well(laptop, desktop)


@scene
async def a_new_file_does_not_wait_for_all_of_a_large_one(stage: Stage) -> None:
    """Nor does the large one stand still: each has half of the uplink."""
    laptop, _ = await stage.begin("laptop", "desktop")
    stage.part_lan()
    stage.weather.delay = 2.0
    save(laptop, "large", Random(7).randbytes(6 << 20))
    await stage.until(lambda: stage.host.stored_bytes() > 1 << 20, every=0.1)
    save(laptop, "small", FIRST)
    await stage.until(lambda: not_durable(laptop) == 2)
    large, small = stage.host.stored_bytes(), len(FIRST)
    await stage.until(lambda: not_durable(laptop) == 1, 60)
    assert large + small < stage.host.stored_bytes() < 6 << 20
    stage.weather.delay = 0.01
    await stage.until(lambda: laptop.settled)


@scene
async def without_the_lan_what_is_in_the_cloud_does_until_the_rest_comes(stage: Stage) -> None:
    """Rule a."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    stage.part_lan()
    desktop.switch_off()
    save(laptop, "f", SECOND)
    await stage.all_well(laptop)
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", THIRD)
    await stage.until(lambda: not_durable(laptop) == 1)
    stage.start(desktop)
    await stage.until(lambda: visible(desktop) == {"f": SECOND})
    stage.cut_off(laptop)
    await stage.until(lambda: visible(desktop) == {"f": THIRD})
    await stage.all_well(laptop, desktop)


@scene
async def what_the_lan_gave_is_not_given_up_for_something_older(stage: Stage) -> None:
    """Rule a, the other way round: the newest in the cloud is older than what is here."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", SECOND)
    await stage.until(lambda: visible(desktop) == {"f": SECOND})
    stage.part_lan()
    stage.cut_off(desktop, UPLOADS)
    save(laptop, "f", THIRD)
    for _ in range(20):
        await stage.until(lambda: visible(desktop) == {"f": SECOND})
    stage.cut_off(laptop)
    stage.cut_off(desktop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"f": THIRD}


@scene
async def what_is_replaced_before_it_is_in_the_cloud_is_spooled(stage: Stage) -> None:
    """Rule b. The laptop's version is overtaken by the desktop's edit of it, and the only other copy is gone."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.cut_off(laptop, UPLOADS)
    stage.cut_off(desktop, UPLOADS)
    save(laptop, "f", FIRST)
    await stage.until(lambda: visible(desktop) == {"f": FIRST})
    save(desktop, "f", SECOND)
    await stage.until(lambda: visible(laptop) == {"f": SECOND})
    await stage.until(lambda: len(left_behind(laptop)) == 1)
    for _ in range(200):
        await stage.until(lambda: len(left_behind(laptop)) == 1)  # much longer than the minute that anything waits
    assert laptop.peer is not None
    (spooled,) = laptop.peer.context.versions.spooled()
    stage.cut_off(desktop)
    stage.cut_off(laptop)
    await stage.all_well(laptop, desktop)
    assert await stage.host.state_of(spooled) == "durable"


@scene
async def what_is_removed_before_it_is_in_the_cloud_is_spooled(stage: Stage) -> None:
    """Rule b."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.cut_off(laptop, UPLOADS)
    stage.cut_off(desktop, UPLOADS)
    save(laptop, "f", FIRST)
    await stage.until(lambda: visible(desktop) == {"f": FIRST})
    desktop.disk.user.remove("/Shoal/f")
    await stage.until(lambda: visible(laptop) == {})
    await stage.until(lambda: len(left_behind(laptop)) == 1)
    stage.cut_off(laptop)
    stage.cut_off(desktop)
    await stage.all_well(laptop, desktop)


@scene
async def another_device_finishes_what_the_author_can_not(stage: Stage) -> None:
    """Rule c. The phone is not on the LAN, and gets it from the cloud."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", FIRST)
    await stage.until(lambda: visible(desktop) == {"f": FIRST})
    laptop.switch_off()
    assert not_durable(desktop) == 1
    await stage.until(lambda: desktop.settled)
    assert desktop.transport is not None
    stage.part_lan()
    phone = stage.devices["phone"]
    phone.disk.user.mkdir("/Shoal")
    stage.start(phone)
    await stage.until(lambda: visible(phone) == {"f": FIRST})
    stage.start(laptop)
    await stage.all_well(laptop, desktop, phone)


@scene
async def what_is_damaged_in_the_cloud_is_healed_from_a_device(stage: Stage) -> None:
    """Whoever holds it, author or not. Until then it can be had on the LAN, and nothing is lost."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    save(laptop, "g", SECOND)
    await stage.all_well(laptop, desktop)
    laptop.switch_off()
    stage.host.damage()
    assert await stage.host.scrub() > 0
    assert len(await stage.host.check()) > 0
    assert desktop.settled
    stage.part_lan()
    await stage.pass_time(DAMAGED_AGAIN + LONG)
    assert sent_packs(stage, "desktop") > 0
    assert await stage.host.scrub() == 0
    phone = stage.devices["phone"]
    phone.disk.user.mkdir("/Shoal")
    stage.start(phone)
    await stage.until(lambda: visible(phone) == {"f": FIRST, "g": SECOND})
    stage.start(laptop)
    await stage.all_well(laptop, desktop, phone)


@scene
async def the_author_is_left_alone_while_it_gets_on(stage: Stage) -> None:
    """Rule c: nobody else uploads what the author does."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    assert desktop.peer is not None
    assert desktop.peer.context.counters["cloud_out"] == 0


@scene
async def contents_wait_while_on_battery_but_not_on_the_lan(stage: Stage) -> None:
    """Commits go out all the same, and the LAN has the content at once."""
    for name in ("laptop", "desktop"):
        stage.devices[name].traffic = TrafficOptions(pause_on_battery=True)
        stage.devices[name].conditions.battery = True
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.until(lambda: visible(desktop) == {"f": FIRST})
    await stage.pass_time(LONG)
    assert sent_packs(stage, "laptop") == sent_packs(stage, "desktop") == 0
    assert not_durable(laptop) == not_durable(desktop) == 1
    assert laptop.peer is not None
    assert status_of(laptop.peer)["limits"]["waiting"] == BATTERY
    laptop.conditions.battery = False
    await stage.until(lambda: laptop.settled, LOOK + 5)
    await stage.all_well(laptop, desktop)


@scene
async def nothing_comes_from_the_cloud_while_the_connection_is_metered(stage: Stage) -> None:
    """Nor does what is waited for keep others on the LAN from giving what they have."""
    desktop = stage.devices["desktop"]
    desktop.traffic = TrafficOptions(pause_on_metered=True)
    desktop.conditions.metered = True
    (laptop,) = await stage.begin("laptop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop)
    laptop.switch_off()
    desktop.disk.user.mkdir("/Shoal")
    stage.start(desktop)
    await stage.pass_time(LONG)
    assert visible(desktop) == {}
    assert desktop.peer is not None
    assert status_of(desktop.peer)["state"] == "syncing"
    save(desktop, "g", SECOND)
    await stage.until(lambda: not_durable(desktop) == 1)  # what is known of it goes out
    stage.start(laptop)
    await stage.until(lambda: visible(desktop) == {"f": FIRST, "g": SECOND})
    assert desktop.lan_bytes > len(FIRST)
    assert desktop.peer.context.counters["cloud_in"] == 0
    desktop.conditions.metered = False
    await stage.all_well(laptop, desktop)


@scene
async def another_device_brings_it_while_the_author_is_on_battery(stage: Stage) -> None:
    """Who lets contents wait asks for no lease, so whoever holds them may upload them."""
    stage.devices["laptop"].traffic = TrafficOptions(pause_on_battery=True)
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.cut_off(desktop, UPLOADS)
    laptop.conditions.battery = True
    await stage.pass_time(LOOK + 1)
    save(laptop, "f", FIRST)
    await stage.until(lambda: visible(desktop) == {"f": FIRST})
    stage.cut_off(desktop)
    await stage.all_well(laptop, desktop)
    assert sent_packs(stage, "laptop") == 0


@scene
async def a_version_that_nobody_brings_is_withdrawn(stage: Stage) -> None:
    """Rule d. What the author has is an edit of its own when it comes back."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "old", FIRST)
    await stage.all_well(laptop, desktop)
    stage.part_lan()
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "old", SECOND)
    save(laptop, "new", THIRD)
    await stage.until(lambda: not_durable(laptop) == 2 and not_durable(desktop) == 2)
    laptop.switch_off()
    desktop.switch_off()
    await stage.pass_time(8 * 24 * HOUR)
    stage.start(desktop)
    await stage.until(lambda: desktop.settled)
    assert visible(desktop) == {"old": FIRST}
    stage.cut_off(laptop)
    stage.start(laptop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"old": SECOND, "new": THIRD}


@scene
async def a_name_is_free_once_its_only_version_is_withdrawn(stage: Stage) -> None:
    """Rule d."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.part_lan()
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", FIRST)
    await stage.until(lambda: not_durable(desktop) == 1)
    laptop.switch_off()
    desktop.switch_off()
    await stage.pass_time(8 * 24 * HOUR)
    stage.start(desktop)
    await stage.until(lambda: desktop.settled)
    save(desktop, "f", SECOND)
    await stage.until(lambda: desktop.settled and not_durable(desktop) == 0)
    stage.cut_off(laptop)
    stage.start(laptop)
    await stage.all_well(laptop, desktop)
    names = visible(desktop)
    assert names.pop("f") == SECOND
    assert list(names.values()) == [FIRST]
    assert "conflicted copy, laptop" in next(iter(names))


@scene
async def a_stalled_head_is_passed_over_after_a_day(stage: Stage) -> None:
    """Rule e. The skipped author's version becomes a conflict copy."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    stage.part_lan()
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", SECOND)
    await stage.until(lambda: not_durable(desktop) == 1)
    laptop.switch_off()
    save(desktop, "f", THIRD)
    await stage.pass_time(23 * HOUR)
    assert not desktop.settled
    await stage.until(lambda: desktop.settled and not_durable(desktop) == 0, 2 * HOUR)
    stage.cut_off(laptop)
    stage.start(laptop)
    await stage.all_well(laptop, desktop)
    names = visible(desktop)
    assert names.pop("f") == THIRD
    assert list(names.values()) == [SECOND]
    assert "conflicted copy, laptop" in next(iter(names))


@pytest.mark.parametrize("act", SCENES, ids=lambda act: act.__name__)
def test_scene(act: Callable[[Stage], Awaitable[None]]) -> None:
    perform(act)
