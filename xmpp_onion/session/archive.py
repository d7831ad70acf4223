"""Our own archive at the server, and those of rooms, page by page (XEP-0313).

slixmpp's pager takes results from anybody who knows the query's id, and ends
silently on an error. Here a result counts only while its query is running and only
from the archive that was asked, and an error is one. What to ask for next is decided in
:mod:`.catch_up`.

Source: XEP-0313, version 1.1 (``urn:xmpp:mam:2``), and XEP-0059 for the pages.
"""

import asyncio
import logging
import secrets
import xml.etree.ElementTree as ET
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.stanza import Iq

from xmpp_onion.address import JID
from xmpp_onion.errors import FeatureMissingError, SessionError
from xmpp_onion.one_error import place_of
from xmpp_onion.session.client_xmpp import OnionClient
from xmpp_onion.session.groupchat import read_room_archived
from xmpp_onion.session.guards import outline_of
from xmpp_onion.session.muc import Invitation, read_invitation
from xmpp_onion.session.queue import size_of
from xmpp_onion.session.stanzas import Incoming, read_archived, read_stamp

__all__ = ["Archive", "Archived", "ExpiredError", "Query"]

log = logging.getLogger(__name__)

MAM: Final = "urn:xmpp:mam:2"
RSM: Final = "http://jabber.org/protocol/rsm"
FORWARD: Final = "urn:xmpp:forward:0"
DATA: Final = "jabber:x:data"
# One page is being handled and one is on its way; more of a page than this waits
# for the next one. A message is at most 1 MiB, so one always fits.
_PAGE_BYTES: Final = 8 * 1024 * 1024
# The first page: it may come behind a login, where no more than 4 MiB are read ahead
# (`wire.py`), and nobody knows yet what its messages weigh.
_FIRST_PAGE: Final = 250
# Any further one; our server's limit. One that gives fewer for a page says so by what
# it gives. Each page costs a round trip, and Prosody 0.12 reads the whole archive for
# it, a third of a second for 10,000 messages. Not in a room: there a message is for
# many, and a thousand hold the server up for two seconds, and all who talk meanwhile.
_LARGEST_PAGE: Final = 1000
# Answers to what is asked meanwhile stand behind a page, and have 60 seconds to come:
# none is larger than what comes in half of that, as the page before it came.
_PAGE_SECONDS: Final = 30.0
# Seconds without a further result until a page is given up.
_PATIENCE: Final = 60.0
_ID_LIMIT: Final = 1024
# A stanza that ended the stream so often is passed; once could be an accident.
_MOST_BREAKS: Final = 2
# How many such stanzas are remembered; one comes at a time.
_REMEMBERED: Final = 16
_NO_ARCHIVE: Final = frozenset({"feature-not-implemented", "service-unavailable"})


@dataclass(frozen=True, slots=True)
class Archived:
    """One entry of the archive.

    Attributes:
        id: The archive's name for it.
        at: When the archive got it.
        incoming: The message, or None if nobody else sent one there.
        invitation: What it is instead, where somebody asks us into a room.
    """

    id: str
    at: datetime
    incoming: Incoming | None
    invitation: Invitation | None = None


class ExpiredError(Exception):
    """The archive does not know the message that it was asked to go on after."""


