"""What a store can say went wrong; all are in the tree of `protocol.errors`.

StorageError
├── Missing          no object of that key, or it is shorter than the range asked for
├── AlreadyThere     another object of that key, with other bytes
├── Full             no room left
└── StorageDown      anything else the store's machine or service says: I/O errors, permissions, time-outs
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
