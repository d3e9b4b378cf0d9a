"""Commits, the chain over them, deltas, packs and notices."""

import contextlib
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.seeded import seeded_bytes
from protocol import chunks, commits, notices
from protocol.codec import encode
from protocol.commits import (
    Commit,
    Create,
    Delete,
    Place,
    chain,
    commit_digest,
    decode_commit,
    decode_operation,
    encode_operation,
    first_chain_hash,
    sign_commit,
)
from protocol.deltas import (
    INLINE_DELTA_BYTES,
    Delta,
    Entry,
    Record,
    SignedCommit,
    decode_delta,
    entry_digest,
    record_digest,
    signed_bytes_of,
    verify_signed_commit,
)
from protocol.errors import BadSignature, Malformed, ShoalError, TooLarge
from protocol.hashing import digest
from protocol.identifiers import (
    MAX_PACK_BYTES,
    MAX_REQUEST_CHUNKS,
    ChunkId,
    CommitHash,
    CommitId,
    DeviceId,
    NameToken,
    NodeId,
    PlaceMark,
    TrackerEpoch,
    VersionId,
    WorkspaceId,
)
from protocol.packs import ENTRY_LENGTH, HEADER_LENGTH, build_pack, pack_length, read_index, workspace_of
from protocol.signing import SigningKey

draw = seeded_bytes("tests of order")
WORKSPACE, OTHER = WorkspaceId(draw(16)), WorkspaceId(draw(16))
DEVICE, KEY = DeviceId(draw(16)), SigningKey(draw(32))
NODE, MARK = NodeId(draw(16)), PlaceMark(draw(16))
PLACE = Place(parent=NodeId(draw(16)), token=NameToken(draw(16)), name=draw(49), mark=MARK)


def delete() -> bytes:
    return encode_operation(Delete(node=NodeId(draw(16)), base=MARK, mark=PlaceMark(draw(16))))


def signed(operations: tuple[bytes, ...]) -> Commit:
    return sign_commit(
        workspace=WORKSPACE,
        device=DEVICE,
        epoch=1,
        commit=CommitId(draw(16)),
        seen=first_chain_hash(WORKSPACE),
        operations=operations,
        runs=(),
        signing_key=KEY,
    )


def handed_on(commit: Commit, *, overtaken: frozenset[int] = frozenset()) -> SignedCommit:
    items = [digest(op) if at in overtaken else op for at, op in enumerate(commit.operations)]
    return SignedCommit(
        device=DEVICE,
        epoch=commit.epoch,
        id=commit.id,
        seen=commit.seen,
        signature=commit.signature,
        items=tuple(items),
    )


# Commits --------------------


@given(st.integers(1, 20), st.frozensets(st.integers(0, 19)))
def test_signature_holds_whichever_operations_travel_as_hashes(count: int, overtaken: frozenset[int]) -> None:
    commit = signed(tuple(delete() for _ in range(count)))
    passed = handed_on(decode_commit(encode(commit)), overtaken=overtaken)
    verify_signed_commit(WORKSPACE, passed, KEY.public)
    whole = signed_bytes_of(WORKSPACE, handed_on(commit))
    assert signed_bytes_of(WORKSPACE, passed) == whole
    assert entry_digest(WORKSPACE, Entry(revision=1, time_ms=0, commit=passed)) == commit_digest(
        whole, commit.signature
    )


@given(st.integers(0, 1 << 16), st.integers(1, 255))
def test_altered_commit_is_refused(at: int, flip: int) -> None:
    good = handed_on(signed((delete(), delete())))
    item = good.items[0]
    at %= len(item)
    altered = item[:at] + bytes([item[at] ^ flip]) + item[at + 1 :]
    changes: list[dict[str, Any]] = [
        {"items": (altered, good.items[1])},
        {"items": (digest(altered), good.items[1])},
        {"items": (good.items[1], item)},
        {"items": (item,)},
        {"items": (*good.items, item)},
        {"items": ()},
        {"device": draw(16)},
        {"epoch": 2},
        {"id": draw(16)},
        {"seen": draw(32)},
        {"signature": bytes(64)},
    ]
    for change in changes:
        with pytest.raises(BadSignature):
            verify_signed_commit(WORKSPACE, dataclasses.replace(good, **change), KEY.public)
    with pytest.raises(BadSignature):
        verify_signed_commit(OTHER, good, KEY.public)
    with pytest.raises(BadSignature):
        verify_signed_commit(WORKSPACE, good, SigningKey(draw(32)).public)


def test_operation_is_never_as_long_as_a_hash() -> None:
    assert len(delete()) > 32


