"""Answer every message with itself, encrypted; strangers get silence."""

from xmpp_onion import Bot, Message, Trust

bot = Bot("echo", trust=Trust.PINNED)


@bot.message
async def echo(msg: Message) -> str:
    return msg.text


if __name__ == "__main__":
    bot.run()
