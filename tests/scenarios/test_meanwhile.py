"""Things that happen while something is on its way: to the tracker, to the cloud, to this disk."""

from random import Random

import pytest

from tests.scenarios.play import DOWNLOADS, Play, scenario
from tests.simulation.stage import UPLOADS

LARGE, OTHER = Random(3).randbytes(150_000), Random(4).randbytes(150_000)


@scenario
async def test_deleted_while_it_is_downloaded(play: Play) -> None:
    ann, bob = await play.begin({"keep": b"1"})
    play.unplug_lan()
    play.cut_off(bob, DOWNLOADS)
    ann.write("a", LARGE)
    await play.until(lambda: bob.device.peer is not None and bob.device.peer.context.store.dirty_count())
    ann.remove("a")
    await play.sent(ann)
    play.cut_off(bob)
    assert await play.end() == {"keep": b"1"}


@scenario
async def test_renamed_while_it_is_uploaded(play: Play) -> None:
    ann, bob = await play.begin()
    play.unplug_lan()
    play.cut_off(ann, UPLOADS)
    ann.write("a", LARGE)
    await play.until(lambda: ann.device.peer is not None and ann.device.peer.context.store.not_durable_count())
    ann.move("a", "b")
    await play.stage.pass_time(5)
    play.cut_off(ann)
    assert await play.end() == {"b": LARGE}
    assert bob.tree() == {"b": LARGE}


@pytest.mark.parametrize("what", ["edited", "deleted", "a folder", "touched"])
@scenario
async def test_changed_while_it_is_uploaded(play: Play, what: str) -> None:
    ann, _ = await play.begin()
    play.unplug_lan()
    play.cut_off(ann, UPLOADS)
    ann.write("a", LARGE)
    await play.until(lambda: ann.device.peer is not None and ann.device.peer.context.store.not_durable_count())
    if what == "edited":
        ann.write("a", OTHER)
    elif what == "touched":
        ann.touch("a", 10**18)
    else:
        ann.remove("a")
    if what == "a folder":
        ann.write("a/x", OTHER)
    await play.stage.pass_time(5)
    play.cut_off(ann)
    expected = {
        "edited": {"a": OTHER},
        "touched": {"a": LARGE},
        "deleted": {},
        "a folder": {"a": None, "a/x": OTHER},
    }
    assert await play.end() == expected[what]


@scenario
async def test_a_name_is_taken_here_while_its_new_owner_is_downloaded(play: Play) -> None:
    ann, bob = await play.begin()
    play.unplug_lan()
    play.cut_off(bob, DOWNLOADS)
    ann.write("a", LARGE)
    await play.sent(ann)
    bob.write("a", b"bob's")
    await play.stage.pass_time(5)
    play.cut_off(bob)
    assert await play.end() == {"a": LARGE, bob.copy_of("a"): b"bob's"}


