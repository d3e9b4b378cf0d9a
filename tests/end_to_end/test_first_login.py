"""First login with files on both sides: merged by path, nothing deleted, nothing sent twice (design §7)."""

import re
from pathlib import Path

from tests.support.processes import Lab, TrackerProgram, contents, settled, snapshot, write

FILES, DIFFERENT = 1000, 10
COPY = re.compile(r"^(.*) \(conflicted copy, two, \d{4}-\d\d-\d\d\)\.txt$")


def content(number: int) -> str:
    """Some travel inline, most as one chunk."""
    return f"content of file {number}\n" * (10 if number % 4 == 0 else 200)


def path_of(number: int) -> str:
    return f"folder {number % 20}/{number}.txt"


def fill(folder: Path) -> None:
    for number in range(FILES):
        write(folder / path_of(number), content(number))


async def chunks(tracker: TrackerProgram) -> int:
    """How many chunks the tracker holds."""
    return (await tracker.stats())["chunks"]


async def test_a_thousand_files_on_both_sides_ten_of_them_different(lab: Lab, tracker: TrackerProgram) -> None:
    one, two = await lab.devices(tracker, "one", "two")
    for device in (one, two):
        fill(device.folder)
    different = [number * (FILES // DIFFERENT) + 1 for number in range(DIFFERENT)]
    for number in different:
        write(two.folder / path_of(number), f"what device two has in {number}\n" * 100)
    write(one.folder / "only there", "only there")
    write(two.folder / "only here", "only here")
    await one.start()
    await one.wait()
    first = snapshot(one.folder)
    held = await chunks(tracker)

    await two.start()
    assert await settled(one, two) != first
    (line,) = [line for line in two.printed().splitlines() if line.startswith("first sync")]
    assert line == (
        f"first sync of this folder: {FILES - DIFFERENT} the same, {DIFFERENT} differ (both are kept), "
        "1 only here, 1 only there"
    )
    found = contents(two.folder)
    copies = {path: data for path, data in found.items() if "conflicted" in path}
    assert sorted(f"{match[1]}.txt" for path in copies if (match := COPY.match(path))) == sorted(
        path_of(number) for number in different
    )
    assert {data.decode() for data in copies.values()} == {
        f"what device two has in {number}\n" * 100 for number in different
    }
    assert {path: data for path, data in found.items() if path not in copies} == {
        **{path_of(number): content(number).encode() for number in range(FILES)},
        "only there": b"only there",
        "only here": b"only here",
    }
    assert await chunks(tracker) == held + DIFFERENT
    sent = (await two.status())["bytes"]["cloud_out"]
    assert sent < sum(len(data) + 200 for data in copies.values())
    await tracker.check()


async def test_the_count_is_printed_only_when_there_is_something_to_merge(
    lab: Lab, shared_tracker: TrackerProgram
) -> None:
    one, two = await lab.devices(shared_tracker, "one", "two")
    write(one.folder / "file", "file")
    await one.start()
    await two.start()
    await settled(one, two)
    assert "first sync" not in one.printed() + two.printed()
    await two.stop()
    await two.start()
    await settled(one, two)
    assert "first sync" not in two.printed()
