"""Messages that owners and admins take out of a room (XEP-0425), both ways.

It is the word of the room's server, which no key signs. So it is told, with whose
word it is, and nothing is done by itself: what was not handled yet is handed out
before it, or a server could have messages disappear that somebody waits for.
"""

import asyncio
import logging
from datetime import datetime
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import Affiliation, Moderated, Said, write_event
from xmpp_onion.errors import AddressError, EncryptionError, RoomError
from xmpp_onion.rooms.care import in_time
from xmpp_onion.rooms.joined import Rooms
from xmpp_onion.session import Moderation, Session
from xmpp_onion.store import Database, Inbox
from xmpp_onion.store import RoomNames as Names
from xmpp_onion.store import Rooms as Table

__all__ = ["Moderations"]

log = logging.getLogger(__name__)

_MAY: Final = frozenset({Affiliation.OWNER, Affiliation.ADMIN})
# What a server answers that knows nothing of it.
_UNKNOWN: Final = frozenset({"service-unavailable", "feature-not-implemented"})


class Moderations:
    """What is taken out of the rooms of one account.

    Args:
        database: Of the account.
        session: Asks the rooms.
        rooms: Who is what to them.
        news: Set when the inbox has got something.
    """

    def __init__(
        self, database: Database, session: Session, rooms: Rooms, *, news: asyncio.Event
    ) -> None:
        self._inbox, self._names = Inbox(database), Names(database)
        self._table = Table(database)
        self._session = session
        self._rooms = rooms
        self._news = news

    async def take(
        self, room: JID, said: Moderation, at: datetime, *, key: str
    ) -> None:
        """Tell what a room says was taken out, once. In a transaction.

        Nothing is told of what somebody did who is no owner or admin by our own list
        of members, and of messages that we do not know.

        Args:
            room: The room, which itself said so.
            said: What.
            at: When.
            key: Names it, live or from the archive.
        """
        if await self._inbox.is_seen(key):
            return
        found = await self._names.find(room, said.target)
        by = await self._moderator(room, said)
        if found is None or by is None:
            log.info("nobody known took a message out of %s", room.short)
            return
        await self._inbox.mark_seen(key)
        message_id, author = found
        moderated = Moderated(
            sender=room.bare,
            by=by,
            target=message_id,
            author=JID(author),
            reason=said.reason,
            at=at,
        )
        await self._inbox.add(write_event(moderated))
        self._news.set()

    async def _moderator(self, room: JID, said: Moderation) -> JID | None:
        """Return who did it, if they may; a nick tells it only while it is theirs."""
        state = self._rooms.state(room)
        if state is None:
            return None
        occupant = state.occupants.get(said.nick)
        by = said.by or (occupant.jid if occupant else None)
        members = dict(state.members) or {
            JID(row.jid): Affiliation(row.affiliation)
            for row in await self._table.members(room.bare)
        }
        return by if by is not None and members.get(by.bare) in _MAY else None

    async def ask(
        self,
        room: JID,
        message: Said,
        reason: str,
        timeout: float,
        *,
        allow_clear: bool,
    ) -> None:
        """Have a message taken out of a room. Owners and admins may.

        Raises:
            AddressError: It was not said there.
            SessionError, RoomError, EncryptionError: As ``take_out``.
        """
        if message.room != room:
            raise AddressError(
                "this message was not said in this room",
                fix="Ask the room that its `room` names.",
            )
        await self.take_out(
            room,
            message.id,
            message.sender,
            reason=reason,
            timeout=timeout,
            allow_clear=allow_clear,
        )

    async def take_out(
        self,
        room: JID,
        message_id: str,
        author: JID,
        *,
        reason: str,
        timeout: float,
        allow_clear: bool,
    ) -> None:
        """Do so by the id that the author gave the message.

        Raises:
            EncryptionError: There is a reason, and nobody said that it may be read.
            RoomError: The room refused, or knows no such message.
            SessionError: No connection, or no answer, in time.
        """
        if reason and not allow_clear:
            raise EncryptionError(
                "why a message is taken out of a room cannot be encrypted",
                why="every server on the way would read it",
                fix="Say it in a message, or pass allow_clear=True.",
            )
        target = await self._names.find_stanza(room, message_id, author)
        if not target:
            raise RoomError(
                "nothing was taken out",
                why="it is not known what the room calls the message, or no more",
                fix="Ask an owner or admin who was there when it was said.",
            )
        try:
            async with in_time(self._session, timeout):
                await self._session.rooms.moderate(room, target, reason)
        except RoomError as error:
            if error.condition in _UNKNOWN:
                raise RoomError(
                    "nothing was taken out",
                    condition=error.condition,
                    why="the server of the room cannot do it",
                    fix="Its operator has to add a module for XEP-0425.",
                ) from None
            raise
