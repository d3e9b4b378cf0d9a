"""Reads every golden vector, from docs/protocol.md alone: not a line of Shoal is imported here.

python tests/vectors/decode.py
"""

import base64
import hashlib
import hmac
import json
import unicodedata
from itertools import count
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3
from nacl import bindings as na

ZERO = bytes(32)
TEXTS = {"email", "kind", "link", "name", "operations", "password", "purpose", "typed"}
"""What isn't hex in the files."""
FIELDS = ["size", "mtime_ns", "executable", "private", "content_hash", "link", "inline", "run_keys", "cut"]
KINDS = {1: "create", 2: "write", 3: "move", 4: "delete", 5: "restore"}


def read_cbor(data: bytes, at: int = 0) -> tuple[Any, int]:
    """One item of the CBOR that Shoal uses, and where it ends."""
    major, low = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        return {20: False, 21: True, 22: None}[low], at
    assert low < 28, "indefinite or reserved length"
    if low >= 24:
        width = 1 << (low - 24)
        low, at = int.from_bytes(data[at : at + width], "big"), at + width
    if major < 2:
        return (low if major == 0 else -1 - low), at
    if major < 4:
        raw = data[at : at + low]
        assert len(raw) == low
        return (raw if major == 2 else raw.decode()), at + low
    assert major < 6, "tag"
    items = []
    for _ in range(low * (major - 3)):
        item, at = read_cbor(data, at)
        items.append(item)
    if major == 4:
        return items, at
    assert all(type(key) is int for key in items[::2])
    assert items[::2] == sorted(set(items[::2])), "repeated or disordered keys"
    return dict(zip(items[::2], items[1::2], strict=True)), at


def cbor(data: bytes) -> Any:
    item, end = read_cbor(data)
    assert end == len(data), "bytes after the end"
    return item


def derive(purpose: str, *parts: bytes) -> bytes:
    return blake3(b"".join(parts), derive_key_context="Shoal 1 " + purpose).digest()


def blake(data: bytes, key: bytes = b"") -> bytes:
    return (blake3(data, key=key) if key else blake3(data)).digest()


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes = b"") -> bytes:
    assert sealed[0] == 1
    return na.crypto_aead_aegis256_decrypt(sealed[1:], associated, nonce, key)


def check_signature(public: bytes, purpose: str, body: bytes, signature: bytes) -> None:
    na.crypto_sign_open(signature + b"Shoal 1 " + purpose.encode() + b"\0" + body, public)


def epoch_key(c: Any, purpose: str) -> bytes:
    return derive(purpose, c["secrets"][c["epoch"] - 1])


def check_chunk(c: Any) -> None:
    payload = unseal(c["key"], ZERO, c["sealed"])
    if payload[0] == 0:
        assert payload[1:] == c["body"]
    else:
        assert payload[0] == 1
        assert zstandard.get_frame_parameters(payload[1:]).content_size == len(c["body"]) > len(payload) - 1
        assert zstandard.ZstdDecompressor().decompress(payload[1:], allow_extra_data=False) == c["body"]
    assert blake(c["sealed"]) == c["id"]
    assert blake(b"\1" + payload, epoch_key(c, "chunk convergence")) == c["key"]


def check_run(c: Any) -> None:
    if "first_bytes" in c:
        lengths = [0]
        for first in c["first_bytes"]:
            lengths[-1] += 1
            if lengths[-1] == 64 or (lengths[-1] >= 20 and first & 7 == 0):
                lengths.append(0)
        assert [length for length in lengths if length] == c["run_lengths"]
        return
    compressed = any(row["length"] + 34 != row["sealed_length"] for row in c["chunks"])
    assert (c["body"][0], blake(c["body"])) == (1 + compressed, c["id"])
    fields = cbor(c["body"][1:])
    listed, keys = fields[1], unseal(c["key"], ZERO, fields[2], fields[1])
    assert listed == b"".join(row["id"] + u32(row["sealed_length"]) for row in c["chunks"])
    lengths_in_clear = [u32(row["length"]) if compressed else b"" for row in c["chunks"]]
    assert keys == b"".join(row["key"] + length for row, length in zip(c["chunks"], lengths_in_clear, strict=True))
    assert blake(c["body"][:1] + listed + keys, epoch_key(c, "run convergence")) == c["key"]


def check_manifest(c: Any) -> None:
    associated = b"Shoal 1 manifest" + c["workspace"] + c["node"] + c["version"] + u32(c["epoch"])
    associated += blake(b"".join(c["runs"]))
    plain = unseal(epoch_key(c, "manifest"), c["node"] + c["version"], c["sealed"], associated)
    assert plain == c["plain"]
    read = dict.fromkeys(FIELDS) | {"executable": False, "private": False, "run_keys": []}
    assert read | {FIELDS[number - 1]: value for number, value in cbor(plain).items()} == c["manifest"]
    assert len(c["manifest"]["run_keys"]) == len(c["runs"])


