"""What we ask our server about people: contacts, requests, blocking.

Source: RFC 6121, sections 2 and 3, and XEP-0191 (blocking).
"""

import asyncio
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.stanza import Iq
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.errors import InvalidJIDError, SessionError
from xmpp_onion.session.client_xmpp import OnionClient
from xmpp_onion.session.registration import PREAUTH
from xmpp_onion.session.roster import REMOVED, Contact, read_roster
from xmpp_onion.session.stanzas import presence_stanza

__all__ = ["Asked", "People"]

Asked: TypeAlias = asyncio.Future[Iq]
"""A question that is on its way."""

BLOCKING: Final = "urn:xmpp:blocking"
# Seconds for one answer of our own server: two bad circuits' worth.
_PATIENCE: Final = 30.0
# The same for what is asked before the login, from the dial on.
_AHEAD: Final = 300.0


class People:
    """The contact list, the subscriptions and the block list of one account.

    Each call costs one round trip and raises SessionError when the server did not
    do what it was asked.

    Args:
        xmpp: Sends the requests.
        send: Sends a presence; done when the server has it.
    """

    def __init__(
        self, xmpp: OnionClient, send: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._xmpp = xmpp
        self._send = send

    # --- contacts -------------------------------------------------------------

    def ask_roster(self) -> Asked:
        """Ask for the contact list now or with the next login.

        The answer is for :meth:`read_roster`.

        Raises:
            SessionError: There is no session.
        """
        asked = self._ask(self._xmpp.make_iq_get("jabber:iq:roster"), _AHEAD)
        # Nobody may come to read it: the login can end before.
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        return asked

    async def read_roster(
        self, asked: Asked, timeout: float = _PATIENCE
    ) -> tuple[Contact, ...]:
        """Return the contact list that was asked for.

        Args:
            asked: The question.
            timeout: Seconds from now on.
        """
        try:
            async with asyncio.timeout(timeout):
                answer = await _answer(asked)
        except TimeoutError:
            raise _refused("no answer came") from None
        return tuple(read_roster(answer.find("{jabber:iq:roster}query")))

    async def roster(self, timeout: float = _PATIENCE) -> tuple[Contact, ...]:
        """Return the contact list as the server has it.

        Args:
            timeout: Seconds for the answer.
        """
        request = self._xmpp.make_iq_get("jabber:iq:roster")
        return await self.read_roster(self._ask(request, timeout), timeout)

    async def subscribe(
        self, jid: JID, beside: Sequence[ET.Element] = (), *, token: str = ""
    ) -> None:
        """Ask to see somebody, and let them see us: now, or when they ask.

        Args:
            jid: Who it is.
            beside: What goes along, such as a stamp.
            token: What their server takes for their word (XEP-0379).
        """
        if token:
            beside = [*beside, ET.Element(f"{{{PREAUTH}}}preauth", {"token": token})]
        # RFC 6121, section 3.4: their own request is then approved already.
        await self._about(jid, "subscribed")
        await self._about(jid, "subscribe", beside)

    async def refuse(self, jid: JID) -> None:
        """Do not let somebody see us; they are told."""
        await self._about(jid, "unsubscribed")

    async def remove(self, jid: JID) -> None:
        """Take somebody off the contact list, both ways."""
        query = ET.Element("{jabber:iq:roster}query")
        item = {"jid": jid.bare, "subscription": REMOVED}
        ET.SubElement(query, "{jabber:iq:roster}item", item)
        await self._set(query)

    # --- blocking -------------------------------------------------------------

    async def block(self, jid: JID) -> None:
        """Have the server drop all that comes from an account, or from a server."""
        await self._set(_blocking("block", jid))

    async def unblock(self, jid: JID) -> None:
        """Let an account, or a server, reach us again."""
        await self._set(_blocking("unblock", jid))

    async def blocked(self, timeout: float = _PATIENCE) -> tuple[JID, ...]:
        """Return who is blocked; a JID without a local part is a whole server."""
        request = self._xmpp.make_iq_get()
        request.append(ET.Element(f"{{{BLOCKING}}}blocklist"))
        answer = await _answer(self._ask(request, timeout))
        items = answer.iterfind(f"{{{BLOCKING}}}blocklist/{{{BLOCKING}}}item")
        return tuple(jid for item in items if (jid := _read_jid(item)) is not None)

    async def ping(self, timeout: float = _PATIENCE) -> None:
        """Ask the server whether it is there (XEP-0199).

        An error is an answer, too: not every server answers pings.

        Raises:
            SessionError: No answer came.
        """
        request = self._xmpp.make_iq_get()
        request.append(ET.Element("{urn:xmpp:ping}ping"))
        with suppress(IqError):
            try:
                await self._ask(request, timeout)
            except IqTimeout:
                raise _refused("no answer came") from None

    # --- inside ---------------------------------------------------------------

    async def _about(
        self, jid: JID, kind: str, beside: Sequence[ET.Element] = ()
    ) -> None:
        stanza_id = secrets.token_hex(16)
        await self._send(presence_stanza(jid, kind, stanza_id, beside), stanza_id)

    async def _set(self, content: ET.Element) -> None:
        await _answer(self._ask(self._xmpp.make_iq_set(content), _PATIENCE))

    def _ask(self, request: Iq, timeout: float) -> Asked:
        try:
            answer: Asked = request.send(timeout=timeout)
        except NotConnectedError:
            raise _refused("the session is down") from None
        return answer


async def _answer(asked: Asked) -> ET.Element:
    """Return the answer to a request.

    Raises:
        SessionError: None came, or it was an error.
    """
    try:
        answer = await asked
    except IqTimeout:
        raise _refused("no answer came") from None
    except IqError as error:
        raise _refused(str(error.condition)) from None
    return answer.xml


def _refused(why: str) -> SessionError:
    return SessionError(
        "the server did not do what it was asked",
        why=why,
        fix="Try again when the connection is back. See `xmpp-onion doctor`."
        if why in {"the session is down", "no answer came"}
        else "",
    )


def _blocking(name: str, jid: JID) -> ET.Element:
    content = ET.Element(f"{{{BLOCKING}}}{name}")
    ET.SubElement(content, f"{{{BLOCKING}}}item", {"jid": jid.bare})
    return content


def _read_jid(item: ET.Element) -> JID | None:
    try:
        return JID(item.get("jid", ""))
    except InvalidJIDError:
        return None
