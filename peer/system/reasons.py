"""One line for a person about why the other side gave no answer, out of the errors of five layers of libraries."""

import os
import ssl
from collections.abc import Iterator

import httpx
import trio

from protocol.errors import Unreachable


def unreachable(tracker: str, failure: BaseException, timeout: float) -> Unreachable:
    """What to raise for `failure`; `timeout` is the number of seconds that were allowed, if it is about that."""
    return Unreachable(f"no answer from tracker {tracker}: {reason(failure, timeout)}")


def system_text(failure: OSError) -> str:
    """What the system, the resolver or TLS said, perhaps nothing."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {failure.verify_message}"
    if isinstance(failure, ssl.SSLError):
        return f"TLS failed: {(failure.reason or str(failure)).replace('_', ' ').lower()}"
    if failure.errno and failure.errno > 0:
        return os.strerror(failure.errno).lower()  # asked anew: trio puts addresses into `strerror`
    return (failure.strerror or "").lower()  # the resolver's have errnos of their own, below zero


def reason(failure: BaseException, timeout: float) -> str:
    """The deepest cause in the words of the system, else the outermost that says anything; `timeout` as above."""
    causes = list(_causes(failure))
    if any(isinstance(cause, httpx.TimeoutException | trio.TooSlowError) for cause in causes):
        return f"nothing within {timeout:g} s"
    for cause in reversed(causes):
        if isinstance(cause, OSError) and (text := system_text(cause)):
            return text
    texts = [text for cause in causes if (text := str(cause))]
    return texts[0].splitlines()[0] if texts else "connection broken"


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """`failure` and what it came from, outermost first; of several attempts the first."""
    yield failure
    if isinstance(failure, BaseExceptionGroup):
        yield from _causes(failure.exceptions[0])
    elif (cause := failure.__cause__ or failure.__context__) is not None:
        yield from _causes(cause)
