"""docs/protocol.md names everything that the code knows, with the numbers that the code uses."""

import dataclasses
from pathlib import Path

import pytest

from protocol import api, codec, commits, deltas, grants, identifiers, manifests, names, notices, runs
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
    for cls in vars(api).values()
    if dataclasses.is_dataclass(cls) and cls in codec._plans and cls.__module__ == api.__name__
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
        runs.MAX_RUN_BYTES, runs.MAX_RUNS, commits.MAX_OPERATION_BYTES,
    ],
)  # fmt: skip
def test_bounds_are_those_of_the_code(number: int) -> None:
    assert f"{number:,}" in FLAT


def test_runs_are_cut_as_described() -> None:
    assert (
        f"once the run has {runs.MAX_CHUNKS} chunks, or has at least {runs.MIN_CHUNKS} and the low three bits" in FLAT
    )
    assert runs.CUT_MASK == 0b111
