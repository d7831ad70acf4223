"""Join a room of one onion server to a room of another; neither sees the other's.

Two accounts in one process. What a bridge says begins with a mark, and no bridge
carries what does: however many there are between two rooms, nothing goes in a circle.
"""

import asyncio
import os

from xmpp_onion import Account, Bot, Client, Tor, Trust
from xmpp_onion.bot import Context, room

MARK = "⇄ "
LEFT, RIGHT = os.environ.get("LEFT_ROOM", ""), os.environ.get("RIGHT_ROOM", "")

left, right = Bot("left", trust=Trust.TOFU), Bot("right", trust=Trust.TOFU)


def join(here: Bot, room_here: str, there: Bot, room_there: str) -> None:
    """Carry what is said in one room to the other."""

    @here.message(room)
    async def carry(ctx: Context) -> None:
        if ctx.place == room_here and not ctx.message.text.startswith(MARK):
            text = f"{MARK}{ctx.sender.local}: {ctx.message.text}"
            await there.send(room_there, text)


def build(left_room: str, right_room: str) -> None:
    """Join both ways."""
    join(left, left_room, right, right_room)
    join(right, right_room, left, left_room)


async def main() -> None:
    """Log both in, enter the rooms, and carry until stopped."""
    build(LEFT, RIGHT)
    async with (
        Tor.attach() as tor,
        Client(Account.load("left"), tor=tor) as one,
        Client(Account.load("right"), tor=tor) as other,
        asyncio.TaskGroup() as tasks,
    ):
        await asyncio.gather(one.join(LEFT), other.join(RIGHT))
        tasks.create_task(left.serve(one))
        tasks.create_task(right.serve(other))


if __name__ == "__main__":
    asyncio.run(main())
