"""`chat` in a terminal: it is there at once, and stays while there is no room for it.

What cannot be kept on a full disk ends a client, and a supervisor starts it again. A
person is no supervisor: here the screen stays, and so do the lines that were typed.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeAlias

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.cli.chat_lines import Lines
from xmpp_onion.cli.chat_screen import Screen
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import StoreFullError
from xmpp_onion.one_error import innermost

if TYPE_CHECKING:
    from xmpp_onion.agent.loan import Loan
    from xmpp_onion.cli.chat_talk import Talk
    from xmpp_onion.transport import Tor

__all__ = ["at_terminal"]

Borrowing: TypeAlias = (
    "Callable[[Callable[[], None]], AbstractAsyncContextManager[Loan | None]]"
)

# Seconds without progress after which Tor counts as stuck.
_PATIENCE: Final = 45.0
# What a store needs to be opened, and to take in some of what came meanwhile.
_ROOM_BYTES: Final = 2 * 1024 * 1024
# Seconds between two looks whether there is room; of a quota nothing is seen, and the
# account is tried then.
_LOOK: Final = 2.0


async def at_terminal(
    settings: Settings, account: Account, to: JID | None, borrowed: Borrowing
) -> None:
    """Show the line to type on at once, and connect meanwhile.

    Args:
        settings: The global options.
        account: Whose.
        to: Whom the person writes to first.
        borrowed: Has an agent lend the account, if one has it; what it is given is
            called before one is asked.
    """
    screen, lines = Screen(account.jid, to), Lines()
    try:
        with _ending(screen):
            async with asyncio.TaskGroup() as tasks:
                talking = tasks.create_task(
                    _keep_talking(
                        settings, account, to, borrowed, screen=screen, lines=lines
                    )
                )
                async with aclosing(screen.lines()) as typed:
                    async for line in typed:
                        lines.add(line)
                        screen.waiting = len(lines)
                if screen.talk is None:
                    talking.cancel()
                lines.end()
    finally:
        if uncertain := lines.interrupt():
            settings.output.note(_uncertain(uncertain))
        if left := lines.give_up():
            settings.output.note("\n".join(["Not sent:", *_shown(left)]))


@contextmanager
def _ending(screen: Screen) -> Iterator[None]:
    """Let SIGTERM, and a terminal that is closed, end the talk as Ctrl-D does."""
    loop = asyncio.get_running_loop()

    def hang_up() -> None:
        # Whatever writes there from now on would fail, and take the talk along.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        screen.end()

    loop.add_signal_handler(signal.SIGTERM, screen.end)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        # Told to end once: what comes now must not cut the end short.
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


async def _keep_talking(
    settings: Settings,
    account: Account,
    to: JID | None,
    borrowed: Borrowing,
    *,
    screen: Screen,
    lines: Lines,
) -> None:
    """Talk; where the disk becomes full, wait until it has room and go on."""
    # In a thread: it takes a second, in which keys are to be seen.
    await asyncio.to_thread(import_module, "xmpp_onion.agent.desk")
    await asyncio.to_thread(import_module, "xmpp_onion.cli.chat_commands")
    before: Talk | None = None
    is_told = False

    def ask() -> None:
        screen.network = "asking the agent for the account"
        screen.changed()

    while True:
        try:
            async with borrowed(ask) as loan:
                await _talk(
                    *(settings, account, to, loan),
                    screen=screen,
                    lines=lines,
                    before=before,
                )
        except Exception as error:
            full = innermost(error)
            if not isinstance(full, StoreFullError) or screen.is_over:
                raise
        else:
            return
        screen.network = "the disk is full, waiting for room"
        if screen.talk is not None or not is_told:
            _tell_full(screen, full, lines.interrupt())
            is_told = True
        before, screen.talk = screen.talk or before, None
        screen.changed()
        await asyncio.sleep(_LOOK)
        while shutil.disk_usage(account.folder).free < _ROOM_BYTES:  # noqa: ASYNC110 - no system tells of it
            await asyncio.sleep(_LOOK)
        screen.network = "connecting"
        screen.changed()


def _tell_full(screen: Screen, error: StoreFullError, in_hand: str) -> None:
    parts = [visible(each) for each in (error.what, error.why, error.fix)]
    parts.append("It goes on by itself then; what you type waits in memory")
    if in_hand:
        parts.append(_uncertain(in_hand))
    screen.paper.show("! " + "\n  ".join(parts))


async def _talk(
    settings: Settings,
    account: Account,
    to: JID | None,
    loan: "Loan | None",
    *,
    screen: Screen,
    lines: Lines,
    before: "Talk | None",
) -> None:
    """Connect, do what was typed, and say what of it is still here at the end."""
    from xmpp_onion.agent import desk  # noqa: PLC0415 - loaded by the thread
    from xmpp_onion.cli.chat_commands import do  # noqa: PLC0415 - as well
    from xmpp_onion.cli.chat_talk import left_behind, open_talk  # noqa: PLC0415 - as well

    async with (
        desk.hold(
            account,
            socks=settings.socks,
            control=settings.control,
            login_timeout=None,
            watch=lambda tor: _watch(tor, screen),
            loan=loan,
        ) as client,
        open_talk(
            client, screen.paper, to, screen.changed, before=before
        ) as screen.talk,
    ):
        screen.network = "connected"
        screen.changed()
        while (line := await lines.next()) is not None:
            if not await do(screen.talk, line):
                screen.end()
            screen.waiting = len(lines) - 1
            screen.changed()
        if left := await client.queued():
            screen.paper.show(left_behind(left))


async def _watch(tor: "Tor", screen: Screen) -> None:
    screen.network = "connecting"
    async for percent, _ in tor.bootstrap(patience=_PATIENCE):
        screen.network = f"Tor {percent} %"
        screen.changed()


def _uncertain(line: str) -> str:
    return f"Perhaps not sent: {' '.join(_shown([line]))}"


def _shown(lines: list[str]) -> Iterator[str]:
    return (f"  {visible(line)}" for line in lines)
