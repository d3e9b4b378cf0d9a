"""What the demo and the measurements need of the machine. `scripts/bootstrap.sh` has looked for git, make and venv."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from bench.failures import BenchFailed

SOCKET_PATH = 107
"""Bytes of a Unix socket's path, at most."""
PYTHONS = ((3, 11), (3, 13))


def check_machine(need: int, socket: str) -> None:
    """`BenchFailed`, in one line, when something is missing.

    `need` is the bytes to be free where temporary files go, `socket` the longest path of a socket below that.
    """
    if sys.platform != "linux":
        raise BenchFailed(f"Shoal runs on Linux, this is {sys.platform}")
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        raise BenchFailed(f"Python 3.11, 3.12 or 3.13 is needed, this is {sys.version.split()[0]}")
    folder = tempfile.gettempdir()
    if len(os.path.join(folder, socket).encode()) > SOCKET_PATH:
        raise BenchFailed(f"the path {folder} is too long for a socket: set TMPDIR to a shorter one")
    free = shutil.disk_usage(folder).free
    if free < need:
        raise BenchFailed(f"less than {need >> 20} MiB free in {folder} ({free >> 20} MiB): TMPDIR can point elsewhere")


def program(name: str) -> str:
    """The path of an installed command of this environment."""
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise BenchFailed(f"{path} is missing: make demo builds the environment that has it")
    return str(path)
