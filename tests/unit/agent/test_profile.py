from dataclasses import replace
from pathlib import Path

import pytest

from xmpp_onion import JID, Account
from xmpp_onion.agent.profile import (
    change_secret,
    check_data_folder,
    encrypt_account,
    find_secret,
    load_account,
)
from xmpp_onion.errors import (
    AccountNotFoundError,
    StoreCorruptError,
    StoreKeyError,
    StoreLockedError,
    StorePermissionError,
)
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.store import Database

SECRET = Secret.passphrase("correct horse battery staple")

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"


def make_account(data: Path) -> Account:
    account = Account(
        profile="bob", folder=data / "bob", jid=JID(f"bob@{ONION}"), password="x"
    )
    account.save()
    return account


def test_an_account_of_a_closed_folder_is_loaded(tmp_path: Path) -> None:
    account = make_account(tmp_path)

    assert load_account("bob", tmp_path) == account


@pytest.mark.parametrize("mode", [0o755, 0o711, 0o770, 0o707])
def test_a_folder_of_profiles_that_others_reach_is_refused(
    tmp_path: Path, mode: int
) -> None:
    make_account(tmp_path)
    tmp_path.chmod(mode)

    with pytest.raises(StorePermissionError) as caught:
        load_account("bob", tmp_path)

    assert caught.value.fix == f"chmod 700 {tmp_path}"


def test_a_profile_that_others_reach_is_refused(tmp_path: Path) -> None:
    folder = make_account(tmp_path).folder
    folder.chmod(0o755)

    with pytest.raises(StorePermissionError) as caught:
        load_account("bob", tmp_path)

    assert caught.value.fix == f"chmod 700 {folder}"


def test_a_folder_that_is_not_there_has_no_account(tmp_path: Path) -> None:
    check_data_folder(tmp_path / "none")
    with pytest.raises(AccountNotFoundError):
        load_account("bob", tmp_path / "none")


async def test_an_account_that_never_logged_in_is_encrypted_without_a_store(
    tmp_path: Path,
) -> None:
    account = make_account(tmp_path)

    sealed = await encrypt_account(account, SECRET)

    assert load_account("bob", tmp_path, secret=SECRET) == sealed
    assert not account.store_path.exists()


async def test_an_account_whose_store_is_gone_is_not_encrypted(
    tmp_path: Path,
) -> None:
    account = replace(make_account(tmp_path), device="ab" * 32)
    account.save()

    with pytest.raises(StoreCorruptError, match="is missing"):
        await encrypt_account(account, SECRET)

    assert load_account("bob", tmp_path) == account


async def test_an_account_is_not_encrypted_twice(tmp_path: Path) -> None:
    sealed = await encrypt_account(make_account(tmp_path), SECRET)

    with pytest.raises(StoreKeyError, match="already"):
        await encrypt_account(sealed, SECRET)
    assert load_account("bob", tmp_path, secret=SECRET) == sealed


async def test_the_secret_of_an_account_that_is_held_is_not_changed(
    tmp_path: Path,
) -> None:
    sealed = await encrypt_account(make_account(tmp_path), SECRET)

    async with Database.open(sealed.store_path, key=sealed.store_key):
        with pytest.raises(StoreLockedError):
            change_secret(sealed, Secret.passphrase("another"))

    assert load_account("bob", tmp_path, secret=SECRET) == sealed


def test_only_the_variable_of_the_right_kind_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMPP_ONION_KEY_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "store-key").write_bytes(bytes(32))

    assert find_secret(Kind.PASSPHRASE) is None
    with pytest.raises(StoreKeyError, match="no such file"):
        find_secret(Kind.KEY_FILE)
    monkeypatch.delenv("XMPP_ONION_KEY_FILE")
    assert find_secret(Kind.KEY_FILE) is not None
