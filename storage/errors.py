"""What a store can say went wrong; all are in the tree of `protocol.errors`.

StorageError
├── Missing          no object of that key, or it is shorter than the range asked for
├── AlreadyThere     another object of that key, with other bytes
├── Full             no room left
└── StorageDown      anything else the store's machine or service says: I/O errors, permissions, a wrong secret
    └── TryAgain     … which may be over when it is asked again: time-outs, cut connections, errors of the service
        └── SlowDown … because it was asked too much; `seconds` is how long it wants to be left alone
"""

from protocol.errors import ShoalError


class StorageError(ShoalError):
    """Base of all errors of stores."""


class Missing(StorageError):
    """There is no such object, or not that much of it."""


class AlreadyThere(StorageError):
    """Objects are immutable, and this one has other bytes."""


class Full(StorageError):
    """No room is left."""


class StorageDown(StorageError):
    """The store does not work at the moment."""


class TryAgain(StorageDown):
    """The store does not work, but the same call may well succeed soon. Nothing is known of what it did."""


class SlowDown(TryAgain):
    """The store has too much to do."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        """`seconds` is how long the store wants no calls, None if it doesn't say."""
        super().__init__(message)
        self.seconds = seconds