def check_name(c: Any) -> None:
    associated = b"Shoal 1 name" + c["workspace"] + c["parent"] + c["node"] + c["place"] + u32(c["epoch"])
    padded = unseal(epoch_key(c, "name"), c["node"] + c["place"], c["sealed"], associated)
    assert padded == c["text"] + bytes(-len(c["text"]) % 16)
    assert blake(c["parent"] + c["text"], derive("name token", c["constant"]))[:16] == c["token"]


def check_approval(c: Any) -> None:
    approval = cbor(c["approval"])
    assert approval == {1: c["id"], 2: c["time"], 3: c["deletes"], 4: c["overwrites"], 5: c["signature"]}
    numbers = c["time"].to_bytes(8, "big") + u32(c["deletes"]) + u32(c["overwrites"])
    check_signature(c["device_key"], "approval", c["workspace"] + c["device"] + c["id"] + numbers, c["signature"])


def check_certificate(c: Any) -> None:
    certificate = cbor(c["certificate"])
    assert na.crypto_sign_seed_keypair(c["identity_seed"])[0] == c["identity_key"]
    check_signature(c["identity_key"], c["purpose"], certificate[1], certificate[2])
    assert cbor(certificate[1]) == dict(zip(count(1), [c["user"], *c["fields"]], strict=False))


def check_grant(c: Any) -> None:
    grant = cbor(c["grant"])
    associated = b"Shoal 1 grant" + grant[1] + u32(grant[2]) + grant[3] + u32(grant[4])
    check_signature(c["granter_key"], "grant", associated + grant[5], grant[7])
    ephemeral, sealed = grant[5][:32], grant[5][32:]
    assert ephemeral == na.crypto_scalarmult_base(c["ephemeral_private"])
    shared = na.crypto_scalarmult(c["sealing_private"], ephemeral)
    key = derive("grant", shared, ephemeral, na.crypto_scalarmult_base(c["sealing_private"]))
    assert cbor(unseal(key, ZERO, sealed, associated)) == {1: c["constant"], 2: c["secrets"]}
    assert [grant[n] for n in (1, 3, 4, 6)] == [c[n] for n in ("workspace", "recipient", "key_number", "granter")]
    assert grant[2] == len(c["secrets"])


def signed_bytes(workspace: bytes, device: bytes, epoch: int, commit: bytes, seen: bytes, items: list[bytes]) -> bytes:
    hashes = [item if len(item) == 32 else blake(item) for item in items]
    return workspace + device + u32(epoch) + commit + seen + u32(len(hashes)) + b"".join(hashes)


def chain(before: bytes, revision: int, digest: bytes) -> bytes:
    return derive("commit chain", before, revision.to_bytes(8, "big"), digest)


def check_commit(c: Any) -> None:
    commit = cbor(c["commit"])
    assert [commit[n] for n in (1, 2, 3, 4)] == [1, c["workspace"], c["epoch"], c["id"]]
    signed = signed_bytes(commit[2], c["device"], commit[3], commit[4], commit[5], commit[6])
    assert (signed, commit[7]) == (c["signed_bytes"], c["signature"])
    check_signature(c["device_key"], "commit", signed, commit[7])
    assert derive("commit digest", signed, commit[7]) == c["digest"]
    assert chain(c["before"], c["revision"], c["digest"]) == c["hash"]
    operations = [cbor(item) for item in commit[6]]
    assert [KINDS[operation[0]] for operation in operations] == c["operations"]
    contents = [operation.get({1: 4, 2: 3}.get(operation[0])) or {} for operation in operations]
    assert {run for content in contents for run in content.get(3, [])} == {blake(body) for body in commit.get(8, [])}


def check_close(c: Any) -> None:
    digests = []
    for part in map(cbor, c["parts"]):
        signed = signed_bytes(part[2], c["device"], part[3], part[4], part[5], part[6])
        digests.append(derive("commit digest", signed, part[7]))
    close = cbor(c["close"])
    assert close == {1: 1, 2: c["workspace"], 3: digests, 4: c["signature"]}
    assert c["workspace"] + c["device"] + u32(len(digests)) + b"".join(digests) == c["signed_bytes"]
    check_signature(c["device_key"], "commit close", c["signed_bytes"], c["signature"])


