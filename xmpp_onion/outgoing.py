"""The way out: fetch keys, encrypt and keep in one transaction, wait for the ack.

What it needs from the network is fetched before the transaction; what comes after
it is the courier's (:mod:`.courier`).
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.chat import Content, Delivery, DeliveryState
from xmpp_onion.confirmations import Confirmations
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import Encrypted, Omemo, Plain
from xmpp_onion.errors import (
    EncryptionError,
    NoDevicesError,
    NotAcknowledgedError,
    RoomError,
    SessionError,
)
from xmpp_onion.provision import Provision
from xmpp_onion.room_post import RoomPost, check_timer, older
from xmpp_onion.session import message_stanza, write_content
from xmpp_onion.store import Database, Outbox, Write
from xmpp_onion.timers import Timers

__all__ = ["ACK_TIMEOUT", "Outgoing"]

# Seconds that a message may wait for the server's ack before send() gives up
# waiting (the message stays queued): a broken circuit is rebuilt in less.
ACK_TIMEOUT = 120.0


class _Line:
    """Messages to one recipient, in the order in which they were given."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()  # fair: waiters are woken in order
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def turn(self, deadline: float | None) -> AsyncIterator[Callable[[], bool]]:
        """Wait for the turn; what is yielded gives it up, and tells if anybody waits.

        Raises:
            TimeoutError: It did not come in time.
        """
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._turn.acquire()
        finally:
            self._waiting -= 1
        is_held = True

        def give_up() -> bool:
            nonlocal is_held
            if is_held:
                is_held = False
                self._turn.release()
            return self._waiting > 0

        try:
            yield give_up
        finally:
            give_up()


