"""How what is said gets from one to another in a world without a network.

:class:`PlainPost` hands it over, as if it had been decrypted, and refuses what could
not be encrypted. :class:`OmemoPost` encrypts and decrypts it: each has keys, a store
and an OMEMO device of his own.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.chat import Content
from xmpp_onion.e2ee import (
    Device,
    Plain,
    SendEmpty,
    Trust,
    TrustLevel,
    reader_ids,
)
from xmpp_onion.e2ee.trust import recipients
from xmpp_onion.errors import DecryptionError, NoDevicesError
from xmpp_onion.session import read_content, write_content
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers

__all__ = ["Carried", "OmemoPost", "PlainPost", "Post", "Read"]

_NAMESPACE: Final = "urn:xmpp:omemo:2"
# What a policy of its own makes of the device of somebody whom nobody verified.
_POLICIES: Final = {
    TrustLevel.UNDECIDED: Trust.MANUAL,
    TrustLevel.BLINDLY_TRUSTED: Trust.BTBV,
}


@dataclass(frozen=True, slots=True)
class Read:
    """What somebody got, and what he knows of the device that it came from.

    Attributes:
        content: What was said.
        fingerprint: Of the device, 64 hex digits.
        trust: What he decided about it.
        device: Its number.
        namespace: Of the OMEMO version that it came by.
    """

    content: Content
    fingerprint: str
    trust: TrustLevel
    device: int = 1
    namespace: str = _NAMESPACE


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of a message.

    Attributes:
        reads: What each reader got, by account; as a text why he cannot read it.
        skipped: Who got nothing, as in ``Delivery.skipped``.
    """

    reads: Mapping[JID, Read | str]
    skipped: tuple[str, ...] = ()