def check_delta(c: Any) -> None:
    """Follow the chain through the revisions, and fold them into what they say of each node."""
    delta = cbor(c["delta"])
    state: dict[bytes, Any] = {}
    before, last = c["before"], delta[3]
    for entry in delta[7]:
        assert entry[1] == last + 1, "these vectors leave no revision out"
        digest = entry_digest(c, delta[1], entry)
        for item in entry.get(3, {6: []})[6]:
            if len(item) != 32:
                apply(state, cbor(item), delta.get(8, []))
        for node, *_, head in [*entry.get(4, {}).get(1, []), *entry.get(4, {}).get(2, [])]:
            state.setdefault(node, {}).update(version=head, durable=True)
        before, last = chain(before, entry[1], digest), entry[1]
    runs = [run for fields in state.values() for run in fields.pop("runs", [])]
    assert all(blake(body) in runs for body in delta.get(9, []))
    assert (delta[1], before, last) == (c["workspace"], delta[6], delta[4])
    assert delta[6] == c["hash"]
    assert state == {bytes.fromhex(node): fields for node, fields in c["state"].items()}


def entry_digest(c: Any, workspace: bytes, entry: Any) -> bytes:
    if 4 in entry:
        return derive("record digest", canonical_record(entry[4]))
    commit = entry[3]
    signed = signed_bytes(workspace, commit[1], commit[2], commit[3], commit[4], commit[6])
    assert commit[1] == c["device"]
    check_signature(c["device_key"], "commit", signed, commit[5])
    return derive("commit digest", signed, commit[5])


def canonical_record(record: dict[int, list[list[bytes | None]]]) -> bytes:
    """A record of at most 23 rows as CBOR."""
    out = bytes([0xA0 + len(record)])
    for key, rows in sorted(record.items()):
        out += bytes([key, 0x80 + len(rows)])
        for row in rows:
            out += bytes([0x80 + len(row)]) + b"".join(b"\xf6" if id is None else b"\x50" + id for id in row)
    return out


def apply(state: dict[bytes, Any], operation: Any, announced: list[bytes]) -> None:
    node, kind = state.setdefault(operation[1], {}), KINDS[operation[0]]
    if kind == "create":
        node.update(version=None, deleted=False, durable=True)
    if kind in ("create", "move", "restore"):
        node.update(parent=operation[3][1])
    if kind in ("delete", "restore"):
        node.update(deleted=kind == "delete")
    content = operation.get({"create": 4, "write": 3}.get(kind))
    if content:
        node.update(version=content[1], durable=content[1] not in announced, runs=content.get(3, []))


def check_frame(c: Any) -> None:
    if "notice" in c:
        assert c["notice"][0] == 1
        assert cbor(c["notice"][1:]) == {number: value for number, value in enumerate(c["fields"]) if value is not None}
        return
    pack = c["pack"]
    assert pack[:17] == b"\1" + c["workspace"]
    total = int.from_bytes(pack[17:21], "big")
    at, found = 21 + 36 * total, []
    for start in range(21, at, 36):
        id, length = pack[start : start + 32], int.from_bytes(pack[start + 32 : start + 36], "big")
        found.append({"id": id, "sealed": pack[at : at + length]})
        assert length == 0 or blake(pack[at : at + length]) == id
        at += length
    assert (at, found) == (len(pack), c["chunks"])


def check_lan(c: Any) -> None:
    if c["kind"] == "preface":
        tag_key = derive("lan tag", c["exchange_key"])
        assert c["preface"] == b"\1" + c["nonce"] + blake(b"preface" + c["nonce"], tag_key)[:16]
    elif c["kind"] == "beacon":
        tag_key = derive("lan tag", c["exchange_key"])
        assert c["tag"] == blake(b"beacon" + c["hour"].to_bytes(8, "big") + c["instance"], tag_key)[:16]
    elif c["kind"] == "handshake":
        check_handshake(c)
    elif c["kind"] == "control":
        body = frame_body(1, c["frame"])
        said = cbor(noise_open(c["key"], c["counter"], body))
        fields = {number: value.encode() if isinstance(value, str) else value for number, value in said.items()}
        assert fields == {number: value for number, value in enumerate(c["fields"]) if value is not None}
    else:
        nonce = bytes(24) + c["counter"].to_bytes(8, "big")
        body = frame_body(2, c["frame"])
        plain = na.crypto_aead_aegis256_decrypt(body, b"", nonce, derive("lan records", c["key"]))
        lengths = b"".join(u32(len(chunk)) for chunk in c["chunks"])
        assert plain == u32(c["request"]) + u32(len(c["chunks"])) + lengths + b"".join(c["chunks"])


def frame_body(kind: int, frame: bytes) -> bytes:
    assert frame[:5] == bytes([kind]) + u32(len(frame) - 5)
    return frame[5:]


