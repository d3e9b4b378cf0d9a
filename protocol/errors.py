"""The error tree.

    ShoalError                      anything Shoal itself can say went wrong; str() is one line for a person
    ├── Malformed                   bytes that are not what the protocol says: wrong shape, size, type, format byte
    │   └── TooLarge                … because they are larger than allowed
    ├── CannotOpen                  sealed bytes that don't authenticate under the key they were said to have
    ├── BadSignature                a signature or certificate that doesn't verify
    ├── Unreachable                 no answer from the other side: refused, timed out, cut off, DNS, TLS
    ├── Refused                     the other side understood and said no; `code` says why (see Code)
    ├── Usage                       the person asked for something that can't be: wrong arguments or state
    └── Problem                     the machine said no; raised by peer and tracker with a text about what to do
        ├── WatchLimit              inotify limits reached
        ├── WrongRoot               the sync folder is missing, replaced or another home's
        └── DatabaseTooNew          a database written by a newer Shoal

One place per boundary turns `OSError`, SQL, HTTP and S3 errors into these.
"""

from enum import StrEnum


def reason_of(error: OSError) -> str:
    """What the system said, as part of a line for a person."""
    return (error.strerror or str(error)).lower()


def first_of(error: BaseException) -> BaseException:
    """The first single error in a group of them, however deep: as a rule the others follow from it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class ShoalError(Exception):
    """Base of all errors that Shoal raises on purpose."""


class Malformed(ShoalError):
    """Bytes that are not what the protocol says they must be."""


class TooLarge(Malformed):
    """More bytes, items or nesting than the protocol allows."""


class CannotOpen(ShoalError):
    """Sealed bytes that do not authenticate: wrong key, wrong place or altered."""


class BadSignature(ShoalError):
    """A signature or certificate that does not verify."""


class Unreachable(ShoalError):
    """The other side gave no answer."""


class Code(StrEnum):
    """Why a request was refused. The value travels on the wire; never change one, only add."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    VERSION = "version"  # no common protocol version; the message says which side to upgrade
    NOT_FOUND = "not-found"  # no such path or thing, or not yours to know of
    UNAUTHENTICATED = "unauthenticated"  # no token, an expired or a foreign one
    WRONG_PASSWORD = "wrong-password"  # also for an unknown address: the two can't be told apart
    ADDRESS_TAKEN = "address-taken"
    SUSPENDED = "suspended"
    FORBIDDEN = "forbidden"  # the role does not allow it
    BAD_SIGNATURE = "bad-signature"
    CURSOR_UNKNOWN = "cursor-unknown"  # merge: take a full snapshot
    COMMIT = "commit"  # a commit was refused; the detail lists every failing operation
    NOT_ANNOUNCED = "not-announced"  # a chunk that no accepted commit named
    WRONG_ID = "wrong-id"  # sealed bytes that are not what their id says
    UNAVAILABLE = "unavailable"  # try again later: full disk, database down
    INTERNAL = "internal"  # a defect; the tracker's log has the details


class Refused(ShoalError):
    """The other side understood the request and said no."""

    def __init__(self, code: Code, message: str, detail: bytes = b"") -> None:
        """`message` is one line for a person; `detail` is CBOR whose type `code` determines, empty for most."""
        super().__init__(message)
        self.code = code
        self.detail = detail


class Usage(ShoalError):
    """The person asked for something that can't be."""


class Problem(ShoalError):
    """The machine said no."""


class WatchLimit(Problem):
    """The kernel's inotify limits are reached; the text names the sysctl to raise."""


class WrongRoot(Problem):
    """The sync folder is missing, was replaced, or belongs to another home."""


class DatabaseTooNew(Problem):
    """A database that a newer Shoal has written."""
