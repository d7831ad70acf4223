"""What rooms send: presences, signals and invitations, as plain values.

Nothing here does I/O. A stanza counts only if it comes from a room that we are in
or enter, and from the place in it that may say so: a presence from an occupant's,
a signal from the room's own. An invitation may come from anybody, and does nothing.

Source: XEP-0045, sections 5 to 10 and 15.6 (status codes); XEP-0249.
"""

import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias

from xmpp_onion.address import JID
from xmpp_onion.chat import Affiliation, Role
from xmpp_onion.errors import InvalidJIDError
from xmpp_onion.session.guards import Outline

__all__ = [
    "AffiliationList",
    "Configuration",
    "Invitation",
    "RoomNews",
    "RoomPresence",
    "RoomSignal",
    "Status",
    "read_account",
    "read_affiliations",
    "read_configuration",
    "read_invitation",
    "read_room_message",
    "read_room_presence",
]

MUC: Final = "http://jabber.org/protocol/muc"
MUC_USER: Final = f"{MUC}#user"
MUC_ADMIN: Final = f"{MUC}#admin"
CONFERENCE: Final = "jabber:x:conference"
DISCO: Final = "http://jabber.org/protocol/disco#info"

_CLIENT: Final = "{jabber:client}"
_MESSAGE: Final = f"{_CLIENT}message"
_PRESENCE: Final = f"{_CLIENT}presence"
_X: Final = f"{{{MUC_USER}}}x"
_STANZAS: Final = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
# Items in one stanza that are looked at: a presence has one, a push a few.
_ITEMS: Final = 100
# Status codes in one stanza: the longest list that a service sends has four.
_CODES: Final = 20
# Accounts in one affiliation list; a room of so many cannot be encrypted for.
LIST_LIMIT: Final = 2000
# Of what others wrote for people.
_WORDS_LIMIT: Final = 200


class Status:
    """The status codes that mean something here (XEP-0045, section 15.6).

    Attributes:
        SELF: It is about ourselves.
        CREATED: The room was made just now.
        BANNED: Thrown out for good.
        NICK_CHANGED: Not gone, but called something else.
        KICKED: Thrown out.
        AFFILIATION_LOST: Gone, as no member any more.
        MEMBERS_ONLY: Gone, as the room is for members now.
        SHUTDOWN: Gone, as the server of the room ends.
    """

    SELF: Final = 110
    CREATED: Final = 201
    BANNED: Final = 301
    NICK_CHANGED: Final = 303
    KICKED: Final = 307
    AFFILIATION_LOST: Final = 321
    MEMBERS_ONLY: Final = 322
    SHUTDOWN: Final = 332
    CONFIGURATION: Final = frozenset({104, 170, 171, 172, 173, 174})
    """The configuration changed; what matters has to be read again."""


@dataclass(frozen=True, slots=True)
class RoomPresence:
    """Somebody came into a room, changed there, or went out.

    Args:
        room: The room.
        nick: Whose presence; empty where the room itself says that we cannot come.
        is_there: Whether they are in the room now.
        jid: The real account, bare, if the room tells.
        affiliation: Of the account.
        role: Of the occupant.
        codes: Status codes.
        new_nick: What the nick was changed to, with ``NICK_CHANGED``.
        by: Who threw them out, if that is told.
        is_destroyed: The room is gone.
        error: The condition with which our own presence came back; else empty.
    """

    room: JID
    nick: str
    is_there: bool
    jid: JID | None = None
    affiliation: Affiliation = Affiliation.NONE
    role: Role = Role.NONE
    codes: frozenset[int] = frozenset()
    new_nick: str = ""
    by: JID | None = None
    is_destroyed: bool = False
    error: str = ""


AffiliationList: TypeAlias = tuple[tuple[JID, Affiliation], ...]
"""Accounts, bare, and what each is to a room."""


