"""What we ask of rooms: to come in, to go, who is a member, to change something.

Source: XEP-0045, sections 7 to 10; XEP-0249; XEP-0410 (self-ping).
"""

import asyncio
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.stanza import Iq
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.chat import Affiliation
from xmpp_onion.errors import RoomError, SessionError
from xmpp_onion.session.bookmarks import Bookmarks
from xmpp_onion.session.client_xmpp import OnionClient
from xmpp_onion.session.moderation import write_moderation
from xmpp_onion.session.muc import (
    CONFERENCE,
    DISCO,
    MUC,
    MUC_ADMIN,
    MUC_USER,
    AffiliationList,
    Configuration,
    read_affiliations,
    read_configuration,
)
from xmpp_onion.session.serialising import serialise

__all__ = ["RoomService", "room_error", "unanswered"]

# Seconds for one answer of a room: two bad circuits' worth.
_PATIENCE: Final = 30.0
MUC_OWNER: Final = f"{MUC}#owner"
_FORMS: Final = "jabber:x:data"
_PING: Final = "urn:xmpp:ping"
# XEP-0410, section 3: answers that mean that we are in; of others we cannot tell.
_STILL_IN: Final = frozenset({"feature-not-implemented", "service-unavailable"})
_MEMBERS: Final = (Affiliation.OWNER, Affiliation.ADMIN, Affiliation.MEMBER)
# What a room answers, in words (XEP-0045, sections 7.2 and 9).
_IN_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "registration-required": "it lets in members only, and we are none",
        "forbidden": "we are banned, or may not do that",
        "not-allowed": "the server does not allow it",
        "item-not-found": "there is no such room, or no such person in it",
        "gone": "the room is gone",
        "conflict": "the nick belongs to somebody else, or the room needs an owner",
        "service-unavailable": "the room is full, or no room is at this address",
        "not-authorized": "it wants a password",
        "remote-server-not-found": "there is no such server",
        "jid-malformed": "it wants another nick",
        "not-acceptable": "it wants another nick, or we are not in the room",
    }
)
_REMEDIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "registration-required": "Ask one of its owners to make you a member.",
        "forbidden": "Ask one of its owners or admins.",
        "not-allowed": "Ask one of its owners or admins.",
    }
)


