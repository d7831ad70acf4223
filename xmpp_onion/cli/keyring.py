"""``xmpp-onion account keyring``: the passphrase in the keyring of the desktop."""

from contextlib import suppress
from pathlib import Path

import click

from xmpp_onion.account import Account
from xmpp_onion.agent.keychain import Keychain
from xmpp_onion.agent.profile import check_folders
from xmpp_onion.cli import unlock
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import StoreKeyError
from xmpp_onion.seal import Kind, Secret

__all__ = ["command", "follow"]


@click.command("keyring")
@click.argument("what", type=click.Choice(["store", "forget"]))
@click.pass_obj
def command(settings: Settings, *, what: str) -> None:
    """Keep the passphrase in your keyring, or forget it there.

    What is stored is tried first. It needs the extra `keyring`, and a keyring of
    the system (GNOME, KDE, KeePassXC, macOS) that is unlocked.
    """
    folder = Account.locate(settings.profile, settings.data_dir)
    kind = check_folders(settings.profile, settings.data_dir)
    keychain = Keychain.open()
    if what == "store":
        keychain.put(folder, _find(settings, kind))
        text = "The keyring has the passphrase; while it is unlocked nobody is asked."
    elif keychain.remove(folder):
        text = "The keyring has the passphrase no more."
    else:
        text = "The keyring had no passphrase."
    settings.output.result(
        {"v": 1, "event": "keyring", "profile": settings.profile,
         "stored": what == "store"},
        text,
    )  # fmt: skip


def _find(settings: Settings, kind: Kind | None) -> Secret:
    """Return the passphrase once it has opened the account."""
    if kind is not Kind.PASSPHRASE:
        raise StoreKeyError(
            f"the account of the profile {settings.profile!r} has no passphrase",
            why="it is opened with a key file" if kind else "it is not encrypted",
            fix="Give it one: xmpp-onion account "
            + ("passphrase" if kind else "encrypt"),
        )
    secret = unlock.find(settings, kind, None)  # what it has may be an old one
    Account.load(settings.profile, settings.data_dir, secret=secret)
    assert secret is not None  # noqa: S101 - it opened the account
    return secret


def follow(folder: Path, secret: Secret | None) -> None:
    """Have the keyring forget a passphrase that opens nothing any more.

    Args:
        folder: Where the account lies.
        secret: What opens it instead, if anything: a passphrase is stored where one
            was.
    """
    with suppress(StoreKeyError):  # what cannot be asked may not be there at all
        keychain = Keychain.open()
        if (
            keychain.remove(folder)
            and secret is not None
            and secret.kind is Kind.PASSPHRASE
        ):
            keychain.put(folder, secret)
