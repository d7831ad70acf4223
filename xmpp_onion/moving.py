"""Our own server got another name: noted when it says so, followed when we say so.

What we are stays: this device with its keys, the people with theirs and what we
decided about them, rooms, what came and was not read. Only names change, in the store
first and then in ``account.toml``; a process that is killed in between begins again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.chat import Moved, rename_event, write_event
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.errors import InvalidMoveError, MovedError
from xmpp_onion.moves import Move
from xmpp_onion.store import Database, Inbox, Keys, Outbox, rename

__all__ = ["follow", "known_move", "noted"]

# What our server said last about where it is.
_MOVED: Final = "/xmpp-onion/moved"
_UNSENT: Final = "the server moved before it was sent"


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
                moved = Moved(sender=own, old=move.old, new=move.new, at=now)
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
