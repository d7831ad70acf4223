"""``xmpp-onion account``: make, list and remove the account of a profile."""

import asyncio
import os
import secrets
import shutil
import string
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import click

from xmpp_onion import private
from xmpp_onion.account import (
    Account,
    data_folder,
    parse_recipient,
    state_folder,
)
from xmpp_onion.address import JID, Invite
from xmpp_onion.agent.profile import (
    change_secret,
    check_data_folder,
    check_folders,
    encrypt_account,
    encrypted_already,
    find_secret,
)
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.agent.tor import find_tor
from xmpp_onion.cli import account_move, door, keyring, unlock
from xmpp_onion.cli.reach import hold, load_account, watch_bootstrap
from xmpp_onion.cli.settings import Settings
from xmpp_onion.e2ee.trust import Trust
from xmpp_onion.errors import StoreError, XmppOnionError
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.store import check_free
from xmpp_onion.transport import Admission

__all__ = ["command"]

# What an account consists of on disk; nothing else in its folder is ever removed.
_FILES = ("account.toml*", "store.sqlite3*", "agent.*")


@click.group("account")
def command() -> None:
    """Make, list and remove the account of a profile."""


command.add_command(keyring.command)
command.add_command(door.account_command)
command.add_command(account_move.command)


@command.command("add")
@click.argument("jid", required=False)
@click.option(
    "--invite", metavar="URI", help="Make a new account with this invite; - for stdin."
)
@click.option("--username", metavar="NAME", help="With --invite: the name to take.")
@click.option(
    "--password-file", metavar="F", envvar="XMPP_ONION_PASSWORD_FILE",
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
    "--tls", is_flag=True,
    help="Speak TLS inside of the circuit, too, with one certificate: slower by two "
    "round trips.",
)  # fmt: skip
@click.option(
    "--cert-sha256", default="", metavar="HEX",
    help="The server's certificate, and --tls; else the first connection pins it.",
)  # fmt: skip
@click.option(
    "--door-file", metavar="F",
    help="The key for the server's private door, where no invite has it; - for stdin.",
)  # fmt: skip
@click.option(
    "--encrypt", is_flag=True,
    help="At rest, with a passphrase that is asked for; --key-file and "
    "--passphrase-file imply it.",
)  # fmt: skip
@click.pass_obj
def _add(  # noqa: PLR0913 - click hands over each option
    settings: Settings,
    jid: str | None,
    *,
    encrypt: bool,
    invite: str | None,
    username: str | None,
    password_file: str | None,
    trust: str,
    port: int,
    tls: bool,
    cert_sha256: str,
    door_file: str | None,
) -> int:
    """Make an account with an invite, or take up an existing one.

    The new account logs in once, so that people can write to it from now on.
    """
    if (jid is None) == (invite is None):
        raise click.UsageError("give either --invite URI, or a JID that exists")
    if invite == "-":  # it lets whoever sees it register, and argv is public
        invite = sys.stdin.readline().strip()
    certificate = _read_certificate(cert_sha256)
    uri = None if invite is None else Invite(invite)
    who = parse_recipient(jid) if jid else _choose(uri, username)
    account = Account(
        profile=settings.profile,
        folder=_find_place(settings),
        jid=who,
        password=secrets.token_urlsafe(24) if uri else _read_password(password_file),
        trust=Trust(trust),
        port=port,
        tls=tls or bool(certificate),
        certificate=certificate or (uri.cert_sha256 if uri else ""),
        admission=_find_admission(uri, door_file),
    )
    secret = _find_new(settings) or (unlock.ask_new() if encrypt else None)
    if secret is not None:
        account = account.encrypted(secret)
    return asyncio.run(_enter(settings, account, uri))


def _find_place(settings: Settings) -> Path:
    """Return the folder of the profile, which has to be one without an account."""
    check_data_folder(settings.data_dir)
    folder = Account.locate(settings.profile, settings.data_dir)
    _refuse_unless_new(settings.profile, folder)
    return folder


def _find_new(settings: Settings) -> Secret | None:
    """Return what the options, else the environment, have to encrypt with."""
    secret = unlock.find_given(settings.key_file, settings.passphrase_file)
    for kind in Kind:
        secret = secret or find_secret(kind)
    return secret


