"""One walk through everything a device asks, over a real tracker."""

from pathlib import Path

import pytest

from protocol import api
from protocol.chunks import chunk_id
from protocol.codec import encode
from protocol.packs import read_index
from tests.support.tracker import author_of, client_of, new_account, running_tracker, version_of


@pytest.mark.usefixtures("any_database")
async def test_a_file_travels_from_sign_up_to_durable(tmp_path: Path) -> None:
    account = new_account()
    author = author_of(account.first)
    with running_tracker(tmp_path / "data") as running:
        async with client_of(running.url) as client:
            await client.sign_up(account)
            info = (await client.call(api.WORKSPACES, api.Empty())).workspaces[0]
            assert info.workspace == account.home
            assert info.home

            node = author.new_node()
            sealed = author.seal(node, bytes(3_000_000), chunk_size=700_000)
            create = author.create("a file", content=sealed, node=node)
            reply = await client.call(api.COMMIT, author.commit(create, runs=sealed.runs))
            assert reply.announced == (version_of(create),)
            assert set(reply.missing) == {chunk for chunk, _ in sealed.chunks}

            stored = await client.send_pack(author.pack(sealed))
            assert stored.durable == (version_of(create),)
            delta = await client.call(api.DELTA, api.DeltaRequest(workspace=account.home, revision=0))
            assert delta.announced == ()
            assert delta.through == 2

            request = api.ChunksRequest(workspace=account.home, chunks=tuple(reply.missing))
            body = (await client.post(api.CHUNKS_PATH, encode(request))).content
            for item in read_index(body, account.home):
                assert chunk_id(body[item.offset : item.offset + item.length]) == item.id
        assert running.stop() == 0
