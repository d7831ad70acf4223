import os
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from xmpp_onion.account import (
    Account,
    data_folder,
    parse_addressee,
    parse_recipient,
    state_folder,
)
from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import (
    AccountNotFoundError,
    AddressError,
    StoreCorruptError,
    StoreError,
    StoreKeyError,
    StorePermissionError,
)
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.transport import Admission, make_client_key

PASSPHRASE = Secret.passphrase("correct horse battery staple")
ONION = OnionAddress.from_public_key(b"\x06" * 32)
BOB = JID(f"bob@{ONION}")


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(
        profile="bob",
        folder=tmp_path / "data" / "bob",
        jid=BOB,
        password='p"ass\\word ü',
        trust=Trust.PINNED,
        certificate="cd" * 32,
        tls=False,
        port=5333,
    )


def test_a_saved_account_loads_as_it_was(account: Account, tmp_path: Path) -> None:
    pinned = account.pin(JID(f"alice@{ONION}/phone"), "AB" * 32)
    pinned.save()

    assert Account.load("bob", tmp_path / "data") == pinned
    assert pinned.pins == {JID(f"alice@{ONION}"): frozenset({"ab" * 32})}


def test_the_key_for_a_private_door_is_kept(account: Account, tmp_path: Path) -> None:
    admission = Admission(
        OnionAddress.from_public_key(b"\x07" * 32), make_client_key().private
    )
    replace(account, admission=admission).save()

    loaded = Account.load("bob", tmp_path / "data")
    assert loaded.admission == admission
    assert admission.key not in repr(loaded)


def test_a_damaged_key_for_a_private_door_is_told_and_not_quoted(
    account: Account, tmp_path: Path
) -> None:
    replace(account, admission=Admission(ONION, "A" * 51 + "B")).save()

    with pytest.raises(StoreCorruptError) as caught:
        Account.load("bob", tmp_path / "data")
    assert "AAAA" not in str(caught.value)


def test_folder_and_file_are_private_whatever_the_umask(account: Account) -> None:
    before = os.umask(0)
    try:
        account.save()
    finally:
        os.umask(before)

    assert account.folder.stat().st_mode & 0o777 == 0o700
    assert account.folder.parent.stat().st_mode & 0o777 == 0o700
    assert (account.folder / "account.toml").stat().st_mode & 0o777 == 0o600


def test_the_password_is_in_no_repr(account: Account) -> None:
    assert "ass" not in repr(account).replace("password", "")


def test_a_profile_without_account_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(AccountNotFoundError, match="account add") as caught:
        Account.load("nobody", tmp_path)

    assert caught.value.exit_code == 7


@pytest.mark.parametrize("name", ["", "../bob", "a/b", ".hidden", "a" * 65, "a\n"])
def test_a_profile_cannot_leave_the_data_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be the name of a profile"):
        Account.load(name, tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_an_account_that_others_can_reach_is_refused(
    account: Account, tmp_path: Path, mode: int
) -> None:
    account.save()
    (account.folder / "account.toml").chmod(mode)

    with pytest.raises(StorePermissionError, match="chmod 600"):
        Account.load("bob", tmp_path / "data")


def test_a_link_in_place_of_the_account_is_refused(
    account: Account, tmp_path: Path
) -> None:
    account.save()
    path = account.folder / "account.toml"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StorePermissionError):
        Account.load("bob", tmp_path / "data")


@pytest.mark.parametrize(
    "text",
    ["", "not toml [", 'jid = "bob@example.org"', 'jid = 3\npassword = "x"'],
)
def test_a_damaged_account_is_an_error_and_stays(
    account: Account, tmp_path: Path, text: str
) -> None:
    account.save()
    path = account.folder / "account.toml"
    path.write_text(text)

    with pytest.raises(StoreCorruptError, match="backup"):
        Account.load("bob", tmp_path / "data")
    assert path.read_text() == text


def test_the_environment_says_where_profiles_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMPP_ONION_DATA_DIR", str(tmp_path))

    assert data_folder() == tmp_path
    assert data_folder(Path("/elsewhere")) == Path("/elsewhere")


def test_without_a_word_profiles_live_in_the_data_folder_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XMPP_ONION_DATA_DIR", raising=False)

    assert data_folder().name == "xmpp-onion"


@pytest.mark.parametrize("text", [str(ONION), "bob@example.org", "bob", ""])
def test_only_a_person_at_an_onion_can_be_written_to(text: str) -> None:
    with pytest.raises(AddressError):
        parse_recipient(text)


def test_a_recipient_is_a_bare_jid() -> None:
    assert parse_recipient(f"BOB@{ONION.upper()}/phone") == BOB


