"""Grants: workspace keys, sealed to one member's sealing key and signed by the device that grants.

    shared    = X25519(ephemeral private, recipient's sealing key)
    key       = BLAKE3-derive("grant", shared ‖ ephemeral public ‖ recipient's sealing key)
    sealed    = ephemeral public: 32 bytes ‖ 01 ‖ AEGIS-256(key, nonce 0, CBOR of the keys, associated data)
    associated data = "Shoal 1 grant" ‖ workspace ‖ epoch: u32 ‖ recipient ‖ key number: u32
    signature = Ed25519(granting device's key, "Shoal 1 grant" ‖ 00 ‖ associated data ‖ sealed)

The ephemeral key is drawn for one grant, so the derived key seals one message and needs no nonce.
"""

from protocol import aead
from protocol.codec import U32, blob, decode, encode, many, message, octets, unsigned, wire
from protocol.errors import Malformed
from protocol.hashing import derive_key
from protocol.identifiers import ID_LENGTH, DeviceId, UserId, WorkspaceId
from protocol.keys import SECRET_LENGTH, WorkspaceKeys
from protocol.ports import RandomBytes
from protocol.signing import KEY_LENGTH, SIGNATURE_LENGTH, ExchangeKey, SigningKey, verify

MAX_EPOCHS = 10_000
MAX_GRANT_BYTES = 400_000
_PURPOSE = "grant"


@message
class _GrantedKeys:
    constant: bytes = wire(1, octets(SECRET_LENGTH))
    secrets: tuple[bytes, ...] = wire(2, many(octets(SECRET_LENGTH), MAX_EPOCHS))


@message
class Grant:
    """One member's copy of a workspace's keys."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    epoch: int = wire(2, unsigned(MAX_EPOCHS))  # the newest one inside
    recipient: UserId = wire(3, octets(ID_LENGTH))
    key_number: int = wire(4, unsigned(U32))  # which of the recipient's sealing keys
    sealed: bytes = wire(5, blob(MAX_GRANT_BYTES))
    granter: DeviceId = wire(6, octets(ID_LENGTH))
    signature: bytes = wire(7, octets(SIGNATURE_LENGTH))


def _associated(workspace: WorkspaceId, epoch: int, recipient: UserId, key_number: int) -> bytes:
    return b"".join((b"Shoal 1 grant", workspace, epoch.to_bytes(4, "big"), recipient, key_number.to_bytes(4, "big")))


def _sealing_key(shared: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    return derive_key("grant", shared + ephemeral + recipient)


def make_grant(
    keys: WorkspaceKeys,
    *,
    recipient: UserId,
    key_number: int,
    recipient_key: bytes,
    granter: DeviceId,
    signing_key: SigningKey,
    random_bytes: RandomBytes,
) -> Grant:
    """Seal all of `keys` to `recipient_key` (a certified X25519 public key) and sign as `granter`."""
    epoch = keys.newest.epoch
    ephemeral = ExchangeKey(random_bytes(KEY_LENGTH))
    key = _sealing_key(ephemeral.agree(recipient_key), ephemeral.public, recipient_key)
    associated = _associated(keys.workspace, epoch, recipient, key_number)
    plain = encode(_GrantedKeys(constant=keys.constant, secrets=keys.secrets))
    sealed = ephemeral.public + aead.seal(key, aead.ZERO_NONCE, plain, associated)
    return Grant(
        workspace=keys.workspace,
        epoch=epoch,
        recipient=recipient,
        key_number=key_number,
        sealed=sealed,
        granter=granter,
        signature=signing_key.sign(_PURPOSE, associated + sealed),
    )


def verify_grant(grant: Grant, granter_key: bytes) -> None:
    """Raise `BadSignature` unless the device holding `granter_key` (Ed25519 public) signed this grant."""
    associated = _associated(grant.workspace, grant.epoch, grant.recipient, grant.key_number)
    verify(granter_key, _PURPOSE, associated + grant.sealed, grant.signature)


def open_grant(grant: Grant, sealing_key: ExchangeKey) -> WorkspaceKeys:
    """The workspace's keys. The caller has verified the signature. `CannotOpen` when sealed to another key."""
    ephemeral, sealed = grant.sealed[:KEY_LENGTH], grant.sealed[KEY_LENGTH:]
    if len(ephemeral) != KEY_LENGTH:
        raise Malformed("a grant is too short")
    key = _sealing_key(sealing_key.agree(ephemeral), ephemeral, sealing_key.public)
    associated = _associated(grant.workspace, grant.epoch, grant.recipient, grant.key_number)
    granted = decode(_GrantedKeys, aead.unseal(key, aead.ZERO_NONCE, sealed, associated), MAX_GRANT_BYTES)
    if not granted.secrets or len(granted.secrets) != grant.epoch:
        raise Malformed("a grant holds another number of keys than its epoch says")
    return WorkspaceKeys(grant.workspace, granted.constant, granted.secrets)
