"""SQLCipher: SQLite whose file, log and journal are encrypted, page by page.

An extra, because it has no wheel for every platform. Each page is AES-256-CBC with
an HMAC-SHA512 of its own. Our key is the key itself, not a passphrase: turning one
into the other is :mod:`xmpp_onion.seal`'s.

Source: https://www.zetetic.net/sqlcipher/design/ and sqlcipher-api/.
"""

import importlib
import sqlite3
import sys
from pathlib import Path
from types import ModuleType

import aiosqlite

from xmpp_onion import private
from xmpp_onion.errors import StoreError
from xmpp_onion.store.statements import Connection

__all__ = [
    "KEY_BYTES",
    "connector",
    "driver_errors",
    "is_plain",
    "plain_connector",
    "use_rows",
]

KEY_BYTES = 32
_DRIVER = "sqlcipher3.dbapi2"
# The first bytes of every SQLite file (https://www.sqlite.org/fileformat.html);
# SQLCipher has a random salt there.
_MAGIC = b"SQLite format 3\0"


def plain_connector(uri: str, timeout: float) -> Connection:
    """Return a connection that is not open yet, to a file that is not encrypted.

    Args:
        uri: The file and how to open it.
        timeout: Seconds to wait for another program.
    """

    def connect() -> sqlite3.Connection:
        # BEGIN and COMMIT are ours, and never two threads use it at once.
        return sqlite3.connect(
            uri,
            uri=True,
            isolation_level=None,
            timeout=timeout,
            check_same_thread=False,
        )

    return Connection(connect, iter_chunk_size=64)


def connector(uri: str, key: bytes, timeout: float) -> Connection:
    """Return a connection that is not open yet, to a file encrypted with ``key``.

    Args:
        uri: The file and how to open it.
        key: 32 random bytes.
        timeout: Seconds to wait for another program.

    Raises:
        StoreError: SQLCipher is not installed. The error names the command.
    """
    driver, quoted = _load(), _quote(key)

    def connect() -> sqlite3.Connection:
        connection: sqlite3.Connection = driver.connect(
            uri,
            uri=True,
            isolation_level=None,
            timeout=timeout,
            check_same_thread=False,
        )
        # A wrong key would be told on stderr, past our errors.
        connection.execute("PRAGMA cipher_log_level = NONE")
        connection.execute(f"PRAGMA key = {quoted}")
        return connection

    return Connection(connect, iter_chunk_size=64)


def _quote(key: bytes) -> str:
    """Return a key as SQL: raw, so that SQLCipher derives none from it.

    Raises:
        ValueError: It has another length; SQLCipher would take it for a passphrase.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return f"\"x'{key.hex()}'\""


def is_plain(path: Path) -> bool:
    """Return whether a file is there and is SQLite's without encryption."""
    try:
        return private.read_bytes(path, len(_MAGIC)) == _MAGIC
    except FileNotFoundError:
        return False


def driver_errors() -> tuple[type[Exception], ...]:
    """Return what SQLite raises, by whichever library it is reached."""
    loaded = sys.modules.get(_DRIVER)
    return (sqlite3.Error,) if loaded is None else (sqlite3.Error, loaded.Error)


def use_rows(connection: aiosqlite.Connection, key: bytes | None) -> None:
    """Have rows with names; each library has a type of its own for them."""
    row: type = sqlite3.Row if key is None else _load().Row
    connection.row_factory = row


def _load() -> ModuleType:
    try:
        return importlib.import_module(_DRIVER)
    except ImportError as error:
        raise StoreError(
            "encryption at rest cannot be used",
            why=f"SQLCipher is not installed ({error})",
            fix="pip install 'xmpp-onion[atrest]'",
        ) from error
