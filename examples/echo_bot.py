"""Answer every message with itself; run it with `python examples/echo_bot.py`."""

from xmpp_onion import Bot, Message, Trust

bot = Bot("echo", trust=Trust.PINNED)


@bot.message
async def echo(msg: Message) -> str:
    """Send back what was written."""
    return msg.text


if __name__ == "__main__":
    bot.run()
