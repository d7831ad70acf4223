"""The rooms that we are in, their members as we last knew them, and invitations.

Members are kept so that a new one is news also after a restart; how far a room's
archive was taken in stands with the other cursors, under the room's JID.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from xmpp_onion.store.database import Database
from xmpp_onion.store.rows import reading

INVITATION_LIMIT = 100
"""More than a person would look through; what is beyond is not kept."""


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room that we are in, or mean to be.

    Attributes:
        jid: The room.
        nick: The name that we ask for.
        strict: Nothing is sent before each new member was accepted.
        known: Its members were read once: what is new then is news.
        private: It was private when that was told last.
    """

    jid: str
    nick: str
    strict: bool = False
    known: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as last known.

    Attributes:
        jid: A bare JID.
        affiliation: owner, admin or member.
        accepted: A strict room may send to it.
    """

    jid: str
    affiliation: str
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """Somebody asks us to come into a room.

    Attributes:
        room: The room.
        inviter: Who asks; a bare JID.
        at: When we heard of it, in UTC.
    """

    room: str
    inviter: str
    at: datetime


class Rooms:
    """The rooms of an account.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[RoomRow]:
        """Return the rooms that we are in, or mean to be."""
        rows = await self._database.fetch("SELECT * FROM rooms ORDER BY jid")
        return [
            RoomRow(
                row["jid"],
                row["nick"],
                bool(row["strict"]),
                bool(row["known"]),
                bool(row["private"]),
            )
            for row in rows
        ]

    async def load(self, jid: str) -> RoomRow | None:
        """Return one of them; None if it is none."""
        return next((row for row in await self.all() if row.jid == jid), None)

    async def put(self, row: RoomRow) -> None:
        """Add a room, or change it.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT OR REPLACE INTO rooms (jid, nick, strict, known, private) "
            "VALUES (?, ?, ?, ?, ?)",
            (row.jid, row.nick, int(row.strict), int(row.known), int(row.private)),
        )

    async def remove(self, jid: str) -> None:
        """Forget a room, who was a member, and who had read what.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute("DELETE FROM rooms WHERE jid = ?", (jid,))
        await self._database.execute("DELETE FROM room_members WHERE room = ?", (jid,))
        await self._database.execute("DELETE FROM room_marks WHERE room = ?", (jid,))

    # --- members ----------------------------------------------------------------

    async def members(self, room: str) -> list[MemberRow]:
        """Return the members of a room as last known."""
        rows = await self._database.fetch(
            "SELECT * FROM room_members WHERE room = ? ORDER BY jid", (room,)
        )
        return [
            MemberRow(row["jid"], row["affiliation"], bool(row["accepted"]))
            for row in rows
        ]

    async def put_members(self, room: str, rows: Iterable[MemberRow]) -> None:
        """Add members, or change them.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute_many(
            "INSERT OR REPLACE INTO room_members (room, jid, affiliation, accepted) "
            "VALUES (?, ?, ?, ?)",
            [(room, row.jid, row.affiliation, int(row.accepted)) for row in rows],
        )

    async def remove_members(self, room: str, jids: Iterable[str]) -> None:
        """Forget members.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute_many(
            "DELETE FROM room_members WHERE room = ? AND jid = ?",
            [(room, jid) for jid in jids],
        )

    # --- invitations --------------------------------------------------------------

    async def invitations(self) -> Sequence[InvitationRow]:
        """Return who asks us to come where, oldest first."""
        rows = await self._database.fetch("SELECT * FROM invitations ORDER BY id")
        with reading(self._database.path, "invitations"):
            return [
                InvitationRow(
                    row["room"],
                    row["inviter"],
                    datetime.fromisoformat(row["at"]),
                )
                for row in rows
            ]

    async def add_invitation(self, room: str, inviter: str, at: datetime) -> None:
        """Keep an invitation; one into the same room stays as it is.

        Args:
            room: Where to.
            inviter: Who asks.
            at: Since when.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT OR IGNORE INTO invitations (room, inviter, at) VALUES (?, ?, ?)",
            (room, inviter, at.astimezone(UTC).isoformat()),
        )

    async def remove_invitation(self, room: str) -> None:
        """Take an invitation out: it was answered.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute("DELETE FROM invitations WHERE room = ?", (room,))

    async def left_out(self) -> int:
        """Return how many invitations were told of that found no room."""
        rows = await self._database.fetch(
            "SELECT count FROM tallies WHERE kind = 'invitations' AND jid = ''"
        )
        return int(rows[0]["count"]) if rows else 0

    async def set_left_out(self, count: int) -> None:
        """Set that number.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT OR REPLACE INTO tallies (kind, jid, count) "
            "VALUES ('invitations', '', ?)",
            (count,),
        )
