"""Our own server got another name: noted when it says so, followed when we say so.

What we are stays: this device with its keys, the people with theirs and what we
decided about them, rooms, what came and was not read. Only names change, in the store
first and then in ``account.toml``; a process that is killed in between begins again.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.account import Account
from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Moved, rename_event, write_event
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.errors import InvalidMoveError, MovedError
from xmpp_onion.moves import Move
from xmpp_onion.store import Contacts, Database, Inbox, Keys, Outbox, rename

__all__ = [
    "ContactMoves",
    "follow",
    "follow_contact",
    "known_contact_move",
    "known_move",
    "noted",
]

log = logging.getLogger(__name__)

# What our server said last about where it is.
_MOVED: Final = "/xmpp-onion/moved"
# What the server of a contact said, by the contact's bare JID.
_CONTACT: Final = "/xmpp-onion/moved/"
_UNSENT: Final = "the server moved before it was sent"
# Where the name of somebody can begin in a text: no name has one of these in it (RFC
# 7622, section 3.3.1). And where the name of a server ends.
_BEFORE_NAME: Final = r"(?:(?<=[\s\"&'/:<>@])|^)"
_BEHIND_NAME: Final = r"(?![\w.-])"


@asynccontextmanager
async def noted(
    database: Database, own: JID, news: asyncio.Event
) -> AsyncIterator[None]:
    """Keep what our server says if it ends the block, and tell it once as an event.

    Args:
        database: Of the account.
        own: Our bare JID.
        news: Set when the inbox has got it.
    """
    try:
        yield
    except MovedError as error:
        keys = Keys(database)
        async with database.transaction():
            if await keys.load(_MOVED) != error.document:
                await keys.store(_MOVED, error.document)
                now = datetime.now(UTC)
                move = Move.read(error.document, old=own.domain, now=now)
                moved = _told(move, own, own=True, at=now)
                await Inbox(database).put(write_event(moved))
                news.set()
        raise


async def known_move(account: Account) -> Move | None:
    """Return where our server said that it is; None if it has not said so.

    Raises:
        StoreLockedError: Another process holds the account.
    """
    if not account.store_path.exists():
        return None
    async with _opened(account) as database:
        document = await Keys(database).load(_MOVED)
    if document is None:
        return None
    with suppress(InvalidMoveError):  # it was followed already
        return Move.read(document, old=account.jid.domain, now=datetime.now(UTC))
    return None


async def follow(
    account: Account, move: Move, *, between: Callable[[], None] = lambda: None
) -> Account:
    """Go with our server to its new name, and return the account as it is then.

    Messages that were not sent yet name the old server inside of their encryption;
    they fail, and are told as events.

    Args:
        account: Ours, under the old name.
        move: Verified.
        between: Called when the store is done and ``account.toml`` is not; for tests.

    Raises:
        InvalidMoveError: It is about another server, leads back, or an earlier one.
        StoreError: Another process holds the account, or it cannot be written.
    """
    moved = account.follow(move)
    if account.store_path.exists():
        async with _opened(account) as database:
            await _rename_all(database, move)
    between()
    return account.update(
        lambda now: replace(now.follow(move), device=now.device or moved.device)
    )


class ContactMoves:
    """What the servers of contacts say about where they are now.

    Args:
        database: Of the account.
        contacts: Who is a contact; nobody else is listened to.
        news: Set when the inbox has got something.
    """

    def __init__(
        self, database: Database, contacts: Contacts, *, news: asyncio.Event
    ) -> None:
        self._database = database
        self._contacts = contacts
        self._keys, self._inbox = Keys(database), Inbox(database)
        self._news = news

    async def hear(self, sender: JID, document: str) -> None:
        """Keep what the server of a contact says, and tell it once as an event.

        What does not prove it, is of a stranger, or no newer than what is known, is
        not told.
        """
        if not await self._contacts.is_contact(sender.bare):
            return
        now, name = datetime.now(UTC), _CONTACT + sender.bare
        try:
            move = _read(document, sender, now)
        except InvalidMoveError as error:
            log.info("%s did not move: %s", sender.short, error.why)
            return
        async with self._database.transaction():
            if (known := await self._keys.load(name)) is not None:
                with suppress(InvalidMoveError):
                    if _read(known, sender, now).at >= move.at:
                        return
            await self._keys.store(name, document)
            moved = _told(move, sender.bare, own=False, at=now)
            await self._inbox.put(write_event(moved))
        self._news.set()


async def known_contact_move(account: Account, jid: JID) -> Move | None:
    """Return where a contact's server said that it is; None if it has not said so.

    Raises:
        StoreLockedError: Another process holds the account.
    """
    if not account.store_path.exists():
        return None
    async with _opened(account) as database:
        document = await Keys(database).load(_CONTACT + jid.bare)
    if document is not None:
        with suppress(InvalidMoveError):
            return _read(document, jid, datetime.now(UTC))
    return None


async def follow_contact(account: Account, jid: JID, move: Move) -> Account:
    """Take somebody for the same under their server's new name, and return the account.

    The keys that we know of them, and what we decided about those, are theirs under the
    new name. Nothing is accepted by that: if other keys are published there, they are
    new ones, or changed ones, as anywhere.

    The contact list is the server's, and is not changed here.

    Args:
        account: Ours.
        jid: The contact's address as it was.
        move: Verified.

    Raises:
        StoreError: Another process holds the account, or it cannot be written.
    """
    old, new = jid.bare, move.rename(jid.bare)
    whole = re.compile(f"{_BEFORE_NAME}{re.escape(old)}{_BEHIND_NAME}")

    def rename_text(text: str) -> str:
        return whole.sub(new, text)

    def change(column: str, text: str) -> str:
        if column == "event_json":
            return rename_event(text, rename_text)
        return rename_text(text)

    async with _opened(account) as database:
        outbox, deliveries = Outbox(database), Deliveries(database)
        # The list tells who came and who went, by what is in its table.
        leave = {"contacts", "requests"}
        async with database.transaction():
            for row in await outbox.pending():
                if JID(row.to).bare == old:
                    await deliveries.fail(row.message_id, None, _UNSENT)
                    await outbox.remove(row.id)
            await rename(database, old, change, leave=leave)

    def renamed(now: Account) -> Account:
        pins = {new if who == old else who: keys for who, keys in now.pins.items()}
        return replace(now, pins=pins)

    return account.update(renamed)


def _told(move: Move, sender: JID, *, own: bool, at: datetime) -> Moved:
    return Moved(sender=sender, old=move.old, new=move.new, own=own, at=at)


def _read(document: str, jid: JID, now: datetime) -> Move:
    return Move.read(document, old=OnionAddress(jid.domain.service), now=now)


async def _rename_all(database: Database, move: Move) -> None:
    outbox, deliveries = Outbox(database), Deliveries(database)
    async with database.transaction():
        for row in await outbox.pending():
            await deliveries.fail(row.message_id, None, _UNSENT)
            await outbox.remove(row.id)

        def change(column: str, text: str) -> str:
            if column == "event_json":
                return rename_event(text, move.rename_text)
            return move.rename_text(text)

        await rename(database, move.old.removesuffix(".onion"), change)


def _opened(account: Account) -> AbstractAsyncContextManager[Database]:
    return Database.open(
        account.store_path,
        key=account.store_key,
        create=False,
        witness=account.state_folder,
    )
