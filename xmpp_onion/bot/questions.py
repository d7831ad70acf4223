"""Questions that a handler waits on: the next message in that place is the answer."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from inspect import Parameter
from typing import Final, TypeVar

from xmpp_onion.address import JID
from xmpp_onion.bot.arguments import parse, read_argument
from xmpp_onion.bot.context import Context
from xmpp_onion.durations import read_duration
from xmpp_onion.errors import CrowdedError, UsageError

__all__ = ["Questions"]

T = TypeVar("T")

_ATTEMPTS: Final = 3
# Questions that are open at once, each of another person or in another place. Each is
# a message that is not done with, so this is half of what waits in memory (lanes.py).
_OPEN: Final = 1_000
# Seconds until who found no room for a question may try again.
_LATER: Final = 60.0


class Questions:
    """Who is asked what, and where; in memory."""

    def __init__(self) -> None:
        self._open: dict[tuple[JID, JID], asyncio.Future[str]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, sender: JID, place: JID, text: str) -> bool:
        """Tell whether a message answers a question; if so, it is the answer."""
        future = self._open.get((sender, place))
        if future is None or future.done():
            return False
        future.set_result(text)
        return True

    async def ask(
        self,
        ctx: Context,
        question: str,
        kind: Callable[[str], T] | type[T] | None,
        timeout: str | timedelta,
    ) -> T | str:
        """Ask; see ``Context.ask``."""
        pause = read_duration(timeout) if isinstance(timeout, str) else timeout
        seconds = pause.total_seconds()
        for attempt in range(1, _ATTEMPTS + 1):
            text = await self._hear(ctx, question, seconds)
            try:
                return _read(text, kind)
            except UsageError as error:
                if attempt == _ATTEMPTS:
                    raise
                texts = ctx.bot.texts
                question = texts.again.format(why=texts.tell(error))
        raise AssertionError("unreachable")

    async def _hear(self, ctx: Context, question: str, seconds: float) -> str:
        key = ctx.sender, ctx.place
        if key in self._open:
            raise RuntimeError("this person is asked something else at the moment")
        if len(self._open) >= _OPEN:
            raise CrowdedError("too many are being asked", retry_after=_LATER)
        # It has left the open ones before it waits for its turn: then it works again.
        async with ctx.waiting():
            future = self._open[key] = asyncio.get_running_loop().create_future()
            try:
                await ctx.reply(question)
                return await _within(ctx, future, seconds)
            finally:
                del self._open[key]


async def _within(ctx: Context, future: asyncio.Future[str], seconds: float) -> str:
    """Wait for an answer, by the clock of the bot."""

    def give_up(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not future.done():
            future.set_exception(TimeoutError("nobody answered in time"))

    late = ctx.bot.spawn(ctx.bot.clock.sleep(seconds))
    late.add_done_callback(give_up)
    try:
        return await future
    finally:
        late.cancel()


def _read(text: str, kind: Callable[[str], T] | type[T] | None) -> T | str:
    if kind is None or kind is str:
        return text.strip()
    parameter = Parameter("that", Parameter.KEYWORD_ONLY)
    try:
        argument = read_argument(parameter, kind)
    except TypeError:
        if isinstance(kind, type):
            raise
        try:
            return kind(text)
        except ValueError as error:
            raise UsageError(f"that {error}") from None
    value: T = parse([argument], text)["that"]  # type: ignore[assignment] # its parser's
    return value
