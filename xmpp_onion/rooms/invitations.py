"""Who asks us to come into rooms: a box with a bottom, and nobody is followed.

Contacts come first and have the room to themselves; strangers have a small one, and
how many more there were is a number. A room's server can name anybody as the one who
invites, a contact too, so what it says costs a place in the box at most.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import RoomChange, RoomEvent, write_event
from xmpp_onion.session import Invitation
from xmpp_onion.silence import Silence
from xmpp_onion.store import INVITATION_LIMIT, Database, Inbox, Rooms, reading

__all__ = ["Invitations"]

# Of one inviter: a room's server that makes names up fills no box with one of them.
_EACH_LIMIT: Final = 20
# Of all strangers, and of one: each is an event, and a stranger's name costs nothing.
# Somebody who joins a room in a week would look through that much.
_STRANGERS_LIMIT: Final = 20
_EACH_STRANGER_LIMIT: Final = 3
_STRANGER: Final = "who invites is no contact of yours"


class Invitations:
    """The invitations that wait for an answer.

    Args:
        database: Of the account.
        is_contact: Tells whether somebody is on our contact list.
        own: Our bare JID.
        news: Set when the inbox has got something.
    """

    def __init__(
        self,
        database: Database,
        is_contact: Callable[[str], Awaitable[bool]],
        *,
        own: JID,
        news: asyncio.Event,
    ) -> None:
        self._database = database
        self._table, self._inbox = Rooms(database), Inbox(database)
        self._is_contact = is_contact
        self._own = own.bare
        self._news = news
        # Counted in memory until it is told: a flood costs no transaction each.
        self._left_out = 0
        self._silence = Silence(self.tell_rest)

    async def all(self) -> tuple[RoomEvent, ...]:
        """Return what waits: contacts first, then oldest first; needs no connection.

        ``reason`` says of a stranger that he is one.
        """
        rows = await self._table.invitations()
        with reading(self._database.path, "invitations"):
            found = [
                await self._told(JID(row.room), JID(row.inviter), row.at)
                for row in rows
            ]
        return tuple(sorted(found, key=lambda each: bool(each.reason)))

    async def more(self) -> int:
        """Return how many more came, for which there was no room."""
        return await self._table.left_out() + self._left_out

    async def run(self) -> None:
        """Tell how many found no room, now and then; never returns."""
        await self._silence.run()

    async def take(self, invitation: Invitation) -> None:
        """Put an invitation into the box, and tell it; nothing is joined.

        One that was in it before is not told again, though the archive and the
        offline store repeat it after it was answered.
        """
        room, inviter = invitation.room, invitation.inviter
        key = _key_of(invitation)
        if key and await self._inbox.is_seen(key):
            return
        is_contact, here = await self._is_contact(inviter), 0
        of_inviter, of_stranger = 0, ""
        for row in await self._table.invitations():
            is_alike = await self._is_contact(row.inviter) == is_contact
            if row.room == room and (is_alike or not is_contact):
                return
            if row.room == room:  # a stranger must not stand before a contact
                of_stranger = row.inviter
            here += is_alike
            of_inviter += row.inviter == inviter
        limit = INVITATION_LIMIT if is_contact else _STRANGERS_LIMIT
        each_limit = _EACH_LIMIT if is_contact else _EACH_STRANGER_LIMIT
        if here >= limit or of_inviter >= each_limit:
            self._left_out += 1
            self._silence.begin()
            return
        told = await self._told(room, inviter, invitation.at or datetime.now(UTC))
        async with self._database.transaction():
            if of_stranger:
                await self._table.remove_invitation(room)
            await self._table.add_invitation(room, inviter, told.at)
            if key:
                await self._inbox.mark_seen(key)
            await self._inbox.put(write_event(told))
        self._news.set()

    async def _told(self, room: JID, inviter: JID, at: datetime) -> RoomEvent:
        return RoomEvent(
            sender=room,
            change=RoomChange.INVITED,
            who=inviter,
            at=at,
            reason="" if await self._is_contact(inviter) else _STRANGER,
        )

    async def tell_rest(self) -> bool:
        """Tell how many found no room since that was told last; whether any did."""
        count = self._left_out
        if not count:
            return False
        told = RoomEvent(
            sender=self._own,
            change=RoomChange.INVITED,
            at=datetime.now(UTC),
            count=count,
        )
        async with self._database.transaction():
            await self._table.set_left_out(await self._table.left_out() + count)
            await self._inbox.put(write_event(told))
        self._left_out -= count
        self._news.set()
        return True

    async def refuse(self, room: JID) -> bool:
        """Take an invitation out of the box; nobody is told.

        Returns:
            Whether there was one.
        """
        async with self._database.transaction():
            rows = await self._table.invitations()
            await self._table.remove_invitation(room)
        return any(row.room == room for row in rows)

    async def refuse_all(self) -> tuple[JID, ...]:
        """Empty the box, and forget how many found no room; nobody is told.

        Returns:
            The rooms.
        """
        waiting = await self.all()
        async with self._database.transaction():
            for each in waiting:
                await self._table.remove_invitation(each.sender)
            await self._table.set_left_out(0)
        self._left_out = 0
        return tuple(each.sender for each in waiting)


def _key_of(invitation: Invitation) -> str:
    """Return by what one is known again; empty if its sender gave it no name."""
    if not invitation.id:
        return ""
    parts = ("invitation", invitation.inviter, invitation.room, invitation.id)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
