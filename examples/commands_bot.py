"""Commands with typed arguments; usage, help and limits come by themselves."""

from datetime import timedelta
from typing import Literal

from xmpp_onion import Bot, Trust

bot = Bot("alerts", trust=Trust.PINNED)


@bot.command(rate="5/m")
async def add(a: int, b: int = 1) -> str:
    """Add two numbers."""
    return str(a + b)


@bot.command(aliases=["mute"])
async def silence(
    level: Literal["low", "high"], for_: timedelta, *, reason: str = ""
) -> str:
    """Mute alerts: !silence high 2h disk swap."""
    return f"{level} muted for {for_}: {reason}"


if __name__ == "__main__":
    bot.run()