@dataclass(frozen=True, slots=True)
class RoomSignal:
    """The room itself says that something about it changed.

    Args:
        room: The room.
        codes: Status codes.
        affiliations: Accounts that are something else to it now, there or not.
    """

    room: JID
    codes: frozenset[int] = frozenset()
    affiliations: AffiliationList = ()


@dataclass(frozen=True, slots=True)
class Invitation:
    """Somebody asks us to come into a room.

    Args:
        room: The room.
        inviter: The bare JID of who asks. Direct: from whom it came. Mediated: what
            the room says.
        is_direct: It came from the inviter, not through the room.
        id: What its sender called it; empty if they did not.
        at: When our own archive got it; None if it came now.
    """

    room: JID
    inviter: JID
    is_direct: bool
    id: str = ""
    at: datetime | None = None


RoomNews: TypeAlias = RoomPresence | RoomSignal | Invitation
"""What is said about a room, and not in it."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a room's own disco#info says about it (XEP-0045, section 6.4).

    Args:
        is_members_only: Nobody else can come in.
        is_non_anonymous: Everybody sees the real accounts.
        is_persistent: It stays when the last one has left.
        is_hidden: It is in no public list.
        is_archived: It keeps what was said (XEP-0313).
    """

    is_members_only: bool = False
    is_non_anonymous: bool = False
    is_persistent: bool = False
    is_hidden: bool = False
    is_archived: bool = False

    @property
    def why_not_private(self) -> str:
        """Why nothing may be said there, as a clause; empty if it may."""
        if not self.is_members_only:
            return "it lets in people who are no members"
        return "" if self.is_non_anonymous else "it hides who its occupants are"


# --- presence -----------------------------------------------------------------


def read_room_presence(
    element: ET.Element, rooms: Collection[JID]
) -> RoomPresence | None:
    """Return what a presence says about one of ``rooms``; None if nothing.

    Args:
        element: Any stanza.
        rooms: The bare JIDs of the rooms that we are in or enter.
    """
    if element.tag != _PRESENCE or isinstance(element, Outline):
        return None
    sender, kind = _read_jid(element.get("from", "")), element.get("type", "")
    if sender is None or sender.bare not in rooms:
        return None
    if kind == "error":
        return RoomPresence(
            sender.bare, sender.resource, is_there=False, error=_condition(element)
        )
    x = element.find(_X)
    if x is None or not sender.resource or kind not in {"", "unavailable"}:
        return None
    item = x.find(f"{{{MUC_USER}}}item")
    if item is None:
        return None
    actor = item.find(f"{{{MUC_USER}}}actor")
    return RoomPresence(
        sender.bare,
        sender.resource,
        is_there=not kind,
        jid=read_account(item.get("jid", "")),
        affiliation=_affiliation(item) or Affiliation.NONE,
        role=_role(item),
        codes=_codes(x),
        new_nick=item.get("nick", "") if kind else "",
        by=None if actor is None else read_account(actor.get("jid", "")),
        is_destroyed=x.find(f"{{{MUC_USER}}}destroy") is not None,
    )


# --- messages -----------------------------------------------------------------


def read_room_message(
    element: ET.Element, rooms: Collection[JID]
) -> RoomSignal | Invitation | None:
    """Return what a message says about a room; None if it is for other eyes.

    What people say in a room is not read here.

    Args:
        element: Any stanza.
        rooms: As in :func:`read_room_presence`.
    """
    if element.tag != _MESSAGE or isinstance(element, Outline):
        return None
    sender = _read_jid(element.get("from", ""))
    if sender is None or element.get("type") == "error":
        return None
    x = element.find(_X)
    if x is not None and not sender.resource:
        invited = _read_mediated(element, x, sender)
        if invited is not None or sender not in rooms:
            return invited
        signal = RoomSignal(sender, _codes(x), tuple(_items(x, MUC_USER)))
        return signal if signal.codes or signal.affiliations else None
    return _read_direct(element, sender, rooms)