def noise_open(key: bytes, counter: int, sealed: bytes, associated: bytes = b"") -> bytes:
    nonce = bytes(4) + counter.to_bytes(8, "little")
    return na.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, associated, nonce, key)


def check_handshake(c: Any) -> None:
    """Noise_IK_25519_ChaChaPoly_BLAKE2b as the listener reads it, with its own private keys."""
    static, ephemeral = c["listener_private"], c["listener_ephemeral_private"]
    chaining = hashed = b"Noise_IK_25519_ChaChaPoly_BLAKE2b".ljust(64, b"\0")
    key = b""

    def mix_hash(data: bytes) -> bytes:
        nonlocal hashed
        hashed = hashlib.blake2b(hashed + data).digest()
        return data

    def mix_key(private: bytes, public: bytes) -> None:
        nonlocal chaining, key
        chaining, key = hkdf(chaining, na.crypto_scalarmult(private, public))

    def opened(sealed: bytes) -> bytes:
        plain = noise_open(key[:32], 0, sealed, hashed)
        mix_hash(sealed)
        return plain

    mix_hash(b"Shoal 1 lan" + c["preface"])
    mix_hash(na.crypto_scalarmult_base(static))
    first = mix_hash(c["message_1"][:32])
    mix_key(static, first)
    dialler = opened(c["message_1"][32:80])
    mix_key(static, dialler)
    assert opened(c["message_1"][80:]) == b""
    second = mix_hash(c["message_2"][:32])
    mix_key(ephemeral, first)
    mix_key(ephemeral, dialler)
    assert opened(c["message_2"][32:]) == b""
    publics = [na.crypto_scalarmult_base(c[f"{name}_private"]) for name in ("dialler_ephemeral", "dialler")]
    assert [first, dialler, second] == [*publics, na.crypto_scalarmult_base(ephemeral)]
    to_listener, to_dialler = hkdf(chaining, b"")
    assert (to_listener[:32], to_dialler[:32]) == (c["dialler_sends_with"], c["listener_sends_with"])


def hkdf(chaining: bytes, material: bytes) -> tuple[bytes, bytes]:
    key = hmac.digest(chaining, material, "blake2b")
    first = hmac.digest(key, b"\1", "blake2b")
    return first, hmac.digest(key, first + b"\2", "blake2b")


def check_login(c: Any) -> None:
    if c["kind"] == "password":
        email = unicodedata.normalize("NFC", c["email"]).strip().casefold()
        salt = derive("login salt", c["salt_part"], email.encode())[:16]
        password = unicodedata.normalize("NFC", c["password"]).encode()
        both = na.crypto_pwhash_alg(64, password, salt, c["passes"], c["memory"], na.crypto_pwhash_ALG_ARGON2ID13)
        assert both == c["auth"] + c["wrapping"]
    elif c["kind"] == "recovery":
        check = derive("recovery check", c["recovery"])[:5]
        assert base64.b32decode(c["typed"].replace("-", "")) == c["recovery"] + check
        assert derive("recovery auth", c["recovery"]) == c["auth"]
        assert derive("recovery wrapping", c["recovery"]) == c["wrapping"]
    elif c["kind"] == "wrapped":
        numbers = u32(c["generation"]) + u32(c["passes"]) + c["memory"].to_bytes(8, "big")
        associated = b"Shoal 1 wrapped" + c["owner"] + numbers + c["purpose"].encode()
        assert unseal(c["key"], c["wrapped"][:32], c["wrapped"][32:], associated) == c["secret"]
    else:
        request = cbor(c["request"])
        assert [request[1], request[2]] == [c["device"], c["nonce"]]
        check_signature(na.crypto_sign_seed_keypair(c["signing_seed"])[0], "session", request[2], request[3])


def unhex(value: Any, name: str = "") -> Any:
    """What a file says, with all that is hex as bytes."""
    if isinstance(value, list):
        return [unhex(item, name) for item in value]
    if isinstance(value, dict):
        return {key: unhex(item, key) for key, item in value.items()}
    return bytes.fromhex(value) if isinstance(value, str) and name not in TEXTS else value


def check_case(file: str, case: dict[str, Any]) -> None:
    """Raise unless the outputs are what the inputs say they must be."""
    globals()[f"check_{file}"](unhex(case["inputs"]) | unhex(case["outputs"]))


def check_file(path: Path) -> int:
    """Check every case of one file; how many there were."""
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["format"] == 1
    for case in document["cases"]:
        check_case(path.stem, case)
    return len(document["cases"])


if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*.json")):
        print(f"{path.stem}: {check_file(path)} cases")
