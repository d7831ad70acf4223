"""How a command reaches its account: by the process that holds it, or by a login.

Who is answered by a process that runs waits for no library: all that opens, encrypts
and connects is loaded when there is none.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from xmpp_onion import places, private
from xmpp_onion.agent.caller import ask
from xmpp_onion.cli.settings import Settings

if TYPE_CHECKING:
    from xmpp_onion.account import Account
    from xmpp_onion.agent.loan import Loan
    from xmpp_onion.chat import Line
    from xmpp_onion.client import Client
    from xmpp_onion.e2ee.trust import Trust
    from xmpp_onion.transport import Tor

__all__ = [
    "ask_holder",
    "check_free",
    "enter",
    "hold",
    "load_account",
    "print_lines",
    "run",
    "watch_bootstrap",
    "worse",
]

# Seconds without progress after which Tor counts as stuck: a first start on a slow
# line makes some progress within this.
_PATIENCE = 45.0
# Exit codes from the mildest to the worst: what goes on by itself, what may work later,
# what somebody has to decide or mend, and a bug.
_SEVERITY = (0, 8, 3, 5, 4, 2, 6, 7, 1)
# Seconds that a login may take; a bot has None, which is for ever.
_LOGIN_TIMEOUT = 180.0


def load_account(settings: Settings, name: str | None = None) -> "Account":
    """Return the account of the profile, or of another; ask what opens it.

    Raises:
        AccountNotFoundError: It has none.
        StoreKeyError: It is encrypted, and nothing that opens it was given.
        StorePermissionError: Others can reach it.
    """
    from xmpp_onion.account import Account  # noqa: PLC0415 - see above
    from xmpp_onion.agent import profile  # noqa: PLC0415 - see above
    from xmpp_onion.cli import unlock  # noqa: PLC0415 - see above

    name = name or settings.profile
    kind = profile.check_folders(name, settings.data_dir)
    folder = Account.locate(name, settings.data_dir)
    secret = None if kind is None else unlock.find(settings, kind, folder)
    return Account.load(name, settings.data_dir, secret=secret)


def check_free(settings: Settings, name: str | None = None) -> None:
    """Refuse an account that another process holds, before a passphrase is asked for.

    Raises:
        StoreLockedError: It is held.
        StoreError: As ``load_account``, except for ``StoreKeyError``.
    """
    from xmpp_onion.agent import profile  # noqa: PLC0415 - see above
    from xmpp_onion.store import check_free as check_store  # noqa: PLC0415 - see above

    name = name or settings.profile
    profile.check_folders(name, settings.data_dir)
    folder = places.account_folder(name, settings.data_dir)
    check_store(folder / "store.sqlite3")


@asynccontextmanager
async def hold(
    settings: Settings,
    account: "Account",
    *,
    trust: "Trust | None" = None,
    login_timeout: float | None = _LOGIN_TIMEOUT,
    loan: "Loan | None" = None,
) -> AsyncIterator["Client"]:
    """Log in as ``account``, tell how it goes, serve its socket, and yield the client.

    Raises:
        XmppOnionError: As ``agent.desk.hold``.
    """
    from xmpp_onion.store import check_free as check_store  # noqa: PLC0415 - see above

    # Who is refused here learns it before the encryption libraries are loaded.
    check_store(account.store_path)
    from xmpp_onion.agent import desk  # noqa: PLC0415 - it takes a second to load

    async with desk.hold(
        account,
        socks=settings.socks,
        control=settings.control,
        trust=trust,
        login_timeout=login_timeout,
        watch=_watching(settings, account),
        loan=loan,
    ) as client:
        yield client


@asynccontextmanager
async def enter(
    settings: Settings,
    account: "Account",
    *,
    login_timeout: float | None = _LOGIN_TIMEOUT,
) -> AsyncIterator["Client"]:
    """Log in as ``account``, tell how it goes, and yield the client; serve no socket.

    Raises:
        XmppOnionError: As ``agent.desk.enter``.
    """
    from xmpp_onion.agent import desk  # noqa: PLC0415 - it takes a second to load

    async with desk.enter(
        account,
        socks=settings.socks,
        control=settings.control,
        login_timeout=login_timeout,
        watch=_watching(settings, account),
    ) as client:
        yield client


def _watching(
    settings: Settings, account: "Account"
) -> "Callable[[Tor], Awaitable[None]]":
    async def watch(tor: "Tor") -> None:
        # A Tor that was named and is not there is told of without it.
        settings.output.note(f"Logging in as {account.jid} through Tor…")
        await watch_bootstrap(tor, settings)

    return watch


async def watch_bootstrap(tor: "Tor", settings: Settings) -> None:
    """Wait until Tor has its network; show how far it is, on a terminal.

    Raises:
        BootstrapError: It is stuck, or it ended.
    """
    phases = tor.bootstrap(patience=_PATIENCE)
    percent, summary = await anext(phases)
    if percent == 100 or settings.quiet or not sys.stderr.isatty():
        async for _ in phases:
            pass
        return
    from xmpp_onion.cli.progress import show_progress  # noqa: PLC0415 - rich is slow

    with show_progress("Tor") as update:
        update(summary, percent / 100)
        async for percent, summary in phases:
            update(summary, percent / 100)


def run(
    settings: Settings,
    request: "Line",
    tell: Callable[["Line"], str],
    *,
    check: Callable[[], None] = lambda: None,
    offline: Callable[["Account"], "Line | list[Line]"] | None = None,
    nothing: str = "",
    closing: str = "",
    watch: Callable[["Line"], None] = lambda _line: None,
) -> int:
    """Have ``request`` done, print what comes of it, and return the exit code.

    Args:
        settings: The global options.
        request: What ``agent.requests.perform`` understands.
        tell: Turns a line into text for a person.
        check: Looks at what is asked for where nobody holds the account, before a
            login; a holder does so itself.
        offline: Does it where nobody holds the account; None logs in for it.
        nothing: What to tell a person if nothing comes of it.
        closing: What to tell a person after all of it, if nothing went wrong.
        watch: Called meanwhile with lines that say how far it is.
    """
    lines = asyncio.run(ask_holder(settings, request, watch))
    if lines is None:
        check()
        account = load_account(settings)
        if offline is not None:
            done = offline(account)
            lines = done if isinstance(done, list) else [done]
        else:
            # Not inside a loop, where Ctrl-C would not end the question for a
            # passphrase.
            lines = asyncio.run(_perform(settings, account, request, watch))
    code = print_lines(settings, lines, tell)
    if code == 0 and (note := closing if lines else nothing):
        settings.output.note(note)
    return code


def print_lines(
    settings: Settings, lines: "list[Line]", tell: Callable[["Line"], str]
) -> int:
    """Print what came of a request, and return the exit code.

    Args:
        settings: The global options.
        lines: What came.
        tell: Turns a line that is no error into text for a person.
    """
    output, code = settings.output, 0
    for line in lines:
        if line["event"] == "error":
            output.error(line)
            code = worse(code, int(str(line["code"])))
        else:
            output.result(line, tell(line))
    return code


def worse(one: int, other: int) -> int:
    """Return the exit code that tells of the worse of two errors."""
    return max(one, other, key=_SEVERITY.index)


async def ask_holder(
    settings: Settings,
    request: "Line",
    watch: Callable[["Line"], None] = lambda _line: None,
) -> "list[Line] | None":
    """Return the answer of the process that holds the account; None if none does.

    It has opened the account, so nothing that opens it is needed here.

    Raises:
        StorePermissionError: Others can reach the account's folder, or the one of all
            profiles: what answers there may not be ours.
    """
    private.check_folder(places.data_folder(settings.data_dir))
    folder = places.account_folder(settings.profile, settings.data_dir)
    lines: list[Line] = []
    try:
        async for line in ask(folder, request):
            if line["event"] == "progress":
                watch(line)
            else:
                lines.append(line)
    except OSError:
        return None
    return lines


async def _perform(
    settings: Settings,
    account: "Account",
    request: "Line",
    watch: Callable[["Line"], None],
) -> "list[Line]":
    timeout = request.get("timeout")
    limit = float(timeout) if isinstance(timeout, int | float) else _LOGIN_TIMEOUT
    async with hold(settings, account, login_timeout=limit) as client:
        from xmpp_onion.agent.requests import perform  # noqa: PLC0415 - it is loaded

        return await perform(client, request, watch)
