"""The account of a profile, from folders that are this user's alone."""

import json
import os
import subprocess
from pathlib import Path

from xmpp_onion import private
from xmpp_onion.account import Account, data_folder
from xmpp_onion.agent.keychain import Keychain
from xmpp_onion.errors import StoreKeyError
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.store import check_free

__all__ = [
    "change_secret",
    "check_data_folder",
    "check_folders",
    "encrypt_account",
    "encrypted_already",
    "find_secret",
    "load_account",
]

# A program that says the passphrase, and its arguments: a JSON list, for no shell.
_COMMAND = "XMPP_ONION_PASSPHRASE_COMMAND"
# It may ask a person, or a token that has to be touched.
_COMMAND_SECONDS = 120.0
# What systemd calls a credential that opens an account (LoadCredential=).
_CREDENTIALS = {Kind.KEY_FILE: "store-key", Kind.PASSPHRASE: "store-passphrase"}


def load_account(
    profile: str, data_dir: Path | None = None, *, secret: Secret | None = None
) -> Account:
    """Return the account of ``profile``.

    Args:
        profile: Its name.
        data_dir: Where profiles live.
        secret: What opens it if it is encrypted; by default what ``find_secret``
            finds.

    Raises:
        AccountNotFoundError: It has none.
        StoreKeyError: It is encrypted, and there is nothing that opens it.
        StorePermissionError: Others can reach it, or the folder of all profiles.
        StoreCorruptError: It cannot be read.
    """
    kind = check_folders(profile, data_dir)
    if kind is not None and secret is None:
        secret = find_secret(kind, Account.locate(profile, data_dir))
    return Account.load(profile, data_dir, secret=secret)


def check_folders(profile: str, data_dir: Path | None = None) -> Kind | None:
    """Return what opens the account of ``profile``; None if it is not encrypted.

    Raises:
        StoreError: As ``load_account``, except for ``StoreKeyError``.
    """
    check_data_folder(data_dir)
    private.check_folder(Account.locate(profile, data_dir))
    return Account.kind(profile, data_dir)


def find_secret(kind: Kind, folder: Path | None = None) -> Secret | None:
    """Return what the environment has to open an account with.

    That is a file that ``$XMPP_ONION_KEY_FILE`` or ``$XMPP_ONION_PASSPHRASE_FILE``
    names, else systemd's credential ``store-key`` or ``store-passphrase``, else what
    the program in ``$XMPP_ONION_PASSPHRASE_COMMAND`` says, else what the keyring has.

    Args:
        kind: What opens it.
        folder: Where the account lies; without it no keyring is asked.

    Raises:
        StoreKeyError: There is no such file, or it cannot be one; or the program
            failed.
        StorePermissionError: Others can read it.
    """
    if named := os.environ.get(kind.variable):
        return Secret.read(kind, Path(named))
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / _CREDENTIALS[kind]
    if "CREDENTIALS_DIRECTORY" in os.environ and credential.exists():
        return Secret.read(kind, credential, is_trusted_place=True)
    if kind is not Kind.PASSPHRASE:
        return None
    if command := os.environ.get(_COMMAND):
        return Secret.passphrase(_first_line_of(command))
    return None if folder is None else Keychain.look_up(folder)


def _first_line_of(command: str) -> str:
    """Return the first line that a program says. What it says is in no error."""
    try:
        argv: object = json.loads(command)
    except ValueError:
        argv = None
    if not (argv and isinstance(argv, list) and all(isinstance(a, str) for a in argv)):
        raise _no_passphrase(
            "it is no JSON list of texts", f'{_COMMAND}=\'["pass", "show", "bot"]\''
        )
    try:
        done = subprocess.run(  # the user's own program, and no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        why = f"it could not be run ({type(error).__name__})"
        raise _no_passphrase(why, "Try it in a shell") from None
    if done.returncode != 0:
        why = f"it ended with {done.returncode}"
        raise _no_passphrase(why, "Try it in a shell")
    line = done.stdout.partition(b"\n")[0].rstrip(b"\r")
    return line.decode("utf-8", "surrogateescape")


def _no_passphrase(why: str, fix: str) -> StoreKeyError:
    return StoreKeyError(f"${_COMMAND} gives no passphrase", why=why, fix=fix)


async def encrypt_account(account: Account, secret: Secret) -> Account:
    """Encrypt an account that is in use, its store too, and return it as it is then.

    What was in the clear may stay in free blocks of the disk, and in backups.

    Raises:
        StoreKeyError: It is encrypted already.
        StoreError: Another process holds it, or it cannot be written; it is as it
            was.
    """
    from xmpp_onion.agent.spool import Spool  # noqa: PLC0415 - loads all of chat
    from xmpp_onion.store import encrypt  # noqa: PLC0415 - loads SQLite

    if account.seal is not None:
        raise encrypted_already(account.profile)
    check_free(account.store_path)
    sealed = account.encrypted(secret)
    has_store = bool(account.device) or account.store_path.exists()
    if has_store and sealed.store_key is not None:
        await encrypt(account.store_path, sealed.store_key, keep_key=sealed.save)
    else:  # it never logged in
        sealed.save()
    Spool(sealed).seal_all()
    return sealed


def encrypted_already(profile: str) -> StoreKeyError:
    """Return the error that an account cannot be encrypted twice."""
    return StoreKeyError(
        f"the account of the profile {profile!r} is encrypted already",
        fix="For another passphrase: xmpp-onion account passphrase",
    )


def change_secret(account: Account, secret: Secret) -> Account:
    """Have another passphrase or key file open an account.

    The key itself stays: who has the old one and an old copy of the account still
    reads it.

    Raises:
        StoreKeyError: It is not encrypted.
        StoreError: Another process holds it, or it cannot be written.
    """
    if account.seal is None:
        raise StoreKeyError(
            f"the account of the profile {account.profile!r} is not encrypted",
            fix="Encrypt it: xmpp-onion account encrypt",
        )
    check_free(account.store_path)  # the holder may save it as it was
    changed = account.encrypted(secret)
    changed.save()
    return changed


def check_data_folder(data_dir: Path | None = None) -> None:
    """Refuse a folder of profiles that others can list or change.

    Whoever can write there could put another account in the place of ours.

    Raises:
        StorePermissionError: It is not this user's alone.
    """
    private.check_folder(data_folder(data_dir))
