"""``trust verify JID`` at a terminal: the end of a fingerprint is typed in."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import click

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.chat import Line
from xmpp_onion.cli.compare import hidden, match
from xmpp_onion.cli.devices import told
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import ask_holder, hold, load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import SessionError, UsageError, XmppOnionError

__all__ = ["compare"]

_ASKED = (
    "Call, or meet. On the other screen `xmpp-onion devices list` shows the\n"
    "fingerprint. Type its last two groups as they are read out to you: "
)


def compare(settings: Settings, owner: JID) -> int:
    """Show the devices of somebody, ask for the end of one, believe that, or none.

    Returns:
        The exit code.
    """
    lines = asyncio.run(_through_holder(settings, owner))
    if lines is None:
        # Before the loop, in which Ctrl-C would not end the question.
        account = load_account(settings)
        lines = asyncio.run(_by_login(settings, account, owner))
    for line in lines:
        if line["event"] == "error":
            settings.output.error(line)
            return int(str(line["code"]))
        settings.output.result(line, told(line))
    return 0


async def _through_holder(settings: Settings, owner: JID) -> list[Line] | None:
    devices = await ask_holder(settings, {"do": "devices", "jid": owner})

    async def ask(request: Line) -> list[Line]:
        lines = await ask_holder(settings, request)
        if lines is None:
            raise SessionError(
                "nothing was changed",
                why="the process that held the account has ended",
                fix="Run it again.",
            )
        return lines

    return None if devices is None else await _decide(owner, devices, ask)


async def _by_login(settings: Settings, account: Account, owner: JID) -> list[Line]:
    async with hold(settings, account) as client:
        from xmpp_onion.agent.requests import perform  # noqa: PLC0415 - it is loaded

        async def ask(request: Line) -> list[Line]:
            return await perform(client, request)

        devices = await ask({"do": "devices", "jid": owner})
        return await _decide(owner, devices, ask)


async def _decide(
    owner: JID, lines: list[Line], ask: Callable[[Line], Awaitable[list[Line]]]
) -> list[Line]:
    """Return what became of it, as lines."""
    if [line for line in lines if line["event"] == "error"]:
        return lines
    devices = [line for line in lines if line["active"]]
    try:
        if not devices:
            raise UsageError(
                f"{owner} shows us no device",
                fix="They have to log in once with a program that speaks OMEMO.",
            )
        for line in devices:
            label = f" {visible(str(line['label']))}" if line["label"] else ""
            digits = hidden(str(line["fingerprint"]))
            click.echo(f"  {digits}  {line['trust']}{label}", err=True)
        typed = await _read_line(_ASKED)
        known = [str(line["fingerprint"]) for line in devices]
        chosen = match(known, typed, visible(owner))
    except XmppOnionError as error:
        return [error.as_line()]
    return await ask({"do": "verify", "jid": owner, "fingerprint": chosen})


async def _read_line(question: str) -> str:
    """Return a line of the terminal; unlike one in a thread, Ctrl-C ends it."""
    click.echo(question, nl=False, err=True)
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()
