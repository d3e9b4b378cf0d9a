"""Moves and copies: who is moved stays the same node, with its history, and no content goes up or down again."""

from random import Random

import pytest

from tests.scenarios.desk import Desk
from tests.scenarios.play import Play, either_way, scenario

LARGE = Random(1).randbytes(200_000)


def traffic(*desks: Desk) -> int:
    """Bytes of chunks moved, over the LAN and by way of the tracker."""
    return sum(desk.counter(name) for desk in desks for name in ("cloud_in", "cloud_out", "lan_in"))


@scenario
async def test_a_move_moves_no_content(play: Play) -> None:
    ann, bob = await play.begin({"a": LARGE, "D": None})
    node, before, inode = bob.node("a"), traffic(ann, bob), bob.inode("a")
    ann.move("a", "D/b")
    assert await play.end() == {"D": None, "D/b": LARGE}
    assert (bob.node("D/b"), ann.node("D/b")) == (node, node)
    assert bob.inode("D/b") == inode
    assert traffic(ann, bob) == before


@either_way
async def test_a_folder_moves_as_one(play: Play) -> None:
    ann, bob = await play.begin({f"D/E/{number}": LARGE[number:] for number in range(3)})
    nodes = [bob.node(path) for path in ("D", "D/E", "D/E/1")]
    before = bob.inode("D/E/1")
    async with play.away(ann):
        ann.move("D", "F")
    tree = await play.end()
    assert tree["F/E/1"] == LARGE[1:]
    assert [bob.node(path) for path in ("F", "F/E", "F/E/1")] == nodes
    assert bob.inode("F/E/1") == before


@either_way
async def test_moved_and_edited(play: Play) -> None:
    """Whoever does both before anybody looks has made something new; what has not changed of it is not fetched."""
    ann, bob = await play.begin({"a": LARGE})
    async with play.away(ann):
        ann.move("a", "b")
        ann.append("b", b"more")
    assert await play.end() == {"b": LARGE + b"more"}
    assert bob.tree() == {"b": LARGE + b"more"}


@scenario
async def test_moved_and_then_edited(play: Play) -> None:
    ann, bob = await play.begin({"a": LARGE})
    node = bob.node("a")
    ann.move("a", "b")
    await play.settled()
    ann.append("b", b"more")
    assert await play.end() == {"b": LARGE + b"more"}
    assert bob.node("b") == node


@scenario
async def test_a_copy_uploads_nothing(play: Play) -> None:
    ann, bob = await play.begin({"a": LARGE})
    up = ann.counter("cloud_out") + bob.counter("cloud_out")
    ann.copy("a", "b")
    assert await play.end() == {"a": LARGE, "b": LARGE}
    assert ann.counter("cloud_out") + bob.counter("cloud_out") == up


@scenario
async def test_a_copied_folder_uploads_nothing(play: Play) -> None:
    ann, bob = await play.begin({f"D/{number}": LARGE[number * 1000 :] for number in range(3)})
    up = ann.counter("cloud_out") + bob.counter("cloud_out")
    for number in range(3):
        bob.copy(f"D/{number}", f"E/{number}")
    tree = await play.end()
    assert tree["E/2"] == LARGE[2000:]
    assert ann.counter("cloud_out") + bob.counter("cloud_out") == up


@scenario
async def test_what_was_deleted_and_comes_back_uploads_nothing(play: Play) -> None:
    ann, _ = await play.begin({"a": LARGE})
    up = ann.counter("cloud_out")
    ann.remove("a")
    await play.settled()
    ann.write("b", LARGE)
    assert await play.end() == {"b": LARGE}
    assert ann.counter("cloud_out") == up


@either_way
async def test_two_names_swapped_there(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "b": b"2"})
    nodes = bob.node("a"), bob.node("b")
    async with play.away(ann):
        ann.swap("a", "b")
    assert await play.end() == {"a": b"2", "b": b"1"}
    assert (bob.node("b"), bob.node("a")) == nodes


