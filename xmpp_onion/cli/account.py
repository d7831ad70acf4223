"""``xmpp-onion account``: make, list and remove the account of a profile."""

import asyncio
import os
import secrets
import shutil
import string
import sys
from dataclasses import replace
from pathlib import Path

import click

from xmpp_onion import private
from xmpp_onion.account import Account, data_folder, parse_recipient
from xmpp_onion.address import JID, Invite
from xmpp_onion.agent.desk import find_tor, hold
from xmpp_onion.cli.reach import load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.e2ee.trust import Trust
from xmpp_onion.errors import AuthenticationError, StoreError, XmppOnionError
from xmpp_onion.session import register

__all__ = ["command"]


@click.group("account")
def command() -> None:
    """Make, list and remove the account of a profile."""


@command.command("add")
@click.argument("jid", required=False)
@click.option("--invite", metavar="URI", help="Make a new account with this invite.")
@click.option("--username", metavar="NAME", help="With --invite: the name to take.")
@click.option(
    "--password-file", metavar="F",
    help="The password of an existing account; - for stdin; else it is asked for.",
)  # fmt: skip
@click.option(
    "--trust", type=click.Choice([str(one) for one in Trust]), default=str(Trust.BTBV),
    show_default=True, help="What to do about devices nobody decided about.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5222, show_default=True,
    help="Of the onion service.",
)  # fmt: skip
@click.option(
    "--cert-sha256", default="", metavar="HEX",
    help="The server's certificate; else the first connection pins it.",
)  # fmt: skip
@click.pass_obj
def _add(
    settings: Settings,
    jid: str | None,
    *,
    invite: str | None,
    username: str | None,
    password_file: str | None,
    trust: str,
    port: int,
    cert_sha256: str,
) -> None:
    """Make an account with an invite, or take up an existing one.

    The new account logs in once, so that people can write to it from now on.
    """
    if (jid is None) == (invite is None):
        raise click.UsageError("give either --invite URI, or a JID that exists")
    folder = Account.locate(settings.profile, settings.data_dir)
    if (folder / "account.toml").exists():
        raise StoreError(
            f"the profile {settings.profile!r} has an account already",
            fix="Take another profile: xmpp-onion --profile NAME account add …",
        )
    account = Account(
        profile=settings.profile,
        folder=folder,
        jid=_whose(jid, invite, username),
        password=secrets.token_urlsafe(24) if invite else _read_password(password_file),
        trust=Trust(trust),
        port=port,
        certificate=_read_certificate(cert_sha256),
    )
    asyncio.run(_log_in(settings, account, Invite(invite) if invite else None))


def _whose(jid: str | None, invite: str | None, username: str | None) -> JID:
    if jid is not None:
        return parse_recipient(jid)
    uri = Invite(invite or "")
    name = uri.local or username or _ask_name()
    return parse_recipient(f"{name}@{uri.onion}")


def _ask_name() -> str:
    """Return the name that the person wants; at random where nobody is asked."""
    letters = string.ascii_lowercase
    drawn = "".join(secrets.choice(letters) for _ in range(10))
    if not sys.stdin.isatty():
        return drawn
    return str(click.prompt("User name", default=drawn, err=True))


def _read_password(password_file: str | None) -> str:
    """Return the password from where secrets may come: never from argv."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if password_file == "-":  # noqa: S105 - a file's name, not a password
        password = sys.stdin.readline()
    elif password_file is not None:
        password = _read_secret(Path(password_file))
    elif credentials and (Path(credentials) / "password").exists():
        password = (Path(credentials) / "password").read_text(encoding="utf-8")
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, err=True)
    else:
        raise click.UsageError("there is no password: use --password-file F (or -)")
    password = password.rstrip("\r\n")
    if not password:
        raise click.UsageError("the password is empty")
    return password


def _read_secret(path: Path) -> str:
    try:
        return private.read(path)
    except FileNotFoundError:
        raise StoreError(f"there is no file {path}") from None


def _read_certificate(text: str) -> str:
    digits = text.replace(":", "").lower()
    if digits and (len(digits) != 64 or set(digits) - set("0123456789abcdef")):
        raise click.BadParameter(
            "64 hex digits are expected", param_hint="--cert-sha256"
        )
    return digits


async def _log_in(settings: Settings, account: Account, invite: Invite | None) -> None:
    """Register if invited, save, and log in once; leave nothing half-made."""
    output = settings.output
    if invite is not None:
        output.note(f"Registering {account.jid} through Tor…")
        tor_folder = account.folder / "tor"
        async with find_tor(
            tor_folder, socks=settings.socks, control=settings.control
        ) as tor:
            seen = await register(
                invite, account.jid.local, account.password, tor=tor, port=account.port
            )
        account = replace(account, certificate=account.certificate or seen)
    account.save()
    output.note(f"Logging in as {account.jid}…")
    try:
        async with hold(
            account, socks=settings.socks, control=settings.control
        ) as client:
            fingerprint = client.fingerprint
    except AuthenticationError:
        shutil.rmtree(account.folder)
        raise
    except XmppOnionError:
        if invite is None:
            shutil.rmtree(account.folder)
        else:
            output.note("The account exists and is kept; its first login failed:")
        raise
    output.result(
        {
            "v": 1,
            "event": "account",
            "profile": account.profile,
            "jid": account.jid,
            "fingerprint": fingerprint,
            "trust": str(account.trust),
        },
        f"{account.jid} is yours, in the profile {account.profile!r}.\n"
        f"Fingerprint of this device: {fingerprint}",
    )


@command.command("list")
@click.pass_obj
def _list(settings: Settings) -> None:
    """List the accounts of all profiles."""
    root = data_folder(settings.data_dir)
    for path in sorted(root.glob("*/account.toml")):
        account = Account.load(path.parent.name, settings.data_dir)
        settings.output.result(
            {
                "v": 1,
                "event": "account",
                "profile": account.profile,
                "jid": account.jid,
                "trust": str(account.trust),
            },
            f"{account.profile}: {account.jid} (trust: {account.trust})",
        )


@command.command("remove")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def _remove(settings: Settings, *, yes: bool) -> None:
    """Remove the account of this profile, its keys and its messages, for ever.

    The account stays on the server; nobody can log in to it without the password
    that is removed here.
    """
    account = load_account(settings)
    if not yes:
        click.confirm(f"Remove {account.jid} with all its keys?", abort=True, err=True)
    from xmpp_onion.store import Database  # noqa: PLC0415 - only here

    Database.check_free(account.store_path)
    shutil.rmtree(account.folder)
    settings.output.result(
        {"v": 1, "event": "removed", "profile": account.profile, "jid": account.jid},
        f"Removed {account.jid}.",
    )
