"""A delete of everything is held, shown, undone, and in the end approved, with the real commands."""

import json
import shutil
from pathlib import Path

from tests.support.processes import DeviceProgram, contents, settled, write

Pair = tuple[DeviceProgram, DeviceProgram]
FILES = 60


async def empty(device: DeviceProgram) -> None:
    shutil.rmtree(device.folder / "all")
    await device.until_status(lambda status: status["workspaces"][0]["held"] == FILES, "holding all")


async def test_everything_is_deleted_held_rejected_deleted_again_and_approved(pair: Pair) -> None:
    one, two = pair
    nothing = one.command("held")
    assert (nothing.returncode, nothing.stdout) == (0, "nothing is held\n")
    for number in range(FILES):
        write(one.folder / f"all/{number:02}", f"content {number}")
    await settled(one, two)
    before = contents(two.folder)

    await empty(one)
    refused = one.command("status", "--wait-synced", "--timeout", "20")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"shoal: held: {FILES} files were deleted here: run shoal held")
    shown = one.command("held").stdout.splitlines()
    assert shown[0].startswith(f"{FILES} files deleted here, held since ")
    assert shown[1] == f"  all/  {FILES} files"
    assert f"    and {FILES - 10} more: shoal held --all lists them" in shown
    (group,) = json.loads(one.command("held", "--json").stdout)["held"]
    assert (group["direction"], group["change"], group["files"]) == ("outgoing", "delete", FILES)
    assert group["paths"] == [f"all/{number:02}" for number in range(FILES)]
    await one.stop()
    await one.start()
    assert (await one.until_state("held"))["workspaces"][0]["held"] == FILES
    assert contents(two.folder) == before

    rejected = one.command("reject")
    assert (rejected.returncode, rejected.stdout) == (0, f"rejected: {FILES} files\n")
    await settled(one, two)
    assert contents(one.folder) == before

    await empty(one)
    assert one.command("approve").stdout == f"approved: {FILES} files\n"
    await settled(one, two)
    assert contents(two.folder) == {}
    assert not (two.folder / "all").exists()
    again = one.command("approve")
    assert (again.returncode, again.stderr) == (1, "shoal: nothing is held\n")
    assert " files were deleted here; see shoal held" in _log(one)


def _log(device: DeviceProgram) -> str:
    return Path(device.home.log_folder, "shoal.log").read_text(encoding="utf-8")
