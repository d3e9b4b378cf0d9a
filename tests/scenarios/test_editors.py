"""How programs save: each way leaves one file with the new text, which is still the node that it was, and no litter.

The steps come at once, or with a moment in between in which Shoal may look.
"""

from typing import Any, TypeAlias

import pytest

from tests.scenarios.desk import Desk
from tests.scenarios.play import Play, scenario

Step: TypeAlias = tuple[Any, ...]
OLD, NEW = b"the old text\n" * 500, b"the new text\n" * 600


# What each does, step by step: methods of `Desk`.
WAYS: dict[str, list[Step]] = {
    # nano, Notepad, `>`: cut down to nothing and written anew.
    "in place": [
        ("write", "a.txt", NEW),
    ],
    "in place, piece by piece": [
        ("write", "a.txt", b""),
        *(("append", "a.txt", NEW[start : start + 2000]) for start in range(0, len(NEW), 2000)),
    ],
    # backupcopy=no: a swap file, a try whether the folder can be written to, the old file renamed away.
    "vim": [
        ("write", ".a.txt.swp", b"swap"),
        ("write", "4913", b""),
        ("remove", "4913"),
        ("move", "a.txt", "a.txt~"),
        ("write", "a.txt", NEW),
        ("remove", "a.txt~"),
        ("remove", ".a.txt.swp"),
    ],
    # backupcopy=yes: a copy first, then in place.
    "vim with copies": [
        ("copy", "a.txt", "a.txt~"),
        ("write", "a.txt", NEW),
        ("remove", "a.txt~"),
    ],
    "gedit": [
        ("write", ".goutputstream-AB12CD", NEW),
        ("move", ".goutputstream-AB12CD", "a.txt"),
    ],
    # A lock file, a temporary file beside, the old one renamed away.
    "libreoffice": [
        ("write", ".~lock.a.txt#", b"ann,laptop"),
        ("write", "lu4711a.tmp", NEW),
        ("move", "a.txt", "lu4711b.tmp"),
        ("move", "lu4711a.tmp", "a.txt"),
        ("remove", "lu4711b.tmp"),
        ("remove", ".~lock.a.txt#"),
    ],
    "word": [
        ("write", "~WRD0001.tmp", NEW),
        ("move", "a.txt", "~WRL0002.tmp"),
        ("move", "~WRD0001.tmp", "a.txt"),
        ("remove", "~WRL0002.tmp"),
    ],
    # A lock that is a symlink to nowhere, a file saved automatically; the backup is a hard link for a moment.
    "emacs": [
        ("symlink", "ann@laptop.1:2", ".#a.txt"),
        ("write", "#a.txt#", NEW[:300]),
        ("hard_link", "a.txt", "a.txt~"),
        ("write", "a.txt.new", NEW),
        ("move", "a.txt.new", "a.txt"),
        ("remove", "#a.txt#"),
        ("remove", ".#a.txt"),
        ("remove", "a.txt~"),
    ],
    # What can't rename over a file removes it first.
    "removed and renamed": [
        ("write", "a.txt.new", NEW),
        ("remove", "a.txt"),
        ("move", "a.txt.new", "a.txt"),
    ],
    "removed and written": [
        ("remove", "a.txt"),
        ("write", "a.txt", NEW),
    ],
    "sed": [
        ("write", "sedXy12Ab", NEW),
        ("chmod", "sedXy12Ab", 0o644),
        ("move", "sedXy12Ab", "a.txt"),
    ],
    "rsync": [
        ("write", ".a.txt.Ab12Cd", NEW),
        ("touch", ".a.txt.Ab12Cd", 1_600_000_000_000_000_000),
        ("move", ".a.txt.Ab12Cd", "a.txt"),
    ],
    # A journal beside, pages written in place.
    "sqlite": [
        ("write", "a.txt-journal", OLD[:1000]),
        ("overwrite", "a.txt", NEW[:1000], 0),
        ("overwrite", "a.txt", NEW[1000:], 1000),
        ("remove", "a.txt-journal"),
    ],
}
every_way = pytest.mark.parametrize("way", WAYS)


def do(desk: Desk, step: Step) -> None:
    verb, *arguments = step
    getattr(desk, verb)(*arguments)


@every_way
@scenario
async def test_saved_at_once(play: Play, way: str) -> None:
    ann, bob = await play.begin({"a.txt": OLD})
    node = bob.node("a.txt")
    for each in WAYS[way]:
        do(ann, each)
    assert await play.end() == {"a.txt": NEW}
    assert bob.node("a.txt") == node


@every_way
@scenario
async def test_saved_slowly(play: Play, way: str) -> None:
    """Every step may have been seen by then. There is never another file's text under the name."""
    ann, bob = await play.begin({"a.txt": OLD})
    for each in WAYS[way]:
        do(ann, each)
        await play.stage.pass_time(0.7)
    assert await play.end() == {"a.txt": NEW}
    assert bob.tree() == {"a.txt": NEW}


@every_way
@scenario
async def test_saved_here_and_edited_there_meanwhile(play: Play, way: str) -> None:
    ann, bob = await play.begin({"a.txt": OLD})
    async with play.offline(ann):
        bob.save("a.txt", b"bob's")
        for each in WAYS[way]:
            do(ann, each)
            await play.stage.pass_time(0.7)
    assert await play.end() == {"a.txt": b"bob's", ann.copy_of("a.txt"): NEW}


@scenario
async def test_saved_again_and_again(play: Play) -> None:
    ann, bob = await play.begin({"a.txt": OLD})
    node = bob.node("a.txt")
    for number in range(10):
        ann.save("a.txt", OLD + b"%d" % number)
        await play.stage.pass_time(0.1 * number)
    assert await play.end() == {"a.txt": OLD + b"9"}
    assert bob.node("a.txt") == node


@scenario
async def test_permissions_survive_a_save(play: Play) -> None:
    ann, bob = await play.begin({"run": b"1"})
    ann.chmod("run", 0o755)
    await play.settled()
    bob.save("run", b"2")
    await play.end()
    assert (ann.mode("run"), bob.mode("run")) == (0o755, 0o755)
