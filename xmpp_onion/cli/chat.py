"""``xmpp-onion chat``: talk to somebody, or in a room, in a terminal."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial, reduce
from typing import TYPE_CHECKING

import click

from xmpp_onion.account import Account, parse_recipient
from xmpp_onion.address import JID
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.cli.output import Output
from xmpp_onion.cli.reach import (
    ask_holder,
    check_free,
    hold,
    load_account,
    worse,
)
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import NotAcknowledgedError, StoreLockedError

if TYPE_CHECKING:
    from xmpp_onion.agent.loan import Loan

__all__ = ["command"]

# Seconds that the end of a pipe waits for the server to have all that was said.
_ACK_PATIENCE = 120.0


@click.command("chat")
@click.argument("jid", metavar="[JID]", default="")
@click.pass_obj
def command(settings: Settings, jid: str) -> int:
    """Talk to JID, a person or a room; with /to to somebody else.

    What comes is printed above the line that you type. /help names the commands.
    Without a terminal each line of stdin is sent, and its end is the end; the exit
    code is 0 if the server has all of it.
    """
    to = parse_recipient(jid) if jid else None
    if settings.as_json:
        raise click.UsageError("chat is for people; see `listen --json` and `send`")
    lender = _find_lender(settings)
    account = load_account(settings)
    if sys.stdin.isatty() and sys.stdout.isatty():
        # It loads what draws, and a pipe needs none of that.
        from xmpp_onion.cli.chat_terminal import at_terminal  # noqa: PLC0415

        borrowed = partial(_borrowed, account, lender=lender)
        asyncio.run(at_terminal(settings, account, to, borrowed))
        return 0
    return asyncio.run(_in_pipe(settings, account, to, lender=lender))


def _find_lender(settings: Settings) -> bool:
    """Return whether an agent has the account, which would lend it.

    Before a passphrase is asked for: whoever else has it keeps it.

    Raises:
        StoreLockedError: It is held, and not by an agent; says what can be done.
    """
    lines = asyncio.run(ask_holder(settings, {"do": "status"}))
    holder = lines[0] if lines else {}
    if holder.get("agent") is True and not holder.get("lent"):
        return True
    try:
        check_free(settings)
    except StoreLockedError as error:
        raise StoreLockedError(
            error.what,
            why=error.why,
            fix="Chat where it runs already, or end that with Ctrl-C there: only an "
            "agent lends the account. Beside it `xmpp-onion send JID -m TEXT` works.",
        ) from None
    return False


@asynccontextmanager
async def _borrowed(
    account: Account, asks: Callable[[], None] = lambda: None, *, lender: bool
) -> "AsyncIterator[Loan | None]":
    """Borrow the account from the agent that has it; None if nobody has it."""
    from xmpp_onion.agent.loan import borrow  # noqa: PLC0415 - of an agent alone

    async with AsyncExitStack() as stack:
        loan = None
        if lender:
            asks()
            with suppress(OSError):  # it has ended meanwhile
                loan = await stack.enter_async_context(borrow(account.folder, "chat"))
        yield loan


async def _in_pipe(
    settings: Settings, account: Account, to: JID | None, *, lender: bool
) -> int:
    from xmpp_onion.cli.chat_commands import do  # noqa: PLC0415 - it loads a lot
    from xmpp_onion.cli.chat_talk import left_behind, open_talk  # noqa: PLC0415 - as well

    async with (
        until_terminated(),
        _borrowed(account, lender=lender) as loan,
        hold(settings, account, loan=loan) as client,
        open_talk(client, _Pipe(settings.output), to) as talk,
    ):
        async for line in _stdin():
            if not await do(talk, line):
                break
        if left := await talk.settle(_ACK_PATIENCE):
            settings.output.note(left_behind(left))
            talk.failed.add(NotAcknowledgedError.exit_code)
    return reduce(worse, talk.failed, 0)


class _Pipe:
    """Shows lines one after the other, and takes nothing back."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, text: str) -> None:
        self._output.event({}, text)

    def show_mine(self, number: int, text: str) -> None:  # noqa: ARG002 - of a Paper
        self.show(text)

    def mark(self, number: int, head: str, otherwise: Callable[[], None]) -> None:  # noqa: ARG002 - of a Paper
        otherwise()


async def _stdin() -> AsyncIterator[str]:
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line.rstrip("\n")
