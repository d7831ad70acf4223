"""``xmpp-onion listen``: decrypted messages, one a line, as they come."""

import asyncio
import os
import shlex
import shutil
import sys

import click

from xmpp_onion.account import Account, parse_recipient
from xmpp_onion.address import JID
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.chat import Event, Message, OwnMessage, Receipt, Said, line
from xmpp_onion.cli.reach import check_free, hold, load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.cli.told import told

__all__ = ["command"]

# Seconds that rooms may keep us from being ready: longer than one that is slow needs,
# and not longer than who waits for "ready" in a script bears.
_ROOM_PATIENCE = 30.0


@click.command("listen")
@click.argument("jids", nargs=-1, metavar="[JID]...")
@click.option(
    "--exec", "program", metavar="CMD",
    help="Run CMD for each message from a device that your policy accepts: the text on "
    "its stdin, the rest in $XMPP_ONION_FROM, _ROOM, _ID, _TRUST. No shell reads it.",
)  # fmt: skip
@click.pass_obj
def command(settings: Settings, jids: tuple[str, ...], *, program: str | None) -> None:
    """Print decrypted messages as they come; of the JIDs alone if any are given.

    A JID may be a room; what is said there is shown with its author's account.

    While it runs, it holds the account: `send`, `trust`, `contact` and `devices`
    of the same profile go through it.
    """
    only = {parse_recipient(jid) for jid in jids}
    words = [] if program is None else _split(program)
    check_free(settings)
    asyncio.run(_listen(settings, load_account(settings), only, words))


def _split(program: str) -> list[str]:
    """Return the words of a command that can be run."""
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise click.UsageError(f"--exec cannot be understood: {error}") from None
    if not words or shutil.which(words[0]) is None:
        raise click.UsageError(f"--exec: there is no program {program!a}")
    return words


async def _listen(
    settings: Settings, account: Account, only: set[JID], program: list[str]
) -> None:
    output = settings.output
    async with until_terminated(), hold(settings, account) as client:
        await client.settle_rooms(timeout=_ROOM_PATIENCE)
        output.result(
            {"v": 1, "event": "ready", "jid": client.jid},
            f"Ready as {client.jid}. Messages are shown as they come; Ctrl-C ends.",
        )
        async for event in client.events():
            if only and not _concerns(event, {*only, client.jid}):
                continue
            output.event(line(event), told(event), is_ours=not isinstance(event, Said))
            if program and isinstance(event, Message) and client.accepts(event):
                await _execute(program, event, settings)


def _concerns(event: Event, people: set[JID]) -> bool:
    """Tell whether an event is about people or rooms.

    What we wrote is about its recipient, and what was said in a room about that.
    """
    if isinstance(event, Said | Receipt) and event.room is not None:
        return event.room in people
    about = event.to if isinstance(event, OwnMessage) else event.sender
    return about in people


async def _execute(program: list[str], message: Message, settings: Settings) -> None:
    """Run a program for a message; never through a shell, never text in argv."""
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.PIPE,
        stdout=sys.stderr if settings.as_json else None,  # stdout has JSON alone
        env={
            **os.environ,
            "XMPP_ONION_FROM": message.sender,
            "XMPP_ONION_ROOM": message.room or "",
            "XMPP_ONION_ID": message.id,
            "XMPP_ONION_TRUST": message.trust,
        },
    )
    try:
        await process.communicate(message.text.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        settings.output.note(f"{program[0]} ended with status {process.returncode}")
