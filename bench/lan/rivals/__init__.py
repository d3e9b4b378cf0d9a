"""What is measured: each keeps one folder like another, on this machine.

base.py         what a rival is
shoal.py        a tracker and two devices
syncthing.py    two instances
loop.py         inotifywait and a program that copies
rsync.py        such a loop with rsync
unison.py       another with unison
cp.py           a copy, the floor
"""

from bench.lan.rivals.base import Rival
from bench.lan.rivals.cp import CP
from bench.lan.rivals.rsync import RSYNC
from bench.lan.rivals.shoal import SHOAL
from bench.lan.rivals.syncthing import SYNCTHING
from bench.lan.rivals.unison import UNISON

RIVALS: tuple[Rival, ...] = (SHOAL, SYNCTHING, RSYNC, UNISON, CP)
RIVAL_NAMES = tuple(rival.name for rival in RIVALS)

__all__ = ["RIVALS", "RIVAL_NAMES", "Rival"]
