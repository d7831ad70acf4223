"""Look at the disk every five minutes, and tell the operators when it fills up."""

import os
import shutil

from xmpp_onion import Bot, Trust

bot = Bot("disk", trust=Trust.PINNED)


@bot.job(every="5m", jitter="10s")
async def look(own: Bot) -> None:
    """Say it once when it gets full, and once when it is well again."""
    used = shutil.disk_usage("/")
    is_full = used.used / used.total > 0.9
    if is_full != await own.state.get("is_full", default=False):
        await own.state.set("is_full", is_full)
        word = "full" if is_full else "well again"
        await own.send(os.environ["OPERATORS"], f"disk {word}")


if __name__ == "__main__":
    bot.run()
