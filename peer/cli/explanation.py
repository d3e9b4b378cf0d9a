"""What `shoal explain` prints: pure functions of what the daemon answered."""

from collections.abc import Iterator, Mapping
from typing import Any

from peer.cli.render import moment, shown

Answer = Mapping[str, Any]
_WIDTH = 16


def explanation_lines(answer: Answer) -> list[str]:
    """All of it for a person."""
    lines = [shown(answer["path"]) or shown(answer["folder"]), shown(answer["summary"])]
    lines += [_line(label, text) for label, text in _parts(answer)]
    return lines


def _line(label: str, text: str) -> str:
    return f"{label + ':':{_WIDTH}}{shown(text)}"


def _parts(answer: Answer) -> Iterator[tuple[str, str]]:
    for label, key in (("on this disk", "local"), ("at the tracker", "remote"), ("last agreed", "synced")):
        if key in answer:
            yield label, answer[key]
    if "pending" in answer:
        yield "pending", answer["pending"] or "nothing"
    for reason in answer["reasons"]:
        yield "because", "; ".join(part for part in (reason["reason"], reason["advice"]) if part)
    if "version" in answer:
        yield "version", _version(answer["version"])
    if "version_here" in answer:
        yield "here", _version(answer["version_here"])
    if "in_the_cloud" in answer:
        yield "in the cloud", _in_the_cloud(answer)
    if "on_the_lan" in answer:
        yield "on your LAN", ", ".join(answer["on_the_lan"]) or "no device that has it is linked"
    if "bytes_from" in answer:
        yield "bytes from", _sources(answer["bytes_from"])


def _version(version: Mapping[str, Any]) -> str:
    if "device" not in version:
        return str(version["id"])
    by = version["device_name"] or f"device {version['device']}"
    when = f", {moment(version['time_ms'])}" if version["time_ms"] else ""
    return f"{version['id']} by {by}{when}, {version['size']:,} bytes"


def _in_the_cloud(answer: Answer) -> str:
    if not answer["in_the_cloud"]:
        return "not yet: keep the device that has it on"
    return "the version before; the latest change is still to be sent" if answer["change_to_send"] else "yes"


def _sources(sources: Mapping[str, Any]) -> str:
    if not sources["fetched"]:
        return "this device"
    if not sources["cloud"] + sources["lan"] + sources["here"]:
        return "the cloud, with its metadata"
    names = " and ".join(device["name"] or f"device {device['id']}" for device in sources["devices"])
    lan = f"{names}, on the LAN" if names else "the LAN"
    shares = ((sources["cloud"], "the cloud"), (sources["lan"], lan), (sources["here"], "the version before"))
    return "; ".join(f"{name} ({size:,} bytes)" for size, name in shares if size)
