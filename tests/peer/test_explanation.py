"""What `shoal explain` prints."""

from typing import Any

from peer.cli.explanation import explanation_lines

ANSWER: dict[str, Any] = {
    "path": "a/b",
    "folder": "/home/ann/Shoal",
    "summary": "synced, in the cloud",
    "kind": "file",
    "local": "yes",
    "remote": "yes",
    "synced": "yes",
    "pending": None,
    "reasons": [],
    "version": {"id": "76", "size": 5000, "time_ms": 0, "device": "64", "device_name": "desktop"},
    "in_the_cloud": True,
    "change_to_send": False,
    "bytes_from": {"fetched": True, "cloud": 1000, "lan": 2000, "here": 2000, "devices": [{"id": "64", "name": "tv"}]},
}


def lines(**more: Any) -> dict[str, str]:
    """By label."""
    _, _, *rest = explanation_lines(ANSWER | more)
    return {label: text.strip() for label, _, text in (line.partition(":") for line in rest)}


def test_everything_of_a_file() -> None:
    assert explanation_lines(ANSWER) == [
        "a/b",
        "synced, in the cloud",
        "on this disk:   yes",
        "at the tracker: yes",
        "last agreed:    yes",
        "pending:        nothing",
        "version:        76 by desktop, 5,000 bytes",
        "in the cloud:   yes",
        "bytes from:     the cloud (1,000 bytes); tv, on the LAN (2,000 bytes); the version before (2,000 bytes)",
    ]


def test_of_what_is_in_no_tree_only_what_there_is_to_say() -> None:
    answer = {"path": "no such\x1b[2J", "folder": "/f", "summary": "neither here nor there", "reasons": []}
    assert explanation_lines(answer) == ["no such\\x1b[2J", "neither here nor there"]


def test_reasons_with_their_advice() -> None:
    reasons = [{"kind": "disk", "reason": "no space left", "advice": "free some"}]
    assert lines(reasons=reasons)["because"] == "no space left; free some"


def test_where_bytes_are() -> None:
    waiting = lines(in_the_cloud=False, on_the_lan=[])
    assert waiting["in the cloud"] == "not yet: keep the device that has it on"
    assert waiting["on your LAN"] == "no device that has it is linked"
    assert lines(in_the_cloud=False, on_the_lan=["this device", "tv"])["on your LAN"] == "this device, tv"
    edited = lines(change_to_send=True)
    assert edited["in the cloud"] == "the version before; the latest change is still to be sent"


def test_where_bytes_came_from() -> None:
    made = {"fetched": False, "cloud": 0, "lan": 0, "here": 0, "devices": []}
    assert lines(bytes_from=made)["bytes from"] == "this device"
    assert lines(bytes_from=made | {"fetched": True})["bytes from"] == "the cloud, with its metadata"
    assert lines(bytes_from=made | {"fetched": True, "lan": 7})["bytes from"] == "the LAN (7 bytes)"


def test_a_version_of_which_little_is_known() -> None:
    assert lines(version={"id": "76"})["version"] == "76"
    nameless = ANSWER["version"] | {"device_name": ""}
    assert lines(version=nameless)["version"] == "76 by device 64, 5,000 bytes"
