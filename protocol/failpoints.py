"""Named places where a test can make a program die as by kill -9: `SHOAL_FAILPOINT=name:n` dies at the n-th pass of
`name`.

A crash is the one fault that can't be made from outside at a chosen moment. Passing a failpoint that isn't asked for
costs one comparison.
"""

import os
import signal

VARIABLE = "SHOAL_FAILPOINT"

_armed, _, _count = os.environ.get(VARIABLE, "").partition(":")
_left = int(_count) if _count.isdigit() else 1


def failpoint(name: str) -> None:
    """Kill this process, without any clean-up, if the environment asked for it here and now."""
    global _left
    if name != _armed:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
