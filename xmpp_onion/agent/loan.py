"""An account that an agent lends, and takes again however its borrower ends.

The borrower keeps a connection to the agent open: whoever of the two ends, and be it
by SIGKILL, the other one sees it. With the account go the sockets at which it is asked
for something. They are never closed, so that who comes in between waits in the kernel's
line until somebody has the account and takes him in. See docs/adr/0040.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from xmpp_onion import private
from xmpp_onion.agent.caller import AGAIN, END, socket_path
from xmpp_onion.chat import Line
from xmpp_onion.errors import SessionError, StoreLockedError, XmppOnionError
from xmpp_onion.transport import Lifeline, Listener, Peer, peer_process

__all__ = ["Borrower", "Loan", "borrow"]

# An answer has a path in it, and what else we may say one day.
_LINE_LIMIT_BYTES: Final = 64 * 1024
# Seconds for an agent to finish what it does for others, and to log out.
_PATIENCE: Final = 60.0
# Seconds for an agent to end that has nothing to finish.
_END_PATIENCE: Final = 10.0
_TRIES: Final = 20
_PROGRAM: Final = re.compile(r"[a-z][a-z -]{0,31}")
_STOP: Final = b'{"do": "stop"}\n'


@dataclass(slots=True)
class Borrower:
    """Who asks an agent for its account, as the agent sees it.

    Attributes:
        program: What it calls itself.
        pid: Its process id.
        since: When it asked.
    """

    program: str
    pid: int
    _lifeline: Lifeline
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, request: Line, peer: Peer) -> Self:
        """Take up a request for the account, and keep its connection."""
        program, said = str(request.get("as")), request.get("pid")
        if not _PROGRAM.fullmatch(program):
            program = "another program"
        # The kernel knows better; where it does not, it is for people to read only.
        pid = peer_process(peer) or (said if isinstance(said, int) else 0)
        return cls(program, pid, Lifeline.keep(peer))

    @property
    def is_gone(self) -> bool:
        """Whether it has ended, and wants nothing any more."""
        return self._lifeline.is_closed

    def as_field(self) -> Line:
        """Return what a status tells of it."""
        return _field(self.program, self.pid, self.since)

    async def hand_over(self, listeners: Sequence[Listener]) -> bool:
        """Give it the sockets; the account is free. Returns whether it is there.

        Args:
            listeners: Ours, and the one that others may reach, if there is one.
        """
        shared = [str(each.path) for each in listeners[1:]]
        line: Line = {"v": 1, "event": "lent", "pid": os.getpid(), "shared": shared}
        return await self._say([line], listeners)

    async def refuse(self, error: XmppOnionError) -> None:
        """Tell it why it does not get the account."""
        await self._say([error.as_line(), END])
        self.close()

    async def send_elsewhere(self) -> None:
        """Have it ask again: somebody else will answer."""
        await self._say([AGAIN, END])
        self.close()

    async def wait(self) -> bool:
        """Wait until it has ended; returns sooner, and True, if we shall end."""
        data, _ = await self._lifeline.receive(_LINE_LIMIT_BYTES)
        return bool(data)

    def close(self) -> None:
        """Let it see that we are gone; a second time does nothing."""
        self._lifeline.close()

    async def _say(self, lines: list[Line], listeners: Sequence[Listener] = ()) -> bool:
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        try:
            await self._lifeline.send(data, [each.socket for each in listeners])
        except OSError:
            return False
        return True


class Loan:
    """What an agent lent, as its borrower sees it; :func:`borrow` makes one.

    Attributes:
        lender: The agent's process id.
        listeners: The sockets at which the account is asked for something: ours, and
            behind it one that others may reach.

    Args:
        program: What we call ourselves.
        lifeline: The connection to the agent.
        lender: As above.
        listeners: As above.
    """

    def __init__(
        self, program: str, lifeline: Lifeline, lender: int, listeners: list[Listener]
    ) -> None:
        self.lender = lender
        self.listeners = listeners
        self._program = program
        self._lifeline = lifeline
        self._since = datetime.now(UTC)
        self._over = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether the agent has ended: nobody takes the account again."""
        return self._over.is_set()

    def as_field(self) -> Line:
        """Return what a status tells of it."""
        return _field(self._program, os.getpid(), self._since)

    async def watch(self) -> None:
        """Notice that the agent has ended; returns then."""
        while (await self._lifeline.receive(_LINE_LIMIT_BYTES))[0]:
            pass
        self._over.set()

    async def end_lender(self) -> bool:
        """Tell the agent to end, and return whether it has. The account stays here."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_PATIENCE):
                with suppress(OSError):  # it is ending already
                    await self._lifeline.send(_STOP)
                await self._over.wait()
        return self.is_over


@asynccontextmanager
async def borrow(folder: Path, program: str) -> AsyncIterator[Loan]:
    """Have the agent of an account lend it while the block runs.

    The account is free then. It has to be free again when the block ends, for the
    agent takes it.

    Args:
        folder: The account's.
        program: What the borrower is called where it is told of.

    Raises:
        OSError: No process holds the account, or it ended this very moment.
        StoreLockedError: Who holds it keeps it.
        SessionError: It does not answer, or ended meanwhile.
        StorePermissionError: Others can reach the folder.
    """
    path = socket_path(folder)
    private.check_folder(path.parent)
    lifeline, line, listeners = await _ask(path, program)
    try:
        if line["event"] == "error":
            raise StoreLockedError(
                str(line["what"]), why=str(line["why"]), fix=str(line["fix"])
            )
        if line["event"] != "lent" or not listeners:
            raise _unanswered("it has another version")
        loan = Loan(program, lifeline, int(str(line["pid"])), listeners)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(loan.watch())
            try:
                yield loan
            finally:
                watching.cancel()
    finally:
        for each in listeners:
            each.close()
        lifeline.close()


async def _ask(path: Path, program: str) -> tuple[Lifeline, Line, list[Listener]]:
    request = {"do": "lend", "as": program, "pid": os.getpid()}
    for _ in range(_TRIES):
        lifeline = await Lifeline.dial(path)
        try:
            async with asyncio.timeout(_PATIENCE):
                await lifeline.send(json.dumps(request).encode() + b"\n")
                line, listeners = await _read(lifeline, path)
        except TimeoutError:
            lifeline.close()
            raise _unanswered(f"{_PATIENCE:.0f} seconds have passed") from None
        except BaseException:
            lifeline.close()
            raise
        if line != AGAIN:
            return lifeline, line, listeners
        lifeline.close()
    raise _unanswered("the account goes from one process to another")


async def _read(lifeline: Lifeline, path: Path) -> tuple[Line, list[Listener]]:
    """Return the first line of the answer, with the sockets that came."""
    data, sockets = b"", []
    while b"\n" not in data:
        more, came = await lifeline.receive(_LINE_LIMIT_BYTES)
        sockets += came
        data += more
        if not more or len(data) > _LINE_LIMIT_BYTES:
            for each in sockets:
                each.close()
            raise _unanswered("it has ended")
    line: Line = json.loads(data.partition(b"\n")[0])
    shared = line.get("shared")
    others = map(str, shared) if isinstance(shared, list) else ()
    paths = [path, *map(Path, others)]
    return line, list(map(Listener, sockets, paths))


def _field(program: str, pid: int, since: datetime) -> Line:
    return {"to": program, "pid": pid, "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}


def _unanswered(why: str) -> SessionError:
    return SessionError(
        "the agent does not lend the account",
        why=why,
        fix="See how it is, and end it if it hangs: xmpp-onion agent status; "
        "xmpp-onion agent stop",
    )
