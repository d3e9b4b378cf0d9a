"""What the demo needs of the machine. `scripts/bootstrap.sh` has already looked for git, make and venv."""

import shutil
import sys
import tempfile
from pathlib import Path

from bench.demo.failures import DemoFailed

FREE_BYTES = 2 << 30
SOCKET_PATH = 107
"""Bytes of a Unix socket's path, at most."""
_LONGEST = "/shoal-demo-xxxxxxxx/desktop/home/control"
PYTHONS = ((3, 11), (3, 13))


def check_machine(need: int = FREE_BYTES) -> None:
    """`DemoFailed`, in one line, when something is missing."""
    if sys.platform != "linux":
        raise DemoFailed(f"Shoal runs on Linux, this is {sys.platform}")
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        raise DemoFailed(f"Python 3.11, 3.12 or 3.13 is needed, this is {sys.version.split()[0]}")
    folder = tempfile.gettempdir()
    if len(folder.encode()) + len(_LONGEST) > SOCKET_PATH:
        raise DemoFailed(f"the path {folder} is too long for a socket: set TMPDIR to a shorter one")
    free = shutil.disk_usage(folder).free
    if free < need:
        raise DemoFailed(f"less than {need >> 20} MB free in {folder} ({free >> 20} MB): TMPDIR can point elsewhere")


def program(name: str) -> str:
    """The path of an installed command of this environment."""
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise DemoFailed(f"{path} is missing: run make demo, which builds its environment")
    return str(path)
