"""Read feeds of onion services through Tor, and tell who follows them what is new."""

from contextlib import suppress
from typing import cast

from xmpp_onion import Bot, Trust, XmppOnionError
from xmpp_onion.bot import Context, read_feed

MOST_FEEDS = 20  # of one person
MOST_NEWS = 5  # of one feed at a time

bot = Bot("feeds", trust=Trust.BTBV)


@bot.command(rate="5/m")
async def follow(ctx: Context, url: str) -> str:
    """Follow a feed at an onion: !follow http://….onion/feed.xml."""
    prefix = f"feed:{ctx.sender}:"
    if len(await ctx.bot.state.keys(prefix)) >= MOST_FEEDS:
        return f"You follow {MOST_FEEDS} feeds; that is enough."
    try:
        entries = read_feed(await ctx.fetch(url))
    except (XmppOnionError, ValueError) as error:
        return f"That cannot be read: {error}"
    await ctx.bot.state.set(prefix + url, [entry.id for entry in entries])
    return f"You follow it; it has {len(entries)} entries now."


@bot.command
async def unfollow(ctx: Context, url: str) -> str:
    """Follow a feed no more."""
    await ctx.bot.state.delete(f"feed:{ctx.sender}:{url}")
    return "Done."


@bot.job(every="30m", jitter="10m")
async def read(own: Bot) -> None:
    """Look at all feeds. One that is away, or spoilt, is looked at next time."""
    for key in await own.state.keys("feed:"):
        _, person, url = key.split(":", 2)
        with suppress(XmppOnionError, ValueError):
            entries = read_feed(await own.fetch(url))
            known = cast("list[str]", await own.state.get(key, []))
            news = [entry for entry in entries if entry.id not in known]
            for entry in news[:MOST_NEWS]:
                await own.send(person, f"{entry.title}\n{entry.link}".strip())
            await own.state.set(key, [entry.id for entry in entries])


if __name__ == "__main__":
    bot.run()
