"""``xmpp-onion listen``: decrypted messages, one a line, as they come."""

import asyncio
import os
import shlex

import click

from xmpp_onion.account import parse_recipient
from xmpp_onion.address import JID
from xmpp_onion.agent.desk import hold
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.chat import ContactRequest, Event, Message, Undecryptable, line
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import load_account
from xmpp_onion.cli.settings import Settings

__all__ = ["command"]


@click.command("listen")
@click.argument("jids", nargs=-1, metavar="[JID]...")
@click.option(
    "--exec", "program", metavar="CMD",
    help="Run CMD for each message: the text on its stdin, the rest in "
    "$XMPP_ONION_FROM, _ID, _TRUST.",
)  # fmt: skip
@click.pass_obj
def command(settings: Settings, jids: tuple[str, ...], *, program: str | None) -> None:
    """Print decrypted messages as they come; of the JIDs alone if any are given.

    While it runs, it holds the account: `send`, `trust`, `contact` and `devices`
    of the same profile go through it.
    """
    only = {parse_recipient(jid) for jid in jids}
    asyncio.run(_listen(settings, only, shlex.split(program) if program else []))


async def _listen(settings: Settings, only: set[JID], program: list[str]) -> None:
    account, output = load_account(settings), settings.output
    output.note(f"Logging in as {account.jid} through Tor…")
    async with (
        until_terminated(),
        hold(account, socks=settings.socks, control=settings.control) as client,
    ):
        output.result(
            {"v": 1, "event": "ready", "jid": client.jid},
            f"Ready as {client.jid}. Messages are shown as they come; Ctrl-C ends.",
        )
        async for event in client.events():
            if only and event.sender not in only:
                continue
            output.result(line(event), _told(event))
            if program and isinstance(event, Message):
                await _execute(program, event)


def _told(event: Event) -> str:
    at = f"{event.at.astimezone():%H:%M}"
    match event:
        case Message():
            return f"{at} {event.sender} ({event.trust}): {visible(event.text)}"
        case Undecryptable():
            return f"{at} {event.sender}: [not readable: {visible(event.reason)}]"
        case ContactRequest():
            return (
                f"{at} {event.sender} wants to be a contact; accept with: "
                f"xmpp-onion contact accept {event.sender}"
            )


async def _execute(program: list[str], message: Message) -> None:
    """Run a program for a message; never through a shell, never text in argv."""
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "XMPP_ONION_FROM": message.sender,
            "XMPP_ONION_ID": message.id,
            "XMPP_ONION_TRUST": message.trust,
        },
    )
    await process.communicate(message.text.encode())
