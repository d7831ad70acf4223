"""What others may see of us in a talk, and we of them: who writes, and what was read.

Nobody is told anything unless the person wants that: each notice is one more message,
so a server sees that somebody begins to write, and when.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from xmpp_onion.address import JID
from xmpp_onion.chat import Message, Typing, TypingState

if TYPE_CHECKING:
    from xmpp_onion.client import Client

__all__ = ["Courtesy"]

# Where it is kept, of this account, that others may see it.
_TYPING_NOTE: Final = "chat typing"
_SEEN_NOTE: Final = "chat seen"
# Seconds after which somebody who was said to write is not any more: their notice that
# they stopped may be lost.
_FORGOTTEN: Final = 45.0
# Seconds without a key after which we do not write any more.
_PAUSE: Final = 8.0
# Seconds that what was shown may wait for more: one word stands for all before it.
_GATHER: Final = 2.0
# People of whom it is known that they tell us when they write.
_KNOWN: Final = 1_000


class Courtesy:
    """Tells others what they may see, and knows who is writing.

    Args:
        client: Whose.
        start: Runs something beside the talk.
        changed: Called when who writes has changed.
    """

    def __init__(
        self,
        client: "Client",
        start: Callable[[Awaitable[object]], None],
        changed: Callable[[], None],
    ) -> None:
        self._client = client
        self._start = start
        self._changed = changed
        self._told: JID | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._writing: dict[JID, asyncio.TimerHandle] = {}
        self._willing: dict[JID, None] = {}
        self._greeted: set[JID] = set()
        self._shown: dict[JID, tuple[Message, asyncio.TimerHandle]] = {}
        self.tells_typing = False
        self.tells_seen = False

    async def load(self) -> None:
        """Read from the disk what others may see."""
        self.tells_typing = await self._client.notes.load(_TYPING_NOTE) is not None
        self.tells_seen = await self._client.notes.load(_SEEN_NOTE) is not None

    async def allow_typing(self, *, is_on: bool) -> None:
        """Keep whether others may see when we write."""
        await self._client.notes.store(_TYPING_NOTE, "on" if is_on else None)
        self.tells_typing = is_on

    async def allow_seen(self, *, is_on: bool) -> None:
        """Keep whether others may see what we were shown."""
        await self._client.notes.store(_SEEN_NOTE, "on" if is_on else None)
        self.tells_seen = is_on

    def end(self) -> None:
        """Stop all that waits."""
        waiting = [timer for _, timer in self._shown.values()]
        for timer in (*self._writing.values(), *waiting, self._pause):
            if timer is not None:
                timer.cancel()

    # --- theirs ------------------------------------------------------------------

    def take(self, event: Typing) -> None:
        """Note that somebody writes, or has stopped to; in a room nobody is named."""
        if event.room is not None:
            return
        who = event.sender.bare
        self._willing[who] = None
        if len(self._willing) > _KNOWN:
            del self._willing[next(iter(self._willing))]
        self.stopped(who)
        if event.state is TypingState.COMPOSING:
            self._writing[who] = asyncio.get_running_loop().call_later(
                _FORGOTTEN, self.stopped, who
            )
            self._changed()

    def stopped(self, who: JID) -> None:
        """Note that somebody does not write any more: what they wrote came, say."""
        if (timer := self._writing.pop(who, None)) is not None:
            timer.cancel()
            self._changed()

    def is_writing(self, who: JID | None) -> bool:
        """Tell whether somebody says to write to us."""
        return who in self._writing

    # --- ours --------------------------------------------------------------------

    def went_to(self, to: JID) -> None:
        """Tell whom we talk with now that we tell such things, once."""
        if self.tells_typing and to not in self._greeted:
            self._greeted.add(to)
            self._tell(to, TypingState.ACTIVE)

    def typed(self, to: JID | None, text: str) -> None:
        """Tell, where both sides want that, that we write, or have stopped to.

        Args:
            to: Whom we write to.
            text: What stands on the line now.
        """
        if self._pause is not None:
            self._pause.cancel()
        is_writing = bool(text.strip()) and not text.startswith("/")
        if self._told is not None and (not is_writing or self._told != to):
            self._stop()
        if not is_writing or not self.tells_typing or to not in self._willing:
            return
        if self._told is None and to is not None:
            self._told = to
            self._tell(to, TypingState.COMPOSING)
        loop = asyncio.get_running_loop()
        self._pause = loop.call_later(_PAUSE, self._stop)

    def sent(self) -> None:
        """Note that a message went, which says by itself that we stopped."""
        self._told = None

    def _stop(self) -> None:
        if self._told is not None:
            self._tell(self._told, TypingState.PAUSED)
            self._told = None

    def _tell(self, to: JID, state: TypingState) -> None:
        if not self._client.is_away:  # later it would not be true any more
            self._start(self._client.tell_typing(to, state))

    def shown(self, message: Message) -> None:
        """Tell the author, if that is wanted, that a message was shown."""
        if not self.tells_seen or message.room is not None:
            return
        who = message.sender.bare
        if who in self._shown:  # one word stands for all
            self._shown[who] = (message, self._shown[who][1])
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_GATHER, self._tell_shown, who)
        self._shown[who] = (message, timer)

    def _tell_shown(self, who: JID) -> None:
        message, _ = self._shown.pop(who)
        self._start(self._client.mark_displayed(message))
