"""Is the server still there? Asked now and then; a dead connection is cut.

The question is an ``<r/>`` (XEP-0198): it costs 27 bytes, and its answer also
confirms messages. slixmpp's own keepalive would write ``</stream:stream>`` into
a connection that may only be slow, which ends the session.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from xmpp_onion.session.client_xmpp import OnionClient
from xmpp_onion.session.wire import Wire

__all__ = ["SILENT", "Liveness", "Timing"]

# Why a connection was cut.
SILENT: Final = "the server does not answer"

# Bytes in a second that are more than people say to each other, and no more than a
# circuit takes: two or three encrypted messages.
_MUCH_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a session waits for what, in seconds.

    Args:
        first_dial: The first dial, circuit building included. Each one that gets no
            answer doubles it, and the next goes by other circuits.
        second_dial: After this, and not later than a quarter of its time, a dial
            that has no answer gets company by other circuits. Most are answered
            before; a dead circuit never is. The company has as much time, and is
            followed by a third.
        dial: No dial is longer.
        login: From the connection to the session; eight round trips.
        idle: With nothing else to do the server is asked for a sign of life after
            this time, give or take a fifth: accounts must not beat in step.
        silence: A server that is asked and says nothing at all so long is gone.
            A dead connection is thus noticed in 1.2 ``idle`` + ``silence``: 88 s.
        resumed_silence: The same right after a stream was resumed. Shorter,
            because Prosody 0.12 may resume a stream that it no longer reads.
        doubt: After this much silence a connection by other circuits is made ready,
            and taken if the silence lasts until then.
        answer: A server that sends much, and does not answer, is gone after this.
        goodbye: Given to the server to close its side.
        first_retry: The longest first pause between two attempts.
        longest_retry: No pause is longer.
        tor_retry: No pause is longer while Tor itself does not answer: to ask it
            costs nothing, and the way is free as soon as it is back.
    """

    first_dial: float = 20.0
    second_dial: float = 5.0
    dial: float = 60.0
    login: float = 90.0
    idle: float = 40.0
    silence: float = 40.0
    resumed_silence: float = 20.0
    doubt: float = 10.0
    answer: float = 300.0
    goodbye: float = 3.0
    first_retry: float = 2.0
    longest_retry: float = 90.0
    tor_retry: float = 5.0


@dataclass(frozen=True, slots=True)
class Liveness:
    """Watches one connection.

    The answer stands behind all that the server sent before it. So a server that
    sends what we asked for, or much, may take longer; one that merely talks may not:
    perhaps it does not hear us any more.

    Args:
        client: It has asked its first question already.
        wire: Is cut when there is no answer.
        timing: How long to wait.
        is_paused: Tells that we are not reading: the answer may well be there.
        doubt: Seconds of silence after which ``relieve`` is called.
        relieve: Is to make another connection ready.
    """

    client: OnionClient
    wire: Wire
    timing: Timing
    is_paused: Callable[[], bool]
    doubt: float
    relieve: Callable[[], None]

    async def watch(self, *, resumed: bool, proved: Callable[[], None]) -> None:
        """Ask for signs of life until cancelled; cut the connection if there is none.

        Args:
            resumed: The stream was resumed. If the server does not answer now, the
                next login must not resume it again.
            proved: Called when the first answer has come.
        """
        timing, client = self.timing, self.client
        if not await self._is_answered(
            timing.resumed_silence if resumed else timing.silence,
            resumed=resumed,
        ):
            if resumed:
                client.resume_id = ""
            self.wire.drop(SILENT)
            return
        proved()
        jitter = secrets.SystemRandom()
        while True:
            if client.ack_requested.is_set():
                # What came answers an earlier question; a later one is out.
                client.acknowledged.clear()
            try:
                async with asyncio.timeout(timing.idle * jitter.uniform(0.8, 1.2)):
                    await client.ack_requested.wait()
            except TimeoutError:
                client.ask_for_ack()
            if not await self._is_answered(timing.silence):
                self.wire.drop(SILENT)
                return

    async def _is_answered(self, silence: float, *, resumed: bool = False) -> bool:
        """Wait for an ack; False if it does not come though it could."""
        # What is deaf after it was resumed would be so by any circuit.
        may_doubt = not resumed
        clock = asyncio.get_running_loop().time
        start, heard_bytes = clock(), self.wire.heard_bytes
        while not self.client.acknowledged.is_set():
            if self.is_paused():
                start, heard_bytes = clock(), self.wire.heard_bytes
            limit = self.timing.answer
            if not self.client.is_asking:
                much = (self.wire.heard_bytes - heard_bytes) / _MUCH_BYTES
                limit = min(limit, silence + much)
            if resumed and self.client.asked_at is not None:
                # It has said again all that we had missed: what it says now is new,
                # and comes whether it hears us or not.
                asked = max(self.client.asked_at - start, 0.0)
                limit = min(limit, asked + silence)
            heard, now = max(self.wire.last_heard, start), clock()
            left = min(heard + silence, start + limit) - now
            if left <= 0:
                return False
            if may_doubt and now >= heard + self.doubt:
                may_doubt = False
                self.relieve()
            if may_doubt:
                left = min(left, heard + self.doubt - now)
            try:
                async with asyncio.timeout(left):
                    await self.client.acknowledged.wait()
                    return True  # in a burst the next question is out already
            except TimeoutError:
                continue
        return True