@dataclass(slots=True, eq=False)
class Query:
    """A page that was asked for; it is live until its answer comes.

    Attributes:
        id: Names it in each result.
        own: Our account, bare.
        room: Whose archive it is; None for our own.
        limit: How many messages were asked for.
        answer: What comes behind the last result.
        entries: What came, by its name in the archive; the order of the archive.
        size_bytes: Of all entries.
        is_full: More came than was asked for, or than memory is given to a page.
        began: When the first result came, by the clock of the loop; 0 before.
        seconds: From the first result to the last.
        timeout: Put off with each result.
    """

    id: str
    own: JID
    room: JID | None
    limit: int
    answer: asyncio.Future[Iq]
    entries: dict[str, Archived] = field(default_factory=dict)
    size_bytes: int = 0
    is_full: bool = False
    began: float = 0.0
    seconds: float = 0.0
    timeout: asyncio.Timeout | None = None

    def is_from(self, sender: str | None) -> bool:
        """Tell whether a stanza comes from the archive that was asked."""
        return (self.room or self.own) == (self.own if sender is None else sender)

    def add(self, result: ET.Element, patience: float) -> None:
        """Keep a result that came, if it has room and was not there before."""
        name = result.get("id", "")
        if not name or len(name) > _ID_LIMIT or name in self.entries:
            return
        size = size_of(result)
        self.is_full = self.is_full or (
            len(self.entries) >= self.limit
            or (bool(self.entries) and self.size_bytes + size > _PAGE_BYTES)
        )
        if self.is_full:
            return  # the next page begins with it
        now = asyncio.get_running_loop().time()
        self.began = self.began or now
        self.seconds = now - self.began
        self.size_bytes += size
        self.entries[name] = _read_or_pass(name, result, self)
        if self.timeout is not None and self.timeout.when() is not None:
            self.timeout.reschedule(now + patience)

    @property
    def next_limit(self) -> int:
        """How many the next page may have, if they are like those of this one."""
        count = len(self.entries)
        if not self.size_bytes:
            return _FIRST_PAGE
        fitting = _PAGE_BYTES * count // self.size_bytes
        if self.seconds:
            fitting = min(fitting, int(_PAGE_SECONDS * count / self.seconds))
        most = _LARGEST_PAGE if self.room is None else _FIRST_PAGE
        return min(max(fitting, 1), most)


class Archive:
    """The archives that one account may read, as a session sees them.

    Args:
        xmpp: Sends the requests.
        own: The account.
        patience: Seconds without a further result until a page is given up.
    """

    def __init__(
        self,
        xmpp: OnionClient,
        own: JID,
        *,
        patience: float = _PATIENCE,
    ) -> None:
        self._xmpp = xmpp
        self._own = own.bare
        self._patience = patience
        self._live: dict[str, Query] = {}
        self._breaks: dict[str, int] = {}

    def take(self, element: ET.Element) -> bool:
        """Tell whether a message stanza is a result, and keep it if it is ours.

        A result is never a live message, whoever sent it.
        """
        result = element.find(f"{{{MAM}}}result")
        if result is None:
            return False
        query = self._live.get(result.get("queryid", ""))
        # Its answer ends a query at once, not when somebody has come to read it.
        if (
            query is None
            or query.answer.done()
            or not query.is_from(element.get("from"))
        ):
            # Mostly a page that was asked for ahead by a client that has ended.
            log.info("a result that nobody waits for was dropped")
        else:
            query.add(result, self._patience)
        return True

    def break_off(self, outline: ET.Element) -> None:
        """Note that the stream had to be ended within a result.

        What came of its page before counts, as with any connection that ends. The
        second time that it happens to the same result, the result counts too, as a
        message that cannot be read: it must not come back with every login.
        """
        result = outline.find(f"{{{MAM}}}result")
        query = None if result is None else self._live.get(result.get("queryid", ""))
        if result is None or query is None or not query.is_from(outline.get("from")):
            return
        name = result.get("id", "")
        self._breaks[name] = breaks = self._breaks.pop(name, 0) + 1
        if len(self._breaks) > _REMEMBERED:
            self._breaks.pop(next(iter(self._breaks)))
        if breaks >= _MOST_BREAKS and name and len(name) <= _ID_LIMIT:
            query.entries.setdefault(name, _read_or_pass(name, result, query))

    def ask(
        self,
        *,
        after: str = "",
        start: datetime | None = None,
        newest: bool = False,
        limit: int = _FIRST_PAGE,
        room: JID | None = None,
    ) -> Query:
        """Send the request for a page.

        Args:
            after: The archive's name for the last message that is known.
            start: Only what came since then.
            newest: The last message alone.
            limit: How many messages; see :attr:`Query.next_limit`.
            room: Whose archive; our own by default.

        Raises:
            SessionError: There is no session.
        """
        if not self._xmpp.takes_stanzas:
            raise SessionError(
                "the archive could not be asked",
                why="the session is down",
                fix="It is asked again when the session is back.",
            )
        name, limit = secrets.token_hex(16), 1 if newest else limit
        query = ET.Element(f"{{{MAM}}}query", {"queryid": name})
        if start is not None:
            query.append(_form(start))
        pages = ET.SubElement(query, f"{{{RSM}}}set")
        ET.SubElement(pages, f"{{{RSM}}}max").text = str(limit)
        if newest:
            ET.SubElement(pages, f"{{{RSM}}}before")
        elif after:
            ET.SubElement(pages, f"{{{RSM}}}after").text = after
        request = self._xmpp.make_iq_set(query, ito=None if room is None else room.bare)
        # Patience is ours; slixmpp's clock only cleans up.
        answer = request.send(timeout=int(self._patience * 10) + 1)
        # A page that nobody waits for any more may end as it likes.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        place = None if room is None else room.bare
        asked = self._live[name] = Query(name, self._own, place, limit, answer)
        return asked

    async def read(self, query: Query) -> tuple[tuple[Archived, ...], bool]:
        """Wait for a page; return its entries and whether they are the last.

        If the stream ends meanwhile, and is not resumed, what came of the page is a
        page: results come in the archive's order. So a circuit that often breaks in
        a page still gets on, though the server may refuse to resume in the middle
        of a large one, which is more than it keeps unconfirmed.

        Raises:
            ExpiredError: The archive does not know the message to go on after.
            SessionError: The server refused, or did not answer.
            FeatureMissingError: It keeps no archive.
        """
        try:
            async with asyncio.timeout(self._patience) as query.timeout:
                answer = await query.answer
        except IqTimeout:
            if query.entries:
                return tuple(query.entries.values()), False
            raise _no_answer() from None
        except TimeoutError:
            raise _no_answer() from None
        except IqError as error:
            raise _as_ours(str(error.condition)) from None
        finally:
            self.drop(query)
        fin = answer.xml.find(f"{{{MAM}}}fin")
        if fin is None:
            raise _unread("the answer is not one")
        is_complete = fin.get("complete") in {"true", "1"} and not query.is_full
        return tuple(query.entries.values()), is_complete

    def drop(self, query: Query) -> None:
        """Take no further result of a query."""
        query.timeout = None
        self._live.pop(query.id, None)


