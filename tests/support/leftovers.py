"""Whether programs that clean up after themselves did."""

import os
from pathlib import Path


def assert_nothing_is_left(place: Path) -> None:
    """Neither a file nor a process that was told of one."""
    assert list(place.iterdir()) == []
    commands = [command_line(process) for process in Path("/proc").iterdir() if process.name.isdigit()]
    assert not [command for command in commands if os.fsencode(place) in command]


def command_line(process: Path) -> bytes:
    """What a process was started as; nothing when it is gone."""
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
