"""What is read from a row: as it was written, or the store is damaged.

SQLite notices a damaged page where that breaks its own order, not a bit of a text
that became another. What must not become another unseen has a checksum beside it;
what is only read, such as a date, must at least be what it looks like.
"""

import contextlib
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from xmpp_onion.errors import StoreCorruptError

__all__ = ["CHECKED", "checksum", "compare", "damaged", "reading"]

CHECKED: Mapping[str, tuple[str, ...]] = {
    "keys": ("key", "text"),
    "inbox": ("event_json", "added_at"),
    "outbox": ("stanza_xml", "recipient", "message_id", "added_at", "readers"),
    "set_aside": ("key", "sender", "stanza_xml", "stanza_id", "at", "since"),
}
"""The tables with checksums, and the texts that each row's is made of."""

# What reading a text raises that is not what was written: JSON, numbers, dates, hex
# digits, JIDs and words of an enumeration.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


def checksum(*texts: str) -> int:
    """Return what tells whether a bit of these texts became another.

    CRC-32 finds each single bit, and each burst up to 32. It keeps out nobody who
    writes to the file: that is what encryption at rest is for.
    """
    return zlib.crc32("\0".join(texts).encode(errors="surrogatepass"))


def compare(path: Path, table: str, kept: int | None, *texts: str) -> None:
    """Raise unless these texts are those that the checksum was made of.

    Args:
        path: The file.
        table: Where the row is.
        kept: The row's checksum; None if it was written when there were none yet.
        texts: What it was made of.

    Raises:
        StoreCorruptError: They are not.
    """
    with reading(path, table):  # a text may have become a number
        found = checksum(*texts)
    if kept is not None and kept != found:
        raise damaged(path, _changed(table))


@contextlib.contextmanager
def reading(path: Path, table: str) -> Iterator[None]:
    """Turn what a row that cannot be read raises into one error.

    Only for reading, and for nothing else: what a program does wrong must not look
    like a damaged disk.

    Args:
        path: The file.
        table: Where the row is.

    Raises:
        StoreCorruptError: It is not what was written.
    """
    try:
        yield
    except _UNREADABLE:
        # Not chained: what says so quotes the text.
        raise damaged(path, _changed(table)) from None


def damaged(path: Path, why: str) -> StoreCorruptError:
    """Return the error of a store that is not as it was left, with its way out."""
    return StoreCorruptError(
        f"{path} cannot be read",
        why=why,
        fix="It was left as it is: restore the file from a backup",
    )


def _changed(table: str) -> str:
    return f"a row of its table {table} is not what was written"
