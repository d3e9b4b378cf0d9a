"""Names: what looks alike, what is hardly a name, and what is too long."""

import pytest

from tests.scenarios.play import Play, either_way, scenario

NFC, NFD = "caf\u00e9", "cafe\u0301"


@scenario
async def test_nfc_and_nfd_twins_are_two_files(play: Play) -> None:
    ann, bob = await play.begin()
    ann.write(NFC, b"1")
    bob.write(NFD, b"2")
    assert await play.end() == {NFC: b"1", NFD: b"2"}


@either_way
async def test_renamed_from_nfc_to_nfd(play: Play) -> None:
    ann, bob = await play.begin({NFC: b"1"})
    node = bob.node(NFC)
    async with play.away(ann):
        ann.move(NFC, NFD)
    assert await play.end() == {NFD: b"1"}
    assert bob.node(NFD) == node


@scenario
async def test_names_that_differ_in_case_are_two_files(play: Play) -> None:
    ann, bob = await play.begin()
    ann.write("Read", b"1")
    bob.write("READ", b"2")
    assert await play.end() == {"Read": b"1", "READ": b"2"}


@either_way
async def test_only_the_case_of_a_name_changes(play: Play) -> None:
    ann, bob = await play.begin({"readme": b"1", "docs/a": b"2"})
    file, folder = bob.node("readme"), bob.node("docs")
    async with play.away(ann):
        ann.move("readme", "README")
        ann.move("docs", "Docs")
    assert await play.end() == {"README": b"1", "Docs": None, "Docs/a": b"2"}
    assert (bob.node("README"), bob.node("Docs")) == (file, folder)


@either_way
async def test_only_the_case_changes_there_and_the_content_here(play: Play) -> None:
    ann, bob = await play.begin({"readme": b"1"})
    async with play.away(bob):
        ann.move("readme", "README")
        bob.save("readme", b"2")
    assert await play.end() == {"README": b"2"}


@either_way
async def test_two_names_that_differ_in_case_are_swapped(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "A": b"2"})
    nodes = bob.node("a"), bob.node("A")
    async with play.away(ann):
        ann.swap("a", "A")
    assert await play.end() == {"a": b"2", "A": b"1"}
    assert (bob.node("A"), bob.node("a")) == nodes


