"""Which home a command works on. On its own, so that a command that only asks the daemon loads no HTTP client."""

from peer.home import Home
from peer.system.home_files import default_home, open_home


def home_at(path: str | None) -> Home:
    """The home that `--home` names, or the default one."""
    return open_home(path or default_home())
