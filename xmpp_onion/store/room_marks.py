"""How far each member of a room has read what we said there: a row for each."""

from xmpp_onion.store.database import Database

MARK_LIMIT = 20_000
"""Members of all rooms; whoever marked something longest ago is forgotten first."""


class RoomMarks:
    """The newest message of ours, in each room, that each member was shown.

    It stands for all that we said there before, as XEP-0333 has it, so that there is
    one row for a member, however much is said and marked.

    Args:
        database: Where they are kept.
        limit: How many.
    """

    def __init__(self, database: Database, *, limit: int = MARK_LIMIT) -> None:
        self._database = database
        self._limit = limit

    async def move(self, room: str, jid: str, message_id: str) -> bool:
        """Note that a member was shown a message of ours; tell whether that is new.

        It is not if we said no such thing there, or the member was shown a later one.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        before = await self._database.fetch(
            "SELECT delivery FROM room_marks WHERE room = ? AND jid = ?", (room, jid)
        )
        found = await self._database.fetch(
            "SELECT id FROM deliveries WHERE message_id = ? AND recipient = ?",
            (message_id, room),
        )
        if not found or (before and found[0]["id"] <= before[0]["delivery"]):
            return False
        await self._database.execute(
            "INSERT OR REPLACE INTO room_marks (room, jid, delivery) VALUES (?, ?, ?)",
            (room, jid, found[0]["id"]),
        )
        await self._database.execute(
            "DELETE FROM room_marks WHERE id <= (SELECT max(id) FROM room_marks) - ?",
            (self._limit,),
        )
        return True

    async def who(self, room: str, message_id: str) -> list[str]:
        """Return who was shown a message of ours, or a later one."""
        rows = await self._database.fetch(
            "SELECT m.jid FROM room_marks m JOIN deliveries d ON d.recipient = m.room "
            "WHERE d.message_id = ? AND m.room = ? AND m.delivery >= d.id "
            "ORDER BY m.jid",
            (message_id, room),
        )
        return [str(row["jid"]) for row in rows]
