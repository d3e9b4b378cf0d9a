"""What a database's address may be. A wrong one is never shown: a password may be anywhere in it."""

from collections.abc import Mapping

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from protocol.errors import Usage

POSTGRESQL = "postgresql+asyncpg"
FORMS = f"sqlite:///FILE or {POSTGRESQL}://USER:PASSWORD@HOST/NAME"
OPTIONS = {"ssl", "host", "target_session_attrs", "prepared_statement_cache_size"}
"""What may stand after `?`; anything else asyncpg would refuse later, or it is a password."""


def parse_database(text: str) -> URL:
    """A database's address; `Usage` for any that isn't supported. Touches nothing."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise Usage(f"that is no database address: {FORMS}") from None
    if url.drivername == POSTGRESQL:
        _check_postgresql(text, url)
    elif url.drivername != "sqlite":
        raise Usage(f"the database address begins with {url.drivername}://, not as it should: {FORMS}")
    return url


def _check_postgresql(text: str, url: URL) -> None:
    if text.count("@") > 1:
        raise Usage("percent-encode what isn't a letter or a digit in the database's password: @ is %40, / is %2F")
    if not url.database:
        raise Usage(f"the address names no database: {FORMS}")
    if url.port is not None and not 0 < url.port < 1 << 16:
        raise Usage(f"the database's port can't be {url.port}")
    _check_options(url.query)


def _check_options(given: Mapping[str, object]) -> None:
    for name in given:
        if name not in OPTIONS:
            raise Usage(f"the database address has an option {name}; it may have {', '.join(sorted(OPTIONS))}")
