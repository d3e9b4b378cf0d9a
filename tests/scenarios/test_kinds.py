"""A file becomes a folder, a folder a symlink, and back, while others change what was there before."""

from tests.scenarios.play import Play, either_way, scenario


@either_way
async def test_a_file_becomes_a_folder_there_and_was_edited_here(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.remove("a")
        ann.write("a/x", b"2")
        bob.save("a", b"3")
    assert await play.end() == {"a": None, "a/x": b"2", bob.copy_of("a"): b"3"}


@either_way
async def test_a_file_becomes_a_folder_here_and_was_edited_there(play: Play) -> None:
    """Edit beats delete, and the tracker's order wins the name."""
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.save("a", b"3")
        bob.remove("a")
        bob.write("a/x", b"2")
    copy = bob.copy_of("a")
    assert await play.end() == {"a": b"3", copy: None, f"{copy}/x": b"2"}


@either_way
async def test_a_folder_becomes_a_file_there_and_got_something_new_here(play: Play) -> None:
    ann, bob = await play.begin({"D/old": b"1"})
    async with play.away(bob):
        ann.remove("D")
        ann.write("D", b"2")
        bob.write("D/new", b"3")
    copy = bob.copy_of("D")
    assert await play.end() == {"D": b"2", copy: None, f"{copy}/new": b"3"}


@either_way
async def test_a_folder_becomes_a_file_here_and_got_something_new_there(play: Play) -> None:
    ann, bob = await play.begin({"D/old": b"1"})
    async with play.away(bob):
        ann.write("D/new", b"3")
        bob.remove("D")
        bob.write("D", b"2")
    assert await play.end() == {"D": None, "D/new": b"3", bob.copy_of("D"): b"2"}


@scenario
async def test_a_file_becomes_a_folder_and_a_file_again(play: Play) -> None:
    ann, _ = await play.begin({"a": b"1"})
    ann.remove("a")
    ann.write("a/x", b"2")
    await play.settled()
    ann.remove("a")
    ann.write("a", b"3")
    assert await play.end() == {"a": b"3"}


@either_way
async def test_a_file_becomes_a_folder_and_a_file_again_while_nobody_hears_of_it(play: Play) -> None:
    ann, _ = await play.begin({"a": b"1"})
    async with play.away(ann):
        ann.remove("a")
        ann.mkdir("a")
        ann.remove("a")
        ann.write("a", b"3")
    assert await play.end() == {"a": b"3"}


@either_way
async def test_a_file_becomes_a_folder_on_both_sides(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        for desk, name in ((ann, "x"), (bob, "y")):
            desk.remove("a")
            desk.write(f"a/{name}", name.encode())
    assert await play.end() == {"a": None, "a/x": b"x", "a/y": b"y"}


@either_way
async def test_a_file_becomes_a_symlink_there_and_was_edited_here(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.remove("a")
        ann.symlink("elsewhere", "a")
        bob.save("a", b"2")
    assert await play.end() == {"a": "-> elsewhere", bob.copy_of("a"): b"2"}


@either_way
async def test_a_symlink_becomes_a_file_there_and_another_symlink_here(play: Play) -> None:
    ann, bob = await play.begin()
    ann.symlink("x", "a")
    await play.settled()
    async with play.away(bob):
        ann.remove("a")
        ann.write("a", b"1")
        bob.remove("a")
        bob.symlink("y", "a")
    assert await play.end() == {"a": b"1", bob.copy_of("a"): "-> y"}


@either_way
async def test_a_folder_becomes_a_symlink_to_another(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1", "E/b": b"2"})
    async with play.away(ann):
        ann.remove("D")
        ann.symlink("E", "D")
    assert await play.end() == {"D": "-> E", "E": None, "E/b": b"2"}
    assert bob.tree()["E/b"] == b"2"


@either_way
async def test_a_symlink_becomes_a_folder(play: Play) -> None:
    ann, _ = await play.begin({"D/a": b"1"})
    ann.symlink("D", "L")
    await play.settled()
    async with play.away(ann):
        ann.remove("L")
        ann.write("L/a", b"2")
    assert await play.end() == {"D": None, "D/a": b"1", "L": None, "L/a": b"2"}


@either_way
async def test_a_symlink_is_turned_elsewhere_on_both_sides(play: Play) -> None:
    ann, bob = await play.begin()
    ann.symlink("x", "a")
    await play.settled()
    async with play.away(bob):
        ann.remove("a")
        ann.symlink("y", "a")
        bob.remove("a")
        bob.symlink("z", "a")
    assert await play.end() == {"a": "-> y", bob.copy_of("a"): "-> z"}


@scenario
async def test_symlinks_to_nowhere_and_out_of_the_folder_are_never_followed(play: Play) -> None:
    ann, bob = await play.begin()
    ann.device.disk.user.mkdir("/outside")
    ann.device.disk.user.write("/outside/secret", b"1")
    ann.symlink("/outside", "out")
    ann.symlink("nowhere", "dangling")
    ann.symlink(".", "loop")
    assert await play.end() == {"out": "-> /outside", "dangling": "-> nowhere", "loop": "-> ."}
    assert not bob.exists("out/secret")


@scenario
async def test_a_pipe_is_reported_and_becomes_a_file(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    ann.mkfifo("p")
    await play.until(lambda: "p" in ann.problems())
    assert "a socket, pipe or device" in ann.problems()["p"]
    assert bob.tree() == {"a": b"1"}
    ann.remove("p")
    ann.write("p", b"2")
    assert await play.end() == {"a": b"1", "p": b"2"}
    assert ann.problems() == {}


@scenario
async def test_a_file_becomes_a_pipe(play: Play) -> None:
    """What can't be synced stands in its place; the file that was there is deleted, as a person would see it."""
    ann, bob = await play.begin({"a": b"1", "b": b"2"})
    ann.remove("a")
    ann.mkfifo("a")
    await play.until(lambda: bob.tree() == {"b": b"2"})
    ann.remove("a")
    assert await play.end() == {"b": b"2"}


@either_way
async def test_a_file_and_a_folder_swap_names(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "D/x": b"2"})
    async with play.away(ann):
        ann.swap("a", "D")
    assert await play.end() == {"D": b"1", "a": None, "a/x": b"2"}
    assert bob.tree()["a/x"] == b"2"


@either_way
async def test_a_file_takes_the_name_of_the_folder_it_was_in(play: Play) -> None:
    ann, _ = await play.begin({"D/f": b"1"})
    async with play.away(ann):
        ann.move("D/f", "f")
        ann.remove("D")
        ann.move("f", "D")
    assert await play.end() == {"D": b"1"}
