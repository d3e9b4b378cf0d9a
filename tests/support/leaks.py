"""A search for what must be sealed (law 7): in all forms in which somebody may have written it down."""

import base64
from collections.abc import Iterator

from peer.account import open_workspaces
from peer.database import open_database
from peer.home import Credentials
from peer.version_store import VersionStore
from protocol.identifiers import VersionId
from protocol.signing import ExchangeKey
from tests.support.processes import DeviceProgram

Needles = dict[str, bytes]
"""What must not be found, by what it is."""


# The search ----------------------------------------------------------------------------------------------------------


def forms(secret: bytes) -> Iterator[bytes]:
    """How bytes may have been written down: as they are, in hex, in base64 wherever they begin in it, in UTF-16."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret)
        inner = whole[(0, 2, 3)[before] : len(whole) - (0 if (before + len(secret)) % 3 == 0 else 4)]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")


def found_in(haystacks: dict[str, bytes], needles: Needles) -> dict[str, str]:
    """Where each needle that is there was found first."""
    return {
        what: where
        for what, secret in needles.items()
        for where, data in haystacks.items()
        if any(form in data for form in forms(secret))
    }


# What must not be found ----------------------------------------------------------------------------------------------


def device_secrets(credentials: Credentials) -> Needles:
    name = credentials.device_name
    return {
        f"signing seed of {name}": credentials.signing_seed,
        f"exchange key of {name}": credentials.exchange_private,
        **{f"sealing key {number}": private for number, private in credentials.sealing_keys},
        f"name of {name}": name.encode(),
    }


def identities(device: DeviceProgram) -> Needles:
    """What would tell a listener on the network whose device it is."""
    credentials, reply = device.home.credentials(), device.home.cached_workspaces()
    assert reply is not None
    name = credentials.device_name
    return {
        "address": credentials.email.encode(),
        "user": credentials.user,
        "identity key": credentials.identity_key,
        f"id of {name}": credentials.device,
        f"name of {name}": name.encode(),
        f"public exchange key of {name}": ExchangeKey(credentials.exchange_private).public,
        "workspace": open_workspaces(credentials, reply)[0].workspace,
    }


def workspace_secrets(device: DeviceProgram) -> Needles:
    reply = device.home.cached_workspaces()
    assert reply is not None
    (workspace,) = open_workspaces(device.home.credentials(), reply)
    keys, epoch = workspace.keys, workspace.keys.newest
    return {
        "workspace constant": keys.constant,
        **{f"secret of epoch {number}": secret for number, secret in enumerate(keys.secrets, 1)},
        "name token key": keys.name_token,
        "convergence key": epoch.convergence,
        "run key": epoch.run,
        "manifest key": epoch.manifest,
        "name key": epoch.name,
    }


def version_secrets(device: DeviceProgram) -> Needles:
    """Keys of runs and chunks, from a stopped device's database."""
    database = open_database(device.home.database)
    try:
        ((workspace,),) = database.rows("SELECT workspace FROM workspaces")
        store = VersionStore(database, workspace)
        found: Needles = {}
        for (id_,) in database.rows("SELECT version FROM versions WHERE workspace = ?", workspace):
            version = store.get(VersionId(id_))
            assert version is not None
            label = version.id.hex()[:8]
            found |= {f"run key {number} of {label}": key for number, key in enumerate(version.manifest.run_keys)}
            if not store.missing_runs(version.runs):
                found |= {f"chunk key {n} of {label}": ref.key for n, ref in enumerate(store.chunks(version))}
        return found
    finally:
        database.close()