def read_invitation(element: ET.Element, *, at: datetime) -> Invitation | None:
    """Return the invitation in a message that our own archive kept for us, if any.

    Args:
        element: What the archive forwards.
        at: When the archive got it.
    """
    said = read_room_message(element, ())
    return replace(said, at=at) if isinstance(said, Invitation) else None


def _read_mediated(element: ET.Element, x: ET.Element, room: JID) -> Invitation | None:
    invite = x.find(f"{{{MUC_USER}}}invite")
    inviter = None if invite is None else read_account(invite.get("from", ""))
    # A room has a name; without one it is a whole server.
    if inviter is None or not room.local:
        return None
    return Invitation(room, inviter, is_direct=False, id=_read_id(element))


def _read_direct(
    element: ET.Element, sender: JID, rooms: Collection[JID]
) -> Invitation | None:
    """Read an invitation that came from a person (XEP-0249)."""
    x = element.find(f"{{{CONFERENCE}}}x")
    room = None if x is None else _read_jid(x.get("jid", ""))
    if room is None or not room.local or room.resource or sender.bare in rooms:
        return None
    is_more = element.find(_X) is not None or element.find("{*}encrypted") is not None
    if is_more or element.get("type") == "groupchat":
        return None
    return Invitation(room, sender.bare, is_direct=True, id=_read_id(element))


def _read_id(message: ET.Element) -> str:
    return message.get("id", "")[:_WORDS_LIMIT]


# --- answers ------------------------------------------------------------------


def read_configuration(query: ET.Element | None) -> Configuration:
    """Return what the answer to disco#info says; what is not said is not so."""
    found = () if query is None else query.iterfind(f"{{{DISCO}}}feature")
    features = {feature.get("var", "") for feature in found}
    return Configuration(
        is_members_only="muc_membersonly" in features and "muc_open" not in features,
        is_non_anonymous="muc_nonanonymous" in features
        and "muc_semianonymous" not in features,
        is_persistent="muc_persistent" in features,
        is_hidden="muc_hidden" in features and "muc_public" not in features,
        is_archived="urn:xmpp:mam:2" in features,
    )


def read_affiliations(query: ET.Element | None) -> AffiliationList:
    """Return the accounts in the answer to a question for an affiliation list.

    One more than ``LIST_LIMIT`` at most: who gets so many knows that there are more.
    An account may be a whole server; it then has no local part.
    """
    found = () if query is None else _items(query, MUC_ADMIN, LIST_LIMIT + 1)
    return tuple(found)


# --- inside -------------------------------------------------------------------


def _items(
    parent: ET.Element, namespace: str, limit: int = _ITEMS
) -> Iterator[tuple[JID, Affiliation]]:
    for index, item in enumerate(parent.iterfind(f"{{{namespace}}}item")):
        if index >= limit:
            return
        jid, affiliation = read_account(item.get("jid", "")), _affiliation(item)
        if jid is not None and affiliation is not None:
            yield jid, affiliation


def _codes(x: ET.Element) -> frozenset[int]:
    texts = [status.get("code", "") for status in x.iterfind(f"{{{MUC_USER}}}status")]
    return frozenset(
        int(text)
        for text in texts[:_CODES]
        if text.isascii() and text.isdigit() and len(text) == 3
    )


def _affiliation(item: ET.Element) -> Affiliation | None:
    try:
        return Affiliation(item.get("affiliation", ""))
    except ValueError:
        return None


def _role(item: ET.Element) -> Role:
    try:
        return Role(item.get("role", "none"))
    except ValueError:
        return Role.NONE


def _condition(element: ET.Element) -> str:
    for child in element.iterfind(f"{_CLIENT}error/*"):
        name = child.tag.removeprefix(_STANZAS)
        if name not in {child.tag, "text"}:
            return name[:_WORDS_LIMIT]
    return "undefined-condition"


def read_account(text: str) -> JID | None:
    """Return the bare JID of an account that a room names; None for what is none."""
    jid = _read_jid(text)
    return None if jid is None else jid.bare


def _read_jid(text: str) -> JID | None:
    try:
        return JID(text)
    except InvalidJIDError:
        return None
