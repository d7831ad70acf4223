"""Who asks us to come into rooms: a box with a bottom, and nobody is followed.

Only contacts are listened to. A room's server can name any of them as the one who
invites, so what it says costs a place in the box at most.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from xmpp_onion.address import JID
from xmpp_onion.chat import RoomChange, RoomEvent, write_event
from xmpp_onion.session import Invitation
from xmpp_onion.store import INVITATION_LIMIT, Database, Inbox, Rooms, reading

__all__ = ["Invitations"]

# Of one inviter: a room's server that makes names up fills no box with one of them.
_EACH_LIMIT = 20


class Invitations:
    """The invitations that wait for an answer.

    Args:
        database: Of the account.
        is_contact: Tells whether somebody is on our contact list.
        news: Set when the inbox has got something.
    """

    def __init__(
        self,
        database: Database,
        is_contact: Callable[[str], Awaitable[bool]],
        *,
        news: asyncio.Event,
    ) -> None:
        self._database = database
        self._table, self._inbox = Rooms(database), Inbox(database)
        self._is_contact = is_contact
        self._news = news

    async def all(self) -> tuple[RoomEvent, ...]:
        """Return what waits, oldest first; needs no connection."""
        rows = await self._table.invitations()
        with reading(self._database.path, "invitations"):
            return tuple(
                RoomEvent(
                    sender=JID(row.room),
                    change=RoomChange.INVITED,
                    who=JID(row.inviter),
                    at=row.at,
                )
                for row in rows
            )

    async def take(self, invitation: Invitation) -> None:
        """Put an invitation into the box, and tell it; nothing is joined."""
        room, inviter = invitation.room, invitation.inviter
        if not await self._is_contact(inviter):
            return
        waiting = await self._table.invitations()
        of_inviter = [row for row in waiting if row.inviter == inviter]
        if any(row.room == room for row in waiting):
            return
        if len(waiting) >= INVITATION_LIMIT or len(of_inviter) >= _EACH_LIMIT:
            return
        told = RoomEvent(
            sender=room, change=RoomChange.INVITED, who=inviter, at=datetime.now(UTC)
        )
        async with self._database.transaction():
            await self._table.add_invitation(room, inviter)
            await self._inbox.add(write_event(told))
        self._news.set()

    async def refuse(self, room: JID) -> None:
        """Take an invitation out of the box; nobody is told."""
        async with self._database.transaction():
            await self._table.remove_invitation(room)
