"""Who has read what we said in a room: members say so, inside of an envelope.

Only the author of a message is told, and only by who wants to tell. What a member
says moves the mark of that member alone, and only forward.
"""

import asyncio
from datetime import datetime
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import DeliveryState, Receipt, write_event
from xmpp_onion.store import Database, Inbox, RoomMarks, reading

__all__ = ["MARKED_MEMBERS", "Shown"]

MARKED_MEMBERS: Final = 50
"""Where there are more members, nobody says what they read. Each mark goes to the
whole room, about a kilobyte, though the author alone can read it: if all mark all,
that is 2.5 MB for a message to 50 people, and would be 10 MB for one to 100."""


class Shown:
    """The marks of the members of our rooms.

    Args:
        database: Of the account.
        news: Set when the inbox has got something.
    """

    def __init__(self, database: Database, *, news: asyncio.Event) -> None:
        self._database = database
        self._table, self._inbox = RoomMarks(database), Inbox(database)
        self._news = news

    async def take(self, room: JID, who: JID, message_id: str, at: datetime) -> None:
        """Note what an accepted device of a member says. In a transaction.

        Args:
            room: Where it was said.
            who: Whose device.
            message_id: What the member was shown.
            at: When.
        """
        if await self._table.move(room.bare, who.bare, message_id):
            receipt = Receipt(
                id=message_id,
                sender=who.bare,
                room=room.bare,
                state=DeliveryState.DISPLAYED,
                authenticated=True,
                at=at,
            )
            await self._inbox.put(write_event(receipt))
            self._news.set()

    async def who(self, room: JID, message_id: str) -> tuple[JID, ...]:
        """Return who was shown a message of ours, or a later one."""
        found = await self._table.who(room.bare, message_id)
        with reading(self._database.path, "room_marks"):
            return tuple(JID(jid) for jid in found)
