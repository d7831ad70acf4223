"""The rooms that an account is in, kept at its server for its other devices.

They are for our own account alone, which is read back: a server that ignores what
it was asked would show everybody where we talk. What is there is shown and never
joined by itself: the server could have put it there.

Source: XEP-0402; XEP-0223 (private data), section 5.
"""

import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from slixmpp.stanza import Iq

from xmpp_onion.address import JID
from xmpp_onion.errors import InvalidJIDError, RoomError
from xmpp_onion.session.client_xmpp import OnionClient

__all__ = ["Bookmark", "Bookmarks"]

BOOKMARKS: Final = "urn:xmpp:bookmarks:1"
PUBSUB: Final = "http://jabber.org/protocol/pubsub"
_OWNER: Final = f"{PUBSUB}#owner"
_FORMS: Final = "jabber:x:data"
_CONFERENCE: Final = f"{{{BOOKMARKS}}}conference"
_NICK: Final = f"{{{BOOKMARKS}}}nick"
# Nobody is in more; it is our own server that could name a million.
_LIMIT: Final = 500
_OPTIONS: Final = (
    ("FORM_TYPE", f"{PUBSUB}#publish-options"),
    ("pubsub#persist_items", "true"),
    ("pubsub#max_items", "max"),
    ("pubsub#send_last_published_item", "never"),
    ("pubsub#access_model", "whitelist"),
)

Ask: TypeAlias = Callable[[Iq], Awaitable[ET.Element]]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A room that this account is in, or was.

    Args:
        room: The room.
        nick: The name there; may be empty.
        is_joined: A device of ours is in, and the others should be.
    """

    room: JID
    nick: str
    is_joined: bool


class Bookmarks:
    """The bookmarks of one account.

    Args:
        xmpp: Makes the requests.
        ask: Sends one and returns the answer; raises SessionError.
    """

    def __init__(self, xmpp: OnionClient, ask: Ask) -> None:
        self._xmpp = xmpp
        self._ask = ask
        self._is_private = False

    async def all(self) -> tuple[Bookmark, ...]:
        """Return what our server keeps; whatever is malformed is left out."""
        found = [_read(item) for item in await self._fetch("")]
        return tuple(each for each in found if each is not None)

    async def keep(self, room: JID, nick: str) -> None:
        """Note that we are in a room; what other clients noted with it stays.

        Raises:
            RoomError: The server would show it to others; it was taken back.
        """
        conference = await self._find(room)
        if conference is not None and _is_set(conference):
            return
        if conference is None:
            conference = ET.Element(_CONFERENCE)
            ET.SubElement(conference, _NICK).text = nick
        conference.set("autojoin", "true")
        await self._publish(room, conference)
        await self._check(room)

    async def leave(self, room: JID) -> None:
        """Note that we have left a room, if it was noted that we are in."""
        conference = await self._find(room)
        if conference is not None and _is_set(conference):
            conference.set("autojoin", "false")
            await self._publish(room, conference)

    # --- inside -----------------------------------------------------------------

    async def _find(self, room: JID) -> ET.Element | None:
        for item in await self._fetch(room.bare):
            if item.get("id") == room.bare:
                return item.find(_CONFERENCE)
        return None

    async def _fetch(self, item_id: str) -> list[ET.Element]:
        request = self._xmpp.make_iq_get()
        pubsub = ET.Element(f"{{{PUBSUB}}}pubsub")
        items = ET.SubElement(pubsub, f"{{{PUBSUB}}}items", {"node": BOOKMARKS})
        if item_id:
            ET.SubElement(items, f"{{{PUBSUB}}}item", {"id": item_id})
        request.append(pubsub)
        try:
            answer = await self._ask(request)
        except RoomError as error:
            if error.condition == "item-not-found":
                return []  # there are none yet
            raise
        path = f"{{{PUBSUB}}}pubsub/{{{PUBSUB}}}items/{{{PUBSUB}}}item"
        return answer.findall(path)[:_LIMIT]

    async def _publish(self, room: JID, conference: ET.Element) -> None:
        request = self._xmpp.make_iq_set()
        pubsub = ET.Element(f"{{{PUBSUB}}}pubsub")
        publish = ET.SubElement(pubsub, f"{{{PUBSUB}}}publish", {"node": BOOKMARKS})
        item = ET.SubElement(publish, f"{{{PUBSUB}}}item", {"id": room.bare})
        item.append(conference)
        options = ET.SubElement(pubsub, f"{{{PUBSUB}}}publish-options")
        form = ET.SubElement(options, f"{{{_FORMS}}}x", {"type": "submit"})
        for name, value in _OPTIONS:
            field = ET.SubElement(form, f"{{{_FORMS}}}field", {"var": name})
            ET.SubElement(field, f"{{{_FORMS}}}value").text = value
        request.append(pubsub)
        await self._ask(request)

    async def _check(self, room: JID) -> None:
        """Take back what others could read; once it was right it stays so."""
        if self._is_private:
            return
        request = self._xmpp.make_iq_get()
        pubsub = ET.Element(f"{{{_OWNER}}}pubsub")
        ET.SubElement(pubsub, f"{{{_OWNER}}}configure", {"node": BOOKMARKS})
        request.append(pubsub)
        answer = await self._ask(request)
        for field in answer.iter(f"{{{_FORMS}}}field"):
            if field.get("var") == "pubsub#access_model":
                model = field.findtext(f"{{{_FORMS}}}value", "")
                self._is_private = model == "whitelist"
        if not self._is_private:
            await self._retract(room)
            raise RoomError(
                "the server would show others which rooms we are in",
                why="it does not keep private data private",
                fix="Nothing was left there; note yourself which rooms you are in. "
                "The operator has to let nodes be for their owner alone (XEP-0223).",
            )

    async def _retract(self, room: JID) -> None:
        request = self._xmpp.make_iq_set()
        pubsub = ET.Element(f"{{{PUBSUB}}}pubsub")
        retract = ET.SubElement(pubsub, f"{{{PUBSUB}}}retract", {"node": BOOKMARKS})
        ET.SubElement(retract, f"{{{PUBSUB}}}item", {"id": room.bare})
        request.append(pubsub)
        await self._ask(request)


def _read(item: ET.Element) -> Bookmark | None:
    conference = item.find(_CONFERENCE)
    try:
        room = JID(item.get("id", ""))
    except InvalidJIDError:
        return None
    if conference is None or not room.local or room.resource:
        return None
    return Bookmark(room, conference.findtext(_NICK, ""), _is_set(conference))


def _is_set(conference: ET.Element) -> bool:
    return conference.get("autojoin", "false") in {"true", "1"}
