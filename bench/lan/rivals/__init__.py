"""What is measured: each keeps one folder like another, on this machine.

base.py         what a rival is
shoal.py        a tracker and two devices
syncthing.py    two instances
rsync.py        a loop of inotifywait and rsync
cp.py           a copy, the floor
"""

from bench.lan.rivals.base import Rival
from bench.lan.rivals.cp import CP
from bench.lan.rivals.rsync import RSYNC
from bench.lan.rivals.shoal import SHOAL
from bench.lan.rivals.syncthing import SYNCTHING

RIVALS: tuple[Rival, ...] = (SHOAL, SYNCTHING, RSYNC, CP)
RIVAL_NAMES = tuple(rival.name for rival in RIVALS)

__all__ = ["RIVALS", "RIVAL_NAMES", "Rival"]
