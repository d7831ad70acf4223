"""How far our messages have come: kept on disk, told to who waits and who reads.

A state is set in the transaction of what it tells: the ack with the row that
leaves the outbox, a receipt with the mark that it was seen.
"""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from xmpp_onion.address import JID
from xmpp_onion.chat import (
    Delivery,
    DeliveryFailed,
    DeliveryState,
    Receipt,
    write_event,
)
from xmpp_onion.errors import DeliveryFailedError, NotAcknowledgedError
from xmpp_onion.store import (
    Database,
    DeliveryRow,
    DeliveryRows,
    Inbox,
    Moment,
    reading,
)

__all__ = ["Deliveries"]


class Deliveries:
    """The states of what we sent; they only ever go forward.

    Args:
        database: Of the account.

    Attributes:
        news: Set when the inbox has got something; its reader clears it.
    """

    def __init__(self, database: Database, news: asyncio.Event | None = None) -> None:
        self.news = news or asyncio.Event()
        self._database = database
        self._rows = DeliveryRows(database)
        self._inbox = Inbox(database)
        self._moved = asyncio.Event()
        self._has_moved = self._has_news = False
        database.at(Moment.ENDED, self._tell)  # who is woken reads what is on the disk
        database.on_rollback(self._forget)

    async def begin(self, delivery: Delivery) -> None:
        """Keep a message that was accepted. In its transaction."""
        await self._rows.add(
            DeliveryRow(
                message_id=delivery.id,
                to=delivery.to.bare,
                devices=delivery.devices,
                text_only=delivery.text_only,
                skipped=delivery.skipped,
                state=delivery.state,
            )
        )

    async def load(self, message_id: str) -> Delivery | None:
        """Return what became of a message; None if it was forgotten since."""
        row = await self._rows.load(message_id)
        return None if row is None else self._read(row)

    async def acknowledge(self, message_id: str, to: str) -> None:
        """Note that our server has a message. In a transaction.

        This happens to each, so nothing is read for it; what had a further state
        keeps that.
        """
        change = DeliveryState.QUEUED, DeliveryState.ACKED
        await self._rows.advance(message_id, JID(to).bare, change)
        self._has_moved = True

    async def confirm(
        self,
        message_id: str,
        sender: JID,
        state: DeliveryState,
        *,
        authenticated: bool,
        at: datetime,
    ) -> None:
        """Note what a recipient says about a message. In a transaction.

        Whoever else says so is not listened to, and nothing is said twice.

        Args:
            message_id: Of our message.
            sender: Who confirms it.
            state: RECEIVED or DISPLAYED.
            authenticated: It was said in an encrypted message.
            at: When.
        """
        if await self._move(message_id, sender.bare, state):
            receipt = Receipt(
                id=message_id,
                sender=sender.bare,
                state=state,
                authenticated=authenticated,
                at=at,
            )
            await self._inbox.put(write_event(receipt))

    async def fail(self, message_id: str, to: JID | None, reason: str) -> bool:
        """Note that a message will not arrive; tell if that is new. In a transaction.

        Args:
            message_id: Of our message.
            to: Who says so, as its recipient; None if our own server does.
            reason: Why, in words.
        """
        recipient = "" if to is None else to.bare
        row = await self._move(message_id, recipient, DeliveryState.FAILED, reason)
        if row is None:
            return False
        failed = DeliveryFailed(
            id=message_id, sender=JID(row.to), reason=reason, at=datetime.now(UTC)
        )
        await self._inbox.put(write_event(failed))
        return True

    async def leave_out(
        self, message_id: str, to: JID, whom: str, *, devices: int = 1
    ) -> None:
        """Note that a message goes to a device less, or a few. In a transaction.

        Args:
            message_id: Of our message.
            to: Its recipient.
            whom: What is left out: the fingerprint of a device, or in a room an
                account.
            devices: How many devices that are.
        """
        row = await self._rows.load(message_id, to.bare)
        if row is not None:
            # Once, although it may have keys in several stanzas of the message.
            skipped = tuple(dict.fromkeys((*row.skipped, whom)))
            left = row.devices - devices
            await self._rows.set(replace(row, devices=left, skipped=skipped))

    async def _move(
        self, message_id: str, to: str, state: DeliveryState, reason: str = ""
    ) -> DeliveryRow | None:
        """Set a state that is further than the one that is there."""
        row = await self._rows.load(message_id, to)
        if row is None or not self._read(row).state.may_become(state):
            return None
        await self._rows.set(replace(row, state=state, reason=reason))
        self._has_moved = self._has_news = True
        return row

    async def wait(
        self, message_id: str, state: DeliveryState, timeout: float | None
    ) -> Delivery:
        """Return when a message has come as far as ``state``.

        Raises:
            KeyError: Nothing is known of it.
            DeliveryFailedError: It failed, and it was not that which was waited for.
            NotAcknowledgedError: It has not, within ``timeout`` seconds.
        """
        delivery = None
        try:
            async with asyncio.timeout(timeout):
                while True:
                    moved = self._moved
                    delivery = await self.load(message_id)
                    if delivery is None:
                        raise KeyError(message_id)
                    if delivery.state.has_reached(state):
                        return delivery
                    if delivery.state is DeliveryState.FAILED:
                        raise _failed(delivery)
                    await moved.wait()
        except TimeoutError:
            raise NotAcknowledgedError(
                f"the message is not {state} yet",
                why=f"nobody has confirmed it within {timeout:g} seconds",
                fix="It is on its way. Many clients confirm to contacts only, or "
                "never; this one does so after `xmpp-onion contact receipts on`.",
            ) from None

    def _tell(self) -> None:
        if self._has_news:
            self._has_news = False
            self.news.set()
        if self._has_moved:
            self._has_moved = False
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    def _forget(self) -> None:
        self._has_moved = self._has_news = False

    def _read(self, row: DeliveryRow) -> Delivery:
        with reading(self._database.path, "deliveries"):
            return Delivery(
                id=row.message_id,
                to=JID(row.to),
                devices=row.devices,
                skipped=row.skipped,
                state=DeliveryState(row.state),
                reason=row.reason,
                text_only=row.text_only,
            )


def _failed(delivery: Delivery) -> DeliveryFailedError:
    return DeliveryFailedError(
        "the message was not delivered",
        why=delivery.reason,
        fix="Send it again when the cause is gone.",
    )
