"""Places in the session's S3 server that no other test uses."""

from typing import Any
from uuid import uuid4

from protocol.system import offload_and_leave, real_machine
from storage.s3 import S3Storage
from tests.support.seaweed import BUCKET


def new_bucket(client: Any, prefix: str | None = None) -> S3Storage:
    """An empty store: below a new prefix, unless one is given."""
    return S3Storage(real_machine(), client, BUCKET, prefix or f"tests/{uuid4().hex}", leave=offload_and_leave)
