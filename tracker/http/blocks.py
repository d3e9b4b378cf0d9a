"""Packs up and down over HTTP."""

from quart import Request

from protocol.api import MAX_CHUNKS_REQUEST_BYTES, ChunksRequest, PackReply
from protocol.codec import decode, encode
from protocol.deltas import MAX_VERSIONS
from protocol.identifiers import MAX_PACK_BYTES
from tracker.http.envelope import principal_of, read_body
from tracker.publishing import publish_record
from tracker.services import Services


async def store_pack(services: Services, request: Request) -> bytes:
    """POST /v1/pack: the body is the pack itself."""
    who = await principal_of(services, request.headers.get("Authorization"))
    async with services.blocks.transfers:
        body = await read_body(request, MAX_PACK_BYTES)
        recorded = await services.blocks.store(who.user, who.device, body)
    for new in recorded.records:
        publish_record(services, new)
    return encode(PackReply(stored=recorded.stored, durable=tuple(recorded.durable[:MAX_VERSIONS])))


async def fetch_chunks(services: Services, request: Request) -> bytes:
    """POST /v1/chunks: ids in CBOR, answered as a pack."""
    who = await principal_of(services, request.headers.get("Authorization"))
    body = await read_body(request, MAX_CHUNKS_REQUEST_BYTES)
    wanted = decode(ChunksRequest, body, MAX_CHUNKS_REQUEST_BYTES)
    async with services.blocks.transfers:
        return await services.blocks.fetch(who.user, wanted)
