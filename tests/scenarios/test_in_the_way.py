"""What can't be synced stands where something that comes is to go."""

from random import Random

import pytest

from tests.scenarios.desk import Desk
from tests.scenarios.play import EVERYTHING, Play, scenario

LARGE = Random(6).randbytes(100_000)
NEVER = 5 * 10**18
"""A time that can't be kept."""


def put_in_the_way(desk: Desk, how: str, path: str) -> None:
    """Something that is reported, and left alone."""
    if how == "a pipe":
        desk.mkfifo(path)
    else:
        desk.write(path, b"in the way")
        desk.touch(path, NEVER)


every_way = pytest.mark.parametrize("how", ["a pipe", "a time that can't be kept"])


@every_way
@scenario
async def test_of_a_new_file(play: Play, how: str) -> None:
    ann, bob = await play.begin()
    put_in_the_way(bob, how, "a")
    await play.until(bob.problems)
    ann.write("a", LARGE)
    await play.sent(ann)
    await play.stage.pass_time(120)
    assert bob.counter("lan_in") + bob.counter("cloud_in") < 10 * len(LARGE)
    assert "a" in bob.problems()
    bob.remove("a")
    assert await play.end() == {"a": LARGE}


@every_way
@scenario
async def test_of_a_new_folder(play: Play, how: str) -> None:
    ann, bob = await play.begin()
    put_in_the_way(bob, how, "D")
    await play.until(bob.problems)
    ann.write("D/a", LARGE)
    await play.sent(ann)
    await play.stage.pass_time(120)
    assert "D" in bob.problems()
    bob.remove("D")
    assert await play.end() == {"D": None, "D/a": LARGE}


@every_way
@scenario
async def test_of_a_file_that_moves(play: Play, how: str) -> None:
    ann, bob = await play.begin({"b": LARGE})
    put_in_the_way(bob, how, "a")
    await play.until(bob.problems)
    ann.move("b", "a")
    await play.sent(ann)
    await play.stage.pass_time(120)
    assert "a" in bob.problems()
    assert bob.read("b") == LARGE
    bob.remove("a")
    assert await play.end() == {"a": LARGE}


@every_way
@scenario
async def test_it_does_not_stop_others(play: Play, how: str) -> None:
    ann, bob = await play.begin()
    put_in_the_way(bob, how, "a")
    await play.until(bob.problems)
    ann.write("a", LARGE)
    ann.write("b", b"1")
    await play.until(lambda: bob.exists("b"))
    bob.write("c", b"2")
    await play.until(lambda: ann.exists("c"))
    bob.remove("a")
    assert await play.end() == {"a": LARGE, "b": b"1", "c": b"2"}


@every_way
@scenario
async def test_of_a_conflict_copy(play: Play, how: str) -> None:
    """It takes another name."""
    ann, bob = await play.begin({"a": b"1", "b": b"2"})
    for name in ("a", "c"):
        put_in_the_way(bob, how, bob.copy_of(name))
    await play.until(bob.problems)
    play.cut_off(bob, EVERYTHING)
    ann.save("a", b"3")
    ann.write("c", b"4")
    bob.save("a", b"5")
    bob.move("b", "c")
    await play.sent(ann)
    play.cut_off(bob)
    await play.until(lambda: ann.exists(bob.copy_of("c", 2)) and ann.exists(bob.copy_of("a", 2)))
    for name in ("a", "c"):
        bob.remove(bob.copy_of(name))
    assert await play.end() == {"a": b"3", bob.copy_of("a", 2): b"5", "c": b"4", bob.copy_of("c", 2): b"2"}
