"""Sealed names and name tokens.

    sealed = 01 ‖ AEGIS-256(name key of the epoch, nonce: node ‖ place mark, padded name, associated data)
    padded name = UTF-8 bytes, then zero bytes up to a multiple of 16
    associated data = "Shoal 1 name" ‖ workspace ‖ parent ‖ node ‖ place mark ‖ epoch: u32
    token  = the first 16 bytes of BLAKE3-keyed(name token key, parent ‖ UTF-8 bytes)

The place mark is drawn for this one sealing, so the nonce never returns. Tokens make names unique in a directory for a
tracker that can't read them; receivers recompute them, so a wrong token is found out.
"""

from dataclasses import dataclass

from protocol import aead
from protocol.errors import Malformed
from protocol.hashing import keyed
from protocol.identifiers import MAX_NAME_BYTES, ROOT, NameToken, NodeId, PlaceMark, WorkspaceId, new_id
from protocol.keys import EpochKeys, WorkspaceKeys
from protocol.ports import RandomBytes

PADDING = 16
TOKEN_LENGTH = 16
MAX_SEALED_NAME = aead.OVERHEAD + MAX_NAME_BYTES + PADDING
RESERVED = ".shoal"
"""Shoal's own folder at the top of a sync root: never sent, never accepted."""


@dataclass(frozen=True, slots=True)
class SealedName:
    """A name ready to send, and the place mark drawn for it."""

    token: NameToken
    place: PlaceMark
    sealed: bytes


def check_name(name: str) -> bytes:
    """The UTF-8 bytes of a name that may stand in a directory; `Malformed` says what is wrong with it."""
    try:
        raw = name.encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("a name that is not valid UTF-8") from None
    if not raw or len(raw) > MAX_NAME_BYTES:
        raise Malformed(f"a name of {len(raw)} bytes; 1 to {MAX_NAME_BYTES} are possible")
    if name in (".", "..") or "/" in name or "\0" in name:
        raise Malformed(f"{name!r} can't be a name")
    return raw


def is_reserved(parent: NodeId, name: str) -> bool:
    """Whether `name` in `parent` is Shoal's own."""
    return parent == ROOT and name == RESERVED


def name_token(keys: WorkspaceKeys, parent: NodeId, name: str) -> NameToken:
    """What stands for `name` in `parent`: equal names, equal tokens."""
    return NameToken(keyed(keys.name_token, parent, name.encode("utf-8"))[:TOKEN_LENGTH])


def _associated(workspace: WorkspaceId, parent: NodeId, node: NodeId, place: PlaceMark, epoch: int) -> bytes:
    return b"".join((b"Shoal 1 name", workspace, parent, node, place, epoch.to_bytes(4, "big")))


def seal_name(keys: WorkspaceKeys, parent: NodeId, node: NodeId, name: str, random_bytes: RandomBytes) -> SealedName:
    """Draw a place mark and seal `name` for `node` in `parent` under the newest epoch."""
    raw = check_name(name)
    epoch: EpochKeys = keys.newest
    place = PlaceMark(new_id(random_bytes))
    padded = raw + bytes(-len(raw) % PADDING)
    associated = _associated(keys.workspace, parent, node, place, epoch.epoch)
    return SealedName(name_token(keys, parent, name), place, aead.seal(epoch.name, node + place, padded, associated))


def open_name(
    keys: WorkspaceKeys,
    epoch: int,
    parent: NodeId,
    node: NodeId,
    place: PlaceMark,
    token: NameToken,
    sealed: bytes,
) -> str:
    """The name. `CannotOpen` when it is another node's or place's, `Malformed` when it can't be a name, is reserved,
    or is not what its token says."""
    associated = _associated(keys.workspace, parent, node, place, epoch)
    padded = aead.unseal(keys.epoch(epoch).name, node + place, sealed, associated)
    try:
        name = padded.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("a name that is not valid UTF-8") from None
    check_name(name)
    if is_reserved(parent, name):
        raise Malformed(f"{RESERVED!r} is reserved")
    if name_token(keys, parent, name) != token:
        raise Malformed("a name and its token disagree")
    return name
