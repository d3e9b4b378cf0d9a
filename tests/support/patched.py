"""A program whose source is changed as it is loaded: `python -m tests.support.patched PATCH[,PATCH...] MODULE ...`.

For faults that a test has to notice, and for patience that no test has. Either costs the product nothing, and a patch
that no longer fits the source fails at once.
"""

import runpy
import sys

from tests.support.patching import Edit, put_in

FAULTS = {
    "no fsync before the swap": [
        Edit("peer.synchronizer.temps", "    if job.sync:\n        disk.fsync(descriptor)\n", ""),
    ],
    "no barrier before the commit": [
        Edit(
            "peer.synchronizer.sending",
            "        await context.in_folder(work)\n\n    # Settling",
            "\n    # Settling",
        ),
    ],
}
IMPATIENT = "impatient"
"""Asks after two seconds what the cloud still lacks, and gives up after five what it has lost."""
PATCHES = {
    **FAULTS,
    IMPATIENT: [
        Edit("peer.peer", "ASK_AGAIN = 15.0", "ASK_AGAIN = 2.0"),
        Edit("peer.peer", "LOOK_AROUND = 30.0", "LOOK_AROUND = 2.0"),
        Edit("peer.synchronizer.uploads", "GIVE_UP = 300.0", "GIVE_UP = 5.0"),
    ],
}


if __name__ == "__main__":
    patches = sys.argv.pop(1).split(",")
    put_in([edit for name in patches for edit in PATCHES[name]])
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
