"""``server door`` and ``account door``: keys for the private door of a server."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from xmpp_onion import private
from xmpp_onion.cli.reach import load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import StoreError
from xmpp_onion.server import Guest, give_key, list_keys, revoke_key
from xmpp_onion.transport import Admission

__all__ = ["account_command", "command", "read_door_file"]

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@click.group("door")
def command() -> None:
    """Keys for the private door: an invite carries one of its own."""


@command.command("list")
@_FOLDER
@click.pass_obj
def _list(settings: Settings, folder: Path) -> None:
    """List who was given a key for the private door of DIR."""
    guests = list_keys(folder)
    for guest in guests:
        settings.output.result(
            _line(guest), f"{guest.name}: since {guest.since:%Y-%m-%d}"
        )
    if not guests:
        settings.output.note("Nobody has a key yet: xmpp-onion server invite DIR")


@command.command("give")
@_FOLDER
@click.argument("name")
@click.pass_obj
def _give(settings: Settings, folder: Path, name: str) -> None:
    """Give one more key for the private door of DIR, for NAME.

    For somebody who has an account already, on another device or from before the
    door was private. What is printed is a credential: the line that Tor wants in a
    file of its ClientOnionAuthDir, and that `account add --door-file` reads.
    """
    guest, admission = give_key(folder, name)
    settings.output.result(
        {**_line(guest), "event": "door-key", "key": admission.torrc_line},
        admission.torrc_line,
    )
    settings.output.note(
        f"It is revoked with: xmpp-onion server door revoke {folder} {guest.name}"
    )


@command.command("revoke")
@_FOLDER
@click.argument("name")
@click.pass_obj
def _revoke(settings: Settings, folder: Path, name: str) -> None:
    """Let NAME in no more by the private door of DIR.

    A running server publishes it within seconds. With a Tor of our own the private
    door is closed for a moment, and who may come back does so.
    """
    guest = revoke_key(folder, name)
    settings.output.result(
        {**_line(guest), "event": "revoked"},
        f"The key of {guest.name} is good no more.",
    )


@click.command("door")
@click.argument("door_file", metavar="F")
@click.pass_obj
def account_command(settings: Settings, door_file: str) -> None:
    """Reach the server by its private door from now on.

    F holds the key, as `server door give` printed; - for stdin. A process that
    holds the account now goes on as before until it ends.
    """
    admission = read_door_file(door_file)
    account = load_account(settings)
    account = account.update(lambda newest: replace(newest, admission=admission))
    settings.output.result(
        {"v": 1, "event": "door", "jid": account.jid},
        f"{account.jid} goes by the private door from now on.",
    )


def read_door_file(name: str) -> Admission:
    """Return what a file holds of ``server door give``; ``-`` stands for stdin.

    Raises:
        StoreError: There is no such file, others can read it, or it holds no key.
    """
    try:
        text = sys.stdin.readline() if name == "-" else private.read(Path(name))
        return Admission.parse(text.strip())
    except FileNotFoundError:
        raise StoreError(f"there is no file {name}", fix="Check its name.") from None
    except ValueError as error:
        raise StoreError(
            "that is no key for a private door",
            why=str(error),
            fix="Give the one line that `xmpp-onion server door give` printed.",
        ) from None


def _line(guest: Guest) -> dict[str, object]:
    since = f"{guest.since:%Y-%m-%dT%H:%M:%SZ}"
    return {"v": 1, "event": "door", "name": guest.name, "since": since}
