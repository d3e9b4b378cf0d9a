"""Workspace keys: what a member of a workspace holds, and what each derived key is for.

A workspace has one constant secret (name tokens and the chunker's seed must not change when members leave) and one
epoch secret per key epoch (everything else). A grant carries all of them, so the newest opens everything.
"""

from dataclasses import dataclass
from functools import cached_property

from protocol.errors import CannotOpen
from protocol.hashing import derive_key
from protocol.identifiers import WorkspaceId
from protocol.ports import RandomBytes

SECRET_LENGTH = 32


@dataclass(frozen=True)
class EpochKeys:
    """The keys of one epoch, each derived from the epoch's secret for one purpose."""

    epoch: int
    secret: bytes

    @cached_property
    def convergence(self) -> bytes:
        """Keys chunks: equal payloads in this workspace and epoch seal to equal bytes."""
        return derive_key("chunk convergence", self.secret)

    @cached_property
    def run(self) -> bytes:
        """Keys runs, the cuts of a file's chunk list."""
        return derive_key("run convergence", self.secret)

    @cached_property
    def manifest(self) -> bytes:
        """Seals manifests."""
        return derive_key("manifest", self.secret)

    @cached_property
    def name(self) -> bytes:
        """Seals names."""
        return derive_key("name", self.secret)


@dataclass(frozen=True)
class WorkspaceKeys:
    """Everything a member holds of one workspace. `secrets[0]` belongs to epoch 1."""

    workspace: WorkspaceId
    constant: bytes
    secrets: tuple[bytes, ...]

    @cached_property
    def name_token(self) -> bytes:
        """Keys name tokens; constant, so that a name stays unique across epochs."""
        return derive_key("name token", self.constant)

    @cached_property
    def chunker_seed(self) -> int:
        """63 bits for the chunker's table: known files can't be recognised by their cuts at a glance (no more than
        that)."""
        return int.from_bytes(derive_key("chunker seed", self.constant)[:8], "big") >> 1

    @property
    def newest(self) -> EpochKeys:
        """The epoch new writes are sealed under."""
        return self.epoch(len(self.secrets))

    def epoch(self, number: int) -> EpochKeys:
        """The keys of one epoch, 1 to `len(secrets)`; `CannotOpen` otherwise: the number comes from others."""
        if not 1 <= number <= len(self.secrets):
            raise CannotOpen(f"key epoch {number} is not known here")
        return self._epochs[number - 1]

    @cached_property
    def _epochs(self) -> tuple[EpochKeys, ...]:
        """Each made once, as it remembers what was derived from it."""
        return tuple(EpochKeys(number, secret) for number, secret in enumerate(self.secrets, 1))


def new_workspace_keys(workspace: WorkspaceId, random_bytes: RandomBytes) -> WorkspaceKeys:
    """Fresh keys at epoch 1."""
    return WorkspaceKeys(workspace, random_bytes(SECRET_LENGTH), (random_bytes(SECRET_LENGTH),))
