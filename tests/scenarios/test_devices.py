"""Devices: new ones, many files, folders that are not there, databases that are lost."""

from random import Random

import pytest

from tests.scenarios.play import Play, scenario
from tests.simulation.device import FOLDER

MANY = {f"D{number % 7}/{number}": Random(number).randbytes(number % 5 * 700) for number in range(300)}


@scenario
async def test_many_files_at_once(play: Play) -> None:
    ann, bob = await play.begin(MANY)
    async with play.offline(bob):
        ann.move("D0", "moved")
        bob.write("D0/new", b"1")
    tree = await play.end()
    assert len([path for path, content in tree.items() if content is not None]) == 301
    assert tree["moved/new"] == b"1"


@scenario
async def test_a_device_joins_with_files_of_its_own(play: Play) -> None:
    """The same, different, only here, only there; nothing is deleted, and what is the same is not uploaded."""
    large = Random(5).randbytes(100_000)
    ann, bob = await play.begin({"same": large, "differs": b"1", "D/there": b"2"})
    cid = play.arrives("phone")
    for path, content in (("same", large), ("differs", b"3"), ("D/here", b"4")):
        cid.write(path, content)
    play.stage.start(cid.device)
    assert await play.end() == {
        "same": large,
        "differs": b"1",
        cid.copy_of("differs"): b"3",
        "D": None,
        "D/here": b"4",
        "D/there": b"2",
    }
    assert (cid.counter("cloud_out"), cid.counter("lan_in")) == (0, 0)
    assert ann.tree() == bob.tree()


@scenario
async def test_a_folder_that_is_not_there_is_no_delete(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "D/b": b"2"})
    disk = ann.device.disk.user
    disk.move(FOLDER, "/unmounted")
    await play.said("the folder /Shoal is not there")
    bob.save("a", b"3")
    await play.stage.pass_time(60)
    assert bob.tree() == {"a": b"3", "D": None, "D/b": b"2"}
    disk.move("/unmounted", FOLDER)
    assert await play.end() == {"a": b"3", "D": None, "D/b": b"2"}


@scenario
async def test_an_empty_folder_in_its_place_is_no_delete(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "D/b": b"2"})
    disk = ann.device.disk.user
    disk.move(FOLDER, "/unmounted")
    disk.mkdir(FOLDER)
    await play.said("not the one that was synced here")
    await play.stage.pass_time(700)
    assert bob.tree() == {"a": b"1", "D": None, "D/b": b"2"}
    disk.remove(FOLDER)
    disk.move("/unmounted", FOLDER)
    assert await play.end() == {"a": b"1", "D": None, "D/b": b"2"}


@scenario
async def test_another_file_system_in_the_folder_is_no_delete(play: Play) -> None:
    """Files of another file system have another device number, and the whole root may get one by a restart."""
    ann, bob = await play.begin({"a": b"1"})
    async with play.switched_off(ann):
        ann.device.disk.device += 1
        bob.save("a", b"2")
    assert await play.end() == {"a": b"2"}
    assert ann.tree() == {"a": b"2"}


@scenario
async def test_one_device_after_the_other_never_both(play: Play) -> None:
    """They only ever meet through the tracker."""
    ann, bob = await play.begin({"a": b"0"})
    for number in range(3):
        async with play.switched_off(bob):
            ann.append("a", b"a%d" % number)
        async with play.switched_off(ann):
            bob.append("a", b"b%d" % number)
    assert await play.end() == {"a": b"0a0b0a1b1a2b2"}


@scenario
async def test_a_week_of_absence(play: Play) -> None:
    ann, bob, cid = await play.all_begin({"a": b"1", "D/b": b"2", "c": b"3"})
    async with play.switched_off(cid):
        ann.save("a", b"4")
        bob.move("D", "E")
        await play.settled()
        bob.remove("c")
        cid.write("D/new", b"5")
        cid.save("a", b"6")
    assert await play.end() == {"a": b"4", cid.copy_of("a"): b"6", "E": None, "E/b": b"2", "E/new": b"5"}


@scenario
async def test_everybody_changes_everything(play: Play) -> None:
    ann, bob, cid = await play.all_begin({"a": b"1", "b": b"2", "D/c": b"3"})
    async with play.offline(ann, bob, cid):
        ann.swap("a", "b")
        ann.write("D/new", b"4")
        bob.remove("D")
        bob.save("a", b"5")
        cid.move("D", "E")
        cid.move("b", "E/b")
    tree = await play.end()
    contents = sorted(content for content in tree.values() if isinstance(content, bytes))
    assert contents == [b"2", b"4", b"5"]


@pytest.mark.parametrize("years", [-30, 30])
@scenario
async def test_a_clock_that_is_wrong(play: Play, years: int) -> None:
    """The tracker's order decides who is first, never a time."""
    ann, bob = await play.begin({"a": b"1", "b": b"2", "c": b"3"})
    ann.device.clock.jump(years * 31_557_600)
    async with play.offline(bob):
        ann.save("a", b"ann's")
        ann.save("b", b"ann's")
        bob.save("a", b"bob's")
    ann.save("c", b"ann's")
    await play.settled()
    bob.save("c", b"bob's")
    assert await play.end() == {"a": b"ann's", bob.copy_of("a"): b"bob's", "b": b"ann's", "c": b"bob's"}
