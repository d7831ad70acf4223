"""A form in three steps that a restart does not interrupt."""

from xmpp_onion import Bot, Message, Trust
from xmpp_onion.bot import FSM, State, StatesGroup

bot = Bot("shop", trust=Trust.BTBV)


class Order(StatesGroup):
    """What is asked for, in this order."""

    item = State()
    count = State()


@bot.command
async def order(fsm: FSM) -> str:
    """Order something."""
    await fsm.set(Order.item)
    return "What would you like?"


@bot.message(Order.item)
async def item(msg: Message, fsm: FSM) -> str:
    await fsm.update(item=msg.text)
    await fsm.set(Order.count)
    return "How many?"


@bot.message(Order.count)
async def count(msg: Message, fsm: FSM) -> str:
    if not msg.text.isdecimal():
        return "A number, please."
    data = await fsm.data()
    await fsm.clear()
    return f"{msg.text} x {data['item']}: it is on its way."


if __name__ == "__main__":
    bot.run()
