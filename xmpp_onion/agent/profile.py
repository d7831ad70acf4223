"""The account of a profile, from folders that are this user's alone."""

from pathlib import Path

from xmpp_onion import private
from xmpp_onion.account import Account, data_folder

__all__ = ["check_data_folder", "load_account"]


def load_account(profile: str, data_dir: Path | None = None) -> Account:
    """Return the account of ``profile``.

    Raises:
        AccountNotFoundError: It has none.
        StorePermissionError: Others can reach it, or the folder of all profiles.
        StoreCorruptError: It cannot be read.
    """
    check_data_folder(data_dir)
    private.check_folder(Account.locate(profile, data_dir))
    return Account.load(profile, data_dir)


def check_data_folder(data_dir: Path | None = None) -> None:
    """Refuse a folder of profiles that others can list or change.

    Whoever can write there could put another account in the place of ours.

    Raises:
        StorePermissionError: It is not this user's alone.
    """
    private.check_folder(data_folder(data_dir))
