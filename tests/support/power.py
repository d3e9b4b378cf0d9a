"""A disk that a test can take the power from: ext4 on a loop mount, shut down without flushing anything."""

import fcntl
import os
import struct
import subprocess
from pathlib import Path

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2


class PowerDisk:
    """One disk, mounted at `place`."""

    def __init__(self, image: Path, place: Path, megabytes: int = 192) -> None:
        self.image, self.place = image, place
        self._mounted = False
        subprocess.run(["truncate", "-s", f"{megabytes}M", str(image)], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)

    def mount(self) -> None:
        """Put it in place, as after a boot: what its journal has is done first."""
        self.place.mkdir(exist_ok=True, parents=True)
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], check=True)
        self._mounted = True

    def cut(self) -> None:
        """Stop it as it is: what was not flushed is gone."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Take it away; nobody may have anything open on it."""
        if self._mounted:
            subprocess.run(["umount", str(self.place)], check=True)
            self._mounted = False

    def boot(self) -> None:
        """After a cut, when the programs on it are dead: begin again with what it has kept."""
        self.unmount()
        self.mount()
