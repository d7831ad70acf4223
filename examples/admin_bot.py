"""Who may do what: owners are named where it is run, and name admins themselves.

A role is an account, and counts only from a device that the policy accepts.
"""

import os
from typing import cast

from xmpp_onion import JID, Bot, Trust
from xmpp_onion.bot import Context, Router, direct, role

OWNERS = os.environ.get("OWNERS", "").split()

bot = Bot("admin", trust=Trust.PINNED)
admins = Router(when=direct & (role("admin") | role("owner")))
owners = Router(when=direct & role("owner"))


@bot.startup
async def load() -> None:
    """Know again who was made what."""
    named = cast("list[str]", await bot.state.get("admins", []))
    bot.roles = {
        "owner": frozenset(JID(each) for each in OWNERS),
        "admin": frozenset(JID(each) for each in named),
    }


@owners.command
async def promote(who: JID) -> str:
    """Make somebody an admin."""
    await bot.state.set("admins", sorted({*bot.roles["admin"], who}))
    await load()
    return f"{who.local} is an admin."


@owners.command
async def dismiss(who: JID) -> str:
    """Make an admin nobody again."""
    await bot.state.set("admins", sorted(bot.roles["admin"] - {who}))
    await load()
    return f"{who.local} is no admin."


@admins.command
async def motd(ctx: Context, *, text: str) -> str:
    """Set the message of the day; you are asked once more."""
    if not await ctx.ask(f"Everybody will read: {text}. Do it?", bool):
        return "It stays."
    await bot.state.set("motd", text)
    return "Set."


@bot.command
async def today() -> str:
    """Tell the message of the day."""
    return str(await bot.state.get("motd", "Nothing."))


bot.include(owners)
bot.include(admins)

if __name__ == "__main__":
    bot.run()
