"""Bait beside a synced folder, with symlinks of the people's leading there: nothing may come of it (law 14)."""

from tests.simulation.device import SimulatedDevice
from tests.simulation.oracle import Violation
from tests.simulation.people import BAIT, NAMES
from tests.simulation.user import Entry


def lay_bait(device: SimulatedDevice) -> None:
    """A directory with all the names that people give, made before anything begins."""
    user = device.disk.user
    for path in (BAIT, f"{BAIT}/D"):
        user.mkdir(path)
        for name in NAMES:
            user.write(f"{path}/{name}", _content(path, name))
            user.touch(f"{path}/{name}", 1)
            user.chmod(f"{path}/{name}", 0o600)


def check_bait(device: SimulatedDevice) -> None:
    """`Violation` when anything there is not as it was, or if what is there has come into the folder."""
    if device.disk.user.tree(BAIT) != _untouched():
        raise Violation("nothing outside the folder is touched", f"{device.name}: {device.disk.user.tree(BAIT)}")


def _untouched() -> dict[str, Entry]:
    files = [("", name) for name in NAMES] + [("D/", name) for name in NAMES]
    tree: dict[str, Entry] = {"D": ("directory",)}
    for above, name in files:
        path = f"{BAIT}/{above}".rstrip("/")
        tree[f"{above}{name}"] = ("file", _content(path, name), 1, 0o600)
    return dict(sorted(tree.items()))


def _content(path: str, name: str) -> bytes:
    return f"bait {path} {name}".encode()
