"""docs/protocol.md names everything that the code knows, with the numbers that the code uses."""

import dataclasses
import re
from pathlib import Path

import pytest

from protocol import (
    api,
    chunks,
    codec,
    commits,
    deltas,
    grants,
    history,
    identifiers,
    lan,
    lan_frames,
    lan_messages,
    manifests,
    names,
    notices,
    runs,
)
from protocol.errors import Code

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
FLAT = " ".join(DOCUMENT.split())
ROWS = [line for line in DOCUMENT.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("endpoint", api.ENDPOINTS, ids=lambda endpoint: str(endpoint.path))
def test_every_request_is_described(endpoint: "api.Endpoint[object, object]") -> None:
    (row,) = (row for row in ROWS if row.startswith(f"| `{endpoint.path}` |"))
    assert f"{endpoint.request.__name__} → {endpoint.reply.__name__}" in row
    assert ("●" in row) == endpoint.device
    caps = {endpoint.request_limit, endpoint.reply_limit} - {api.SMALL}
    assert all(size(cap) in row for cap in caps)


def size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


@pytest.mark.parametrize("path", [api.PACK_PATH, api.CHUNKS_PATH, api.NOTIFICATIONS_PATH, api.HEALTH_PATH])
def test_every_other_path_is_described(path: str) -> None:
    assert path in DOCUMENT


@pytest.mark.parametrize("code", Code)
def test_every_code_has_its_status(code: Code) -> None:
    assert any(row.startswith(f"| `{code.value}` | {api.HTTP_STATUS[code]} |") for row in ROWS)


@pytest.mark.parametrize("reason", api.REASONS)
def test_every_reason_is_described(reason: str) -> None:
    assert f"`{reason}`" in DOCUMENT


LISTED = [
    cls
    for module in (api, history)
    for cls in vars(module).values()
    if dataclasses.is_dataclass(cls) and cls in codec._plans and cls.__module__ == module.__name__
]


@pytest.mark.parametrize("cls", LISTED, ids=lambda cls: str(cls.__name__))
def test_every_message_is_described_with_the_numbers_of_its_fields(cls: type[object]) -> None:
    rows = [row for row in ROWS if row.startswith(f"| {cls.__name__} |")]
    assert rows
    if cls is not api.Refusal:
        assert all(f" {number} " in rows[0] for number, *_ in codec._plans[cls].fields)


@pytest.mark.parametrize(
    "number",
    [
        grants.MAX_EPOCHS, grants.MAX_GRANT_BYTES, identifiers.MAX_INLINE, identifiers.MAX_LINK_BYTES,
        manifests.MAX_MANIFEST_BYTES, names.MAX_SEALED_NAME, deltas.INLINE_DELTA_BYTES, notices.MAX_FRAME,
        runs.MAX_RUN_BYTES, runs.MAX_RUNS, commits.MAX_OPERATION_BYTES, chunks.MAX_SEALED,
        lan_messages.MAX_GET_CHUNKS,
    ],
)  # fmt: skip
def test_bounds_are_those_of_the_code(number: int) -> None:
    assert f"{number:,}" in FLAT


@pytest.mark.parametrize("cls", lan_messages.CONTROLS, ids=lambda cls: str(cls.__name__))
def test_every_control_message_is_described_with_its_fields(cls: type[object]) -> None:
    plan = codec._plans[cls]
    (row,) = (row for row in ROWS if row.startswith(f"| {plan.tag} {cls.__name__.lower()} | 1 "))
    fields = row.split(" | ")[1]
    assert re.findall(r"(?:^|; )(\d) (\w+)", fields) == [(str(number), name) for number, name, *_ in plan.fields]


@pytest.mark.parametrize(
    "words",
    [
        f"list of bytes 16 ≤ {lan_messages.MAX_ASK:,}",
        f"count n ≤ {lan_messages.MAX_PART_COUNT:,}) ≤ {lan_messages.MAX_PARTS}",
        f"reason text ≤ {lan_messages.MAX_REASON}",
        f"versions I speak: {lan_messages.LAN_LOWEST} to {lan_messages.LAN_HIGHEST}",
        f"at most {size(lan_messages.MAX_GET_BYTES)} of sealed bytes",
        {8: "an eighth of its length in clear"}[chunks.CLEAR_WEIGHT],
        f"| {lan_frames.MIN_CONTROL} to {lan_frames.MAX_CONTROL:,} |",
        f"| {lan_frames.MIN_RECORD} to {lan_frames.MAX_RECORD:,} |",
        f"{lan.PREFACE_LENGTH} bytes: preface =",
        f"e, es, s, ss {lan.MESSAGE_1} bytes",
        f"e, ee, se {lan.MESSAGE_2} bytes",
    ],
)
def test_numbers_of_the_lan_are_those_of_the_code(words: str) -> None:
    assert words in FLAT


def test_every_derivation_context_is_listed() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in Path(codec.__file__).parent.glob("*.py"))
    purposes = set(re.findall(r'(?:derive_key|hash_for)\("([^"]+)"', code))
    assert {"chunk convergence", "lan tag", "lan records"} <= purposes
    listed = FLAT.partition("Derivation contexts:")[2].partition("Signatures:")[0]
    assert [purpose for purpose in sorted(purposes) if f"`{purpose}`" not in listed] == []


def test_runs_are_cut_as_described() -> None:
    assert (
        f"once the run has {runs.MAX_CHUNKS} chunks, or has at least {runs.MIN_CHUNKS} and the low three bits" in FLAT
    )
    assert runs.CUT_MASK == 0b111