def _refuse_unless_new(profile: str, folder: Path) -> None:
    if (folder / "account.toml").exists():
        raise StoreError(
            f"the profile {profile!r} has an account already",
            fix="Take another profile: xmpp-onion --profile NAME account add …",
        )
    if (folder / "store.sqlite3").exists():
        raise StoreError(
            f"the profile {profile!r} holds the keys of an account that is not there",
            why=f"there is a store and no account.toml in {folder}",
            fix="Restore account.toml from a backup, or take another profile.",
        )


def _find_admission(invite: Invite | None, door_file: str | None) -> Admission | None:
    if door_file is not None:
        return door.read_door_file(door_file)
    return None if invite is None or invite.door is None else Admission(*invite.door)


def _choose(invite: Invite | None, username: str | None) -> JID:
    assert invite is not None  # noqa: S101 - one of both was given
    if invite.local and username not in {None, invite.local}:
        raise click.UsageError(f"the invite is for the name {invite.local!a} alone")
    return parse_recipient(f"{invite.local or username or _ask_name()}@{invite.onion}")


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
        # Of systemd, which looks after its mode.
        password = (Path(credentials) / "password").read_text(errors="replace")
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
        raise StoreError(f"there is no file {path}", fix="Check its name.") from None
    except UnicodeDecodeError:
        raise StoreError(f"{path} is not text", fix="Check its name.") from None


def _read_certificate(text: str) -> str:
    digits = text.replace(":", "").lower()
    if digits and (len(digits) != 64 or set(digits) - set("0123456789abcdef")):
        raise click.BadParameter(
            "64 hex digits are expected", param_hint="--cert-sha256"
        )
    return digits


async def _enter(settings: Settings, account: Account, invite: Invite | None) -> int:
    """Register if invited, log in once, and tell; leave nothing half-made."""
    fingerprint = ""
    async with until_terminated():
        with _unmade_again(account.folder):
            account.save()  # before it is there: a full disk costs no invite
            if invite is None:
                fingerprint = await _log_in(settings, account)
            else:
                account = await _register(settings, account, invite)
        if invite is not None:
            fingerprint = await _log_in_first(settings, account)
    if not fingerprint:
        return 130  # told to end
    settings.output.result(
        {**_line(account), "fingerprint": fingerprint},
        f"{account.jid} is yours, in the profile {account.profile!r}.\n"
        f"Fingerprint of this device: {fingerprint}",
    )
    return 0


@contextmanager
def _unmade_again(folder: Path) -> Iterator[None]:
    """Remove the account again if the block fails or is interrupted."""
    try:
        yield
    except BaseException:
        _clear(folder)
        raise


async def _register(settings: Settings, account: Account, invite: Invite) -> Account:
    """Return the account as it is after its registration."""
    from xmpp_onion.session import register_and_learn  # noqa: PLC0415 - slow to load

    settings.output.note(f"Registering {account.jid} through Tor…")
    async with find_tor(
        account.folder / "tor", socks=settings.socks, control=settings.control
    ) as tor:
        account.introduce_to(tor)
        await watch_bootstrap(tor, settings)
        made = await register_and_learn(
            invite,
            account.jid.local,
            account.password,
            tor=tor,
            port=account.port,
            tls=account.tls or not account.certificate,
        )
    registered = replace(
        account,
        certificate=account.certificate or made.certificate,
        offered=made.known.dump(),
    )
    registered.save()
    return registered


async def _log_in(settings: Settings, account: Account) -> str:
    """Return the fingerprint of the device that is published now.

    A certificate that is not known yet is looked at, this once, and pinned.
    """
    first = replace(account, tls=account.tls or not account.certificate)
    async with hold(settings, first) as client:
        return client.fingerprint


async def _log_in_first(settings: Settings, account: Account) -> str:
    try:
        return await _log_in(settings, account)
    except XmppOnionError:
        settings.output.note("The account is made and kept; its first login failed.")
        raise