CONTENT = commits.Content(version=VersionId(draw(16)), manifest=draw(40))
FIT = [(commits.FILE, CONTENT), (commits.SYMLINK, CONTENT), (commits.DIRECTORY, None), (commits.MOUNT, None)]
UNFIT = [(commits.FILE, None), (commits.DIRECTORY, CONTENT), (commits.MOUNT, CONTENT), (0, CONTENT), (0, None)]


def created(kind: int, content: commits.Content | None) -> bytes:
    return encode_operation(Create(node=NODE, kind=kind, place=PLACE, content=content))


@pytest.mark.parametrize(("kind", "content"), FIT)
def test_create_whose_content_fits_is_read(kind: int, content: commits.Content | None) -> None:
    assert decode_operation(created(kind, content)) == Create(node=NODE, kind=kind, place=PLACE, content=content)


@pytest.mark.parametrize(("kind", "content"), [*UNFIT, (5, CONTENT)])
def test_create_whose_content_does_not_fit_is_refused(kind: int, content: commits.Content | None) -> None:
    with pytest.raises(Malformed):
        decode_operation(created(kind, content))


def test_commit_of_another_format_or_without_operations_is_refused() -> None:
    good = signed((delete(),))
    assert decode_commit(encode(good)) == good
    for wrong in (dataclasses.replace(good, format=2), dataclasses.replace(good, operations=())):
        with pytest.raises(Malformed):
            decode_commit(encode(wrong))


def test_commit_with_too_many_operations_is_refused() -> None:
    with pytest.raises(TooLarge):
        decode_commit(encode(signed((delete(),) * 1001)))


# The chain --------------------


def test_chain_depends_on_everything_before() -> None:
    start, entry = first_chain_hash(WORKSPACE), draw(32)
    hashes = {
        start,
        first_chain_hash(OTHER),
        chain(start, 1, entry),
        chain(start, 2, entry),
        chain(start, 1, draw(32)),
        chain(CommitHash(draw(32)), 1, entry),
    }
    assert len(hashes) == 6


def test_record_digest_depends_on_every_row() -> None:
    row = (NODE, VersionId(draw(16)))
    records = [
        Record(),
        Record(durable=(row,)),
        Record(durable=(row, row)),
        Record(withdrawn=((*row, None),)),
        Record(withdrawn=((*row, VersionId(draw(16))),)),
    ]
    assert len({record_digest(record) for record in records}) == len(records)


# Deltas --------------------


def delta(since: int, through: int, head: int, entries: list[Entry]) -> bytes:
    return encode(
        Delta(
            workspace=WORKSPACE,
            tracker_epoch=TrackerEpoch(draw(16)),
            since=since,
            through=through,
            head=head,
            hash=CommitHash(draw(32)),
            entries=tuple(entries),
        )
    )


def record_entry(revision: int) -> Entry:
    return Entry(revision=revision, time_ms=0, record=Record())


@pytest.mark.parametrize(
    ("since", "through", "head", "revisions"),
    [(0, 0, 0, []), (3, 7, 9, [4, 7]), (3, 7, 7, [5]), (3, 7, 7, [])],
)
def test_delta_in_order_is_read(since: int, through: int, head: int, revisions: list[int]) -> None:
    decoded = decode_delta(delta(since, through, head, [record_entry(revision) for revision in revisions]))
    assert [item.revision for item in decoded.entries] == revisions


@pytest.mark.parametrize(
    ("since", "through", "head", "revisions"),
    [(4, 3, 9, []), (3, 7, 6, []), (3, 7, 7, [3]), (3, 7, 9, [8]), (3, 7, 7, [5, 4]), (3, 7, 7, [4, 4])],
)
def test_delta_out_of_order_is_refused(since: int, through: int, head: int, revisions: list[int]) -> None:
    with pytest.raises(Malformed, match="order"):
        decode_delta(delta(since, through, head, [record_entry(revision) for revision in revisions]))


def test_entry_is_a_commit_or_a_record() -> None:
    both = Entry(revision=1, time_ms=0, record=Record(), commit=handed_on(signed((delete(),))))
    neither = Entry(revision=1, time_ms=0)
    for wrong in (both, neither):
        with pytest.raises(Malformed, match="neither"):
            decode_delta(delta(0, 1, 1, [wrong]))
    with pytest.raises(Malformed):
        entry_digest(WORKSPACE, neither)


# Packs --------------------

BODIES = st.lists(st.binary(max_size=60), max_size=6)


