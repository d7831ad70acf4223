"""Which message is meant in a room: by the room's name outside, by the sender's here.

A message has two names in a room. Others' clients mean it by the one that the room
gave it, and only a correction by the sender's. Here a program sees the sender's
alone, whoever says it: what goes out is put into the room's words, and what comes
in into ours. A name that is not known is left as it is.

Source: XEP-0461, XEP-0444, XEP-0424 and XEP-0333, each in its rules for groupchat (the
id of XEP-0359 that the room set); XEP-0308, section 4 (the id of the stanza).
"""

from dataclasses import replace

from xmpp_onion.address import JID
from xmpp_onion.chat import Content
from xmpp_onion.store import Database
from xmpp_onion.store import RoomNames as Names

__all__ = ["RoomNames"]


class RoomNames:
    """Puts what is said about messages of a room into the other's words.

    Args:
        database: Of the account.
        own: Our bare JID; nobody else's message can be retracted.
    """

    def __init__(self, database: Database, own: JID) -> None:
        self._names = Names(database)
        self._own = own.bare

    async def note(
        self, room: JID | None, stanza_id: str, message_id: str, sender: JID
    ) -> None:
        """Keep both names of a message of a room. In a transaction."""
        if room is not None and stanza_id and message_id:
            await self._names.add(room, stanza_id, message_id, sender.bare)

    async def outward(self, room: JID, what: Content) -> Content:
        """Return what goes out to a room, with its own names for what is meant."""

        async def name(message_id: str, sender: str = "") -> str:
            if not message_id:
                return ""
            found = await self._names.find_stanza(room, message_id, sender)
            return found or message_id

        return replace(
            what,
            reply_to=await name(what.reply_to, what.author),
            reacts_to=await name(what.reacts_to),
            retracts=await name(what.retracts, self._own),
            displayed=await name(what.displayed, what.author),
        )

    async def inward(self, room: JID | None, what: Content) -> Content:
        """Return what came from a room, with the senders' names for what is meant."""
        if room is None:
            return what

        async def name(stanza_id: str) -> str:
            if not stanza_id:
                return ""
            return await self._names.find_message(room, stanza_id) or stanza_id

        return replace(
            what,
            reply_to=await name(what.reply_to),
            reacts_to=await name(what.reacts_to),
            retracts=await name(what.retracts),
            displayed=await name(what.displayed),
        )
