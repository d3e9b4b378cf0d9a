"""The units of systemd are ones, and start what there is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from peer.cli.run import STOP_SECONDS
from tests.support.documents import OPERATIONS, README, ROOT, code_blocks, parse, variables
from tracker.system.server import CLOSING_S, GRACE_S

TRACKER, DEVICE = (ROOT / "packaging" / "systemd" / name for name in ("shoal-tracker.service", "shoal.service"))
UNITS = {"shoal-tracker": TRACKER, "shoal": DEVICE}


def values(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(("unit", "manager"), [(TRACKER, "--system"), (DEVICE, "--user")])
def test_systemd_takes_the_units(unit: Path, manager: str, tmp_path: Path) -> None:
    # It looks whether the command is there, too.
    command = re.compile(r"^ExecStart=\S+/(\S+)", re.MULTILINE)
    here = Path(sys.executable).parent
    (tmp_path / unit.name).write_text(command.sub(rf"ExecStart={here}/\1", unit.read_text(encoding="utf-8")))
    done = subprocess.run(
        ["systemd-analyze", manager, "verify", "--man=no", str(tmp_path / unit.name)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("program", UNITS)
def test_their_commands_can_be_given(program: str) -> None:
    (command,) = values(UNITS[program], "ExecStart")
    path, _, rest = command.partition(" ")
    assert path.endswith(f"/bin/{program}")
    parse(f"{program} {rest}")


@pytest.mark.parametrize("program", UNITS)
def test_their_variables_stand_for_options(program: str) -> None:
    assert {line.partition("=")[0] for line in values(UNITS[program], "Environment")} <= variables(program)
    blocks = [block for block in code_blocks(OPERATIONS, "With systemd") if block.startswith("SHOAL_")]
    assert {line.partition("=")[0] for block in blocks for line in block.splitlines()} <= variables("shoal-tracker")
    assert {"SHOAL_DATA", "SHOAL_TLS_CERT"} <= variables("shoal-tracker")
    assert "SHOAL_HOME" in variables("shoal")


def test_there_is_time_to_stop() -> None:
    for unit, needs in ((TRACKER, 2 * GRACE_S + CLOSING_S), (DEVICE, STOP_SECONDS)):
        (seconds,) = values(unit, "TimeoutStopSec")
        assert float(seconds) > needs
        assert values(unit, "KillSignal") == ["SIGTERM"]


def test_the_page_installs_what_the_units_start() -> None:
    page = "\n".join(code_blocks(OPERATIONS, "With systemd"))
    assert {ROOT / path for path in re.findall(r"install .* (packaging/\S+)", page)} == {TRACKER, DEVICE}
    (tracker,), (device,) = values(TRACKER, "ExecStart"), values(DEVICE, "ExecStart")
    assert f"{Path(tracker.split()[0]).parent}/pip install" in page
    assert device.split()[0].replace("%h", "~").removesuffix("/shoal") + "/pip install" in README.read_text("utf-8")
    (user,) = values(TRACKER, "User")
    assert re.search(rf"useradd .* {user}$", page, re.MULTILINE)
