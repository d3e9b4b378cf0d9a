"""Limits for the traffic with the tracker, of real programs."""

import os

import trio

from tests.support.processes import Lab, TrackerProgram, settled, write

RATE, SIZE = 200_000, 600_000
SLACK = 0.5
"""Seconds that a transfer may be shorter than the rate says: a little is made up for, and it isn't seen at once."""


async def test_contents_keep_to_the_limits_and_neither_the_lan_nor_other_news_wait(
    lab: Lab, shared_tracker: TrackerProgram
) -> None:
    author, near, far = await lab.devices(shared_tracker, "author", "near", "far")
    await author.start("--upload-limit", "200k", lan=True)
    await near.start(lan=True)
    await far.start("--download-limit", "1.6Mbit")
    await author.until_met(near)
    content = os.urandom(SIZE)
    began = trio.current_time()
    write(author.folder / "film", content)
    await far.until_not_durable(1)
    write(author.folder / "note", b"short")
    await far.until_file("note", b"short")
    assert not (far.folder / "film").exists()
    await near.until_file("film", content)
    status = await author.status()
    assert status["limits"] == {"upload": RATE, "download": None, "waiting": None}
    await author.wait()
    sent_at = trio.current_time()
    assert sent_at - began >= SIZE / RATE - SLACK
    await far.until_file("film", content)
    assert trio.current_time() - sent_at >= SIZE / RATE - SLACK
    await settled(author, near, far)
    assert (await near.moved())["cloud_in"] == 0
