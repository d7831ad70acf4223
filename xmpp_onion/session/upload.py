"""Slots: places at our own server where an object may be stored.

A server could send our file, and whatever headers it likes, anywhere: so a slot
counts only at our own onion, with the three headers that the specification allows.

Others' clients want TLS, inside of the onion's own encryption, so that is what a slot
of our servers names. They say that the same is there without, and ours take that:
no further round trip, and nothing lost.

Source: XEP-0363, HTTP file upload.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from typing import Final

from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.stanza import Iq
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Place, Slot
from xmpp_onion.errors import (
    AddressError,
    FeatureMissingError,
    FileTooLargeError,
    SessionError,
    TransferError,
)
from xmpp_onion.session.client_xmpp import OnionClient

__all__ = ["Slots", "read_slot"]

UPLOAD: Final = "urn:xmpp:http:upload:0"
# Ours: what a URL in TLS names is at port 5280 in plain HTTP as well.
PLAIN: Final = "urn:xmpp-onion:plain-http:0"
_ITEMS: Final = "http://jabber.org/protocol/disco#items"
_INFO: Final = "http://jabber.org/protocol/disco#info"
_DATA: Final = "jabber:x:data"
# Seconds for one answer of our own server: two bad circuits' worth.
_PATIENCE: Final = 30.0
# Components of our server that are asked what they are. Ours has two.
_COMPONENTS: Final = 16
# XEP-0363, section 5: others must be left out.
_HEADERS: Final = {"authorization", "cookie", "expires"}
_HEADER_LIMIT: Final = 8 * 1024
# RFC 9110, section 5.5: what a header's value may hold, in ASCII.
_VALUE: Final = re.compile(r"[\x20-\x7e]+")
# If the service does not say: what Prosody allows if nobody told it otherwise.
_USUAL_LIMIT: Final = 10 * 1024 * 1024


# Ours: what broke off is kept, see mod_share_resume in prosody-config.
RESUME: Final = "urn:xmpp-onion:resume:0"


@dataclass(frozen=True, slots=True)
class _Service:
    """Where files are stored, the most bytes of one, and what else it can."""

    jid: str
    limit: int
    has_plain: bool
    can_resume: bool


class Slots:
    """Asks our server for slots.

    Args:
        xmpp: Sends the requests.
        own: Our server.
    """

    def __init__(self, xmpp: OnionClient, own: OnionAddress) -> None:
        self._xmpp = xmpp
        self._own = own
        self._service: _Service | None = None

    async def limit(self) -> int:
        """Return how many bytes an object may have.

        Raises:
            FeatureMissingError: The server stores no files.
            SessionError: There is no connection, or no answer.
        """
        return (await self._find()).limit

    async def ask(self, name: str, size: int) -> Slot:
        """Return a slot for an object of ``size`` bytes.

        Args:
            name: What it is called there. Everybody who has the link sees it.
            size: Its bytes, exactly.

        Raises:
            FileTooLargeError: The server does not take so much.
            TransferError: The account has stored its share; or the slot is none.
            SessionError: There is no connection, or no answer.
        """
        service = await self._find()
        request = self._xmpp.make_iq_get(ito=service.jid)
        names = {
            "filename": name,
            "size": str(size),
            "content-type": "application/octet-stream",
        }
        request.append(ET.Element(f"{{{UPLOAD}}}request", names))
        try:
            answer = await self._ask(request)
        except IqError as error:
            raise _no_slot(error, service.limit) from None
        slot = read_slot(answer.find(f"{{{UPLOAD}}}slot"), self._own)
        if service.has_plain:
            slot = replace(slot, put=slot.put.in_plain, get=slot.get.in_plain)
        return _resumable(slot) if service.can_resume else slot

    async def for_others(self, place: Place) -> Place:
        """Return where others' clients find an object that was stored by a slot.

        Raises:
            FeatureMissingError, SessionError: As ``limit()``.
        """
        return place.in_tls if (await self._find()).has_plain else place

    # --- the service --------------------------------------------------------------

    async def _find(self) -> _Service:
        if self._service is None:
            self._service = await self._discover()
        return self._service

    async def _discover(self) -> _Service:
        request = self._xmpp.make_iq_get(ito=str(self._own))
        request.append(ET.Element(f"{{{_ITEMS}}}query"))
        try:
            answer = await self._ask(request)
        except IqError:
            raise _no_service() from None
        found = answer.iterfind(f"{{{_ITEMS}}}query/{{{_ITEMS}}}item")
        for item in list(found)[:_COMPONENTS]:
            service = await self._look_at(item.get("jid", ""))
            if service is not None:
                return service
        raise _no_service()

    async def _look_at(self, name: str) -> _Service | None:
        """Return the upload service that a component of our own server is."""
        try:
            jid = JID(name)
        except AddressError:
            return None
        if jid.domain.service != self._own.service or jid.local:
            return None
        request = self._xmpp.make_iq_get(ito=jid)
        request.append(ET.Element(f"{{{_INFO}}}query"))
        try:
            answer = await self._ask(request)
        except IqError:
            return None
        query = answer.find(f"{{{_INFO}}}query")
        features = [] if query is None else query.findall(f"{{{_INFO}}}feature")
        can = {each.get("var") for each in features}
        if query is None or UPLOAD not in can:
            return None
        return _Service(
            jid, _limit_in(query), has_plain=PLAIN in can, can_resume=RESUME in can
        )

    async def _ask(self, request: Iq) -> ET.Element:
        try:
            answer = await request.send(timeout=_PATIENCE)
        except NotConnectedError:
            raise _unheard("the session is down") from None
        except IqTimeout:
            raise _unheard("no answer came") from None
        xml: ET.Element = answer.xml
        return xml


def read_slot(slot: ET.Element | None, own: OnionAddress) -> Slot:
    """Return the slot that a server named.

    Raises:
        TransferError: It is not at our own server, or a header holds what none may.
    """
    put = None if slot is None else slot.find(f"{{{UPLOAD}}}put")
    get = None if slot is None else slot.find(f"{{{UPLOAD}}}get")
    if put is None or get is None:
        raise _bad_slot("it names no place")
    headers = tuple(
        (str(each.get("name")), each.text or "")
        for each in put.findall(f"{{{UPLOAD}}}header")
        if str(each.get("name")).lower() in _HEADERS
    )
    if len({name.lower() for name, _ in headers}) != len(headers):
        raise _bad_slot("it names a header twice")
    for _, value in headers:
        if len(value) > _HEADER_LIMIT or not _VALUE.fullmatch(value):
            raise _bad_slot("a header of it holds what no header may")
    return Slot(_place(put, own), _place(get, own), headers)


def _resumable(slot: Slot) -> Slot:
    """Return it with the door at which an upload may go on."""
    *_, name, file = slot.put.target.split("/")
    return replace(slot, resume=replace(slot.put, target=f"/resume/{name}/{file}"))


def _place(element: ET.Element, own: OnionAddress) -> Place:
    try:
        place = Place.parse(element.get("url", ""))
    except AddressError as error:
        raise _bad_slot(error.why) from None
    if place.host.service != own.service:
        raise _bad_slot("it is not at our own server")
    return place


def _limit_in(query: ET.Element) -> int:
    path = f"{{{_DATA}}}x/{{{_DATA}}}field[@var='max-file-size']/{{{_DATA}}}value"
    digits = (query.findtext(path) or "").strip()
    is_number = digits.isascii() and digits.isdigit() and len(digits) < 16
    return int(digits) if is_number else _USUAL_LIMIT


def _no_slot(
    error: IqError, limit: int
) -> SessionError | TransferError | FileTooLargeError:
    if error.condition == "not-acceptable":
        return FileTooLargeError(
            "the server does not take the file",
            why=f"it takes at most {limit} bytes",
            fix="Split the file, or ask who runs the server.",
        )
    why = "no more fits today" if error.condition == "resource-constraint" else ""
    return TransferError(
        "the server does not take the file",
        why=why or str(error.condition),
        fix="Try again tomorrow, or ask who runs the server." if why else "",
    )


def _bad_slot(why: str) -> TransferError:
    return TransferError(
        "the server told no place where the file may be stored",
        why=why,
        fix="Nothing was sent. Ask who runs the server.",
    )


def _no_service() -> FeatureMissingError:
    return FeatureMissingError(
        "the server stores no files",
        feature="XEP-0363",
        why="it has no service for HTTP file upload",
        fix="Ask who runs it: `xmpp-onion server up` has one.",
    )


def _unheard(why: str) -> SessionError:
    return SessionError(
        "the server did not tell where the file may be stored",
        why=why,
        fix="Try again when the connection is back.",
    )
