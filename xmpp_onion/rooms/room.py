"""One room, as a program sees it: who is in, who may be, and what to say there."""

import copy
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from pathlib import Path
from typing import Protocol, Self

from xmpp_onion.account import parse_recipient
from xmpp_onion.address import JID
from xmpp_onion.chat import (
    Affiliation,
    Delivery,
    Message,
    Progress,
    RoomState,
    Said,
)
from xmpp_onion.errors import EncryptionError
from xmpp_onion.rooms.joined import ROOM_TIMEOUT, Rooms
from xmpp_onion.rooms.moderations import Moderations

__all__ = ["Room", "Voice"]


class Voice(Protocol):
    """Sends, and says something about earlier messages; a ``Client`` does."""

    async def send(
        self,
        to: str,
        text: str,
        *,
        reply_to: Message | str = "",
        mentions: Collection[str] = (),
        expires: timedelta | None = None,
    ) -> Delivery:
        """Send a text, or an answer."""

    async def send_file(
        self,
        to: str,
        path: Path | str,
        progress: Progress | None = None,
        *,
        is_voice: bool = False,
        expires: timedelta | None = None,
        pad: bool = False,
    ) -> Delivery:
        """Send one, or a recording."""

    async def correct(self, to: str, message_id: str, text: str) -> Delivery:
        """Correct one of ours."""

    async def react(self, to: str, message_id: str, *emojis: str) -> Delivery:
        """React to one."""

    async def retract(self, to: str, message_id: str) -> Delivery:
        """Take one of ours back."""

    async def displayed_by(self, message_id: str) -> tuple[JID, ...]:
        """Return who was shown one of ours."""