class RoomService:
    """The rooms of one account, as their servers see it.

    Each call that is awaited costs one flight; it raises RoomError when the room
    refused, and SessionError when there is no connection or no answer.

    Args:
        xmpp: Sends the requests.
        send: Sends a message or a presence; done when the server has it.

    Attributes:
        known: The rooms that we are in or enter: what others send is not read.
            Whoever knows them sets it.
        bookmarks: What our server keeps for our other devices.
    """

    def __init__(
        self, xmpp: OnionClient, send: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self.known: set[JID] = set()
        self.bookmarks = Bookmarks(xmpp, self.ask)
        self._xmpp = xmpp
        self._send = send
        self._returning: dict[str, JID] = {}  # invitations that may come back, by id

    # --- coming and going -------------------------------------------------------

    def enter(self, room: JID, nick: str) -> Awaitable[None]:
        """Ask to come in, at once; the answer is a presence.

        No history is asked for: the room's archive has it, with who said it.

        Returns:
            What completes when our server has the question.
        """
        presence = _stanza("presence", to=f"{room.bare}/{nick}")
        x = ET.SubElement(presence, f"{{{MUC}}}x")
        ET.SubElement(x, f"{{{MUC}}}history", {"maxstanzas": "0"})
        return self._send(serialise(presence), presence.get("id", ""))

    async def leave(self, room: JID, nick: str) -> None:
        """Go out."""
        place = f"{room.bare}/{nick}"
        await self._tell(_stanza("presence", to=place, type="unavailable"))

    async def is_in(self, room: JID, nick: str) -> bool:
        """Tell whether the room still counts us in (XEP-0410).

        Raises:
            SessionError: It did not answer; we cannot know.
        """
        request = self._xmpp.make_iq_get(ito=f"{room.bare}/{nick}")
        request.append(ET.Element(f"{{{_PING}}}ping"))
        try:
            await self.ask(request)
        except RoomError as error:
            return error.condition in _STILL_IN
        return True

    # --- reading ----------------------------------------------------------------

    async def look(self, room: JID) -> tuple[Configuration, AffiliationList | None]:
        """Return what a room says about itself, and its members, there or not.

        One flight. Members are None where they are not told to us.
        """
        about = self._begin(self._query("get", room, DISCO))
        lists = [
            self._begin(self._query("get", room, MUC_ADMIN, affiliation=each))
            for each in _MEMBERS
        ]
        answer = await _answer(about)
        configuration = read_configuration(answer.find(f"{{{DISCO}}}query"))
        found: list[tuple[JID, Affiliation]] = []
        for affiliation, asked in zip(_MEMBERS, lists, strict=True):
            try:
                answer = await _answer(asked)
            except RoomError as error:
                if error.is_temporary:
                    raise
                return configuration, None
            items = read_affiliations(answer.find(f"{{{MUC_ADMIN}}}query"))
            # Each list has one kind; others in it would be the room's joke.
            found.extend(item for item in items if item[1] is affiliation)
        return configuration, tuple(found)

    async def is_host(self, domain: str) -> bool:
        """Tell whether rooms live at a domain, and no people (XEP-0045, section 6.1).

        Raises:
            SessionError: It did not answer.
        """
        request = self._xmpp.make_iq_get(ito=domain)
        request.append(ET.Element(f"{{{DISCO}}}query"))
        query = (await self.ask(request)).find(f"{{{DISCO}}}query")
        found = () if query is None else query.iterfind(f"{{{DISCO}}}identity")
        return any(each.get("category") == "conference" for each in found)

    # --- changing ---------------------------------------------------------------

    async def configure(self, room: JID, fields: Mapping[str, str]) -> None:
        """Set fields of the configuration; others stay. Owners may."""
        request = self._xmpp.make_iq_set(ito=room.bare)
        query = ET.Element(f"{{{MUC_OWNER}}}query")
        form = ET.SubElement(query, f"{{{_FORMS}}}x", {"type": "submit"})
        for name, value in {"FORM_TYPE": f"{MUC}#roomconfig", **fields}.items():
            field = ET.SubElement(form, f"{{{_FORMS}}}field", {"var": name})
            ET.SubElement(field, f"{{{_FORMS}}}value").text = value
        request.append(query)
        await self.ask(request)

    async def destroy(self, room: JID) -> None:
        """Make an end of a room, for everybody. Owners may."""
        request = self._xmpp.make_iq_set(ito=room.bare)
        query = ET.Element(f"{{{MUC_OWNER}}}query")
        ET.SubElement(query, f"{{{MUC_OWNER}}}destroy")
        request.append(query)
        await self.ask(request)

    async def grant(self, room: JID, jid: JID, affiliation: Affiliation) -> None:
        """Make an account something else to the room."""
        what = {"jid": jid.bare, "affiliation": affiliation}
        await self.ask(self._query("set", room, MUC_ADMIN, **what))

    async def throw_out(self, room: JID, nick: str) -> None:
        """Make somebody leave; who may come in may come again."""
        what = {"nick": nick, "role": "none"}
        await self.ask(self._query("set", room, MUC_ADMIN, **what))

    async def moderate(self, room: JID, target: str, reason: str) -> None:
        """Take a message out of a room, by the room's name of it (XEP-0425).

        The reason is not encrypted: every server on the way reads it.
        """
        request = self._xmpp.make_iq_set(ito=room.bare)
        request.append(write_moderation(target, reason))
        await self.ask(request)

    async def invite(self, room: JID, jid: JID, *, is_direct: bool = True) -> None:
        """Ask somebody to come: directly (XEP-0249), or through the room.

        Through the room a member may where its owners allow it, and the invited
        becomes a member. Whether it was allowed is not told.

        Raises:
            RoomError: Our server has no such account. Others say so later, if at all.
        """
        if is_direct:
            message = _stanza("message", to=jid.bare)
            ET.SubElement(message, f"{{{CONFERENCE}}}x", {"jid": room.bare})
            await self._tell_person(message, jid.bare)
        else:
            message = _stanza("message", to=room.bare)
            x = ET.SubElement(message, f"{{{MUC_USER}}}x")
            ET.SubElement(x, f"{{{MUC_USER}}}invite", {"to": jid.bare})
            await self._tell(message)

    async def set_subject(self, room: JID, subject: str) -> None:
        """Set the subject. It is not encrypted: every server on the way reads it."""
        message = _stanza("message", to=room.bare, type="groupchat")
        ET.SubElement(message, "{jabber:client}subject").text = subject
        await self._tell(message)

    # --- inside -----------------------------------------------------------------

    def _query(self, kind: str, room: JID, namespace: str, **item: str) -> Iq:
        make = self._xmpp.make_iq_get if kind == "get" else self._xmpp.make_iq_set
        request = make(ito=room.bare)
        query = ET.Element(f"{{{namespace}}}query")
        if item:
            ET.SubElement(query, f"{{{namespace}}}item", item)
        request.append(query)
        return request

    async def _tell(self, stanza: ET.Element) -> None:
        await self._send(serialise(stanza), stanza.get("id", ""))

    async def _tell_person(self, message: ET.Element, jid: JID) -> None:
        """Send a message that our server may give back before it confirms it."""
        message_id = message.get("id", "")
        self._returning[message_id] = jid
        try:
            await self._tell(message)
            if message_id not in self._returning:
                raise RoomError(
                    f"{jid} was not invited",
                    condition="item-not-found",
                    why="there is no such account, or its server takes nothing for it",
                    fix="Compare the address with where you have it from.",
                )
        finally:
            self._returning.pop(message_id, None)

    def take_returned(self, element: ET.Element) -> bool:
        """Note that an invitation came back; false if a message is none of ours."""
        jid = self._returning.get(element.get("id", ""))
        if jid is None or element.get("type") != "error" or element.get("from") != jid:
            return False
        del self._returning[element.get("id", "")]
        return True

    async def ask(self, request: Iq) -> ET.Element:
        """Send a request and return the answer."""
        return await _answer(self._begin(request))

    def _begin(self, request: Iq) -> asyncio.Future[Iq]:
        try:
            asked: asyncio.Future[Iq] = request.send(timeout=_PATIENCE)
        except NotConnectedError:
            raise unanswered("the session is down") from None
        # Nobody may come to read it: one of several questions can fail before.
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        return asked


async def _answer(asked: asyncio.Future[Iq]) -> ET.Element:
    try:
        answer = await asked
    except IqTimeout:
        raise unanswered("no answer came") from None
    except IqError as error:
        raise room_error(str(error.condition)) from None
    return answer.xml


def _stanza(name: str, **attributes: str) -> ET.Element:
    stanza_id = secrets.token_hex(16)
    return ET.Element(f"{{jabber:client}}{name}", {"id": stanza_id, **attributes})


def room_error(condition: str) -> RoomError:
    """Return the error for the condition that a room answered with."""
    return RoomError(
        "the room did not do what it was asked",
        condition=condition,
        why=_IN_WORDS.get(condition, f"it says {condition[:40]!a}"),
        fix=_REMEDIES.get(condition, ""),
    )


def unanswered(why: str) -> SessionError:
    """Return the error that a room did not answer, and why, as a clause."""
    return SessionError(
        "the room did not answer",
        why=why,
        fix="Try again when the connection is back. See `xmpp-onion doctor`.",
    )
