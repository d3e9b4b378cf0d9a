"""Three devices and a tracker under kill -9, at drawn moments and failpoints, while people work in all three folders.

What is drawn follows from a seed: `SHOAL_TEST_SEED`. What the programs do between two kills doesn't.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeAlias

import pytest
import trio

import peer.failpoints
import tracker.failpoints
from tests.simulation.oracle import Oracle
from tests.support.folder_people import FolderPerson, tree_of
from tests.support.processes import DeviceProgram, Lab, TrackerProgram, settled

AnyProgram: TypeAlias = TrackerProgram | DeviceProgram

SEED = int(os.environ.get("SHOAL_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
PAUSE = 1.5
"""Seconds between two things that one person does, on average."""
UP = (5.0, 15.0)
DOWN = (0.0, 2.0)
"""Seconds for which a program runs, and for which it is away."""
PATIENCE = 90.0
KILLED_WHILE_STARTING = 0.15
AT_FAILPOINT = 0.4


class Storm:
    """Four programs, three people, and one who kills."""

    def __init__(self, place: Lab, seed: int) -> None:
        self.rng = random.Random(seed)
        self.oracle = Oracle()
        self.diary: list[str] = []
        self.lab = place
        self.tracker = place.tracker()
        self.devices: list[DeviceProgram] = []
        self.people: list[FolderPerson] = []

    def note(self, text: str) -> None:
        self.diary.append(f"{datetime.now(UTC):%H:%M:%S.%f} {text}")

    @property
    def programs(self) -> list[AnyProgram]:
        return [self.tracker, *self.devices]

    async def begin(self) -> None:
        await self.tracker.start()
        self.devices = await self.lab.devices(self.tracker, "one", "two", "three")
        await self.tracker.hold_nothing(self.devices[0].email)
        for device in self.devices:
            await device.start(lan=True)
            rng = random.Random(self.rng.random())
            self.people.append(FolderPerson(device.name, device.folder, rng, self.oracle, self.note))

    async def rage(self, seconds: float) -> None:
        """People work and programs die, for so long."""
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for person in self.people:
                    nursery.start_soon(person.work, PAUSE)
                for program in self.programs:
                    nursery.start_soon(self._torment, program, random.Random(self.rng.random()))

    async def _torment(self, program: AnyProgram, rng: random.Random) -> None:
        while True:
            await trio.sleep(rng.uniform(*UP))
            program.kill()
            self.note(f"{program.name} is killed")
            await trio.sleep(rng.uniform(*DOWN))
            patience = rng.random() if rng.random() < KILLED_WHILE_STARTING else float("inf")
            with trio.move_on_after(patience):
                await self._start(program, self._failpoint(program, rng))

    def _failpoint(self, program: AnyProgram, rng: random.Random) -> str | None:
        names = peer.failpoints.FAILPOINTS if isinstance(program, DeviceProgram) else tracker.failpoints.FAILPOINTS
        drawn = f"{rng.choice(names)}:{rng.choice((1, 1, 2, 5))}"
        return drawn if rng.random() < AT_FAILPOINT else None

    async def _start(self, program: AnyProgram, failpoint: str | None) -> None:
        self.note(f"{program.name} starts, to die at {failpoint}" if failpoint else f"{program.name} starts")
        if isinstance(program, DeviceProgram):
            await program.start(lan=True, failpoint=failpoint)
        else:
            await program.start(failpoint=failpoint)

    async def calm(self) -> None:
        """Nobody acts, all programs run, and what they come to is judged."""
        self.note("calm")
        for person in self.people:
            person.finish_everything()
        for program in self.programs:
            program.kill()
            await self._start(program, None)
        await settled(*self.devices, seconds=PATIENCE)
        for person in self.people:
            person.empty_bin()
        self.oracle.judge({device.name: tree_of(device.folder) for device in self.devices})
        await self.tracker.check()

    def judge_strength(self) -> None:
        """A storm that kills nobody, or in which nobody works, shows nothing."""
        kills = sum(line.endswith("is killed") for line in self.diary)
        assert kills >= 10
        assert len(self.oracle.saved) >= 20


@contextmanager
def replayable(test: str, storm: Storm) -> Iterator[None]:
    """With a failure goes what was done, and how to do it again."""
    try:
        yield
    except BaseException:
        print("\n".join(storm.diary))
        print(f"Replay: SHOAL_TEST_SEED={SEED} .venv/bin/pytest {test}")
        raise


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_minute_of_kill_9(lab: Lab) -> None:
    storm = Storm(lab, SEED)
    with replayable("tests/end_to_end/test_kill.py::test_a_minute_of_kill_9", storm):
        await storm.begin()
        await storm.rage(60)
        await storm.calm()
        storm.judge_strength()


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_ten_minutes_of_kill_9(lab: Lab) -> None:
    storm = Storm(lab, SEED)
    with replayable("-m soak tests/end_to_end/test_kill.py::test_ten_minutes_of_kill_9", storm):
        await storm.begin()
        for _ in range(10):
            await storm.rage(60)
            await storm.calm()
