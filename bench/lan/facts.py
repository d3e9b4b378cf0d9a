"""The machine, as far as figures depend on it."""

import os
import platform
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BUSY = 1.0
PROBE_FILES, PROBE_BYTES = 100, 4096
SLOW_FILE_SECONDS = 0.0002
"""ext4 takes some 30 µs for a new file of 4 KiB, and 1 ms of CPU where ten thousand were removed a moment ago."""


@dataclass(frozen=True)
class Facts:
    """What to say beside any figure."""

    processor: str
    cores: int  # that this process may use
    memory_bytes: int
    kernel: str
    file_system: str  # of the temporary folder
    file_seconds: float  # that it takes there to write one of many new files of 4 KiB
    congestion_control: str  # of TCP
    python: str
    load: float  # average of the last minute, at the start

    @property
    def busy(self) -> bool:
        """Whether something else is at work, so that the figures mean little."""
        return self.load > BUSY

    @property
    def slow_files(self) -> bool:
        """Whether making files takes so long by itself that the work "small" is about the file system."""
        return self.file_seconds > SLOW_FILE_SECONDS


def look(folder: Path) -> Facts:
    """`folder` is where everything will be."""
    load = os.getloadavg()[0]
    return Facts(
        processor=_first(r"^model name\s*: (.*)$", "/proc/cpuinfo"),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=int(_first(r"^MemTotal:\s*(\d+)", "/proc/meminfo") or 0) << 10,
        kernel=platform.release(),
        file_system=file_system_of(folder, Path("/proc/self/mountinfo").read_text()),
        file_seconds=_file_seconds(folder),
        congestion_control=_first(r"^(.*)$", "/proc/sys/net/ipv4/tcp_congestion_control"),
        python=platform.python_version(),
        load=load,
    )


def _first(pattern: str, file: str) -> str:
    """The first match in a file of the kernel's; nothing where this kernel doesn't say."""
    try:
        found = re.search(pattern, Path(file).read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1).strip() if found else ""


def _file_seconds(folder: Path) -> float:
    with tempfile.TemporaryDirectory(prefix="shoal-bench-", dir=folder) as made:
        began = time.perf_counter()
        for number in range(PROBE_FILES):
            (Path(made) / str(number)).write_bytes(bytes(PROBE_BYTES))
        return (time.perf_counter() - began) / PROBE_FILES


def file_system_of(folder: Path, mounts: str) -> str:
    """The type of what holds `folder`, by a /proc/PID/mountinfo; of two mounts at one place the later counts."""
    place, best, kind = folder.resolve(), -1, "unknown"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), before.split()[4]))
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind
