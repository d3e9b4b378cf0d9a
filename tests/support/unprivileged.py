"""Run a module as one whom file permissions bind, root or not: `python -m tests.support.unprivileged MODULE ...`.

Root reads what nobody may. Without the two capabilities that let it, its own chmod 000 shuts it out as anybody's does,
and it still gets to its interpreter, wherever that is. An ordinary user has none to lose.
"""

import ctypes
import errno
import os
import sys

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
"""prctl(2), capabilities(7): what leaves the bounding set is not had after the next execve."""


def main() -> None:
    """Lose them, then become the module."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 and ctypes.get_errno() != errno.EPERM:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])


main()
