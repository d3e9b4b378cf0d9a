"""Deletes, and what others do meanwhile to what is deleted."""

from tests.scenarios.play import Play, either_way, scenario


@either_way
async def test_edit_here_against_delete_there(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.remove("a")
        bob.save("a", b"2")
    assert await play.end() == {"a": b"2"}


@either_way
async def test_delete_here_against_edit_there(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.save("a", b"2")
        bob.remove("a")
    assert await play.end() == {"a": b"2"}


@either_way
async def test_deleted_on_both_sides(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "D/b": b"2"})
    async with play.away(bob):
        for desk in (ann, bob):
            desk.remove("a")
            desk.remove("D")
    assert await play.end() == {}


@either_way
async def test_a_delete_that_nobody_edited_against_is_not_undone_by_a_new_time(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.remove("a")
        bob.touch("a", 1_000_000_000)
    assert await play.end() == {}


@either_way
async def test_something_added_here_in_a_folder_deleted_there(play: Play) -> None:
    ann, bob = await play.begin({"D/old": b"1"})
    async with play.away(bob):
        ann.remove("D")
        bob.write("D/new", b"2")
    assert await play.end() == {"D": None, "D/new": b"2"}


@either_way
async def test_something_added_there_in_a_folder_deleted_here(play: Play) -> None:
    ann, bob = await play.begin({"D/old": b"1"})
    async with play.away(bob):
        ann.write("D/new", b"2")
        bob.remove("D")
    assert await play.end() == {"D": None, "D/new": b"2"}


@either_way
async def test_something_added_deep_inside_a_folder_deleted_there(play: Play) -> None:
    ann, bob = await play.begin({"D/E/F/old": b"1", "D/E/g": b"2"})
    async with play.away(bob):
        ann.remove("D")
        bob.write("D/E/F/new", b"3")
    assert await play.end() == {"D": None, "D/E": None, "D/E/F": None, "D/E/F/new": b"3"}


@either_way
async def test_something_edited_in_a_folder_deleted_there(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1", "D/b": b"2"})
    async with play.away(bob):
        ann.remove("D")
        bob.save("D/a", b"3")
    assert await play.end() == {"D": None, "D/a": b"3"}


@either_way
async def test_something_renamed_in_a_folder_deleted_there_is_deleted(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1"})
    async with play.away(bob):
        ann.remove("D")
        bob.move("D/a", "D/b")
    assert await play.end() == {}


@either_way
async def test_something_moved_into_a_folder_deleted_there(play: Play) -> None:
    ann, bob = await play.begin({"D/old": b"1", "a": b"2"})
    async with play.away(bob):
        ann.remove("D")
        bob.move("a", "D/a")
    assert await play.end() == {"D": None, "D/a": b"2"}


@either_way
async def test_something_moved_there_into_a_folder_deleted_here(play: Play) -> None:
    ann, bob = await play.begin({"D/old": b"1", "a": b"2"})
    async with play.away(bob):
        ann.move("a", "D/a")
        bob.remove("D")
    assert await play.end() == {"D": None, "D/a": b"2"}


@scenario
async def test_moved_out_of_a_folder_that_is_then_deleted(play: Play) -> None:
    """By one person, one thing after the other."""
    ann, bob = await play.begin({"D/a": b"1", "D/b": b"2"})
    node = bob.node("D/a")
    async with play.offline(ann):
        ann.move("D/a", "a")
        ann.remove("D")
    assert await play.end() == {"a": b"1"}
    assert bob.node("a") == node


@either_way
async def test_moved_and_edited_out_of_a_folder_deleted_there(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1", "D/b": b"2"})
    async with play.away(bob):
        ann.remove("D")
        bob.move("D/a", "a")
        bob.save("a", b"3")
    assert await play.end() == {"a": b"3"}


@either_way
async def test_a_folder_deleted_there_and_made_anew_here(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1"})
    async with play.away(bob):
        ann.remove("D")
        bob.remove("D")
        bob.write("D/b", b"2")
    assert await play.end() == {"D": None, "D/b": b"2"}


@scenario
async def test_deleted_and_made_anew_with_the_same_content(play: Play) -> None:
    ann, _ = await play.begin({"a": b"1"})
    ann.remove("a")
    await play.settled()
    ann.write("a", b"1")
    assert await play.end() == {"a": b"1"}


@either_way
async def test_an_empty_folder_deleted_there_and_filled_here(play: Play) -> None:
    ann, bob = await play.begin({"D": None})
    async with play.away(bob):
        ann.remove("D")
        bob.mkdir("D/E")
    assert await play.end() == {"D": None, "D/E": None}


@either_way
async def test_a_folder_moved_there_and_deleted_here(play: Play) -> None:
    """Nobody changed what is inside, so it goes."""
    ann, bob = await play.begin({"D/a": b"1"})
    async with play.away(bob):
        ann.move("D", "E")
        bob.remove("D")
    assert await play.end() == {}


@either_way
async def test_a_folder_moved_and_edited_there_and_deleted_here(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1", "D/b": b"2"})
    async with play.away(bob):
        ann.move("D", "E")
        ann.save("E/a", b"3")
        bob.remove("D")
    assert await play.end() == {"E": None, "E/a": b"3"}