@either_way
async def test_two_names_swapped_there_and_one_edited_here(play: Play) -> None:
    """The edit follows its file."""
    ann, bob = await play.begin({"a": b"1", "b": b"2"})
    async with play.away(bob):
        ann.swap("a", "b")
        bob.save("a", b"3")
    assert await play.end() == {"a": b"2", "b": b"3"}


@either_way
async def test_two_names_swapped_on_both_sides(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "b": b"2"})
    async with play.away(bob):
        ann.swap("a", "b")
        bob.swap("a", "b")
    assert await play.end() == {"a": b"2", "b": b"1"}


@either_way
async def test_two_folders_swap_names(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1", "E/b": LARGE})
    inode = bob.inode("E/b")
    nodes = bob.node("D"), bob.node("E"), bob.node("D/a"), bob.node("E/b")
    async with play.away(ann):
        ann.swap("D", "E")
    assert await play.end() == {"D": None, "D/b": LARGE, "E": None, "E/a": b"1"}
    assert bob.inode("D/b") == inode
    assert (bob.node("E"), bob.node("D"), bob.node("E/a"), bob.node("D/b")) == nodes


@either_way
async def test_two_folders_swap_names_there_and_one_is_filled_here(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1", "D/F/f": b"2", "E/b": b"3", "E/F/g": b"4"})
    async with play.away(bob):
        ann.swap("D", "E")
        bob.write("D/new", b"5")
        bob.save("E/F/g", b"6")
    tree = await play.end()
    files = {path: content for path, content in tree.items() if content is not None}
    assert files == {"E/a": b"1", "E/F/f": b"2", "D/b": b"3", "D/F/g": b"6", "E/new": b"5"}


@either_way
async def test_three_names_go_round(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "b": b"2", "c": b"3"})
    nodes = [bob.node(name) for name in "abc"]
    async with play.away(ann):
        ann.swap("a", "b")
        ann.swap("a", "c")
    assert await play.end() == {"a": b"3", "b": b"1", "c": b"2"}
    assert [bob.node(name) for name in "bca"] == nodes


@either_way
async def test_names_swapped_between_folders(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1", "E/F/b": b"2"})
    nodes = bob.node("D/a"), bob.node("E/F/b")
    async with play.away(ann):
        ann.swap("D/a", "E/F/b")
    tree = await play.end()
    assert (tree["D/a"], tree["E/F/b"]) == (b"2", b"1")
    assert (bob.node("E/F/b"), bob.node("D/a")) == nodes


@either_way
async def test_two_devices_move_one_folder_into_the_other_and_the_other_into_the_one(play: Play) -> None:
    ann, bob = await play.begin({"D/d": b"1", "E/e": b"2"})
    async with play.away(bob):
        ann.move("D", "E/D")
        bob.move("E", "D/E")
    assert await play.end() == {"E": None, "E/D": None, "E/D/d": b"1", "E/e": b"2"}


@either_way
async def test_three_folders_moved_into_each_other_in_a_ring(play: Play) -> None:
    ann, bob, cid = await play.all_begin({"D/d": b"1", "E/e": b"2", "F/f": b"3"})
    async with play.away(bob, cid):
        ann.move("D", "E/D")
        bob.move("E", "F/E")
        cid.move("F", "D/F")
    tree = await play.end()
    files = {path.rpartition("/")[2]: content for path, content in tree.items() if content is not None}
    assert files == {"d": b"1", "e": b"2", "f": b"3"}
    assert len(tree) == 6


@either_way
async def test_outer_and_inner_folder_change_places(play: Play) -> None:
    ann, _ = await play.begin({"D/d": b"1", "D/E/e": b"2"})
    async with play.away(ann):
        ann.move("D/E", "E")
        ann.move("D", "E/D")
    assert await play.end() == {"E": None, "E/D": None, "E/D/d": b"1", "E/e": b"2"}


@either_way
async def test_renamed_there_and_edited_here(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.move("a", "b")
        bob.save("a", b"2")
    assert await play.end() == {"b": b"2"}


@either_way
async def test_edited_there_and_renamed_here(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.save("a", b"2")
        bob.move("a", "b")
    assert await play.end() == {"b": b"2"}


@either_way
async def test_renamed_to_two_names(play: Play) -> None:
    """The tracker's order wins; that is no conflict."""
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.move("a", "b")
        bob.move("a", "c")
    assert await play.end() == {"b": b"1"}


@either_way
async def test_two_files_renamed_to_one_name(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "b": b"2"})
    async with play.away(bob):
        ann.move("a", "c")
        bob.move("b", "c")
    assert await play.end() == {"c": b"1", bob.copy_of("c"): b"2"}


@either_way
async def test_a_folder_renamed_there_and_filled_here(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1"})
    async with play.away(bob):
        ann.move("D", "E")
        bob.write("D/b", b"2")
        bob.save("D/a", b"3")
    assert await play.end() == {"E": None, "E/a": b"3", "E/b": b"2"}


@either_way
async def test_a_folder_renamed_on_both_sides_with_files_moved_inside(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1", "D/b": b"2"})
    async with play.away(bob):
        ann.move("D", "E")
        ann.move("E/a", "E/a2")
        bob.move("D", "F")
        bob.move("F/b", "F/b2")
    assert await play.end() == {"E": None, "E/a2": b"1", "E/b2": b"2"}


@either_way
async def test_moved_into_a_new_folder_of_the_old_name(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    node = bob.node("a")
    async with play.away(ann):
        ann.move("a", "between")
        ann.mkdir("a")
        ann.move("between", "a/a")
    assert await play.end() == {"a": None, "a/a": b"1"}
    assert bob.node("a/a") == node


@either_way
async def test_a_name_moves_on_and_another_takes_it(play: Play) -> None:
    """As rotated logs do."""
    ann, bob = await play.begin({"log": b"3", "log.1": b"2", "log.2": b"1"})
    async with play.away(ann):
        ann.remove("log.2")
        ann.move("log.1", "log.2")
        ann.move("log", "log.1")
        ann.write("log", b"4")
    assert await play.end() == {"log": b"4", "log.1": b"3", "log.2": b"2"}
    assert bob.tree()["log"] == b"4"


@either_way
async def test_moved_over_another_file_that_was_edited_there(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "b": b"2"})
    async with play.away(bob):
        ann.save("b", b"3")
        bob.move("a", "b")
    assert await play.end() == {"b": b"3", bob.copy_of("b"): b"1"}


@either_way
async def test_a_folder_moved_over_an_empty_one(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1", "E": None})
    async with play.away(ann):
        ann.move("D", "E")
    assert await play.end() == {"E": None, "E/a": b"1"}
    assert bob.tree() == {"E": None, "E/a": b"1"}


@scenario
async def test_hard_links_are_files_of_their_own(play: Play) -> None:
    ann, bob = await play.begin({"a": LARGE})
    up = ann.counter("cloud_out")
    ann.hard_link("a", "b")
    await play.settled()
    assert bob.tree() == {"a": LARGE, "b": LARGE}
    assert ann.counter("cloud_out") == up
    ann.append("b", b"more")  # both have it here
    assert await play.end() == {"a": LARGE + b"more", "b": LARGE + b"more"}


@scenario
async def test_a_hard_link_to_elsewhere_and_the_old_name_removed(play: Play) -> None:
    """A rename as old programs make it."""
    ann, bob = await play.begin({"a": LARGE})
    node = bob.node("a")
    async with play.offline(ann):
        ann.hard_link("a", "b")
        ann.remove("a")
    assert await play.end() == {"b": LARGE}
    assert bob.node("b") == node


@pytest.mark.parametrize("there", ["first", "second"])
@scenario
async def test_one_of_two_hard_links_is_edited_elsewhere(play: Play, there: str) -> None:
    """Then they part: the other device doesn't know that they were one."""
    ann, bob = await play.begin({"first": b"1"})
    ann.hard_link("first", "second")
    await play.settled()
    bob.save(there, b"2")
    assert await play.end() == {"first": b"1", "second": b"1", there: b"2"}
