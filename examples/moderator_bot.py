"""Keep order in a room: admins may take people out, and clearnet links are noticed."""

from xmpp_onion import JID, Affiliation, Bot, Room, Trust
from xmpp_onion.bot import affiliation, regex, role, room

ADMINS = affiliation(Affiliation.OWNER, Affiliation.ADMIN)

bot = Bot("mod", trust=Trust.TOFU, roles={"operator": set()})


@bot.command(when=room & (ADMINS | role("operator")))
async def kick(muc: Room, who: JID, *, reason: str = "") -> str:
    """Take somebody out of this room."""
    await muc.kick(who)
    return f"{who.local} was taken out. {reason}".strip()


@bot.message(room & regex(r"https?://(?![a-z2-7]{56}\.onion)"))
async def clearnet_link() -> str:
    """Warn whoever might follow it."""
    return "That link leaves Tor: mind who runs the exit."


if __name__ == "__main__":
    bot.run()
