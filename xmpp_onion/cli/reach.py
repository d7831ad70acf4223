"""How a command reaches its account: by the process that holds it, or by a login."""

import asyncio
from collections.abc import AsyncIterator, Callable

from xmpp_onion.account import Account
from xmpp_onion.agent.caller import ask
from xmpp_onion.chat import Line
from xmpp_onion.cli.settings import Settings

__all__ = ["load_account", "run"]


def load_account(settings: Settings) -> Account:
    """Return the profile's account.

    Raises:
        AccountNotFoundError: It has none.
    """
    return Account.load(settings.profile, settings.data_dir)


def run(settings: Settings, request: Line, tell: Callable[[Line], str]) -> int:
    """Have ``request`` done, print what comes of it, and return the exit code.

    Args:
        settings: The global options.
        request: What ``agent.desk.perform`` understands.
        tell: Turns a line into text for a person.
    """

    async def work() -> int:
        code = 0
        async for line in _perform(settings, request):
            if line["event"] == "error":
                settings.output.error(line)
                code = code or int(str(line["code"]))
            else:
                settings.output.result(line, tell(line))
        return code

    return asyncio.run(work())


async def _perform(settings: Settings, request: Line) -> AsyncIterator[Line]:
    account = load_account(settings)
    try:
        async for line in ask(account.folder, request):
            yield line
    except OSError:
        pass  # nobody holds the account
    else:
        return
    # Only now: it brings the encryption libraries, a second of loading.
    from xmpp_onion.agent import desk  # noqa: PLC0415 - see above

    settings.output.note(f"Logging in as {account.jid} through Tor…")
    async with desk.hold(
        account, socks=settings.socks, control=settings.control
    ) as client:
        for line in await desk.perform(client, request):
            yield line
