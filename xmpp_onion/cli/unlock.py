"""Where a command has the passphrase or key of an account from."""

import sys
from pathlib import Path

import click

from xmpp_onion.agent import profile
from xmpp_onion.cli.settings import Settings
from xmpp_onion.seal import Kind, Secret

__all__ = ["ask_new", "find", "find_given"]


def find(settings: Settings, kind: Kind, folder: Path | None) -> Secret | None:
    """Return what opens an account: as was typed, else the environment's, else asked.

    Args:
        settings: The global options.
        kind: What opens it.
        folder: Where it lies, by which the keyring knows it; None asks no keyring.

    Raises:
        StoreKeyError: It cannot be one, or there is no such file.
        StorePermissionError: Others can read the file.
    """
    secret = find_given(settings.key_file, settings.passphrase_file)
    if secret is None:
        secret = profile.find_secret(kind, folder)
    if secret is None and kind is Kind.PASSPHRASE and _can_ask():
        secret = _ask("Passphrase", twice=False)
    return secret


def find_given(key_file: Path | None, passphrase_file: str | None) -> Secret | None:
    """Return what the options of a command name.

    Raises:
        UsageError: They name two.
        StoreKeyError: It cannot be one, or there is no such file.
        StorePermissionError: Others can read the file.
    """
    if key_file is not None and passphrase_file is not None:
        raise click.UsageError("give a key file or a passphrase, not both")
    if key_file is not None:
        return Secret.read(Kind.KEY_FILE, key_file)
    if passphrase_file == "-":  # noqa: S105 - a file's name, not a passphrase
        return Secret.passphrase(sys.stdin.readline().rstrip("\r\n"))
    if passphrase_file is not None:
        return Secret.read(Kind.PASSPHRASE, Path(passphrase_file))
    return None


def ask_new(options: str = "--") -> Secret:
    """Ask for a new passphrase, twice.

    Args:
        options: How the options begin that would name one: ``--new-`` where the
            global ones say what opens what is there.

    Raises:
        UsageError: Nobody can be asked here.
    """
    if not _can_ask():
        raise click.UsageError(
            f"there is nothing to encrypt with: use {options}passphrase-file F or "
            f"{options}key-file F"
        )
    return _ask("New passphrase", twice=True)


def _can_ask() -> bool:
    # What is piped in is the text of a message; a passphrase is typed all the same.
    return sys.stdin.isatty() or sys.stderr.isatty()


def _ask(what: str, *, twice: bool) -> Secret:
    text = click.prompt(what, hide_input=True, err=True, confirmation_prompt=twice)
    return Secret.passphrase(str(text))
