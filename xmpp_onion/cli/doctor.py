"""``xmpp-onion doctor``: what works, what does not, why, and how to mend it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import click

from xmpp_onion import e2ee
from xmpp_onion.account import Account
from xmpp_onion.agent.caller import ask
from xmpp_onion.agent.profile import check_folders
from xmpp_onion.agent.tor import find_tor
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import check_free, load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import (
    BootstrapError,
    EncryptionError,
    StoreLockedError,
    XmppOnionError,
)
from xmpp_onion.store import Database, Keys
from xmpp_onion.transport import Endpoint, Isolation, Purpose, Tor

__all__ = ["command"]

# Seconds that the doctor waits for a circuit to the server.
_DIAL_TIMEOUT = 60.0
# Seconds without progress after which Tor counts as stuck; a first start on a slow
# line makes some progress within this.
_PATIENCE = 45.0


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
        failed = isinstance(finding, XmppOnionError)
        line: dict[str, object] = {
            "v": 1,
            "event": "check",
            "name": name,
            "ok": not failed,
            "what": finding.what if isinstance(finding, XmppOnionError) else finding,
            "why": finding.why if isinstance(finding, XmppOnionError) else "",
            "fix": finding.fix if isinstance(finding, XmppOnionError) else "",
        }
        settings.output.result(line, _told(name, finding))
        if isinstance(finding, XmppOnionError):
            code = code or finding.exit_code
    return code


def _told(name: str, finding: str | XmppOnionError) -> str:
    if isinstance(finding, str):
        return f"ok    {name}: {finding}"
    text = f"FAIL  {name}: {visible(finding.what)}"
    for label, part in (("why", finding.why), ("fix", finding.fix)):
        if part:
            text += f"\n      {label}: {visible(part)}"
    return text


async def _checks(
    settings: Settings, found: Account | XmppOnionError, *, offline: bool
) -> AsyncIterator[tuple[str, str | XmppOnionError]]:
    """Yield one finding after the other: words if all is well, else the error."""
    yield "tor program", _find_program("tor", "a running Tor is used")
    yield "prosody program", _find_program("prosody", "only a server of yours needs it")
    account = found if isinstance(found, Account) else None
    if isinstance(found, StoreLockedError):
        folder = Account.locate(settings.profile, settings.data_dir)
        yield "account", await _ask_holder(folder, found)
    elif isinstance(found, XmppOnionError):
        yield "account", found
    if account is not None:
        yield "account", f"{account.jid}, trust: {account.trust}"
        async for name, finding in _check_store(account):
            yield name, finding
    if offline:
        return
    async with AsyncExitStack() as stack:
        try:
            # A Tor of our own, if none runs, must not leave a folder behind.
            spare = stack.enter_context(tempfile.TemporaryDirectory(prefix="xo-"))
            tor = await stack.enter_async_context(
                find_tor(
                    Path(spare) / "tor", socks=settings.socks, control=settings.control
                )
            )
            yield "tor", await _check_network(tor)
        except XmppOnionError as error:
            yield "tor", error
            return
        if account is not None:
            yield "server", await _check_server(tor, account)


def _find_program(name: str, without: str) -> str:
    """Tell where a program is; to have none is no fault."""
    return shutil.which(name) or f"not installed: {without} (apt-get install {name})"


async def _check_store(
    account: Account,
) -> AsyncIterator[tuple[str, str | XmppOnionError]]:
    """Yield how the store is, and which nodes are closed, if any."""
    try:
        async with Database.open(
            account.store_path, key=account.store_key, create=not account.device
        ) as database:
            yield "store", f"{account.store_path} is whole"
            closed = await e2ee.closed_nodes(Keys(database))
    except StoreLockedError as error:
        yield "store", await _ask_holder(account.folder, error)
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


async def _ask_holder(folder: Path, held: StoreLockedError) -> str | StoreLockedError:
    """Tell whether the process that holds an account answers."""
    try:
        async for _ in ask(folder, {"do": "devices"}):
            return f"{held.why}; it answers"
    except OSError:
        return held
    return held


async def _check_network(tor: Tor) -> str | XmppOnionError:
    try:
        async for _ in tor.bootstrap(patience=_PATIENCE):
            pass
    except BootstrapError as error:
        return error
    control = "with" if tor.has_control else "without"
    return f"listens at {tor.socks}, {control} a control port, and has its network"


async def _check_server(tor: Tor, account: Account) -> str | XmppOnionError:
    isolation = Isolation(account.jid, Purpose.CHECK)
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
