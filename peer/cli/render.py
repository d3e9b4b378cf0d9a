"""What commands print, as lines: pure functions of what was answered. Nothing printed can steer a terminal."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from peer.account import open_device_name
from peer.home import Credentials
from peer.rates import rate_text
from protocol.api import AccountReply
from protocol.errors import CannotOpen, Malformed

Status = Mapping[str, Any]
"""The daemon's answer to `status`; its fields are those of `status --json` in design §9."""
_ALIKE = 3
"""Of problems that differ by their paths alone, so many are listed."""
_STEP = 1024
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size_text(count: int) -> str:
    """A size for a person, in powers of 1024."""
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
            left_out = _problem_count(status)
            return "synced, in the cloud" + (f", but for {counted(left_out, 'problem')}" if left_out else "")
        where = "synced on your LAN" if status["peers"] else "synced"
        return f"{where}, {counted(waiting, 'file')} not in the cloud yet: keep this device on"
    return f"{state}: {detail}" if detail and detail != state else state


def is_now(what: str, status: Status) -> bool:
    """Whether it is "synced" or "durable", as far as the device knew when it was asked."""
    announced = any(workspace["not_durable"] for workspace in status["workspaces"])
    return status["state"] == "synced" and not (what == "durable" and announced)


def status_lines(status: Status) -> list[str]:
    """All of a status for a person."""
    lines = [headline(status), f"folder   {shown(status.get('folder', ''))}"]
    if progress := progress_text(status):
        lines.append(f"progress {progress}")
    if status.get("watch", "on") not in ("on", "off"):
        lines.append(f"watch    {shown(status['watch'])}")
    lines += [_workspace_line(workspace) for workspace in status["workspaces"]]
    lines += _lan_lines(status)
    lines.append(f"traffic  {_traffic(status['bytes'])}")
    lines += _limit_lines(status.get("limits") or {})
    lines += excluded_lines(status.get("excluded") or ())
    lines += _problem_lines(status)
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
    for reason in status.get("lan_unreachable", ()):
        yield f"LAN      {shown(reason)}"
    for reason, times in (status.get("lan_dropped") or {}).items():
        yield f"LAN      cut off {counted(times, 'time')}: {shown(reason)}"


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


def _limit_lines(limits: Mapping[str, Any]) -> Iterator[str]:
    """What keeps the traffic with the tracker low, if anything does."""
    rates = [f"{way} {rate_text(limits[way])}" for way in ("upload", "download") if limits.get(way)]
    if rates:
        yield f"limit    {', '.join(rates)}; none on the LAN"
    if limits.get("waiting"):
        yield f"limit    contents go to and from the tracker later: {shown(limits['waiting'])}"


def _problem_count(status: Status) -> int:
    return int(status.get("problem_count", len(status["problems"])))


def _problem_lines(status: Status) -> Iterator[str]:
    """Those that are alike together, and only the first few of them."""
    count, alike = _problem_count(status), dict[tuple[str, str], list[Mapping[str, Any]]]()
    for problem in status["problems"]:
        alike.setdefault((problem["reason"], problem.get("advice") or ""), []).append(problem)
    if count:
        yield f"{counted(count, 'problem')}:"
    for (reason, advice), those in alike.items():
        for problem in those[:_ALIKE]:
            yield f"  {shown(problem['path']) or '(the folder itself)'}: {shown(reason)}"
        if more := len(those[_ALIKE:]) + sum(problem.get("more", 0) for problem in those):
            yield f"  and {more:,} more like this"
        if advice:
            yield f"      {shown(advice)}"


def device_lines(credentials: Credentials, account: AccountReply) -> Iterator[str]:
    """One line a device: id, when it was added, when it was last seen, name."""
    for device in account.devices:
        try:
            name = open_device_name(credentials, device.device, device.name)
        except (CannotOpen, Malformed):
            name = "(a name that this device can't read)"
        here = "  (this device)" if device.device == credentials.device else ""
        yield f"{device.device.hex()}  added {moment(device.added_ms)}  seen {moment(device.seen_ms)}  {name}{here}"


def account_lines(account: AccountReply) -> Iterator[str]:
    """Address, plan, quota."""
    share = f" ({account.used_bytes * 100 // account.quota_bytes} %)" if account.quota_bytes else ""
    yield f"address  {shown(account.email)}"
    yield f"plan     {shown(account.plan)}"
    yield f"used     {size_text(account.used_bytes)} of {size_text(account.quota_bytes)}{share}"
    yield f"devices  {len(account.devices)}"


def moment(milliseconds: int) -> str:
    """A time of the tracker's, in milliseconds since 1970 UTC, as people here write it."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "at no known time"