@either_way
async def test_case_changes_to_one_name_on_both_sides(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    async with play.away(bob):
        ann.move("a", "A")
        bob.move("a", "A")
    assert await play.end() == {"A": b"1"}


ODD = (
    "two\nlines", "trailing ", " leading", "dot.", "-rf", "*", "?", "~", "back\\slash", 'quo"te', "CON", "aux.txt",
    "a:b", "tab\there", "\x01\x7f", "\u202egnp.exe", "\U0001f41f", "\u200b", "%2e%2e", "...", ".hidden", "#", "\ufeff",
)  # fmt: skip


@scenario
async def test_odd_names(play: Play) -> None:
    ann, bob = await play.begin({name: name.encode() for name in ODD})
    async with play.offline(bob):
        bob.save(ODD[0], b"edited")
        ann.move(ODD[1], ODD[1] + " ")
    expected: dict[str, bytes | None] = {name: name.encode() for name in ODD}
    expected[ODD[1] + " "] = expected.pop(ODD[1])
    expected[ODD[0]] = b"edited"
    assert await play.end() == expected


@scenario
async def test_odd_names_of_folders(play: Play) -> None:
    tree = {f"{name}/{name}": b"1" for name in ODD}
    await play.begin(tree)
    assert await play.end() == tree | dict.fromkeys(ODD)


@scenario
async def test_a_name_that_is_not_utf_8_is_reported_until_it_is(play: Play) -> None:
    ann, bob = await play.begin()
    ann.write("caf\udce9", b"1")
    ann.write("b", b"2")
    await play.until(lambda: any("not valid UTF-8" in reason for reason in ann.problems().values()))
    await play.until(lambda: bob.tree() == {"b": b"2"})
    ann.move("caf\udce9", "café")
    assert await play.end() == {"b": b"2", "café": b"1"}
    assert ann.problems() == {}


@scenario
async def test_a_folder_with_something_unspeakable_inside_is_deleted_elsewhere(play: Play) -> None:
    """What can't be synced is not taken off the disk, and so neither is its folder."""
    ann, bob = await play.begin({"D/a": b"1"})
    bob.write("D/\udcff", b"2")
    await play.until(bob.problems)
    ann.remove("D")
    await play.until(lambda: not bob.exists("D/a"))
    await play.until(lambda: ann.tree() == {"D": None})
    assert bob.read("D/\udcff") == b"2"
    bob.remove("D/\udcff")
    assert await play.end() == {"D": None}


@scenario
async def test_names_of_255_bytes(play: Play) -> None:
    names = "x" * 255, "é" * 127 + "x", "\U0001f41f" * 63 + "xyz", "y" * 251 + ".txt"
    ann, bob = await play.begin(dict.fromkeys(names, b"1"))
    async with play.offline(bob):
        for number, name in enumerate(names):
            ann.save(name, b"there") if number % 2 else ann.move(name, name[:-1] + "-")
            bob.save(name, b"here %d" % number)
    tree = await play.end()
    assert len(tree) == 6
    assert sorted(content for content in tree.values() if isinstance(content, bytes)) == [
        b"here 0", b"here 1", b"here 2", b"here 3", b"there", b"there",
    ]  # fmt: skip
    assert all(len(name.encode()) <= 255 for name in tree)
    assert any(name.endswith("2027-01-15).txt") for name in tree)


@scenario
async def test_conflict_names_that_are_cut_may_meet(play: Play) -> None:
    """Two long names that differ only at their end become one when they are cut; the second is numbered."""
    one, other = "n" * 250 + "1", "n" * 250 + "2"
    ann, bob = await play.begin({one: b"1", other: b"2"})
    async with play.offline(bob):
        for name in (one, other):
            ann.save(name, b"there")
            bob.save(name, b"here" + name[-1:].encode())
    tree = await play.end()
    assert len(tree) == 4
    assert {tree.pop(one), tree.pop(other)} == {b"there"}
    assert set(tree.values()) == {b"here1", b"here2"}
    assert all(len(name) == 255 or name.endswith("2027-01-15 2)") for name in tree)


@scenario
async def test_names_like_shoals_own(play: Play) -> None:
    """Only `.shoal` at the top is Shoal's."""
    tree = {"D/.shoal/a": b"1", ".shoalish": b"2", ".Shoal": b"3", "D/.shoal-0": b"4"}
    await play.begin(tree)
    assert await play.end() == tree | {"D": None, "D/.shoal": None}


@scenario
async def test_a_name_like_that_of_a_conflict_copy(play: Play) -> None:
    ann, bob = await play.begin()
    ann.write(bob.copy_of("a"), b"1")
    ann.write("a", b"2")
    await play.settled()
    async with play.offline(bob):
        ann.save("a", b"3")
        bob.save("a", b"4")
    assert await play.end() == {"a": b"3", bob.copy_of("a"): b"1", bob.copy_of("a", 2): b"4"}


@pytest.mark.parametrize(("depth", "length"), [(60, 4), (20, 250)])
@scenario
async def test_deep_trees(play: Play, depth: int, length: int) -> None:
    """The second is longer than a path may be for a system call."""
    ann, bob = await play.begin()
    path = "/".join(["d" * length] * depth)
    ann.write(f"{path}/f", b"1")
    await play.settled()
    bob.save(f"{path}/f", b"2")
    await play.settled()
    ann.move("d" * length, "moved")
    tree = await play.end()
    assert len(tree) == depth + 1
    assert max(tree.items(), key=lambda item: len(item[0]))[1] == b"2"
