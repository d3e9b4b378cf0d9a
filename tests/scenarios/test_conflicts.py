"""Two people change one thing: when a conflict copy is made, when none, and what it is called."""

from tests.scenarios.play import Play, either_way, scenario


@either_way
async def test_the_trackers_order_wins_the_name(play: Play) -> None:
    ann, bob = await play.begin({"a.txt": b"1"})
    async with play.away(bob):
        ann.save("a.txt", b"2")
        bob.save("a.txt", b"3")
    assert await play.end() == {"a.txt": b"2", "a (conflicted copy, desktop, 2027-01-15).txt": b"3"}


@either_way
async def test_the_same_edit_on_both_sides_is_none(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.save("a", b"2")
        bob.save("a", b"2")
    assert await play.end() == {"a": b"2"}


@either_way
async def test_the_same_new_file_on_both_sides_is_none(play: Play) -> None:
    ann, bob = await play.begin()
    async with play.away(bob):
        ann.write("a", b"1" * 5000)
        bob.write("a", b"1" * 5000)
    assert await play.end() == {"a": b"1" * 5000}
    assert bob.counter("cloud_out") == 0


@either_way
async def test_two_new_files_of_one_name(play: Play) -> None:
    ann, bob = await play.begin()
    async with play.away(bob):
        ann.write("a", b"1")
        bob.write("a", b"2")
    assert await play.end() == {"a": b"1", bob.copy_of("a"): b"2"}


@either_way
async def test_two_new_folders_of_one_name_become_one(play: Play) -> None:
    ann, bob = await play.begin()
    async with play.away(bob):
        ann.write("D/E/a", b"1")
        bob.write("D/E/b", b"2")
    assert await play.end() == {"D": None, "D/E": None, "D/E/a": b"1", "D/E/b": b"2"}


@either_way
async def test_a_new_file_and_a_new_folder_of_one_name(play: Play) -> None:
    ann, bob = await play.begin()
    async with play.away(bob):
        ann.write("a", b"1")
        bob.write("a/x", b"2")
    copy = bob.copy_of("a")
    assert await play.end() == {"a": b"1", copy: None, f"{copy}/x": b"2"}


@scenario
async def test_three_devices_edit_one_file(play: Play) -> None:
    ann, bob, cid = await play.all_begin({"a": b"0"})
    async with play.offline(bob, cid):
        ann.save("a", b"1")
        bob.save("a", b"2")
        cid.save("a", b"3")
    assert await play.end() == {"a": b"1", bob.copy_of("a"): b"2", cid.copy_of("a"): b"3"}


@scenario
async def test_a_conflict_about_a_conflict_copy(play: Play) -> None:
    ann, bob = await play.begin({"a": b"0"})
    async with play.offline(bob):
        ann.save("a", b"1")
        bob.save("a", b"2")
    copy = bob.copy_of("a")
    async with play.offline(ann):
        bob.save(copy, b"3")
        ann.save(copy, b"4")
    assert await play.end() == {"a": b"1", copy: b"3", ann.copy_of(copy): b"4"}


@scenario
async def test_one_conflict_after_the_other(play: Play) -> None:
    ann, bob = await play.begin({"a.b": b"0"})
    for number in (1, 2, 3):
        async with play.offline(bob):
            ann.save("a.b", b"ann %d" % number)
            bob.save("a.b", b"bob %d" % number)
    assert await play.end() == {"a.b": b"ann 3"} | {bob.copy_of("a.b", n): b"bob %d" % n for n in (1, 2, 3)}


@scenario
async def test_edits_each_made_on_the_last_are_none(play: Play) -> None:
    ann, bob = await play.begin({"a": b""})
    for number in range(6):
        desk = (ann, bob)[number % 2]
        desk.append("a", b"%d" % number)
        await play.until(lambda: ann.tree() == bob.tree())
    assert await play.end() == {"a": b"012345"}


@either_way
async def test_edited_there_and_touched_here(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.save("a", b"2")
        bob.touch("a", 10**18)
    assert await play.end() == {"a": b"2"}


@either_way
async def test_made_executable_there_and_edited_here(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.chmod("a", 0o755)
        bob.save("a", b"2")
    assert await play.end() == {"a": b"2"}


@either_way
async def test_touched_on_both_sides(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.touch("a", 10**18)
        bob.touch("a", 2 * 10**18)
    assert await play.end() == {"a": b"1"}
    assert bob.mtime_ns("a") == 10**18


@either_way
async def test_a_conflict_in_a_folder_that_was_moved(play: Play) -> None:
    ann, bob = await play.begin({"D/a": b"1"})
    async with play.away(bob):
        ann.save("D/a", b"2")
        ann.move("D", "E")
        bob.save("D/a", b"3")
    assert await play.end() == {"E": None, "E/a": b"2", bob.copy_of("E/a"): b"3"}


@either_way
async def test_edited_and_renamed_on_both_sides(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.save("a", b"2")
        await play.sent(ann)
        ann.move("a", "b")
        bob.save("a", b"3")
        await play.stage.pass_time(5)
        bob.move("a", "c")
    tree = await play.end()
    assert sorted(content for content in tree.values() if isinstance(content, bytes)) == [b"2", b"3"]
    assert tree["b"] == b"2"


@scenario
async def test_both_edit_while_both_are_connected(play: Play) -> None:
    """At the same moment: one commit comes second, and is refused."""
    ann, bob = await play.begin({"a": b"1"})
    ann.save("a", b"2")
    bob.save("a", b"3")
    tree = await play.end()
    assert len(tree) == 2
    assert set(tree.values()) == {b"2", b"3"}


@scenario
async def test_a_conflict_copy_that_is_resolved(play: Play) -> None:
    """Somebody puts both together and removes the copy."""
    ann, bob = await play.begin({"a": b"0"})
    async with play.offline(bob):
        ann.save("a", b"1")
        bob.save("a", b"2")
    ann.save("a", b"1+2")
    ann.remove(bob.copy_of("a"))
    assert await play.end() == {"a": b"1+2"}


@either_way
async def test_a_suffix_stays_at_the_end(play: Play) -> None:
    names = ("a.tar.gz", ".hidden", "no suffix", "dot.", "x." + "y" * 50)
    ann, bob = await play.begin(dict.fromkeys(names, b"0"))
    async with play.away(bob):
        for name in names:
            ann.save(name, b"1")
            bob.save(name, b"2")
    tail = " (conflicted copy, desktop, 2027-01-15)"
    copies = (f"a.tar{tail}.gz", f".hidden{tail}", f"no suffix{tail}", f"dot{tail}.", f"x.{'y' * 50}{tail}")
    assert await play.end() == dict.fromkeys(names, b"1") | dict.fromkeys(copies, b"2")
