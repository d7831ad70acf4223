"""An account in one encrypted file, and out of it again, as another device.

In it: who we are, whom we trust, people, rooms, what nobody has read yet, and what a
bot remembers. Not in it: sessions and what waits to be sent. See docs/adr/0033.
"""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from xmpp_onion import private
from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.e2ee.portable import DEVICE_ID, FORMER, portable
from xmpp_onion.errors import StoreCorruptError, StoreError
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.sealed import ACCOUNT, SealedReader, SealedWriter
from xmpp_onion.store import Database, Keys, read_rows, write_rows

__all__ = ["Moved", "export_account", "import_account"]

_PIECE_BYTES: Final = 64 * 1024


class Moved(NamedTuple):
    """What an exported account is.

    Attributes:
        jid: Whose it is.
        fingerprint: Of its identity key, which stays.
        device: The number of the device that it was exported from.
        rows: How many there are of what it keeps.
    """

    jid: JID
    fingerprint: str
    device: int
    rows: int


async def export_account(account: Account, file: Path, secret: Secret) -> Moved:
    """Write an account into one encrypted file. It may be in use, and stays so.

    Args:
        account: Whose; it has logged in once.
        file: Where; nothing of that name may be there.
        secret: What opens it again.

    Raises:
        StoreError: It never logged in, or is damaged; or the name is taken, or the
            file cannot be written.
    """
    if not account.device:
        raise StoreError(
            f"the account of the profile {account.profile!r} was not exported",
            why="it never logged in, so it has no identity yet",
            fix=f"Log in: xmpp-onion --profile {account.profile} doctor",
        )
    device = await _device_of(account)
    head = {"account": account.text(), "encrypted": account.seal is not None,
            "fingerprint": account.device, "device": device}  # fmt: skip
    count = 0
    with _draft(file) as target:
        sealed = SealedWriter(target, secret, ACCOUNT)
        sealed.write(json.dumps(head).encode() + b"\n")
        keeps = portable(account.jid)
        lines = read_rows(account.store_path, account.store_key, keeps=keeps)
        async with aclosing(lines):
            async for line in lines:
                sealed.write(line.encode() + b"\n")
                count += 1
        sealed.finish()
    return Moved(account.jid, account.device, device, count - 1)  # one is no row


async def import_account(
    file: Path,
    profile: str,
    data_dir: Path | None,
    find_secret: Callable[[Kind], Secret | None],
) -> tuple[Account, Moved]:
    """Make an account out of a file, in a profile that has none, as a new device.

    Nothing is there before all of the file was read and found to be whole. What was
    encrypted at rest is so again, with what opens the file.

    Args:
        file: What `export_account` wrote.
        profile: Where it goes.
        data_dir: Where profiles live.
        find_secret: Asked for what opens the file.

    Raises:
        StoreKeyError: It is another secret, or there is none.
        StoreCorruptError: It is no such file, or damaged.
        StoreError: The profile has an account; or it cannot be written.
    """
    folder = Account.locate(profile, data_dir)
    _refuse_taken(profile, folder)
    used: list[Secret] = []

    def find(kind: Kind) -> Secret | None:
        secret = find_secret(kind)
        used.extend([secret] if secret else [])
        return secret

    with _open(file) as source, _new_folder(folder) as draft:
        rows = _Lines(SealedReader(source, find, ACCOUNT))
        head = _read_head(next(rows, ""))
        account = _read_account(head, profile, draft, used[0])
        await write_rows(account.store_path, account.store_key, rows)
        moved = Moved(
            account.jid, str(head["fingerprint"]), int(str(head["device"])), rows.count
        )
        await _note_former(account, moved.device)
        account.save()
    return replace(account, folder=folder), moved


async def _device_of(account: Account) -> int:
    """Return the number of the device in the store, without disturbing its holder."""
    lines = read_rows(
        account.store_path, account.store_key, keeps=lambda key: key == DEVICE_ID
    )
    async with aclosing(lines):
        async for line in lines:
            found = json.loads(line)
            if found.get("table") == "keys":
                return int(json.loads(found["row"]["text"]))
    raise StoreCorruptError(
        f"{account.store_path} has no device",
        why="the number of this device is missing",
        fix="Restore the file from a backup.",
    )


async def _note_former(account: Account, device: int) -> None:
    """Bring the store to the newest format, and note whose place it takes."""
    async with Database.open(
        account.store_path, key=account.store_key, create=False
    ) as database:
        keys = Keys(database)
        async with database.transaction():
            before = json.loads(await keys.load(FORMER) or "[]")
            await keys.store(FORMER, json.dumps([*before, device]))
    for copy in account.folder.glob("store.sqlite3.backup-*"):
        copy.unlink()


def _read_head(line: str) -> dict[str, object]:
    names = ("account", "encrypted", "fingerprint", "device")
    try:
        head = json.loads(line)
        return {name: head[name] for name in names}
    except (ValueError, LookupError, TypeError) as error:
        raise ACCOUNT.unreadable("its first line is no account") from error


def _read_account(
    head: dict[str, object], profile: str, folder: Path, secret: Secret
) -> Account:
    account = Account.parse(str(head["account"]), profile, folder)
    return account.encrypted(secret) if head["encrypted"] else account


class _Lines(Iterator[str]):
    """The lines of a file as they come, behind the first one counted as rows.

    Args:
        sealed: The file.
    """

    def __init__(self, sealed: SealedReader) -> None:
        self._sealed = sealed
        self._ahead = b""
        self.count = -2  # the head and the format are no rows

    def __next__(self) -> str:
        parts = [self._ahead]
        while b"\n" not in parts[-1]:
            data = self._sealed.read(_PIECE_BYTES)
            if not data:
                break
            parts.append(data)
        line, _, self._ahead = b"".join(parts).partition(b"\n")
        if not line:
            raise StopIteration
        self.count += 1
        return line.decode()


def _refuse_taken(profile: str, folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and any(folder.iterdir())):
        raise StoreError(
            f"nothing is imported into the profile {profile!r}",
            why=f"there is something in {folder}",
            fix="Name another profile: xmpp-onion --profile NAME import FILE",
        )


@contextmanager
def _open(file: Path) -> Iterator[BinaryIO]:
    try:
        source = file.open("rb")
    except OSError as error:
        raise StoreError(
            f"{file} cannot be read",
            why=error.strerror or "",
            fix="Give the file that `xmpp-onion export` wrote.",
        ) from None
    with source:
        yield source


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder that takes its name when the block has ended well."""
    private.make_folder(folder.parent)
    # No profile begins with a dot, so nobody takes it for one.
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.new")
    try:
        private.make_folder(draft)
        yield draft
        for path in draft.glob("*.lock"):
            path.unlink()
        with private.os_errors(folder):
            draft.replace(folder)  # an empty one gives way
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(draft)


@contextmanager
def _draft(file: Path) -> Iterator[BinaryIO]:
    """Write a file under another name, which it has until it is whole."""
    if file.is_symlink() or file.exists():
        raise StoreError(
            f"the account is not exported to {file}",
            why="there is something of that name",
            fix="Choose another name, such as one with the day in it.",
        )
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}.new")
    try:
        with private.os_errors(file):
            with os.fdopen(private.create_file(draft), "wb") as target:
                yield target
            private.publish(draft, file)
    finally:
        draft.unlink(missing_ok=True)
