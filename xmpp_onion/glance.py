"""Who is known, read in passing for completion: no lock, no library, no writing.

The one look at the file of an account beside ``store``, whose library is too slow
for a key press. It is wrong in peace: where anything is not as expected, nobody is
known. Nothing is offered that a shell could take for more than a word: an address
is chosen by whoever has it.
"""

import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Final

from xmpp_onion.places import data_folder

__all__ = ["Known", "look", "profiles"]

# More than a person would look through.
_LIMIT: Final = 500
_HARMLESS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(@[A-Za-z0-9.-]+)?")


class Known(Enum):
    """What can be looked for."""

    CONTACTS = "contacts"
    REQUESTS = "requests"
    ROOMS = "rooms"


def look(folder: Path, known: Known) -> list[str]:
    """Return the addresses that the account in a folder knows, sorted.

    Empty if it is encrypted, or cannot be read.
    """
    import sqlite3  # noqa: PLC0415 - only here

    path = (folder / "store.sqlite3").absolute()
    log = path.with_name("store.sqlite3-wal")
    # Where nobody holds it there is no log, and looking shall not make one.
    is_held = log.exists() and log.stat().st_size > 0
    how = "mode=ro" if is_held else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=0)
        try:
            rows = connection.execute(
                f"SELECT jid FROM {known.value} LIMIT {_LIMIT}"  # noqa: S608 - both ours
            ).fetchall()
        finally:
            connection.close()
    except (sqlite3.Error, OSError):
        return []
    return _harmless(row[0] for row in rows)


def profiles(data_dir: Path | None) -> list[str]:
    """Return the names of the profiles that have an account, sorted."""
    try:
        found = [
            path.parent.name for path in data_folder(data_dir).glob("*/account.toml")
        ]
    except OSError:
        return []
    return _harmless(found)


def _harmless(texts: Iterable[object]) -> list[str]:
    return sorted(t for t in texts if isinstance(t, str) and _HARMLESS.fullmatch(t))
