"""``xmpp-onion doctor``: what works, what does not, why, and how to mend it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import click

from xmpp_onion import e2ee
from xmpp_onion.account import Account
from xmpp_onion.agent.caller import ask
from xmpp_onion.agent.disk import check_files, check_space
from xmpp_onion.agent.findings import check_line
from xmpp_onion.agent.network import check_clock, check_network
from xmpp_onion.agent.profile import check_folders
from xmpp_onion.agent.tor import find_tor
from xmpp_onion.agent.tor_program import check_tor_program
from xmpp_onion.chat import Line
from xmpp_onion.cli.output import say_finding
from xmpp_onion.cli.reach import check_free, hold, load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import (
    EncryptionError,
    StoreLockedError,
    XmppOnionError,
)
from xmpp_onion.store import Database, Keys
from xmpp_onion.transport import Endpoint, Isolation, Purpose, Tor

__all__ = ["command"]

_Finding: TypeAlias = str | XmppOnionError | Line

# Seconds that the doctor waits for a circuit to the server.
_DIAL_TIMEOUT = 60.0


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Look at this machine alone.")
@click.pass_obj
def command(settings: Settings, *, offline: bool) -> int:
    """Check Tor, the account and the server; say how to mend what is broken.

    Exits with 0 if all is well, else with the code of the first thing that is not.
    """
    if settings.socks is not None:
        Endpoint.parse(settings.socks)
    return asyncio.run(_examine(settings, _find_account(settings), offline=offline))


def _find_account(settings: Settings) -> Account | XmppOnionError:
    try:
        if check_folders(settings.profile, settings.data_dir) is not None:
            check_free(settings)  # its holder has opened it: nobody is asked
        return load_account(settings)
    except XmppOnionError as error:
        return error


async def _examine(
    settings: Settings, found: Account | XmppOnionError, *, offline: bool
) -> int:
    code = 0
    async for name, finding in _checks(settings, found, offline=offline):
        line = finding if isinstance(finding, dict) else check_line(name, finding)
        settings.output.result(line, say_finding(line))
        code = code or int(str(line.get("code", 0)))
    return code


async def _checks(
    settings: Settings, found: Account | XmppOnionError, *, offline: bool
) -> AsyncIterator[tuple[str, _Finding]]:
    """Yield one finding after the other: words if all is well, else the error."""
    yield "tor program", await check_tor_program()
    yield "prosody program", _find_program("prosody", "only a server of yours needs it")
    account, is_held = (found if isinstance(found, Account) else None), False
    if isinstance(found, StoreLockedError):
        folder = Account.locate(settings.profile, settings.data_dir)
        async for name, finding in _ask_holder(folder, found):
            yield name, finding
    elif isinstance(found, XmppOnionError):
        yield "account", found
    place = Account.locate(settings.profile, settings.data_dir)
    if place.exists():
        yield "files", check_files(place)
        yield "space", check_space(place)
    if account is not None:
        yield "account", f"{account.jid}, trust: {account.trust}"
        async for name, finding in _check_store(account):
            is_held = is_held or isinstance(finding, dict | StoreLockedError)
            yield name, finding
    if offline:
        return
    async for name, finding in _check_way(settings, account, is_held=is_held):
        yield name, finding


async def _check_way(
    settings: Settings, account: Account | None, *, is_held: bool
) -> AsyncIterator[tuple[str, _Finding]]:
    """Yield how Tor is, the way to the server, and what a login shows."""
    async with AsyncExitStack() as stack:
        try:
            # A Tor of our own, if none runs, must not leave a folder behind.
            spare = stack.enter_context(tempfile.TemporaryDirectory(prefix="xo-"))
            tor = await stack.enter_async_context(
                find_tor(
                    Path(spare) / "tor", socks=settings.socks, control=settings.control
                )
            )
            yield "tor", await check_network(tor)
            yield "clock", await check_clock(tor, datetime.now(UTC))
        except XmppOnionError as error:
            yield "tor", error
            return
        if account is None:
            return
        server = await _check_server(tor, account)
        yield "server", server
        if isinstance(server, str) and not is_held:
            async for name, finding in _log_in(settings, account):
                yield name, finding


def _find_program(name: str, without: str) -> str:
    """Tell where a program is; to have none is no fault."""
    return shutil.which(name) or f"not installed: {without} (apt-get install {name})"


async def _check_store(
    account: Account,
) -> AsyncIterator[tuple[str, _Finding]]:
    """Yield how the store is, and which nodes are closed, if any."""
    try:
        async with Database.open(
            account.store_path, key=account.store_key, create=not account.device
        ) as database:
            yield "store", f"{account.store_path} is whole"
            closed = await e2ee.closed_nodes(Keys(database))
    except StoreLockedError as error:
        async for name, finding in _ask_holder(account.folder, error, name="store"):
            yield name, finding
    except XmppOnionError as error:
        yield "store", error
    else:
        if closed:
            yield "nodes", _closed(closed)


def _closed(names: tuple[str, ...]) -> EncryptionError:
    return EncryptionError(
        "strangers cannot write to this account",
        why=f"the server lets contacts alone read {', '.join(names)}",
        fix="Become contacts first (xmpp-onion contact add JID), or choose a server "
        "that lets an account open its nodes",
    )


async def _ask_holder(
    folder: Path, held: StoreLockedError, *, name: str = "account"
) -> AsyncIterator[tuple[str, _Finding]]:
    """Yield whether the process that holds an account answers, and what it finds."""
    try:
        answers = [line async for line in ask(folder, {"do": "check"})]
    except OSError:
        yield name, held
        return
    yield name, f"{held.why}; it answers"
    for line in answers:
        if line["event"] == "check":
            yield str(line["name"]), line


async def _log_in(
    settings: Settings, account: Account
) -> AsyncIterator[tuple[str, _Finding]]:
    """Log in, as any command does that finds no holder, and yield what is found."""
    try:
        async with hold(settings, account) as client:
            from xmpp_onion.agent.requests import perform  # noqa: PLC0415 - it is loaded

            lines = await perform(client, {"do": "check"})
    except XmppOnionError as error:
        yield "login", error
        return
    yield "login", f"{account.jid} logs in"
    for line in lines:
        if line["event"] == "check":
            yield str(line["name"]), line


async def _check_server(tor: Tor, account: Account) -> str | XmppOnionError:
    isolation = Isolation(account.jid, Purpose.CHECK)
    account.introduce_to(tor)
    try:
        sock = await tor.dial(
            account.jid.domain,
            account.port,
            isolation=isolation,
            timeout=_DIAL_TIMEOUT,
        )
    except XmppOnionError as error:
        return error
    sock.close()
    return f"{account.jid.domain} answers through Tor"
