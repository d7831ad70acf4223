"""What a client can say, and how it learns what became of it."""

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from xmpp_onion.account import parse_addressee
from xmpp_onion.address import JID
from xmpp_onion.chat import (
    FILE_LIMIT,
    Attachment,
    Content,
    Delivery,
    DeliveryState,
    Message,
    Progress,
    TypingState,
)
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import OMEMO_2, TrustLevel, accepts
from xmpp_onion.errors import AddressError, NotAcknowledgedError
from xmpp_onion.files import PAGE_BYTES
from xmpp_onion.notary import Notary
from xmpp_onion.outgoing import ACK_TIMEOUT, Outgoing
from xmpp_onion.rooms import Shown
from xmpp_onion.session import MENTION_LIMIT
from xmpp_onion.sharing import Sharing
from xmpp_onion.store import Write
from xmpp_onion.timers import Timers, checked

__all__ = ["Speaker"]


class Speaker:
    """The half of a client that speaks; :class:`~xmpp_onion.client.Client` is one.

    Attributes:
        notary: Decides about devices.
    """

    _outgoing: Outgoing
    _deliveries: Deliveries
    _sharing: Sharing
    _timers: Timers
    _shown: Shown
    notary: Notary

    @property
    def jid(self) -> JID:
        """Whose client this is."""
        raise NotImplementedError

    def _is_friend(self, jid: JID) -> bool:
        """Tell whether somebody may see when we are there."""
        raise NotImplementedError

    async def send(
        self,
        to: str,
        text: str,
        *,
        reply_to: Message | str = "",
        mentions: Collection[str] = (),
        expires: timedelta | None = None,
        allow_clear_metadata: bool = False,
        timeout: float | None = ACK_TIMEOUT,
    ) -> Delivery:
        """Encrypt ``text`` for the devices of ``to`` and send it.

        Returns when the server has it. There is no way to send it unencrypted. A
        device that is distrusted or whose keys cannot be had is left out, and named
        in ``Delivery.skipped``; one that is undecided stops it.

        In a room that we are in it is encrypted for all members; members who cannot
        read it are left out and named, one by one or altogether.

        Args:
            to: A JID at an onion server, of somebody or of a room.
            text: What to say.
            reply_to: The message that it answers, or its id. It travels inside of
                the envelope; a device whose OMEMO cannot carry it gets the text
                alone, and is counted in ``Delivery.text_only``.
            mentions: The JIDs of those whom it speaks of or to, 20 at most: their
                programs can tell them, as ``Message.mentions_me``. It travels as
                ``reply_to`` does.
            expires: How long it may be kept: a second to a year. Ours and other
                clients that heed it erase it then, read or not; nobody can make
                others do so. By default as :meth:`set_timer` says for the
                conversation; ``timedelta(0)`` for ever.
            allow_clear_metadata: Say to such devices in the clear, and so to every
                server on the way, which message it answers, and how long it may be
                kept. Without it, what may not be kept goes to no such device:
                nothing is sent.
            timeout: Seconds to wait for the server's ack; None waits for ever.

        Raises:
            AddressError: ``to`` is no JID of a person, or names one connection.
            EncryptionError: It cannot be encrypted; nothing was sent.
            RoomError: The room lets in others than its members, or hides who they
                are, or has members that nobody accepted yet. Nothing was sent.
            StoreError: It cannot be kept: the disk is full, or not to be written.
                Nothing was sent.
            NotAcknowledgedError: No ack in time; the message is queued and goes
                out when the server is back.
            DeliveryFailedError: All its devices were distrusted while it waited.
        """
        what = Content(
            text=text,
            reply_to=reply_to.id if isinstance(reply_to, Message) else reply_to,
            author=reply_to.sender if isinstance(reply_to, Message) else "",
            mentions=_parse_mentions(mentions),
            expires=expires,
        )
        return await self._send(to, what, timeout, allow_clear=allow_clear_metadata)

    async def _send(
        self, to: str, what: Content, timeout: float | None, *, allow_clear: bool
    ) -> Delivery:
        recipient = parse_addressee(to)
        what = await self._timed(recipient, what)
        return await self._outgoing.send(
            recipient, what, timeout, allow_clear=allow_clear
        )

    async def _timed(self, to: JID, what: Content) -> Content:
        """Give what is said the timer of its conversation, if it has no own."""
        if what.text is None and not what.emojis:
            return what
        timer = await self._timers.of(to) if what.expires is None else what.expires
        return replace(what, expires=checked(timer))

    async def timer(self, to: str) -> timedelta | None:
        """Return how long what we say in a conversation may be kept."""
        return await self._timers.of(parse_addressee(to))

    async def set_timer(self, to: str, timer: timedelta | None) -> None:
        """Set how long what we say in a conversation from now on may be kept.

        It is for us alone: the other side sets its own. Needs no connection.

        Args:
            to: As in :meth:`send`.
            timer: A second to a year; None for ever.
        """
        await self._timers.set(parse_addressee(to), timer)

    async def send_file(
        self,
        to: str,
        path: Path | str,
        progress: Progress | None = None,
        *,
        is_voice: bool = False,
        expires: timedelta | None = None,
        pad: bool = False,
        timeout: float | None = ACK_TIMEOUT,
    ) -> Delivery:
        """Encrypt a file, store it at our server, and send the link with its key.

        The name travels inside of the envelope; the server sees a random one, and the
        size. Nothing is taken out of the file: a photo may hold where it was made.
        In a room that we are in it is for all members, also those who are away.

        Args:
            to: As in ``send()``.
            path: The file. It must not change meanwhile.
            progress: Told bytes done, and bytes in all.
            is_voice: Say in the envelope what kind of sound it is, and how long it
                lasts, as far as the head of a WAV or an Ogg with Opus tells.
            expires: As in ``send()``, for the message with the link and its key. What
                was saved meanwhile stays.
            pad: Fill it up, to 64 KiB or the next power of two, and from 2 MiB on to
                the next 2 MiB: the server sees that much, and still that a file was
                sent, and when. Devices of other clients cannot take it off.
            timeout: Seconds to wait for the ack of the message; storing the file
                takes as long as it gets on.

        Raises:
            FileError: It cannot be read, changed, or the server does not take it; or
                a device that gets it cannot take padding off, and nothing was stored.
            TorError: The server could not be reached for a long time.
            RoomError: As ``send()``; nothing was stored.
            XmppOnionError: As ``send()``.
        """
        recipient = parse_addressee(to)
        attachment = await self._sharing.upload(
            Path(path),
            progress,
            pad=pad,
            may_split=lambda: self._may_split(recipient, timeout),
        )
        if is_voice:
            attachment = await self._sharing.heard(attachment, Path(path))
        text = await self._sharing.link_for_others(attachment)
        what = Content(text=text, attachment=attachment, expires=expires)
        try:
            delivery = await self._send(recipient, what, timeout, allow_clear=False)
        except NotAcknowledgedError:  # it is on its way all the same
            await self._sharing.forget(attachment, pad=pad)
            raise
        await self._sharing.forget(attachment, pad=pad)
        return delivery

    async def _may_split(self, to: JID, timeout: float | None) -> bool:
        """Tell whether all devices that get a file take one in chunks.

        Our own others get what we send, too, if they are accepted. A device that
        speaks the older OMEMO alone runs another client, which cannot.

        Raises:
            RoomError: Nothing may be said in this room.
        """
        own = self.jid.bare
        readers = {*await self._outgoing.readers(to, timeout), own}
        devices = await self.notary.devices_of(readers)
        return all(
            OMEMO_2 in each.namespaces
            for each in devices
            if each.active and each.trust is not TrustLevel.DISTRUSTED
            # Of ours, the undecided are left out of every message.
            if each.jid != own or accepts(each.trust)
        )

    async def download(
        self,
        url: str,
        folder: Path | str,
        progress: Progress | None = None,
        *,
        name: str = "",
        limit_bytes: int = FILE_LIMIT,
    ) -> Path:
        """Fetch a file by its link, as ``Attachment.save()`` does.

        Args:
            url: What ``Attachment.url`` says: ``aesgcm://….onion…#…``.
            folder: Where to put it.
            progress: Told bytes done, and bytes in all.
            name: What to call it; by default as the link does.
            limit_bytes: Refuse a larger file.

        Raises:
            AddressError: It is no link, or leads elsewhere than to an onion.
            FileError: It is gone, too large, or damaged.
            TorError: The server could not be reached for a long time.
        """
        attachment = Attachment(url=url, name=name)
        return await self._sharing.save(attachment, Path(folder), progress, limit_bytes)

    async def fetch(self, url: str, *, limit_bytes: int = PAGE_BYTES) -> bytes:
        """Fetch a page of an onion service through Tor: a feed, a status page.

        Over a circuit of its own. Nothing that it leads to is fetched, and what it
        says is its author's word.

        Args:
            url: ``http://….onion/…``; no clearnet address is ever asked for.
            limit_bytes: Refuse more.

        Raises:
            AddressError: It leads elsewhere than to an onion.
            FileError: It is not there, or too large.
            TorError: The service could not be reached.
        """
        return await self._sharing.fetch(url, limit_bytes)

    async def correct(
        self,
        to: str,
        message_id: str,
        text: str,
        *,
        expires: timedelta | None = None,
        allow_clear_metadata: bool = False,
        timeout: float | None = ACK_TIMEOUT,
    ) -> Delivery:
        """Say what an earlier message of ours should have said; else as ``send()``.

        A device whose OMEMO cannot carry the target shows it as one more message.
        """
        what = Content(text=text, corrects=message_id, expires=expires)
        return await self._send(to, what, timeout, allow_clear=allow_clear_metadata)

    async def react(
        self,
        to: str,
        message_id: str,
        *emojis: str,
        allow_clear_metadata: bool = False,
        timeout: float | None = ACK_TIMEOUT,
    ) -> Delivery:
        """Say what we feel about a message; without an emoji, nothing any more.

        Raises:
            NoDevicesError: No device of ``to`` can be told so inside of an envelope.
                With ``allow_clear_metadata`` it is said in the clear, emojis and all.
        """
        what = Content(reacts_to=message_id, emojis=emojis)
        return await self._send(to, what, timeout, allow_clear=allow_clear_metadata)

    async def retract(
        self,
        to: str,
        message_id: str,
        *,
        allow_clear_metadata: bool = False,
        timeout: float | None = ACK_TIMEOUT,
    ) -> Delivery:
        """Ask others to forget a message of ours; they may not. As ``react()``."""
        what = Content(retracts=message_id)
        return await self._send(to, what, timeout, allow_clear=allow_clear_metadata)

    async def mark_displayed(
        self,
        message: Message,
        *,
        to_stranger: bool = False,
        timeout: float | None = ACK_TIMEOUT,
    ) -> Delivery:
        """Tell the author that a message was read. Only inside of an envelope.

        In a room the author alone can read it, and it stands for all that the author
        said there before: mark the newest, not each.

        Args:
            message: What was read.
            to_stranger: Tell it also to who may not see when we are there; in a room
                its members see that anyway.
            timeout: As in ``send()``.

        Raises:
            AddressError: The author is no contact who may see us.
            RoomError: The author is out of the room, it has more than 50 members, or
                nothing may be said there.
            NoDevicesError: No device of theirs can be told so.
        """
        what = Content(displayed=message.id, author=message.sender)
        if message.room is not None:
            return await self._send(message.room, what, timeout, allow_clear=False)
        if not to_stranger and not self._is_friend(message.sender):
            raise AddressError(
                "nothing was said to a stranger",
                why="when we read something tells when we are there",
                fix="Accept the author as a contact, or pass to_stranger=True.",
            )
        return await self._send(message.sender, what, timeout, allow_clear=False)

    async def tell_typing(
        self,
        to: str,
        state: TypingState,
        *,
        timeout: float | None = ACK_TIMEOUT,
    ) -> None:
        """Tell a contact what we are doing (XEP-0085). Only inside of an envelope.

        It is one more message: a server sees that something small goes, and when.
        Nothing tells it by itself. Returns when it is on its way; where that takes
        long, the other side drops it.

        Args:
            to: A JID of somebody who may see when we are there.
            state: What we are doing.
            timeout: Seconds that the server may take to tell keys that are missing.

        Raises:
            AddressError: It is nobody who may see us, or a room.
            NoDevicesError: No device of theirs can be told so.
        """
        recipient = parse_addressee(to)
        if not self._is_friend(recipient):
            raise AddressError(
                "nothing was said to a stranger",
                why="when we write something tells when we are there",
                fix="Accept the other side as a contact.",
            )
        await self._outgoing.queue(recipient, Content(typing=state), timeout)

    async def displayed_by(self, message_id: str) -> tuple[JID, ...]:
        """Return who says to have been shown a message of ours, or a later one.

        Nobody has to say it, and in a room of more than 50 nobody does.

        Args:
            message_id: From ``Delivery.id``.
        """
        delivery = await self._deliveries.load(message_id)
        if delivery is None:
            return ()
        if delivery.state is DeliveryState.DISPLAYED:
            return (delivery.to,)
        return await self._shown.who(delivery.to, message_id)

    async def queue(
        self,
        to: str,
        text: str,
        *,
        reply_to: Message | str = "",
        expires: timedelta | None = None,
        timeout: float | None = ACK_TIMEOUT,
        along: Write | None = None,
        message_id: str = "",
    ) -> Delivery:
        """Encrypt ``text`` and return once it is on disk; it goes out by itself.

        No network is needed where each known device of the recipient has a session
        with us; in a room, if we were in it when the network went. A client that is
        closed hands over what waits first, if it is connected, and waits for no ack.

        Args:
            to: A JID at an onion server.
            text: What to say.
            reply_to: As in :meth:`send`.
            expires: As in :meth:`send`.
            timeout: Seconds that the server may take to tell keys that are missing;
                None waits for ever.
            along: What is to be written in the same transaction, such as
                ``Claim.settle`` of what it answers: both are on the disk, or neither.
            message_id: What :meth:`delivery` knows it by: 32 hex digits that nobody
                can guess. By default drawn.

        Raises:
            EncryptionError: It cannot be encrypted; nothing was kept.
            SessionError: Keys are missing, and did not come in time; nothing was
                kept.
        """
        recipient = parse_addressee(to)
        said = Content(
            text=text,
            reply_to=reply_to.id if isinstance(reply_to, Message) else reply_to,
            author=reply_to.sender if isinstance(reply_to, Message) else "",
            expires=expires,
            id=message_id,
        )
        what = await self._timed(recipient, said)
        return await self._outgoing.queue(recipient, what, timeout, along=along)

    async def readers(
        self, to: str, *, timeout: float | None = ACK_TIMEOUT
    ) -> tuple[JID, ...]:
        """Return who would read what is said to ``to`` now: a person, or members.

        Raises:
            RoomError: It is no room in which something may be said.
            SessionError: Not in time.
        """
        return tuple(await self._outgoing.readers(parse_addressee(to), timeout))

    async def delivery(self, message_id: str) -> Delivery | None:
        """Return how far a message of ours has come; None if nothing is known.

        The newest 10,000 are known, also those of earlier logins; 100,000 of those
        that the server has and nobody confirmed; and all that wait to be sent.
        """
        return await self._deliveries.load(message_id)

    async def wait(
        self,
        message_id: str,
        state: DeliveryState,
        *,
        timeout: float | None = ACK_TIMEOUT,
    ) -> Delivery:
        """Return when a message of ours has come as far as ``state``.

        RECEIVED and DISPLAYED are said by the recipient's client, if it says so at
        all; unless ``Receipt.authenticated``, a server may have made it up.

        Args:
            message_id: From ``Delivery.id``.
            state: How far it has to come.
            timeout: Seconds; None waits for ever.

        Raises:
            KeyError: Nothing is known of it.
            DeliveryFailedError: It did not and will not arrive.
            NotAcknowledgedError: Nobody confirmed it in time.
        """
        return await self._deliveries.wait(message_id, state, timeout)


def _parse_mentions(people: Collection[str]) -> tuple[JID, ...]:
    if len(people) > MENTION_LIMIT:
        raise AddressError(
            "nothing was sent",
            why=f"a message mentions {MENTION_LIMIT} people at most",
            fix="Leave them out: everybody who gets it reads it.",
        )
    return tuple(dict.fromkeys(parse_addressee(person) for person in people))
