"""An exported account, whole, damaged, cut off, or with another passphrase."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from xmpp_onion import JID, Account
from xmpp_onion.agent.export import export_account, import_account
from xmpp_onion.e2ee.portable import FORMER
from xmpp_onion.errors import (
    AccountNotFoundError,
    StoreCorruptError,
    StoreError,
    StoreKeyError,
)
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.sealed import ACCOUNT, SERVER, SealedWriter
from xmpp_onion.store import Database, Keys

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
SECRET = Secret(Kind.KEY_FILE, bytes(32))  # a passphrase takes its time
OTHER = Secret(Kind.KEY_FILE, bytes(33))


@pytest.fixture
async def account(tmp_path: Path) -> Account:
    """One that has logged in, as far as its files go."""
    made = Account(
        profile="bob",
        folder=tmp_path / "data" / "bob",
        jid=JID(f"bob@{ONION}"),
        password="canary-of-bob",
        device="1a" * 32,
    )
    made.save()
    async with Database.open(made.store_path) as database:
        keys = Keys(database)
        async with database.transaction():
            await keys.store("/own_device_id", "12345")
            await keys.store("/ikp/key", '"canary-of-identity"')
    return made


def find(_kind: Kind) -> Secret | None:
    return SECRET


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def left(tmp_path: Path) -> list[str]:
    """Return what lies where an account would be."""
    folder = tmp_path / "new"
    return [str(path) for path in folder.rglob("*")] if folder.exists() else []


async def test_an_account_is_as_it_was_and_another_device(
    account: Account, tmp_path: Path
) -> None:
    moved = await export_account(account, tmp_path / "file", SECRET)
    found, same = await import_account(
        tmp_path / "file", "carol", tmp_path / "new", find
    )

    assert moved == same
    assert (moved.device, moved.fingerprint, moved.rows) == (12345, "1a" * 32, 1)
    folder = tmp_path / "new" / "carol"
    assert found == replace(account, profile="carol", folder=folder)
    assert Account.load("carol", tmp_path / "new") == found
    async with Database.open(found.store_path) as database:
        keys = Keys(database)
        assert await keys.load("/own_device_id") is None
        assert await keys.load("/ikp/key") == '"canary-of-identity"'
        assert json.loads(await keys.load(FORMER) or "") == [12345]
    assert {path.name for path in folder.iterdir()} <= {
        "account.toml", "store.sqlite3", "store.sqlite3.lock",
    }  # fmt: skip


async def test_nothing_can_be_read_in_the_file(
    account: Account, tmp_path: Path
) -> None:
    await export_account(account, tmp_path / "file", SECRET)
    content = (tmp_path / "file").read_bytes()

    for word in (b"canary", b"bob", ONION.encode(), b"12345", b"1a1a"):
        assert word not in content
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda data: data[:-1], StoreCorruptError),
        (lambda data: data + b"x", StoreCorruptError),
        (lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
         StoreCorruptError),
        (lambda data: data[: len(data) // 2], StoreCorruptError),
        (lambda data: data.replace(b"account 1", b"account 2"), StoreCorruptError),
        (lambda data: data.replace(b"account 1", b"backup 1"), StoreCorruptError),
        (lambda _: b"", StoreCorruptError),
        (lambda _: b"PK\x03\x04" * 100, StoreCorruptError),
        (lambda _: SERVER.magic + b"{}", StoreCorruptError),
    ],
    ids=["cut", "longer", "bit", "half", "newer", "server", "empty", "zip", "other"],
)  # fmt: skip
async def test_a_file_that_is_not_whole_leaves_nothing(
    account: Account,
    tmp_path: Path,
    spoil: Callable[[bytes], bytes],
    error: type[Exception],
) -> None:
    file = tmp_path / "file"
    await export_account(account, file, SECRET)
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(error, match="exported account"):
        await import_account(file, "carol", tmp_path / "new", find)

    assert left(tmp_path) == []
    with pytest.raises(AccountNotFoundError):
        Account.load("carol", tmp_path / "new")


async def test_another_secret_or_none_opens_nothing(
    account: Account, tmp_path: Path
) -> None:
    await export_account(account, tmp_path / "file", SECRET)
    for secret in (OTHER, None):
        with pytest.raises(StoreKeyError):
            await import_account(
                tmp_path / "file", "carol", tmp_path / "new", lambda _, s=secret: s
            )

    assert left(tmp_path) == []


async def test_what_no_export_holds_leaves_nothing(tmp_path: Path) -> None:
    head = {"account": "", "encrypted": False, "fingerprint": "", "device": 1}
    for lines in ("", "{}\n", "[]\n", json.dumps(head) + "\n"):
        with (tmp_path / "file").open("wb") as target:
            writer = SealedWriter(target, SECRET, ACCOUNT)
            writer.write(lines.encode())
            writer.finish()
        with pytest.raises(StoreCorruptError):
            await import_account(tmp_path / "file", "carol", tmp_path / "new", find)
        assert left(tmp_path) == []


async def test_a_profile_that_has_an_account_keeps_it(
    account: Account, tmp_path: Path
) -> None:
    await export_account(account, tmp_path / "file", SECRET)
    before = {path: path.read_bytes() for path in account.folder.iterdir()}
    with pytest.raises(StoreError, match="nothing is imported"):
        await import_account(tmp_path / "file", "bob", tmp_path / "data", find)

    assert {path: path.read_bytes() for path in account.folder.iterdir()} == before


async def test_what_cannot_be_exported_is_told_and_leaves_no_file(
    account: Account, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="never logged in"):
        await export_account(replace(account, device=""), tmp_path / "file", SECRET)
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(StoreError, match="something of that name"):
        await export_account(account, tmp_path / "taken", SECRET)
    with pytest.raises(StoreError):
        await export_account(account, tmp_path / "no" / "file", SECRET)
    with pytest.raises(StoreError, match="cannot be read"):
        await import_account(tmp_path / "none", "carol", tmp_path / "new", find)

    assert names_in(tmp_path) == ["data", "taken"]