def packed(bodies: list[bytes]) -> list[tuple[ChunkId, bytes]]:
    """An empty body stands for a chunk that isn't held."""
    sealed = [chunks.seal_chunk(bytes(32), body)[1] if body else b"" for body in bodies]
    return [(chunks.chunk_id(data), data) for data in sealed]


@given(BODIES)
def test_pack_round_trip(bodies: list[bytes]) -> None:
    items = packed(bodies)
    pack = build_pack(WORKSPACE, items)
    index = read_index(pack, WORKSPACE)
    assert [(entry.id, pack[entry.offset : entry.offset + entry.length]) for entry in index] == items
    assert len(pack) == pack_length(len(data) for _, data in items)
    assert workspace_of(pack) == WORKSPACE


@given(BODIES, st.integers(0, 1 << 16))
def test_truncated_and_prolonged_packs_are_refused(bodies: list[bytes], at: int) -> None:
    pack = build_pack(WORKSPACE, packed(bodies))
    for wrong in (pack[: at % len(pack)], pack + b"\x00"):
        with pytest.raises(Malformed):
            read_index(wrong, WORKSPACE)


@given(BODIES, st.integers(0, 1 << 16), st.integers(1, 255))
def test_mutated_pack_is_refused_or_its_chunks_differ(bodies: list[bytes], at: int, flip: int) -> None:
    items = packed(bodies)
    pack = build_pack(WORKSPACE, items)
    at %= len(pack)
    wrong = pack[:at] + bytes([pack[at] ^ flip]) + pack[at + 1 :]
    with contextlib.suppress(ShoalError):
        index = read_index(wrong, WORKSPACE)
        read = [(entry.id, wrong[entry.offset : entry.offset + entry.length]) for entry in index]
        assert read != items
        assert all(entry.offset + entry.length <= len(wrong) for entry in index)
        assert any(data and chunks.chunk_id(data) != id for id, data in read) or any(
            id not in dict(items) for id, _ in read
        )


@given(st.binary(max_size=120))
def test_bytes_that_are_no_pack_are_refused_or_read(data: bytes) -> None:
    for body in (data, b"\x01" + WORKSPACE + data, b"\x01" + WORKSPACE + b"\0\0\0\x01" + data):
        with contextlib.suppress(ShoalError):
            read_index(body, WORKSPACE)
        with contextlib.suppress(ShoalError):
            workspace_of(body)


@pytest.mark.parametrize("length", [1, chunks.OVERHEAD, chunks.MAX_SEALED + 1, (1 << 32) - 1])
def test_impossible_lengths_in_a_pack_are_refused(length: int) -> None:
    body = b"\x01" + WORKSPACE + b"\0\0\0\x01" + bytes(32) + length.to_bytes(4, "big") + bytes(min(length, 2000))
    with pytest.raises(Malformed):
        read_index(body, WORKSPACE)


def test_pack_is_capped_before_it_is_read() -> None:
    with pytest.raises(TooLarge):
        read_index(bytes(MAX_PACK_BYTES + 1), WORKSPACE)
    with pytest.raises(TooLarge):
        read_index(bytes(HEADER_LENGTH), WORKSPACE, limit=HEADER_LENGTH - 1)
    count = MAX_REQUEST_CHUNKS + 1
    with pytest.raises(TooLarge):
        read_index(b"\x01" + WORKSPACE + count.to_bytes(4, "big") + bytes(count * ENTRY_LENGTH), WORKSPACE)


def test_pack_for_another_workspace_is_refused() -> None:
    with pytest.raises(Malformed, match="another workspace"):
        read_index(build_pack(WORKSPACE, []), OTHER)


# Notices --------------------


def test_unknown_notices_are_refused() -> None:
    assert notices.decode_notice(b"\x01\xa1\x00\x03") == notices.CatchUp()
    for frame in (b"", b"\x01", b"\x02\xa1\x00\x03", b"\x01\xa1\x00\x04", b"\x01\xa0", b"\x01\xa1\x00\x03\x00"):
        with pytest.raises(Malformed):
            notices.decode_notice(frame)


def test_notice_with_the_largest_inline_delta_fits_a_frame() -> None:
    changed = notices.Changed(
        workspace=WORKSPACE, since=(1 << 62) - 2, through=(1 << 62) - 1, delta=bytes(INLINE_DELTA_BYTES)
    )
    frame = notices.encode_notice(changed)
    assert len(frame) <= notices.MAX_FRAME
    assert notices.decode_notice(frame) == changed
    with pytest.raises(TooLarge):
        notices.decode_notice(frame + bytes(notices.MAX_FRAME))