class Post(Protocol):
    """Carries what is said; an async context manager."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def carry(
        self, sender: JID, to: JID, readers: Sequence[JID], content: Content
    ) -> Carried:
        """Take a message from its sender to its readers.

        Args:
            sender: Who says it.
            to: A room, or the one reader.
            readers: Who is to read it.
            content: What.

        Raises:
            EncryptionError: It cannot be encrypted; nobody got it.
        """


class PlainPost:
    """Without keys: only what the bot thinks of devices counts.

    Args:
        bot: Whose trust it is.
        policy: What holds for devices that nobody decided about.
        trust_in: Tells what was decided about somebody's device.
    """

    def __init__(
        self, bot: JID, policy: Trust, trust_in: Callable[[JID], TrustLevel]
    ) -> None:
        self._bot = bot
        self._policy = policy
        self._trust_in = trust_in

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    async def carry(
        self, sender: JID, to: JID, readers: Sequence[JID], content: Content
    ) -> Carried:
        """Hand it over, to whom it could be encrypted; see :class:`Post`."""
        chosen, skipped = list(readers), []
        if sender == self._bot:
            for reader in readers:
                try:
                    recipients(self._policy, reader, [self._device_of(reader)])
                except NoDevicesError:
                    if to == reader:
                        raise
                    chosen.remove(reader)
                    skipped.append(str(reader))
        if not chosen:
            raise NoDevicesError(
                "nothing was sent", jid=to, why="nobody else could read it"
            )
        known = (
            TrustLevel.BLINDLY_TRUSTED
            if sender == self._bot
            else self._trust_in(sender)
        )
        read: Read | str = Read(content, _fingerprint_of(sender), known)
        if known is TrustLevel.DISTRUSTED:
            read = "the sender's device is distrusted"
        return Carried(dict.fromkeys(chosen, read), tuple(skipped))

    def _device_of(self, jid: JID) -> Device:
        return Device(
            jid=jid,
            device_id=1,
            fingerprint=_fingerprint_of(jid),
            trust=self._trust_in(jid),
            active=True,
            own=False,
        )


def _fingerprint_of(jid: JID) -> str:
    return jid.encode().hex().ljust(64, "0")[:64]


class OmemoPost:
    """With keys: what a reader gets was decrypted by his own device.

    Args:
        bot: Whose trust it is.
        policy: Its policy.
        trust_in: Tells what the bot decided about somebody's device.
        folder: For the stores.
    """

    def __init__(
        self,
        bot: JID,
        policy: Trust,
        trust_in: Callable[[JID], TrustLevel],
        folder: Path,
    ) -> None:
        self._bot = bot
        self._policy = policy
        self._trust_in = trust_in
        self._peers = OmemoPeers(folder)
        self._devices: dict[JID, OmemoPeer] = {}
        self._decided: dict[JID, TrustLevel] = {}
        self._turn = asyncio.Lock()  # as a wire: one after the other
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._peers)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def carry(
        self, sender: JID, to: JID, readers: Sequence[JID], content: Content
    ) -> Carried:
        """Encrypt and decrypt it; see :class:`Post`."""
        async with self._turn:
            for jid in (sender, *readers):
                await self._introduce(jid)
            room = None if [to] == list(readers) else to
            plain = Plain(content.text, write_content(content))
            parts, skipped = await self._write(
                self._devices[sender], room, readers, plain
            )
            reads: dict[JID, Read | str] = {}
            for reader in readers:
                try:
                    read: Read | str | None = await self._read(
                        reader, parts, sender, room
                    )
                except DecryptionError as error:
                    read = error.why or error.what
                if read is not None:
                    reads[reader] = read
            await self._do_jobs()
        return Carried(reads, skipped)

    async def _introduce(self, jid: JID) -> None:
        """Give somebody a device, and let the bot decide about it."""
        if jid not in self._devices:
            policy = self._policy if jid == self._bot else Trust.BTBV
            self._devices[jid] = await self._peers.add(jid, policy)
        if jid == self._bot or self._decided.get(jid) is self._trust_in(jid):
            return
        await self._introduce(self._bot)
        bot, peer, level = (
            self._devices[self._bot],
            self._devices[jid],
            self._trust_in(jid),
        )
        if level in _POLICIES:
            async with bot.database.transaction():
                await bot.omemo.policies.set(jid, _POLICIES[level])
            if jid in self._decided:
                await bot.trust(peer, TrustLevel.UNDECIDED)
        else:
            await bot.trust(peer, level)
        self._decided[jid] = level

    async def _write(
        self, peer: OmemoPeer, room: JID | None, readers: Sequence[JID], plain: Plain
    ) -> tuple[tuple[Sequence[ET.Element], ...], tuple[str, ...]]:
        await peer.omemo.fetch(readers)
        async with peer.database.transaction():
            parts: tuple[Sequence[ET.Element], ...]
            if room is None:
                single = await peer.omemo.encrypt(readers[0], plain)
                parts, skipped = (single.elements,), single.skipped
            else:
                many = await peer.omemo.rooms.encrypt(readers, plain, room)
                parts, skipped = many.parts, many.skipped
            peer.effects += peer.omemo.take_effects()
        return parts, skipped

    async def _read(
        self,
        reader: JID,
        parts: Sequence[Sequence[ET.Element]],
        sender: JID,
        room: JID | None,
    ) -> Read | None:
        """Return what somebody reads; None if nothing was encrypted for him."""
        peer = self._devices[reader]
        for elements in parts:
            if peer.omemo.device_id not in reader_ids(elements):
                continue
            await peer.omemo.fetch_sender(elements, sender)
            async with peer.database.transaction():
                decrypted = await peer.omemo.decrypt(elements, sender, room=room)
                peer.effects += peer.omemo.take_effects()
            plain, device = decrypted.plain, decrypted.device
            if plain is None:
                continue
            return Read(
                read_content(plain.text, plain.payload),
                device.fingerprint,
                device.trust,
                device.device_id,
                decrypted.namespace,
            )
        return None

    async def _do_jobs(self) -> None:
        """Do what the devices want from the network, answers of others included."""
        while any(peer.effects for peer in self._devices.values()):
            for peer in self._devices.values():
                letters = [e for e in peer.effects if isinstance(e, SendEmpty)]
                elements = peer.take_empties()
                await peer.do_jobs()
                for letter, element in zip(letters, elements, strict=True):
                    if letter.to in self._devices:
                        await self._devices[letter.to].decrypt(element, peer.jid)
