"""People: who is a contact, who asks to be one, who is blocked.

Nothing here is done by itself. The contact list is kept as the server tells it;
requests wait in a box with a bottom until a person answers them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import (
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Event,
    MoreRequests,
    write_event,
)
from xmpp_onion.errors import AddressError, SessionError
from xmpp_onion.session import REMOVED, Asked, Contact, Session, SubscriptionRequest
from xmpp_onion.silence import Silence
from xmpp_onion.store import ContactRow, Database, Inbox, Keys, Requests, reading
from xmpp_onion.store import Contacts as ContactTable

__all__ = ["ANSWER_TIMEOUT", "Contacts", "RequestBox"]

log = logging.getLogger(__name__)

ANSWER_TIMEOUT: Final = 30.0
"""Seconds for a connection and an answer, where the caller says nothing."""

# Set when the contact list was taken in once: what is new then is news.
_TAKEN: Final = "/xmpp-onion/roster"


@dataclass(frozen=True, slots=True)
class RequestBox:
    """The requests that wait for an answer.

    Attributes:
        waiting: Who asked, oldest first.
        more: How many more asked; the server repeats theirs when there is room.
    """

    waiting: tuple[ContactRequest, ...]
    more: int


class Contacts:
    """The people of one account.

    Args:
        database: Of the account.
        session: Asks the server.
        own: Our bare JID.
        news: Set when the inbox has got something.

    Attributes:
        table: The contact list as it is known.
        people: Who is on it, since it was taken in.
    """

    def __init__(
        self,
        database: Database,
        session: Session,
        *,
        own: JID,
        news: asyncio.Event,
    ) -> None:
        self._database = database
        self._session = session
        self._own = own
        self._news = news
        self.table, self._requests = ContactTable(database), Requests(database)
        self._inbox, self._keys = Inbox(database), Keys(database)
        self.people: frozenset[JID] = frozenset()
        self._asked: Asked | None = None
        self._box: set[str] | None = None
        self._left_out = 0
        self._silence = Silence(self.tell_rest)
        database.on_rollback(self._forget_box)

    def _forget_box(self) -> None:
        self._box = None

    # --- the list as the server tells it ----------------------------------------

    def ask(self) -> None:
        """Ask for the contact list, in the flight that asks for other things."""
        with suppress(SessionError):  # the connection ended; the next login asks
            self._asked = self._session.people.ask_roster()

    async def take_roster(self) -> None:
        """Take in the list that was asked for; without an answer the old one stays.

        The server tells the requests again from now on: those left out are counted
        anew.
        """
        asked, self._asked = self._asked, None
        found: tuple[Contact, ...] | None = None
        if asked is not None:
            with suppress(SessionError):
                found = await self._session.people.read_roster(asked)
        async with self._database.transaction():
            self._left_out = 0
            await self._requests.set_left_out(0)
            if found is not None:
                await self._take_all(found)
        await self._know_friends()
        self._news.set()

    async def _take_all(self, found: tuple[Contact, ...]) -> None:
        before = await self.table.all()
        is_first = await self._keys.load(_TAKEN) is None
        await self._keys.store(_TAKEN, "yes")
        gone = before.keys() - {contact.jid for contact in found}
        if not is_first:
            lost = (Contact(JID(jid), REMOVED) for jid in gone)
            for contact in (*found, *lost):
                await self._tell(_news_of(before.get(contact.jid), contact))
        await self.table.remove(gone)
        await self.table.put(_row(contact) for contact in found)

    async def take_push(self, contact: Contact) -> None:
        """Take in one change of the list."""
        async with self._database.transaction():
            before = await self.table.all()
            await self._tell(_news_of(before.get(contact.jid), contact))
            if contact.subscription == REMOVED:
                await self.table.remove([contact.jid])
            else:
                await self.table.put([_row(contact)])
            if contact.sees_us:
                await self._requests.remove(contact.jid)  # answered, here or elsewhere
                self._forget_box()
        await self._know_friends()
        self._news.set()

    async def _know_friends(self) -> None:
        rows = await self.table.all()
        with reading(self._database.path, "contacts"):
            known = {JID(row.jid): row for row in rows.values()}
        self.people = frozenset(
            jid for jid, row in known.items() if row.subscription != "none" or row.ask
        )
        self._session.know_contacts(self.people)
        self._session.stamps.known = frozenset(
            jid for jid, row in known.items() if row.subscription != "none"
        )
        self._session.xmpp.gate.friends = frozenset(
            jid for jid, row in known.items() if row.subscription in {"from", "both"}
        )

    async def _tell(self, event: Event | None) -> None:
        if event is not None:
            await self._inbox.put(write_event(event))

    # --- requests -----------------------------------------------------------------

    async def take_request(self, sender: JID) -> None:
        """Put a request into the box; tell the first, count what follows soon.

        One that finds no room costs no transaction, and one that is known nothing.
        """
        if self._box is None:
            self._box = {row.jid for row in await self._requests.all()}
        if sender in self._box:
            return
        if len(self._box) >= self._requests.limit:
            self._left_out += 1
            self._silence.begin()  # it was: the box did not fill up unseen
            return
        is_first = not self._silence.is_kept
        async with self._database.transaction():
            await self._requests.add(sender, told=is_first)
            if is_first:
                await self._tell(ContactRequest(sender=sender, at=datetime.now(UTC)))
        self._box.add(sender)
        if is_first:
            self._silence.begin()
            self._news.set()

    async def run(self) -> None:
        """Tell of what came in silence, when the silence is over; never returns."""
        if await self._requests.untold():
            self._silence.begin()  # the process before this one was told
        await self._silence.run()

    async def tell_rest(self) -> bool:
        """Tell how many requests came in silence; whether any did."""
        async with self._database.transaction():
            known, left_out = await self._requests.left_out(), self._left_out
            count = await self._requests.untold() + max(left_out - known, 0)
            if not count:
                return False
            await self._requests.mark_told()
            await self._requests.set_left_out(left_out)
            now = datetime.now(UTC)
            await self._tell(MoreRequests(sender=self._own, count=count, at=now))
        self._news.set()
        return True

    # --- what a person does ---------------------------------------------------------

    async def list(self, timeout: float) -> tuple[Contact, ...]:
        """Return the contact list as the server has it now.

        Raises:
            SessionError: No connection, or no answer, within ``timeout`` seconds.
        """
        async with self._online(timeout):
            return await self._session.people.roster(timeout)

    async def requests(self) -> RequestBox:
        """Return who waits for an answer; needs no connection."""
        rows = await self._requests.all()
        more = max(self._left_out, await self._requests.left_out())
        with reading(self._database.path, "requests"):
            waiting = [ContactRequest(sender=JID(row.jid), at=row.at) for row in rows]
        return RequestBox(tuple(waiting), more)

    async def add(self, jid: JID, timeout: float, *, token: str = "") -> None:
        """Ask somebody to be a contact, and let them see us.

        Args:
            jid: Who it is.
            timeout: Seconds for a connection and the answer.
            token: Of an introduction: they are not asked.

        Raises:
            StampError: Their server asks for too much work.
            SessionError: No connection, or no answer, within ``timeout`` seconds.
        """
        self._check_other(jid)
        async with self._online(timeout):
            stamps = await self._session.stamps.get(jid)
            await self._session.people.subscribe(jid, stamps, token=token)
        await self._take_out(jid)

    async def accept(self, jid: JID, timeout: float) -> None:
        """Let somebody who asked for it see us, and ask back.

        Raises:
            AddressError: No request of theirs waits.
            SessionError: No connection, or no answer, within ``timeout`` seconds.
        """
        self._check_other(jid)
        async with self._online(timeout):
            if not await self._has_asked(jid, timeout):
                raise AddressError(
                    f"{jid} did not ask to be a contact",
                    why="no request of theirs waits",
                    fix=f"Ask them: xmpp-onion contact add {jid}",
                )
            await self._session.people.subscribe(jid)
        await self._take_out(jid)

    async def _has_asked(self, jid: JID, timeout: float) -> bool:
        """Tell whether somebody asked, or sees us already.

        Right after a login the request may be on its way: the server tells requests
        before it answers what is asked then, and it stands behind messages.
        """
        if await self._waits(jid):
            return True
        for contact in await self._session.people.roster(timeout):
            if contact.jid == jid and contact.sees_us:
                return True
        came = self._session.has_unhandled(SubscriptionRequest(jid))
        return came or await self._waits(jid)

    async def _waits(self, jid: JID) -> bool:
        # Those who found no room are counted, and nobody knows who they are.
        box = await self.requests()
        return bool(box.more) or any(each.sender == jid for each in box.waiting)

    async def refuse(self, jid: JID, timeout: float) -> None:
        """Do not let somebody see us."""
        self._check_other(jid)
        async with self._online(timeout):
            await self._session.people.refuse(jid)
        await self._take_out(jid)

    async def remove(self, jid: JID, timeout: float) -> None:
        """Take somebody off the list, both ways."""
        async with self._online(timeout):
            await self._session.people.remove(jid)

    async def block(self, jid: JID, timeout: float) -> None:
        """Have the server drop all that comes from an account or a server."""
        self._check_other(jid)
        if not jid.local and jid.domain == self._own.domain:
            raise AddressError(
                "your own server cannot be blocked",
                fix="Block one account on it: name@….onion.",
            )
        async with self._online(timeout):
            await self._session.people.block(jid)
        await self._take_out(jid)

    async def unblock(self, jid: JID, timeout: float) -> None:
        """Let an account or a server reach us again."""
        async with self._online(timeout):
            await self._session.people.unblock(jid)

    async def blocked(self, timeout: float) -> tuple[JID, ...]:
        """Return who is blocked."""
        async with self._online(timeout):
            return await self._session.people.blocked(timeout)

    @asynccontextmanager
    async def _online(self, timeout: float) -> AsyncIterator[None]:
        """Run the block with a connection, and end it in time."""
        await self._session.wait_online(timeout)
        try:
            async with asyncio.timeout(timeout):
                yield
        except TimeoutError:
            raise SessionError(
                "the server did not answer",
                why=f"nothing came within {timeout:g} seconds",
                fix="Try again when the connection is back. See `xmpp-onion doctor`.",
            ) from None

    async def _take_out(self, jid: JID) -> None:
        async with self._database.transaction():
            await self._requests.remove(jid)
        self._forget_box()

    def _check_other(self, jid: JID) -> None:
        if jid.bare == self._own:
            raise AddressError(
                "that is your own account",
                fix="Write the JID of somebody else: name@….onion.",
            )


def _news_of(before: ContactRow | None, now: Contact) -> Event | None:
    """Return what a change of the list means to a person; None for nothing."""
    at, was_seen = datetime.now(UTC), before and before.subscription in {"to", "both"}
    if now.is_seen and not was_seen:
        return ContactAccepted(sender=now.jid, at=at)
    had_hope = before is not None and before.ask and not now.ask
    is_gone = before is not None and now.subscription == REMOVED
    if (was_seen and not now.is_seen) or (had_hope and not now.is_seen) or is_gone:
        return ContactRemoved(sender=now.jid, at=at)
    return None


def _row(contact: Contact) -> ContactRow:
    return ContactRow(contact.jid, contact.subscription, contact.ask)
