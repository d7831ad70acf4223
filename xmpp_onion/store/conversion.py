"""From a file that is not encrypted to one that is, without a moment without either.

The encrypted copy lies complete beside the file before anybody is told the key; it
takes the place of the file after. A crash between both is made good at the next
opening with the key.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from xmpp_onion import private
from xmpp_onion.errors import StoreLockedError
from xmpp_onion.store import cipher, files, schema
from xmpp_onion.store.connection import (
    beside,
    configure,
    connect,
    inspect,
    make_ready,
    sqlite_errors,
)

__all__ = ["encrypt", "finish"]

log = logging.getLogger(__name__)

_COPY = ".encrypted"


async def encrypt(
    path: Path,
    key: bytes,
    *,
    keep_key: Callable[[], None],
    migrations: Sequence[str] = schema.MIGRATIONS,
) -> None:
    """Encrypt an account's file in place, and remove its copies in the clear.

    What was in the clear may stay in blocks of the disk that are free now.

    Args:
        path: The file.
        key: 32 random bytes.
        keep_key: Called once the encrypted copy is whole, to put the key where it
            is found again. From then on the file counts as encrypted.
        migrations: As ``Database.open()``.

    Raises:
        StoreError: As ``Database.open()``, and the file is as it was.
    """
    path = files.make_place(path)
    copy = beside(path, _COPY)
    async with files.hold_lock(beside(path, ".lock")):
        await make_ready(path, migrations, create=False, key=None)
        files.create_draft(copy)
        try:
            await _copy(path, copy, key)
            await inspect(copy, key)
            keep_key()
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        _exchange(copy, path)
    log.info("store encrypted")


async def finish(path: Path, key: bytes) -> None:
    """End an ``encrypt()`` that a crash cut short after the key was kept."""
    copy = beside(path, _COPY)
    if private.check_file(copy) and cipher.is_plain(path):
        await inspect(copy, key)
        _exchange(copy, path)
        log.info("store encrypted, as was begun earlier")


def _exchange(copy: Path, path: Path) -> None:
    """Put the copy in place, and remove what tells of the file in the clear."""
    with private.os_errors(path):
        # A log of pages in the clear would be replayed; those of the copy are empty.
        for suffix in files.COMPANIONS:
            beside(path, suffix).unlink(missing_ok=True)
            beside(copy, suffix).unlink(missing_ok=True)
        private.publish(copy, path)
        for backup in path.parent.glob(f"{path.name}.backup-*"):
            if cipher.is_plain(backup):
                backup.unlink()


async def _copy(path: Path, copy: Path, key: bytes) -> None:
    """Fill ``copy`` with what is in ``path``, by SQLCipher's own means."""
    async with connect(path, mode="rw", key=None) as plain:
        with sqlite_errors(path):  # what is in the log goes into the file
            rows = await plain.execute_fetchall("PRAGMA journal_mode = DELETE")
        if [row[0] for row in rows] != ["delete"]:
            raise StoreLockedError(
                f"{path} is in use",
                why="another program has it open",
                fix=f"Close it; it shows in: fuser {path}",
            )
    async with connect(copy, mode="rw", key=key) as target:
        await configure(copy, target, key)
        with sqlite_errors(copy):
            await target.execute_fetchall(
                "ATTACH ? AS plain KEY ''", (f"{path.as_uri()}?mode=ro",)
            )
            await target.execute_fetchall("SELECT sqlcipher_export('main', 'plain')")
            for pragma in ("application_id", "user_version"):  # of the file's head
                [row] = await target.execute_fetchall(f"PRAGMA plain.{pragma}")
                await target.execute_fetchall(f"PRAGMA {pragma} = {int(row[0])}")
            await target.execute_fetchall("DETACH plain")