def _clear(folder: Path) -> None:
    """Remove what an account consists of, and its folder if that is all."""
    for pattern in _FILES:
        for path in folder.glob(pattern):
            path.unlink()
    for inner in ("tor", "spool"):
        shutil.rmtree(folder / inner, ignore_errors=True)
    state = state_folder(folder)
    for path in state.glob("*.generation"):
        path.unlink()
    for each in (folder, state):
        with suppress(OSError):  # somebody keeps something else there
            each.rmdir()


def _line(account: Account) -> dict[str, object]:
    return {
        "v": 1,
        "event": "account",
        "profile": account.profile,
        "jid": account.jid,
        "trust": str(account.trust),
        "encrypted": account.seal is not None,
    }


@command.command("encrypt")
@click.pass_obj
def _encrypt(settings: Settings) -> None:
    """Encrypt the account on the disk: password, keys, messages.

    With a passphrase that is asked for, or what --key-file or --passphrase-file
    names.
    """
    if check_folders(settings.profile, settings.data_dir) is not None:
        raise encrypted_already(settings.profile)
    account = load_account(settings)
    secret = _find_new(settings) or unlock.ask_new()
    account = asyncio.run(encrypt_account(account, secret))
    settings.output.result(
        {**_line(account), "event": "encrypted"},
        f"{account.jid} is encrypted; without its {secret.kind} nobody can open it.\n"
        "What was in the clear may stay in free blocks of the disk, and in backups.",
    )


@command.command("passphrase")
@click.option(
    "--new-key-file", metavar="F", type=click.Path(path_type=Path),
    help="What shall open it; else a passphrase is asked for.",
)  # fmt: skip
@click.option(
    "--new-passphrase-file", metavar="F", help="Or a passphrase; - for stdin.",
)  # fmt: skip
@click.pass_obj
def _passphrase(
    settings: Settings, *, new_key_file: Path | None, new_passphrase_file: str | None
) -> None:
    """Have another passphrase or key file open the account.

    The old one opens old copies of the account still.
    """
    account = load_account(settings)
    secret = unlock.find_given(new_key_file, new_passphrase_file)
    secret = secret or unlock.ask_new("--new-")
    account = change_secret(account, secret)
    keyring.follow(account.folder, secret)
    settings.output.result(
        {**_line(account), "event": "encrypted"},
        f"{account.jid} is opened with another {secret.kind} now.",
    )


@command.command("list")
@click.pass_obj
def _list(settings: Settings) -> int:
    """List the accounts of all profiles."""
    check_data_folder(settings.data_dir)
    found = sorted(data_folder(settings.data_dir).glob("*/account.toml"))
    if not found:
        settings.output.note("There is none yet. Make one: xmpp-onion account add …")
    code = 0
    for path in found:
        profile = path.parent.name
        try:
            if Account.kind(profile, settings.data_dir) is not None:
                settings.output.result(_closed_line(profile), f"{profile}: encrypted")
                continue
            account = Account.load(profile, settings.data_dir)
        except XmppOnionError as error:
            settings.output.error(error.as_line())
            code = code or error.exit_code
            continue
        settings.output.result(
            _line(account), f"{account.profile}: {account.jid} (trust: {account.trust})"
        )
    return code


def _closed_line(profile: str) -> dict[str, object]:
    line = {"v": 1, "event": "account", "profile": profile}
    return {**line, "jid": None, "trust": None, "encrypted": True}


@command.command("remove")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def _remove(settings: Settings, *, yes: bool) -> None:
    """Remove the account, its keys and messages.

    For ever, and from this machine alone: the account stays on the server; nobody
    can log in to it without the password that is removed here.
    """
    profile, jid = settings.profile, None
    if check_folders(profile, settings.data_dir) is None:
        jid = load_account(settings).jid
    what = jid or f"the encrypted account of the profile {profile!r}"
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: use --yes")
    if not yes:
        click.confirm(f"Remove {what} with all its keys?", abort=True, err=True)
    folder = Account.locate(profile, settings.data_dir)
    check_free(folder / "store.sqlite3")
    _clear(folder)
    keyring.follow(folder, None)
    settings.output.result(
        {"v": 1, "event": "removed", "profile": profile, "jid": jid},
        f"Removed {what}.",
    )
