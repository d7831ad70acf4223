"""Answer as a language model does: word by word, in one message that is edited.

`think` stands for the model: any async generator of strings will do.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from xmpp_onion import Bot, Trust
from xmpp_onion.bot import Clock, Context, direct

bot = Bot("model", trust=Trust.PINNED, timeout=timedelta(minutes=10))


async def think(question: str, clock: Clock) -> AsyncIterator[str]:
    """Yield an answer, piece by piece."""
    yield "You asked:"
    for word in question.split():
        await clock.sleep(0.3)
        yield f" {word}"
    yield "."


@bot.message(direct)
async def answer(ctx: Context) -> None:
    """Edit the answer while it grows: seldom, for each edit goes to all devices."""
    async with asyncio.timeout(300):
        await ctx.stream(think(ctx.message.text, ctx.bot.clock))


if __name__ == "__main__":
    bot.run()