class Room:
    """A room; ``Client.room()`` and ``Client.join()`` make one.

    It holds nothing itself: what it tells is as of the moment of asking.

    Args:
        rooms: All rooms of the account.
        jid: Which one this is.
        voice: Encrypts and sends.
        moderations: Take out what others said.
    """

    _wait: Callable[[str], Awaitable[None]] | None = None  # no turns

    def __init__(
        self, rooms: Rooms, jid: JID, *, voice: Voice, moderations: Moderations
    ) -> None:
        self._voice = voice
        self._moderations = moderations
        self._rooms = rooms
        self.jid = jid

    def __repr__(self) -> str:
        return f"<Room {self.jid.short}>"

    @property
    def state(self) -> RoomState | None:
        """The room as it is now; None if we are not in it and do not want to."""
        return self._rooms.state(self.jid)

    def paced(self, wait: Callable[[str], Awaitable[None]]) -> Self:
        """Return the same room, where what is said waits for its turn.

        Args:
            wait: Returns when something may be said to a JID.
        """
        room = copy.copy(self)
        room._wait = wait  # noqa: SLF001 - a copy of our own
        return room

    async def _turn(self) -> Voice:
        """Return what speaks, when something may be said."""
        if self._wait is not None:
            await self._wait(self.jid)
        return self._voice

    async def send(
        self,
        text: str,
        *,
        mentions: Collection[str] = (),
        expires: timedelta | None = None,
    ) -> Delivery:
        """Encrypt ``text`` for all members and send it; else as ``Client.send()``."""
        voice = await self._turn()
        return await voice.send(self.jid, text, mentions=mentions, expires=expires)

    async def reply(self, to: Message | str, text: str) -> Delivery:
        """Answer a message, or the one with that id; else as :meth:`send`."""
        voice = await self._turn()
        return await voice.send(self.jid, text, reply_to=to)

    async def correct(self, message_id: str, text: str) -> Delivery:
        """Say what a message of ours should have said; as ``Client.correct()``."""
        voice = await self._turn()
        return await voice.correct(self.jid, message_id, text)

    async def react(self, message_id: str, *emojis: str) -> Delivery:
        """Say what we feel about a message; as ``Client.react()``."""
        voice = await self._turn()
        return await voice.react(self.jid, message_id, *emojis)

    async def retract(self, message_id: str) -> Delivery:
        """Ask all to forget a message of ours; as ``Client.retract()``."""
        voice = await self._turn()
        return await voice.retract(self.jid, message_id)

    async def moderate(
        self,
        message: Said,
        reason: str = "",
        *,
        allow_clear: bool = False,
        timeout: float = ROOM_TIMEOUT,
    ) -> None:
        """Take a message of anybody out of the room (XEP-0425). Owners and admins may.

        The server keeps a note in its place, and tells all; whoever comes later does
        not get it. Who has read it already still has it.

        Args:
            message: As it came.
            reason: Why; it cannot be encrypted.
            allow_clear: That is known and wanted.
            timeout: Seconds for a connection, and for the answer.

        Raises:
            AddressError: It was said elsewhere.
            EncryptionError: There is a reason, and ``allow_clear`` was not said.
            RoomError: We may not, or the server cannot, or does not know it any more.
            SessionError: No connection, or no answer, in time.
        """
        await self._moderations.ask(
            self.jid, message, reason, timeout, allow_clear=allow_clear
        )

    async def take_out(
        self,
        author: str,
        message_id: str,
        reason: str = "",
        *,
        allow_clear: bool = False,
        timeout: float = ROOM_TIMEOUT,
    ) -> None:
        """Do as ``moderate()``, where there is only the id that the author gave it.

        Raises:
            EncryptionError: There is a reason, and ``allow_clear`` was not said.
            RoomError: We may not, or the server cannot, or does not know it any more.
            SessionError: No connection, or no answer, in time.
        """
        who = parse_recipient(author)
        await self._moderations.take_out(
            self.jid,
            message_id,
            who,
            reason=reason,
            timeout=timeout,
            allow_clear=allow_clear,
        )

    async def displayed_by(self, message_id: str) -> tuple[JID, ...]:
        """Return which members say to have been shown a message of ours.

        They say it with ``Client.mark_displayed()``, and it counts for what we said
        before as well; as ``Client.displayed_by()``.
        """
        return await self._voice.displayed_by(message_id)

    async def send_file(
        self,
        path: Path | str,
        progress: Progress | None = None,
        *,
        is_voice: bool = False,
        expires: timedelta | None = None,
        pad: bool = False,
    ) -> Delivery:
        """Encrypt a file, store it, and send all members the link with its key.

        Else as ``Client.send_file()``. The server keeps it for some days: who is away
        for longer reads the message, and finds no file.
        """
        voice = await self._turn()
        return await voice.send_file(
            self.jid, path, progress, is_voice=is_voice, expires=expires, pad=pad
        )

    async def members(self, *, timeout: float = ROOM_TIMEOUT) -> dict[JID, Affiliation]:
        """Return owners, admins and members, there or not, as the room says now.

        Raises:
            RoomError: It does not tell, or we are not in it.
            SessionError: No connection, or no answer, in time.
        """
        return await self._rooms.membership.read(self.jid, timeout)

    async def invite(
        self, *people: str, through_room: bool = False, timeout: float = ROOM_TIMEOUT
    ) -> None:
        """Make people members, and ask each to come (XEP-0249).

        Args:
            people: Their JIDs.
            through_room: Leave both to the room, which lets members invite if its
                owners want that. It does not tell whether it did.
            timeout: Seconds for a connection, and for each answer.

        Raises:
            RoomError: We may not, or our own server has no such account, who is no
                member then; nobody after the first who failed is asked. Other
                servers may say so too late.
        """
        for person in people:
            jid = parse_recipient(person)
            await self._rooms.membership.invite(
                self.jid, jid, timeout, is_direct=not through_room
            )

    async def kick(self, person: str, *, timeout: float = ROOM_TIMEOUT) -> None:
        """Take somebody out, who is no member any more and reads nothing from now on.

        Only throwing them out would not do: a member is written to, there or not.
        """
        await self.grant(person, Affiliation.NONE, timeout=timeout)

    async def ban(self, person: str, *, timeout: float = ROOM_TIMEOUT) -> None:
        """Take somebody out for good: they cannot be invited by mistake."""
        await self.grant(person, Affiliation.OUTCAST, timeout=timeout)

    async def grant(
        self, person: str, affiliation: Affiliation, *, timeout: float = ROOM_TIMEOUT
    ) -> None:
        """Make an account something else to the room: a member, an admin, an owner."""
        await self._rooms.membership.grant(
            self.jid, parse_recipient(person), affiliation, timeout
        )

    async def set_strict(self, *, strict: bool = True) -> None:
        """Send nothing while there is a member whom nobody here accepted, or do.

        Who is a member now is accepted. Needs no connection.
        """
        await self._rooms.membership.be_strict(self.jid, strict=strict)

    async def accept(self, *people: str) -> None:
        """Let a strict room send to new members. Needs no connection."""
        await self._rooms.membership.accept(
            self.jid, [parse_recipient(each) for each in people]
        )

    async def set_subject(
        self,
        subject: str,
        *,
        allow_clear: bool = False,
        timeout: float = ROOM_TIMEOUT,
    ) -> None:
        """Set the subject, which cannot be encrypted.

        Args:
            subject: What every server on the way, and every member to come, reads.
            allow_clear: That is known and wanted.
            timeout: Seconds for a connection, and for the server to have it.

        Raises:
            EncryptionError: ``allow_clear`` was not said; nothing was sent.
        """
        if not allow_clear:
            raise EncryptionError(
                "the subject of a room cannot be encrypted",
                why="every server on the way would read it",
                fix="Say it in a message, or pass allow_clear=True.",
            )
        await self._rooms.set_subject(self.jid, subject, timeout)

    async def destroy(self, *, timeout: float = ROOM_TIMEOUT) -> None:
        """Make an end of the room, for everybody. Owners may."""
        await self._rooms.destroy(self.jid, timeout)

    async def leave(self, *, timeout: float = ROOM_TIMEOUT) -> None:
        """Go out, and do not come back by itself. Who is a member stays one."""
        await self._rooms.leave(self.jid, timeout)