def _read_or_pass(name: str, result: ET.Element, query: Query) -> Archived:
    """Return an entry, and one that breaks us as a message that cannot be read.

    Left out it would stand at the end of what is known, and be asked for for ever.
    """
    try:
        return _read_entry(name, result, query)
    except Exception as fault:  # noqa: BLE001 - anybody can have a message archived for us
        log.error("a result broke its reader and was set aside (%s)", place_of(fault))  # noqa: TRY400 - a traceback may quote the message
        outline = outline_of(result, "our reader failed at it")
        with suppress(Exception):
            return _read_entry(name, outline, query)
        return Archived(name, datetime.now(UTC), None)


def _read_entry(name: str, result: ET.Element, query: Query) -> Archived:
    forwarded = result.find(f"{{{FORWARD}}}forwarded")
    if forwarded is None:
        return Archived(name, datetime.now(UTC), None)
    delay = forwarded.find("{urn:xmpp:delay}delay")
    stamp = None if delay is None else delay.get("stamp")
    at = read_stamp(stamp, datetime.now(UTC))
    message = forwarded.find("{jabber:client}message")
    if message is None:
        return Archived(name, at, None)
    if query.room is not None:
        incoming = read_room_archived(message, room=query.room, at=at, stanza_id=name)
        return Archived(name, at, incoming)
    invitation = read_invitation(message, at=at)
    if invitation is not None:
        is_own = invitation.inviter == query.own  # as we sent it to somebody
        return Archived(name, at, None, None if is_own else invitation)
    incoming = read_archived(message, own=query.own, at=at, stanza_id=name)
    return Archived(name, at, incoming)


def _form(start: datetime) -> ET.Element:
    form = ET.Element(f"{{{DATA}}}x", {"type": "submit"})
    for name, value in (
        ("FORM_TYPE", MAM),
        ("start", f"{start.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"),
    ):
        each = ET.SubElement(form, f"{{{DATA}}}field", {"var": name})
        ET.SubElement(each, f"{{{DATA}}}value").text = value
    form[0].set("type", "hidden")
    return form


def _no_answer() -> SessionError:
    return _unread("no answer came")


def _unread(why: str) -> SessionError:
    return SessionError(
        "the archive could not be read",
        why=why,
        fix="It is read again after the next login.",
    )


def _as_ours(condition: str) -> Exception:
    if condition == "item-not-found":
        return ExpiredError()
    if condition in _NO_ARCHIVE:
        return FeatureMissingError(
            "the server keeps no archive",
            feature="XEP-0313",
            why=condition,
            fix="Messages that it does not keep for you elsewhere are lost while "
            "you are away.",
        )
    return _unread(condition)
