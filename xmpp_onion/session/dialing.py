"""By which circuits the server is dialed, and when others are tried beside them.

A circuit can die without a word: what is sent into it is lost, and Tor lets the next
dial of the same isolation use it again, in vain. So a dial that gets no answer for
some seconds gets company by other circuits; what answers first is taken, and the
rest is given up. And a connection that falls silent gets a successor, made before it
is given up itself. As long as all answer there is one circuit, and no second one.

Source: RFC 8305 does so with addresses ("happy eyeballs").
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.errors import DialTimeoutError, XmppOnionError
from xmpp_onion.session.liveness import Timing
from xmpp_onion.session.login import Dialer
from xmpp_onion.session.wire import Connection, Wire
from xmpp_onion.transport import Isolation, Purpose

__all__ = ["Dialed", "Dialing"]

log = logging.getLogger(__name__)

_LONGEST_SHIFT: Final = 16  # past this many doublings every timing is at its limit
_Try = asyncio.Task[Connection | XmppOnionError | OSError]


@dataclass(frozen=True, slots=True)
class Dialed:
    """What a dial came to.

    Args:
        connection: Connected.
        was_said: The server got on it what had to be said first.
    """

    connection: Connection
    was_said: bool = False


class Dialing:
    """Dials the server of one account, and remembers by which circuits.

    Args:
        tor: What dials.
        account: Whose server, and whose circuits.
        port: The service's virtual port.
        timing: How long it waits for what.
    """

    def __init__(self, tor: Dialer, account: JID, *, port: int, timing: Timing) -> None:
        self._tor = tor
        self._account = account
        self._port = port
        self._timing = timing
        self._turn = self._unanswered = self._hasty = 0
        self._spare: Connection | None = None
        self._is_relieving = False

    @property
    def doubt(self) -> float:
        """How many seconds a silent connection is trusted, until it gets company."""
        return self._timing.doubt * 2.0 ** min(self._hasty, _LONGEST_SHIFT)

    async def dial(self, first: bytes = b"") -> Dialed:
        """Return a connection: the one that is ready, or a new one.

        Args:
            first: What the server gets first. Only one circuit carries it, so that it
                is not said twice: see what comes back.

        Raises:
            DialError: The service could not be reached. If it was silent, the next
                dial goes by other circuits, and is given more time.
            TorError: Tor itself failed.
        """
        spare, self._spare = self._spare, None
        return await self._race(first) if spare is None else Dialed(spare)

    async def relieve(self, wire: Wire, *, is_stuck: bool) -> None:
        """Dial by other circuits, and cut ``wire`` if it is silent until that answers.

        The new connection is what the next `dial` returns.

        Args:
            wire: A connection that does not answer.
            is_stuck: Whether the server took nothing of what waits, on this connection.
                It may be slow and not dead, and so would be the next one, which gets
                twice the time: nothing must be begun again and again.
        """
        if self._is_relieving:
            return
        self._is_relieving = True
        heard_bytes = wire.heard_bytes
        self.change_circuits()
        try:
            spare = (await self._race()).connection
        except (XmppOnionError, OSError):
            return  # no way is better than this one
        finally:
            self._is_relieving = False
        if wire.heard_bytes != heard_bytes:
            spare.close()
            return
        self._hasty = self._hasty + 1 if is_stuck else 0
        self._spare = spare
        wire.drop("it is silent, and another circuit answers")

    def change_circuits(self) -> None:
        """Let the next dial go by other circuits: these are dead or in doubt."""
        self._turn += 1

    def close(self) -> None:
        """Close the connection that is ready, if there is one."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    async def _race(self, first: bytes = b"") -> Dialed:
        tries: dict[_Try, int] = {}
        winner: _Try | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._begin(tasks, tries, first)
                best = await _first_connected(tries)
                for each in tries:
                    each.cancel()
            winner = best
        finally:
            for each in tries:
                if each is not winner:
                    _close(each)
        connection = self._settle(tries, winner)
        return Dialed(connection, was_said=bool(first) and winner is next(iter(tries)))

    async def _begin(
        self, tasks: asyncio.TaskGroup, tries: dict[_Try, int], first: bytes
    ) -> None:
        """Begin one try, and as long as all are silent a second and a third one."""
        timing = self._timing
        longer = 2 ** min(self._unanswered, _LONGEST_SHIFT)
        timeout = min(timing.first_dial * longer, timing.dial)
        pause = min(timing.second_dial * longer, timeout / 4)

        def begin(timeout: float, first: bytes = b"") -> None:
            turn = self._turn + len(tries)
            tries[tasks.create_task(self._try(turn, timeout, first))] = turn

        begin(timeout, first)
        await asyncio.wait(tries, timeout=pause)
        if _are_silent(tries):
            log.info("session: no answer yet, other circuits are tried too")
            begin(pause)
            await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
            if _are_silent(tries):
                # Its time was short, because after it Tor looks the service up anew.
                begin(timeout - 2 * pause)

    async def _try(
        self, turn: int, timeout: float, first: bytes
    ) -> Connection | XmppOnionError | OSError:
        try:
            return await self._tor.dial(
                self._account.domain,
                self._port,
                isolation=Isolation(self._account, Purpose.XMPP, turn),
                timeout=timeout,
                first=first,
            )
        except (XmppOnionError, OSError) as error:
            return error

    def _settle(self, tries: dict[_Try, int], winner: _Try | None) -> Connection:
        """Remember what came of it; return the connection, or raise the error."""
        chosen = next(iter(tries)) if winner is None else winner
        result = chosen.result()
        if isinstance(result, Exception):
            if isinstance(result, DialTimeoutError):
                self._turn += len(tries)
                self._unanswered += 1
            raise result
        self._turn, self._unanswered = tries[chosen], 0
        return result


def _are_silent(tries: Iterable[_Try]) -> bool:
    """Tell whether the first still waits, and no other one got an answer."""
    first, *others = tries
    return not first.done() and all(
        not each.done() or isinstance(each.result(), DialTimeoutError)
        for each in others
    )


async def _first_connected(tries: Iterable[_Try]) -> _Try | None:
    """Return the first that has a connection; None if all fail."""
    waiting = set(tries)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            if not isinstance(each.result(), Exception):
                return each
    return None


def _close(given_up: _Try) -> None:
    """Close what a try has connected after all."""
    if given_up.cancelled() or given_up.exception():
        return
    connection = given_up.result()
    if not isinstance(connection, Exception):
        connection.close()