@scenario
async def test_edited_here_while_the_edit_there_is_downloaded(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    play.unplug_lan()
    play.cut_off(bob, DOWNLOADS)
    ann.save("a", LARGE)
    await play.sent(ann)
    bob.save("a", b"bob's")
    await play.stage.pass_time(5)
    play.cut_off(bob)
    assert await play.end() == {"a": LARGE, bob.copy_of("a"): b"bob's"}


@scenario
async def test_its_folder_is_renamed_while_a_file_is_downloaded(play: Play) -> None:
    ann, bob = await play.begin({"D/keep": b"1"})
    play.unplug_lan()
    play.cut_off(bob, DOWNLOADS)
    ann.write("D/a", LARGE)
    await play.sent(ann)
    bob.move("D", "E")
    await play.stage.pass_time(5)
    play.cut_off(bob)
    assert await play.end() == {"E": None, "E/a": LARGE, "E/keep": b"1"}


@scenario
async def test_its_folder_is_deleted_while_a_file_is_downloaded(play: Play) -> None:
    """Somebody put something new there."""
    ann, bob = await play.begin({"D/keep": b"1"})
    play.unplug_lan()
    play.cut_off(bob, DOWNLOADS)
    ann.write("D/a", LARGE)
    await play.sent(ann)
    bob.remove("D")
    await play.stage.pass_time(5)
    play.cut_off(bob)
    assert await play.end() == {"D": None, "D/a": LARGE}


@scenario
async def test_replaced_by_a_symlink_while_its_folder_is_written_to(play: Play) -> None:
    """Nothing may be put where the symlink leads."""
    ann, bob = await play.begin({"D/keep": b"1"})
    bob.device.disk.user.mkdir("/outside")
    play.unplug_lan()
    play.cut_off(bob, DOWNLOADS)
    ann.write("D/a", LARGE)
    await play.sent(ann)
    bob.remove("D")
    bob.symlink("/outside", "D")
    play.cut_off(bob)
    tree = await play.end()
    assert tree == {"D": None, "D/a": LARGE, bob.copy_of("D"): "-> /outside"}
    assert bob.device.disk.user.tree("/outside") == {}


@pytest.mark.parametrize("call", ["exchange", "rename", "stat", "set_times", "create_file"])
@scenario
async def test_saved_just_before_it_would_be_replaced(play: Play, call: str) -> None:
    ann, bob = await play.begin({"a": b"1"})
    await play.until(lambda: not bob.waiting() and not ann.waiting())
    bob.before_next(call, lambda: bob.save("a", b"bob's"))
    ann.save("a", LARGE)
    assert await play.end() == {"a": LARGE, bob.copy_of("a"): b"bob's"}


@pytest.mark.parametrize("call", ["rename", "stat", "open_directory"])
@scenario
async def test_saved_just_before_it_would_be_removed(play: Play, call: str) -> None:
    ann, bob = await play.begin({"a": b"1", "keep": b"2"})
    bob.before_next(call, lambda: bob.save("a", b"bob's"))
    ann.remove("a")
    assert await play.end() == {"a": b"bob's", "keep": b"2"}


@scenario
async def test_written_on_through_a_descriptor_after_it_was_replaced(play: Play) -> None:
    """Somebody holds the file open; what is written into it after the swap comes back."""
    ann, bob = await play.begin({"a": b"1"})
    volume, inode = bob.device.disk.volume, bob.device.disk.user.find("/Shoal/a")
    inode.opened += 1
    ann.save("a", b"ann's")
    await play.until(lambda: bob.read("a") == b"ann's")
    volume.write(inode, b" and bob's", 1)
    inode.opened -= 1
    await play.until(lambda: bob.exists(bob.copy_of("a")))
    assert await play.end() == {"a": b"ann's", bob.copy_of("a"): b"1 and bob's"}


@scenario
async def test_appears_just_before_a_folder_is_removed(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1"})
    bob.before_next("remove_directory", lambda: bob.write("D/new", b"2"))
    ann.remove("D")
    assert await play.end() == {"D": None, "D/new": b"2"}


@scenario
async def test_the_name_is_taken_just_before_a_new_file_comes(play: Play) -> None:
    ann, bob = await play.begin()
    bob.before_next("rename", lambda: bob.write("a", b"bob's"))
    ann.write("a", LARGE)
    assert await play.end() == {"a": LARGE, bob.copy_of("a"): b"bob's"}


@scenario
async def test_changed_while_it_is_read(play: Play) -> None:
    ann, _ = await play.begin()
    ann.before_next("read_into", lambda: ann.overwrite("a", OTHER[100_000:], 100_000))
    ann.write("a", LARGE)
    assert await play.end() == {"a": LARGE[:100_000] + OTHER[100_000:]}


@scenario
async def test_the_disk_is_full_for_a_while(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    bob.device.disk.volume.capacity = 50_000
    ann.write("large", LARGE)
    ann.write("small", b"2")
    await play.until(lambda: "large" in bob.problems())
    await play.until(lambda: bob.tree() == {"a": b"1", "small": b"2"})
    bob.device.disk.volume.capacity = None
    assert await play.end() == {"a": b"1", "large": LARGE, "small": b"2"}
    assert bob.problems() == {}


@scenario
async def test_the_tracker_is_restarted_while_people_work(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    play.stage.host.stop()
    ann.save("a", b"2")
    bob.write("b", b"3")
    await play.stage.pass_time(20)
    await play.stage.begin()
    assert await play.end() == {"a": b"2", "b": b"3"}


@scenario
async def test_crashes_just_after_the_swap(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})

    def crash_at_the_next_fsync() -> None:
        bob.before_next("fsync", bob.device.crash)

    bob.before_next("exchange", crash_at_the_next_fsync)
    ann.save("a", LARGE)
    await play.until(lambda: bob.tree() == {"a": LARGE})
    assert await play.end() == {"a": LARGE}
