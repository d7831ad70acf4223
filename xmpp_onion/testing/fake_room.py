"""A room in memory: members, what each may do, and nothing else."""

from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from xmpp_onion.address import JID
from xmpp_onion.chat import Affiliation, Content, Delivery, Message, Progress, RoomState
from xmpp_onion.errors import EncryptionError, RoomError
from xmpp_onion.rooms import Room

__all__ = ["FakeRoom"]

_MAY_CHANGE = frozenset({Affiliation.OWNER, Affiliation.ADMIN})


class Speech(Protocol):
    """The bot's account: what it says in a room goes here."""

    @property
    def jid(self) -> JID:
        """Whose it is."""

    async def speak(self, to: JID, what: Content) -> Delivery:
        """Say something."""

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        """Send a file."""


class _FakeVoice:
    """Says something in the world of the test; see :class:`xmpp_onion.rooms.Voice`."""

    def __init__(self, line: Speech) -> None:
        self._line = line

    async def send(
        self,
        to: str,
        text: str,
        *,
        reply_to: Message | str = "",
        mentions: Collection[str] = (),
        expires: timedelta | None = None,
    ) -> Delivery:
        """Say something, perhaps in answer to a message."""
        what = Content(
            text=text,
            reply_to=reply_to.id if isinstance(reply_to, Message) else reply_to,
            mentions=tuple(JID(each).bare for each in mentions),
        )
        return await self._line.speak(JID(to), what)

    async def correct(self, to: str, message_id: str, text: str) -> Delivery:
        """Say what a message of ours should have said."""
        return await self._line.speak(JID(to), Content(text=text, corrects=message_id))

    async def react(self, to: str, message_id: str, *emojis: str) -> Delivery:
        """Say what we feel about a message."""
        what = Content(reacts_to=message_id, emojis=emojis)
        return await self._line.speak(JID(to), what)

    async def retract(self, to: str, message_id: str) -> Delivery:
        """Take a message of ours back."""
        return await self._line.speak(JID(to), Content(retracts=message_id))

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
        """Send all members a file."""
        return await self._line.send_file(to, path, progress)

    async def displayed_by(self, message_id: str) -> tuple[JID, ...]:
        """Return nobody: people of a test say what they felt, not what they saw."""
        return ()


class FakeRoom(Room):
    """A room with members and nothing else, as the bot has it.

    Attributes:
        affiliations: What each account is to it.
        subject: What it is about.
    """

    def __init__(
        self, line: Speech, jid: JID, affiliations: dict[JID, Affiliation]
    ) -> None:
        self.jid = jid
        self.affiliations = affiliations
        self.subject = ""
        self._line = line
        self._voice = _FakeVoice(line)

    @property
    def state(self) -> RoomState:
        """The room as it is now."""
        members = {
            jid: what for jid, what in self.affiliations.items() if what.is_member
        }
        is_in = self._line.jid in members
        return RoomState(
            jid=self.jid, nick="bot", is_joined=is_in, is_private=True, members=members
        )

    async def members(self, *, timeout: float = 0) -> dict[JID, Affiliation]:
        """Return owners, admins and members."""
        return dict(self.state.members)

    async def invite(
        self, *people: str, through_room: bool = False, timeout: float = 0
    ) -> None:
        """Make people members, if the bot may."""
        self._check(Affiliation.NONE, Affiliation.MEMBER)
        for each in people:
            self.affiliations.setdefault(JID(each).bare, Affiliation.MEMBER)

    async def grant(
        self, person: str, affiliation: Affiliation, *, timeout: float = 0
    ) -> None:
        """Make an account something else to the room, if the bot may."""
        jid = JID(person).bare
        self._check(self.affiliations.get(jid, Affiliation.NONE), affiliation)
        self.affiliations[jid] = affiliation

    def _check(self, before: Affiliation, after: Affiliation) -> None:
        """Refuse what a room would: XEP-0045, section 5.2.1, tells who may what."""
        own = self.affiliations.get(self._line.jid, Affiliation.NONE)
        if own is Affiliation.OWNER:
            return
        if own not in _MAY_CHANGE or {before, after} & _MAY_CHANGE:
            raise RoomError(
                "the room did not do it",
                condition="not-allowed",
                why=f"the bot is {own} there, and that is not enough",
                fix="In a test: server.room(name, members, bot=Affiliation.ADMIN)",
            )

    async def set_subject(
        self, subject: str, *, allow_clear: bool = False, timeout: float = 0
    ) -> None:
        """Say what it is about, in the clear if that is wanted."""
        if not allow_clear:
            raise EncryptionError(
                "the subject of a room cannot be encrypted",
                why="every server on the way would read it",
                fix="Say it in a message, or pass allow_clear=True.",
            )
        self.subject = subject