def test_an_encrypted_account_loads_as_it_was_with_its_secret_alone(
    account: Account, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    encrypted = account.pin(BOB, "AB" * 32).encrypted(PASSPHRASE)
    encrypted.save()

    assert Account.kind("bob", data) is Kind.PASSPHRASE
    assert Account.load("bob", data, secret=PASSPHRASE) == encrypted
    with pytest.raises(StoreKeyError, match="--passphrase-file") as caught:
        Account.load("bob", data)
    assert caught.value.exit_code == 7
    with pytest.raises(StoreKeyError, match="wrong"):
        Account.load("bob", data, secret=Secret.passphrase("another"))


def test_an_account_in_the_clear_needs_no_secret_and_takes_any(
    account: Account, tmp_path: Path
) -> None:
    account.save()

    assert Account.kind("bob", tmp_path / "data") is None
    assert Account.load("bob", tmp_path / "data", secret=PASSPHRASE) == account
    assert account.store_key is None


def test_nothing_of_an_encrypted_account_is_in_its_file(account: Account) -> None:
    account.pin(BOB, "ab" * 32).encrypted(PASSPHRASE).save()

    text = (account.folder / "account.toml").read_text()

    for told in ("bob", str(ONION), "ass", "pinned", "cdcd", "abab", "5333"):
        assert told not in text.replace("passphrase", "").replace("passes", "")
    assert set(tomllib.loads(text)) == {"sealed", "seal"}
    assert set(tomllib.loads(text)["seal"]) == {
        "kind", "salt", "memory_kib", "passes", "lanes", "wrapped",
    }  # fmt: skip


def test_what_is_saved_again_stays_encrypted_with_the_same_key(
    account: Account, tmp_path: Path
) -> None:
    account.encrypted(PASSPHRASE).save()
    loaded = Account.load("bob", tmp_path / "data", secret=PASSPHRASE)

    loaded.pin(BOB, "ab" * 32).save()

    again = Account.load("bob", tmp_path / "data", secret=PASSPHRASE)
    assert again.pins == {BOB: frozenset({"ab" * 32})}
    assert again.store_key == loaded.store_key
    assert again.store_key is not None


def test_another_secret_opens_the_account_from_now_on(
    account: Account, tmp_path: Path
) -> None:
    first = account.encrypted(PASSPHRASE)
    first.encrypted(other := Secret.passphrase("other")).save()

    opened = Account.load("bob", tmp_path / "data", secret=other)

    assert opened.store_key == first.store_key
    with pytest.raises(StoreKeyError):
        Account.load("bob", tmp_path / "data", secret=PASSPHRASE)


@pytest.mark.parametrize("line", ["sealed", "wrapped", "salt", "kind", "passes"])
def test_a_damaged_encrypted_account_is_an_error_and_stays(
    account: Account, tmp_path: Path, line: str
) -> None:
    account.encrypted(PASSPHRASE).save()
    path = account.folder / "account.toml"
    text = re.sub(rf"(?m)^{line} = .*", f'{line} = "eHh4"', path.read_text())
    path.write_text(text)

    with pytest.raises(StoreError):
        Account.load("bob", tmp_path / "data", secret=PASSPHRASE)
    assert path.read_text() == text


def test_no_secret_of_an_encrypted_account_is_in_a_repr(account: Account) -> None:
    encrypted = account.encrypted(PASSPHRASE)

    assert "seal" not in repr(encrypted)
    assert "ass" not in repr(encrypted).replace("password", "")


def test_the_note_about_a_store_lies_outside_of_the_account(
    tmp_path: Path,
) -> None:
    elsewhere, usual = Account.locate("bob", tmp_path), Account.locate("bob")

    assert state_folder(elsewhere) == tmp_path / ".state" / "bob"
    assert (
        state_folder(usual) == Path.home() / ".local" / "state" / "xmpp-onion" / "bob"
    )


def test_two_who_change_an_account_at_once_both_succeed(
    account: Account, tmp_path: Path
) -> None:
    account.save()
    first, second = (Account.load("bob", tmp_path / "data") for _ in range(2))

    first.update(lambda now: now.pin(account.jid, "ab" * 32))
    changed = second.update(lambda now: replace(now, device="cd" * 32))

    assert changed == Account.load("bob", tmp_path / "data")
    assert (len(changed.pins[account.jid]), changed.device) == (1, "cd" * 32)


def test_an_encrypted_account_is_changed_as_it_is_now(
    account: Account, tmp_path: Path
) -> None:
    secret = Secret.passphrase("correct horse")
    sealed = account.encrypted(secret)
    sealed.save()
    other = Account.load("bob", tmp_path / "data", secret=secret)
    other.update(lambda now: now.pin(account.jid, "ab" * 32))

    changed = sealed.update(lambda now: replace(now, device="cd" * 32))

    assert len(changed.pins[account.jid]) == 1
    assert Account.load("bob", tmp_path / "data", secret=secret) == changed


def test_an_account_that_is_not_there_is_saved(account: Account) -> None:
    account.update(lambda now: replace(now, device="cd" * 32))

    assert (account.folder / "account.toml").exists()


def test_nobody_writes_to_one_connection_of_a_person() -> None:
    assert parse_addressee(f"BOB@{ONION.upper()}") == BOB
    with pytest.raises(AddressError, match="one connection") as caught:
        parse_addressee(f"{BOB}/phone")

    assert "name@" in caught.value.fix