class Outgoing:
    """Takes messages from the caller to the disk, and tells when they are sent.

    Args:
        database: Of the account.
        omemo: Encrypts.
        courier: Carries what is kept.
        deliveries: Knows how far it has come.
        confirmations: Knows what is owed until it is said.
        post: The way to rooms.
        timers: Say when something is to be erased.
        provision: Gets the keys.
    """

    def __init__(
        self,
        database: Database,
        omemo: Omemo,
        *,
        courier: Courier,
        deliveries: Deliveries,
        confirmations: Confirmations,
        post: RoomPost,
        timers: Timers,
        provision: Provision,
    ) -> None:
        self._timers = timers
        self._provision = provision
        self._post = post
        self._database = database
        self._outbox = Outbox(database)
        self._omemo = omemo
        self._courier = courier
        self._deliveries = deliveries
        self._confirmations = confirmations
        self._lines: WeakValueDictionary[JID, _Line] = WeakValueDictionary()

    async def send(
        self,
        to: JID,
        what: Content,
        timeout: float | None,
        *,
        allow_clear: bool = False,
    ) -> Delivery:
        """Accept a message and return when the server has it.

        Args:
            to: Who shall have it.
            what: What to say.
            timeout: Seconds; None waits for ever.
            allow_clear: Say what stands beside the text in the clear, for devices
                whose version of OMEMO cannot carry it.

        Raises:
            EncryptionError: It cannot be encrypted; nothing was sent.
            StampError: The server of a stranger asks for too much work.
            NotAcknowledgedError: No ack within ``timeout`` seconds; it is queued.
        """
        deadline = _deadline(timeout)
        delivery, confirmed = await self.accept(
            to, what, deadline, allow_clear=allow_clear
        )
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(confirmed)
        except TimeoutError:
            raise NotAcknowledgedError(
                "the server has not confirmed the message",
                why=f"no answer within {timeout:g} seconds",
                fix="It is queued and goes out when the server can be reached.",
            ) from None
        return replace(delivery, state=DeliveryState.ACKED)

    async def readers(self, to: JID, timeout: float | None) -> Collection[JID]:
        """Return who would read what is said to ``to`` now.

        Raises:
            RoomError: It is no room in which something may be said.
            SessionError: Not in time.
        """
        if self._post.is_room(to):
            return await self._post.members(to, _deadline(timeout))
        return (to,)

    async def queue(
        self,
        to: JID,
        what: Content,
        timeout: float | None,
        *,
        along: Write | None = None,
    ) -> Delivery:
        """Accept a message and return when it is on the disk.

        Without a network, too, if we have a session with each of the devices.

        Args:
            to: Who shall have it.
            what: What to say.
            timeout: Seconds; None waits for ever.
            along: What is to be written in the same transaction.
        """
        delivery, _ = await self.accept(to, what, _deadline(timeout), along=along)
        return delivery

    async def confirm(self, to: JID, message_id: str) -> bool:
        """Tell an author that a message arrived, inside of an envelope only.

        However long the network is away: it is settled in the transaction in which
        it is accepted.

        Returns:
            Whether that is possible.
        """
        try:
            await self.accept(to, Content(received=message_id), None)
        except (EncryptionError, RoomError):
            return False
        return True

    async def accept(
        self,
        to: JID,
        what: Content,
        deadline: float | None,
        *,
        allow_clear: bool = False,
        along: Write | None = None,
    ) -> tuple[Delivery, asyncio.Future[None]]:
        """Encrypt and keep; the future completes when the server has it.

        Messages to one recipient are kept in the order in which they were given.
        """
        line = self._lines.setdefault(to, _Line())
        async with contextlib.AsyncExitStack() as stack:
            try:
                follow = await stack.enter_async_context(line.turn(deadline))
            except TimeoutError:
                raise _no_keys_in_time() from None
            try:
                if self._post.is_room(to):
                    return await self._post.keep(
                        to, what, deadline, allow_clear=allow_clear, along=along
                    )
                return await self._keep_outgoing(
                    to,
                    what,
                    deadline,
                    allow_clear=allow_clear,
                    along=along,
                    follow=follow,
                )
            except NoDevicesError:
                if not what.received:
                    await self._post.check_person(to)
                raise

    async def _keep_outgoing(
        self,
        to: JID,
        what: Content,
        deadline: float | None,
        *,
        allow_clear: bool,
        along: Write | None,
        follow: Callable[[], bool],
    ) -> tuple[Delivery, asyncio.Future[None]]:
        stamps = await self._provision.stamps(to, deadline)
        while True:
            losses = await self._fetch_recipient(to, deadline)
            try:
                return await self._encrypt(
                    to,
                    what,
                    allow_clear=allow_clear,
                    stamps=stamps,
                    along=along,
                    follow=follow,
                )
            except EncryptionError:
                # What a broken connection left out may be all that was missing.
                if losses == self._provision.losses:
                    await self._omemo.notices.flush()
                    raise
            finally:
                # Whoever waits for this may have given up while it was committed.
                self._courier.look()

    async def _fetch_recipient(self, to: JID, deadline: float | None) -> int:
        """Fetch what encryption needs; return how many connections broke before."""
        try:
            return await self._provision.fetch([to], deadline)
        except TimeoutError:
            raise _no_keys_in_time() from None

    async def _encrypt(
        self,
        to: JID,
        what: Content,
        *,
        allow_clear: bool,
        stamps: Sequence[ET.Element],
        along: Write | None,
        follow: Callable[[], bool],
    ) -> tuple[Delivery, asyncio.Future[None]]:
        message_id = what.id or secrets.token_hex(16)
        asks = what.text is not None  # a confirmation is not confirmed
        plain = Plain(what.text, write_content(_asking(what)))
        beside = write_content(what)
        clear = beside if allow_clear else ()
        # Whoever is next in the line shares the commit, if there is anybody.
        async with self._database.transaction(follow=follow):
            encrypted = await self._encrypt_or(to, plain, has_clear=bool(clear))
            check_timer(what, older(encrypted.elements), allow_clear=allow_clear)
            delivery = Delivery(
                id=message_id,
                to=to,
                devices=encrypted.devices,
                skipped=encrypted.skipped,
                state=DeliveryState.QUEUED,
                text_only=older(encrypted.elements) if beside and not clear else 0,
            )
            xml = message_stanza(
                to,
                message_id,
                encrypted.elements,
                clear=(*clear, *stamps),
                receipt=asks,
                silent=not asks,
            )
            kept = await self._outbox.put(
                xml,
                to=to,
                message_id=message_id,
                expires_at=self._timers.begin(what.expires),
            )
            if what.received:  # nobody waits for what becomes of a confirmation
                await self._confirmations.settle(to, what.received)
            else:
                await self._deliveries.begin(delivery)
            if along is not None:
                await along()
            await self._courier.keep_effects()
        return delivery, self._courier.expect(kept.id)

    async def _encrypt_or(self, to: JID, plain: Plain, *, has_clear: bool) -> Encrypted:
        """Encrypt; what says nothing but metadata, and may do so in the clear, may."""
        try:
            return await self._omemo.encrypt(to, plain)
        except NoDevicesError:
            if plain.text is None and has_clear:
                return Encrypted((), 0, ())
            raise


def _asking(what: Content) -> Content:
    """Ask to be told what becomes of a text; what has none is not confirmed."""
    asks = what.text is not None
    return replace(what, asks=asks, markable=asks)


def _no_keys_in_time() -> SessionError:
    return SessionError(
        "nothing was sent",
        why="a device has no session with us yet, and the server could not be asked "
        "for its keys in time",
        fix="Send it again when the connection is back.",
    )


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else asyncio.get_running_loop().time() + timeout
