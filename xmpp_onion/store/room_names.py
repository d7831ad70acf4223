"""Which message of whom a room has given which name. No text, and no end of it."""

from xmpp_onion.store.database import Database

NAME_LIMIT = 20_000
"""Messages of all rooms: what is older is reacted to seldom. About 5 MB."""


class RoomNames:
    """The names of messages in rooms: the room's, and the sender's.

    Args:
        database: Where they are kept.
        limit: How many; the oldest are forgotten.
    """

    def __init__(self, database: Database, *, limit: int = NAME_LIMIT) -> None:
        self._database = database
        self._limit = limit

    async def add(
        self, room: str, stanza_id: str, message_id: str, sender: str
    ) -> None:
        """Keep what a room calls a message; the first word on a name counts.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT OR IGNORE INTO room_names (room, stanza_id, message_id, sender) "
            "VALUES (?, ?, ?, ?)",
            (room, stanza_id, message_id, sender),
        )
        await self._database.execute(
            "DELETE FROM room_names WHERE id <= (SELECT max(id) FROM room_names) - ?",
            (self._limit,),
        )

    async def find_stanza(self, room: str, message_id: str, sender: str = "") -> str:
        """Return what a room calls a message; empty if that is not known.

        Args:
            room: The room.
            message_id: The sender's id for it; who uses one a second time means
                another message, so the first counts.
            sender: Who sent it; anybody if empty.
        """
        rows = await self._database.fetch(
            "SELECT stanza_id FROM room_names WHERE room = ? AND message_id = ? "
            "AND (? = '' OR sender = ?) ORDER BY id LIMIT 1",
            (room, message_id, sender, sender),
        )
        return str(rows[0]["stanza_id"]) if rows else ""

    async def find_message(self, room: str, stanza_id: str) -> str:
        """Return the sender's id for a message; empty if that is not known."""
        found = await self.find(room, stanza_id)
        return found[0] if found else ""

    async def find(self, room: str, stanza_id: str) -> tuple[str, str] | None:
        """Return the sender's id for a message, and the sender; None if unknown."""
        rows = await self._database.fetch(
            "SELECT message_id, sender FROM room_names "
            "WHERE room = ? AND stanza_id = ?",
            (room, stanza_id),
        )
        return (rows[0]["message_id"], rows[0]["sender"]) if rows else None
