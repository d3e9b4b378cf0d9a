"""Certificates: the identity key's word on a user's device keys and sealing keys.

The identity key is what others pin. It signs the exact bytes that travel, so nothing is ever re-encoded to be verified.
"""

from protocol.codec import U32, blob, decode, encode, message, octets, unsigned, wire
from protocol.errors import BadSignature
from protocol.identifiers import ID_LENGTH, DeviceId, UserId
from protocol.signing import KEY_LENGTH, SIGNATURE_LENGTH, SigningKey, verify

MAX_CERTIFICATE_BODY = 512
_DEVICE, _SEALING_KEY = "device certificate", "sealing key certificate"


@message
class Certificate:
    """A signed statement, as it travels."""

    body: bytes = wire(1, blob(MAX_CERTIFICATE_BODY))
    signature: bytes = wire(2, octets(SIGNATURE_LENGTH))


@message
class DeviceStatement:
    """These keys are a device of this user."""

    user: UserId = wire(1, octets(ID_LENGTH))
    device: DeviceId = wire(2, octets(ID_LENGTH))
    signing_key: bytes = wire(3, octets(KEY_LENGTH))  # Ed25519
    exchange_key: bytes = wire(4, octets(KEY_LENGTH))  # X25519
    issued_ms: int = wire(5, unsigned(1 << 62))  # by the issuing device's clock, since 1970 UTC


@message
class SealingKeyStatement:
    """Grants to this user are to be sealed to this key."""

    user: UserId = wire(1, octets(ID_LENGTH))
    number: int = wire(2, unsigned(U32))  # 1 at first; the highest is the one to use
    public: bytes = wire(3, octets(KEY_LENGTH))  # X25519


def certify_device(identity: SigningKey, statement: DeviceStatement) -> Certificate:
    """Sign a device statement with the user's identity key."""
    body = encode(statement)
    return Certificate(body=body, signature=identity.sign(_DEVICE, body))


def certify_sealing_key(identity: SigningKey, statement: SealingKeyStatement) -> Certificate:
    """Sign a sealing key statement with the user's identity key."""
    body = encode(statement)
    return Certificate(body=body, signature=identity.sign(_SEALING_KEY, body))


def open_device_certificate(identity: bytes, user: UserId, certificate: Certificate) -> DeviceStatement:
    """The statement, if `identity` (a public key) made it about `user`; `BadSignature` otherwise."""
    verify(identity, _DEVICE, certificate.body, certificate.signature)
    statement = decode(DeviceStatement, certificate.body, MAX_CERTIFICATE_BODY)
    if statement.user != user:
        raise BadSignature("a device certificate names another user")
    return statement


def open_sealing_key_certificate(identity: bytes, user: UserId, certificate: Certificate) -> SealingKeyStatement:
    """The statement, if `identity` (a public key) made it about `user`; `BadSignature` otherwise."""
    verify(identity, _SEALING_KEY, certificate.body, certificate.signature)
    statement = decode(SealingKeyStatement, certificate.body, MAX_CERTIFICATE_BODY)
    if statement.user != user:
        raise BadSignature("a sealing key certificate names another user")
    return statement
