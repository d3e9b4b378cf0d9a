"""kill -9 of any program at any moment: after a restart it goes on, with nothing lost and nothing twice."""

import ast
import os
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

import peer.failpoints
import tracker.failpoints
from protocol.errors import Unreachable
from tests.support.processes import (
    CHECKOUT,
    LOOK,
    PATIENCE,
    DeviceProgram,
    Lab,
    TrackerProgram,
    contents,
    lab,
    replace,
    settled,
    write,
)

MOMENTS = 20
SEED = int(os.environ.get("SHOAL_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


# Which failpoints there are ------------------------------------------------------------------------------------------


def passed_in(package: str) -> set[str]:
    """The names given to `failpoint` in a package's source; a constant of its failpoints.py counts as its value."""
    constants = vars(peer.failpoints if package == "peer" else tracker.failpoints)
    found = set()
    for path in (CHECKOUT / package).rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "failpoint":
                (name,) = call.args
                found.add(ast.literal_eval(name) if isinstance(name, ast.Constant) else constants[ast.unparse(name)])
    return found


def test_every_failpoint_is_listed() -> None:
    of_peer = (*peer.failpoints.FAILPOINTS, *peer.failpoints.MOVING)
    for package, listed in (("peer", of_peer), ("tracker", tracker.failpoints.FAILPOINTS)):
        assert len(set(listed)) == len(listed)
        assert passed_in(package) == set(listed)


# Each failpoint once -------------------------------------------------------------------------------------------------


async def versions(device: DeviceProgram) -> dict[str, str]:
    """The versions in the cloud of all files in a folder, as `explain` tells them."""
    found = {}
    for path in contents(device.folder):
        lines = await device.explain(path)
        if "in the cloud: yes" in lines:
            found[path] = next(line for line in lines if line.startswith("version: "))
    return found


class Trio:
    """A tracker and two devices that go on from one failpoint to the next, and all that should be in the folders."""

    def __init__(self, place: Lab) -> None:
        self.lab = place
        self.tracker = place.tracker()
        self.one: DeviceProgram
        self.two: DeviceProgram
        self.expected: dict[str, bytes] = {}

    async def begin(self) -> None:
        await self.tracker.start()
        self.one, self.two = await self.lab.devices(self.tracker, "one", "two")
        self.write(self.one, "deleted by one", b"deleted by one" * 1000)
        for name in ("one", "two"):
            self.write(self.one, f"edited by {name}", b"base" * 5000)
            self.write(self.one, f"small, edited by {name}", b"base")
        for device in (self.one, self.two):
            await device.start()
        await self.converged()

    def write(self, device: DeviceProgram, path: str, content: bytes) -> None:
        replace(device.folder / path, content)
        self.expected[path] = content

    def change(self, device: DeviceProgram, label: str, time: str) -> list[str]:
        """New files and edits of either size; no two devices touch the same file. Which files these are."""
        text = f"{label} by {device.name}, the {time} time, ".encode()
        changes = {
            f"{label}/new by {device.name}": text * 3000,
            f"{label}/small by {device.name}": text,
            f"edited by {device.name}": text * 4000,
            f"small, edited by {device.name}": text * 2,
        }
        for path, content in changes.items():
            self.write(device, path, content)
        return list(changes)

    async def change_and_send(self, device: DeviceProgram, label: str, time: str) -> None:
        """The same, until all of it is in the cloud, whatever others have yet to send."""
        before = await versions(device)
        paths = self.change(device, label, time)
        with trio.fail_after(PATIENCE):
            while True:
                now = await versions(device)
                if all(path in now and now[path] != before.get(path) for path in paths):
                    return
                await trio.sleep(LOOK)

    async def converged(self) -> None:
        """Both folders hold exactly what they should, and the tracker's books are in order."""
        await settled(self.one, self.two)
        assert contents(self.two.folder) == self.expected
        await self.tracker.check()
        for device in (self.one, self.two):
            assert os.listdir(device.folder / ".shoal/temp") == []


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with lab(tmp_path_factory.mktemp("restart")) as place:
        made = Trio(place)
        trio.run(made.begin)
        yield made


@pytest.mark.parametrize("failpoint", peer.failpoints.FAILPOINTS)
async def test_a_device_dies(team: Trio, failpoint: str) -> None:
    one, two = team.one, team.two
    two.kill()
    if failpoint == "peer.remove.outgoing":
        (one.folder / "deleted by one").unlink()
        del team.expected["deleted by one"]
    team.change(one, failpoint, "first")
    await one.wait()
    team.change(two, failpoint, "first")
    await two.start(failpoint=failpoint)
    await two.died_at_failpoint()
    # What it had half done is history by the time it is back.
    await team.change_and_send(one, failpoint, "second")
    team.change(two, failpoint, "second")
    await two.start()
    await team.converged()


async def test_what_was_in_place_but_not_recorded_moves_on(team: Trio) -> None:
    """Neither what SYNCED says nor what REMOTE says is on the disk then, and yet nobody has edited anything."""
    one, two = team.one, team.two
    for name in ("renamed", "deleted", "edited"):
        team.write(one, f"old, {name} after", b"before")
    await settled(one, two)
    two.kill()
    for age in ("old", "new"):
        for name in ("renamed", "deleted", "edited"):
            team.write(one, f"{age}, {name} after", f"{age}, first version".encode())
    await one.wait()
    await two.start(failpoint="peer.swap.done:6")
    await two.died_at_failpoint()
    for age in ("old", "new"):
        (one.folder / f"{age}, renamed after").rename(one.folder / f"{age}, by its new name")
        team.expected[f"{age}, by its new name"] = team.expected.pop(f"{age}, renamed after")
        (one.folder / f"{age}, deleted after").unlink()
        del team.expected[f"{age}, deleted after"]
        team.write(one, f"{age}, edited after", f"{age}, second version".encode())
    await one.wait()
    await two.start()
    await team.converged()


@pytest.mark.soak  # tests/tracker/test_cli.py has each failpoint beside a single device
@pytest.mark.parametrize("failpoint", [name for name in tracker.failpoints.FAILPOINTS if "signup" not in name])
async def test_the_tracker_dies(team: Trio, failpoint: str) -> None:
    team.tracker.kill()
    await team.tracker.start(failpoint=failpoint)
    team.change(team.one, failpoint, "first")
    await team.tracker.died_at_failpoint()
    team.change(team.two, failpoint, "first")
    await team.tracker.start()
    await team.converged()


@pytest.mark.soak
async def test_the_tracker_dies_while_somebody_signs_up(team: Trio) -> None:
    team.tracker.kill()
    await team.tracker.start(failpoint=tracker.failpoints.SIGNUP_RECORDED)
    first, second = team.lab.device("first"), team.lab.device("second")
    email, back = "signing.up@example.org", trio.Event()

    async def sign_up() -> None:
        try:
            await first.join(team.tracker, email, first=True)
        except Unreachable:  # it gave up before the tracker was back; the account is there all the same
            await back.wait()
            await first.join(team.tracker, email, first=False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sign_up)
        await team.tracker.died_at_failpoint()
        await team.tracker.start()
        back.set()
    await second.join(team.tracker, email, first=False)
    write(first.folder / "file", "from the first device")
    for device in (first, second):
        await device.start()
    await settled(first, second)
    assert contents(second.folder) == {"file": b"from the first device"}
    await team.tracker.check()
    for device in (first, second):
        device.kill()


# Random moments ------------------------------------------------------------------------------------------------------


class Person:
    """Somebody who works in one device's folder, on files that nobody else touches, and remembers what is in them."""

    def __init__(self, device: DeviceProgram, rng: random.Random) -> None:
        self.device = device
        self.rng = rng
        self.files: dict[str, bytes] = {}
        self.diary: list[str] = []
        self._count = 0

    async def work(self) -> None:
        """One thing after the other, until cancelled."""
        while True:
            self.act()
            await trio.sleep(self.rng.uniform(0.02, 0.1))

    def act(self) -> None:
        """Create, edit, rename or delete a file."""
        self._count += 1
        what = self.rng.random()
        path = self.rng.choice(sorted(self.files)) if self.files else ""
        content = f"{self.device.name} {self._count} ".encode() * self.rng.choice([1, 20, 300, 5000])
        folder = self.device.folder
        if not path or what < 0.4:
            place = self.rng.choice(["", f"of {self.device.name}/", "shared/", f"shared/{self._count % 3}/"])
            path = f"{place}{self._count} by {self.device.name}"
            self._save(path, content, write)
        elif what < 0.6:
            self._save(path, content, write)
        elif what < 0.75:
            self._save(path, content, replace)
        elif what < 0.9:
            goal = str(Path(path).with_name(f"{self._count} renamed by {self.device.name}"))
            (folder / path).rename(folder / goal)
            self.files[goal] = self.files.pop(path)
            self._note(f"rename {path} to {goal}")
        else:
            (folder / path).unlink()
            del self.files[path]
            self._note(f"delete {path}")

    def _save(self, path: str, content: bytes, how: Callable[[Path, bytes], None]) -> None:
        how(self.device.folder / path, content)
        self.files[path] = content
        self._note(f"{how.__name__} {path}, {len(content)} bytes")

    def _note(self, what: str) -> None:
        self.diary.append(f"{datetime.now(UTC):%H:%M:%S.%f} {what}")


def unlike(found: dict[str, bytes], people: list[Person]) -> str:
    """Which files are not as they should be, with all that was done to them."""
    expected = {**people[0].files, **people[1].files}
    lines = []
    for path in sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path)):
        lines.append(f"{path}: {found.get(path, b'missing')[:30]!r}, not {expected.get(path, b'missing')[:30]!r}")
        name = Path(path).name.partition(" (conflicted")[0]
        lines += [f"    {entry}" for person in people for entry in person.diary if name in entry]
    return "\n".join(lines)


@pytest.mark.soak
async def test_random_moments_under_load(lab: Lab, tracker: TrackerProgram) -> None:
    print(f"SHOAL_TEST_SEED={SEED}")
    rng = random.Random(SEED)
    one, two = await lab.devices(tracker, "one", "two")
    for device in (one, two):
        await device.start()
    people = [Person(device, random.Random(rng.random())) for device in (one, two)]
    programs: list[TrackerProgram | DeviceProgram] = [tracker, one, two]
    async with trio.open_nursery() as nursery:
        for person in people:
            nursery.start_soon(person.work)
        for _ in range(MOMENTS):
            victim = rng.choice(programs)
            await trio.sleep(rng.uniform(0, 0.5))
            print(f"{datetime.now(UTC):%H:%M:%S.%f} kill {victim.name}")
            victim.kill()
            await victim.start()
        nursery.cancel_scope.cancel()
    await settled(one, two, seconds=60)
    assert not (wrong := unlike(contents(two.folder), people)), wrong
    await tracker.check()
