from pathlib import Path

import pytest

from xmpp_onion import JID, Account
from xmpp_onion.agent.profile import check_data_folder, load_account
from xmpp_onion.errors import AccountNotFoundError, StorePermissionError

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
