"""Contents: every size at which something is cut, nothing but zeros, and changes that hardly show."""

from random import Random

import pytest

from peer.chunker import WINDOW, cut_parameters
from protocol.identifiers import MAX_INLINE, PACK_TARGET
from tests.scenarios.play import Play, either_way, scenario

MINIMUM, AVERAGE, MAXIMUM = cut_parameters(0)
EDGES = {edge + off for edge in (MAX_INLINE, MINIMUM, 2 * MINIMUM, AVERAGE, MAXIMUM, 2 * MAXIMUM) for off in (-1, 0, 1)}
SIZES = sorted({0, 1, 2, *EDGES})
BYTES = Random(2).randbytes(WINDOW)


@scenario
async def test_sizes_around_each_boundary(play: Play) -> None:
    """Each grows by a byte, and shrinks by two."""
    tree = {f"{size}": BYTES[:size] for size in SIZES}
    ann, bob = await play.begin(tree)
    assert bob.tree() == tree
    for name, content in tree.items():
        ann.append(name, b"+")
        tree[name] = content + b"+"
    await play.settled()
    assert bob.tree() == tree
    for name, content in tree.items():
        bob.write(name, content[:-2])
        tree[name] = content[:-2]
    assert await play.end() == tree


@scenario
async def test_sizes_around_a_pack_and_a_window(play: Play) -> None:
    """Larger files are read in two threads, which the simulation hasn't got: see `tests/peer/test_chunker.py`."""
    sizes = PACK_TARGET - 1, PACK_TARGET, PACK_TARGET + 1, WINDOW - 1, WINDOW
    tree = {f"{size}": BYTES[:size] for size in sizes}
    await play.begin(tree)
    assert await play.end() == tree


@pytest.mark.parametrize("size", [1, MAX_INLINE, MAX_INLINE + 1, MAXIMUM, 10 * MAXIMUM + 1])
@scenario
async def test_nothing_but_zeros(play: Play, size: int) -> None:
    await play.begin({"a": bytes(size), "b": b"x"})
    assert await play.end() == {"a": bytes(size), "b": b"x"}


@scenario
async def test_one_content_in_many_files(play: Play) -> None:
    content = BYTES[:50_000]
    ann, bob = await play.begin({f"{number}": content for number in range(20)})
    assert await play.end() == {f"{number}": content for number in range(20)}
    assert ann.counter("cloud_out") < 2 * len(content)
    assert bob.counter("lan_in") + bob.counter("cloud_in") < 4 * len(content)


@scenario
async def test_from_nothing_to_something_and_back(play: Play) -> None:
    ann, bob = await play.begin({"a": b""})
    for content in (BYTES[:40_000], b"", b"x", BYTES[:100_000], b""):
        ann.write("a", content)
        await play.settled()
        assert bob.tree() == {"a": content}
    await play.end()


@either_way
async def test_appended_with_the_old_time(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    time = ann.mtime_ns("a")
    async with play.away(ann):
        ann.append("a", b"2")
        ann.touch("a", time)
    assert await play.end() == {"a": b"12"}
    assert bob.mtime_ns("a") == time


@either_way
async def test_changed_in_place_with_the_old_size_and_time(play: Play) -> None:
    ann, bob = await play.begin({"a": BYTES[:30_000]})
    time = ann.mtime_ns("a")
    async with play.away(ann):
        ann.overwrite("a", b"changed", 15_000)
        ann.touch("a", time)
    assert await play.end() == {"a": BYTES[:15_000] + b"changed" + BYTES[15_007:30_000]}
    assert bob.mtime_ns("a") == time


@either_way
async def test_only_the_time_changes(play: Play) -> None:
    ann, bob = await play.begin({"a": BYTES[:30_000]})
    before = ann.counter("cloud_out")
    inode = bob.inode("a")
    async with play.offline(ann):
        ann.touch("a", 1_500_000_000_123_456_789)
    await play.end()
    assert bob.mtime_ns("a") == 1_500_000_000_123_456_789
    assert (bob.inode("a"), ann.counter("cloud_out")) == (inode, before)


@either_way
async def test_only_permissions_change(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1", "b": b"2", "c": b"3"})
    async with play.away(ann):
        ann.chmod("a", 0o755)
        ann.chmod("b", 0o600)
        ann.chmod("c", 0o700)
    await play.end()
    assert [bob.mode(name) for name in "abc"] == [0o755, 0o600, 0o700]


@scenario
async def test_permissions_that_say_nothing_of_what_is_synced(play: Play) -> None:
    ann, bob = await play.begin({"a": b"1"})
    ann.chmod("a", 0o664)
    await play.settled()
    bob.save("a", b"2")
    await play.end()
    assert (ann.mode("a"), bob.mode("a")) == (0o664, 0o644)


@pytest.mark.parametrize(
    "time", [0, -1, 1, -(10**18), 4_000_000_000 * 10**9], ids=["1970", "1969", "1 ns", "1938", "2096"]
)
@scenario
async def test_times_far_away(play: Play, time: int) -> None:
    ann, bob = await play.begin()
    ann.write("a", b"1")
    ann.touch("a", time)
    await play.end()
    assert bob.mtime_ns("a") == time


@scenario
async def test_a_time_that_can_not_be_kept_is_reported(play: Play) -> None:
    ann, bob = await play.begin()
    ann.write("a", b"1")
    ann.touch("a", 5 * 10**18)
    await play.until(lambda: "a" in ann.problems())
    assert "modification time" in ann.problems()["a"]
    assert bob.tree() == {}
    ann.touch("a", 10**18)
    assert await play.end() == {"a": b"1"}


@scenario
async def test_a_log_that_grows_all_the_time(play: Play) -> None:
    """It is never quiet for long; others see it now and then all the same, and no conflict comes of it."""
    ann, bob = await play.begin({"log": b""})
    text = b""
    for number in range(40):
        line = b"line %d\n" % number
        ann.append("log", line)
        text += line
        await play.stage.pass_time(0.3)
    assert text.startswith(bob.read("log"))
    assert len(bob.read("log")) > len(text) / 4
    assert await play.end() == {"log": text}
