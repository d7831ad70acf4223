"""Remind people of what they asked to be reminded of, also after a restart."""

from datetime import datetime, timedelta
from typing import cast

from xmpp_onion import Bot, Trust
from xmpp_onion.bot import Context

MOST = 50  # reminders of one person

bot = Bot("reminder", trust=Trust.BTBV)


@bot.command(rate="10/m")
async def remind(ctx: Context, in_: timedelta, *, about: str) -> str:
    """Remind you: !remind 2h30m the oven."""
    if len(await ctx.bot.state.keys(f"due:{ctx.sender}:")) >= MOST:
        return f"You have {MOST} reminders; that is enough."
    at = ctx.bot.clock.now() + in_
    # Its name holds the id of the message: the same order twice is one reminder.
    key = f"due:{ctx.sender}:{ctx.message.id}"
    await ctx.bot.state.set(key, [at.isoformat(), ctx.place, about])
    return f"I shall, at {at:%Y-%m-%d %H:%M} UTC."


@bot.command
async def forget(ctx: Context) -> str:
    """Forget all your reminders."""
    keys = await ctx.bot.state.keys(f"due:{ctx.sender}:")
    for key in keys:
        await ctx.bot.state.delete(key)
    return f"Forgotten: {len(keys)}."


@bot.job(every="10s", misfire="run")
async def look(own: Bot) -> None:
    """Say what is due; what was due while the bot was down is late, not lost."""
    for key in await own.state.keys("due:"):
        due, place, about = cast("list[str]", await own.state.get(key))
        if datetime.fromisoformat(due) <= own.clock.now():
            await own.send(place, f"You wanted to be reminded: {about}")
            await own.state.delete(key)


if __name__ == "__main__":
    bot.run()
