"""Run a module where the kernel lets it watch few folders only: `python -m tests.support.few_watches MODULE ...`.

The limit is that of a user namespace of its own (user_namespaces(7)), in which it is still the same user.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
WATCHES = 3


def main() -> None:
    """Enter the namespace, then become the module."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    Path("/proc/sys/user/max_inotify_watches").write_text(str(WATCHES))
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])


main()
