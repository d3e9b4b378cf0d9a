"""Ctrl-C and its kin: what was started ends in order."""

import signal
from collections.abc import Awaitable, Callable

import trio


async def until_signal(work: Callable[[], Awaitable[int]], say: Callable[[str], None]) -> int:
    """Run `work` until its end or until a signal cancels it; its exit code, or 128 and the signal's number.

    1 when nobody reads its output any more.
    """
    code = 0
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:

        async def listen() -> None:
            nonlocal code
            async for number in signals:
                if code == 0:
                    say("interrupted: stopping")
                code = 128 + number
                nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                code = await work()
                nursery.cancel_scope.cancel()
        except* SystemExit:
            # rich ends the program this way when nobody reads its output any more.
            code = 1
    return code
