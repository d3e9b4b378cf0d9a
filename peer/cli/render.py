"""What commands print, as lines: pure functions of what was answered. Nothing printed can steer a terminal."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from peer.account import open_device_name
from peer.home import Credentials
from protocol.api import AccountReply
from protocol.errors import CannotOpen, Malformed

Status = Mapping[str, Any]
"""The daemon's answer to `status`; its fields are those of `status --json` in design §9."""
_STEP = 1024
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def size_text(count: int) -> str:
    """A size in the units of the plans, where 1 GB is 2³⁰ bytes."""
    size, unit = float(count), _UNITS[0]
    for unit in _UNITS:  # noqa: B007
        if size < _STEP:
            break
        size /= _STEP
    else:
        size *= _STEP
    return counted(count, "byte") if unit == _UNITS[0] else f"{size:.1f} {unit}"


def counted(number: int, thing: str) -> str:
    """1 file, 2 files."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def shown(text: object) -> str:
    """`text` with whatever is unprintable spelled out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def headline(status: Status) -> str:
    """The state in one line. "In the cloud" is said of durable files only."""
    state, detail = shown(status["state"]), shown(status.get("detail") or "")
    if state == "synced":
        waiting = sum(workspace["not_durable"] for workspace in status["workspaces"])
        if waiting == 0:
            left_out = len(status["problems"])
            return "synced, in the cloud" + (f", but for {counted(left_out, 'problem')}" if left_out else "")
        where = "synced on your LAN" if status["peers"] else "synced"
        return f"{where}, {counted(waiting, 'file')} not in the cloud yet: keep this device on"
    return f"{state}: {detail}" if detail and detail != state else state


def status_lines(status: Status) -> list[str]:
    """All of a status for a person."""
    lines = [headline(status), f"folder   {shown(status.get('folder', ''))}"]
    if progress := progress_text(status):
        lines.append(f"progress {progress}")
    lines += [_workspace_line(workspace) for workspace in status["workspaces"]]
    lines += _lan_lines(status)
    lines.append(f"traffic  {_traffic(status['bytes'])}")
    lines += excluded_lines(status.get("excluded") or ())
    lines += _problem_lines(status["problems"])
    return lines


def progress_text(status: Status) -> str:
    """How far a transfer is; empty when there is none."""
    progress = status.get("progress") or {}
    done, total = progress.get("done_bytes", 0), progress.get("total_bytes", 0)
    if not total:
        return ""
    if not done:
        return f"{size_text(total)} to go"
    return f"{min(done, total) * 100 // total} % ({size_text(done)} of {size_text(total)})"


def _lan_lines(status: Status) -> Iterator[str]:
    """The devices on the LAN, or why none can be found."""
    for peer in status["peers"]:
        yield f"LAN      {shown(peer['name'] or peer['device'])} at {shown(peer['address'])}"
    if status.get("lan", "on") not in ("on", "off"):
        yield f"LAN      {shown(status['lan'])}"


def _workspace_line(workspace: Mapping[str, Any]) -> str:
    parts = [
        f"{workspace[field]} {words}"
        for field, words in (
            ("local_pending", "to send"),
            ("remote_pending", "to receive"),
            ("not_durable", "not in the cloud yet"),
        )
        if workspace[field]
    ]
    return f"{shown(workspace['name']):8} revision {workspace['revision']}: {', '.join(parts) or 'up to date'}"


def excluded_lines(excluded: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What is not kept on this device, and what of it is still here."""
    for each in excluded:
        left = each["here"]
        more = f"; {counted(left, 'file')} still here, until synced" if left else ""
        yield f"excluded {shown(each['path'])}{more}"
        for path in each["files_here"] if left < 10 else ():
            yield f"      {shown(path)}"


def _traffic(counters: Mapping[str, int]) -> str:
    ways = (
        f"{size_text(counters[f'{way}_in'])} in, {size_text(counters[f'{way}_out'])} out" for way in ("cloud", "lan")
    )
    cloud, lan = ways
    return f"cloud {cloud}; LAN {lan}"


def _problem_lines(problems: list[Mapping[str, Any]]) -> Iterator[str]:
    if problems:
        yield f"{counted(len(problems), 'problem')}:"
    for problem in problems:
        yield f"  {shown(problem['path']) or '(the folder itself)'}: {shown(problem['reason'])}"
        if problem.get("advice"):
            yield f"      {shown(problem['advice'])}"


def device_lines(credentials: Credentials, account: AccountReply) -> Iterator[str]:
    """One line a device: id, when it was added, when it was last seen, name."""
    for device in account.devices:
        try:
            name = open_device_name(credentials, device.device, device.name)
        except (CannotOpen, Malformed):
            name = "(a name that this device can't read)"
        here = "  (this device)" if device.device == credentials.device else ""
        added, seen = time_text(device.added_ms), time_text(device.seen_ms)
        yield f"{device.device.hex()}  added {added}  seen {seen}  {name}{here}"


def account_lines(account: AccountReply) -> Iterator[str]:
    """Address, plan, quota."""
    share = f" ({account.used_bytes * 100 // account.quota_bytes} %)" if account.quota_bytes else ""
    yield f"address  {shown(account.email)}"
    yield f"plan     {shown(account.plan)}"
    yield f"used     {size_text(account.used_bytes)} of {size_text(account.quota_bytes)}{share}"
    yield f"devices  {len(account.devices)}"


def time_text(milliseconds: int) -> str:
    """A time since 1970 UTC, as it was here."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "at no known time"
