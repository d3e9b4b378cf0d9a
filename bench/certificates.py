"""Certificates for trackers on a network of their own, made with openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_COMMAND = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=shoal"
# Without it Python 3.13 takes no certificate for an authority.
_USAGE = "keyUsage=critical,digitalSignature,keyCertSign"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, in PEM."""

    file: Path
    key: Path


def self_signed(place: Path, address: str) -> Certificate:
    """A certificate for an IP address that is its own authority, in an existing folder."""
    made = Certificate(place / f"{address}.pem", place / f"{address}.key")
    extensions = ["-addext", f"subjectAltName=IP:{address}", "-addext", _USAGE]
    files = ["-keyout", str(made.key), "-out", str(made.file)]
    subprocess.run([*_COMMAND.split(), *extensions, *files], check=True, capture_output=True)
    return made
