"""Whether the machine has been started anew."""

from pathlib import Path


def boot_id() -> str:
    """Another text whenever the kernel has been started; empty where it doesn't tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
