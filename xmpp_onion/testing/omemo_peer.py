"""An account with real keys and a real store on a server in memory.

It does around :class:`~xmpp_onion.e2ee.omemo.Omemo` what a client does, so that
a test can say ``await bob.decrypt(await alice.encrypt(bob, "hello"), alice)``::

    async with OmemoPeers(tmp_path) as peers:
        alice, bob = await peers.add("alice"), await peers.add("bob")
"""

import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee import (
    Decrypted,
    Device,
    Effect,
    Encrypted,
    Omemo,
    Plain,
    SendEmpty,
    Trust,
    TrustLevel,
    Withdraw,
)
from xmpp_onion.store import Database, Keys
from xmpp_onion.testing.fake_pep import FakePep, FakePepServer

__all__ = ["OmemoPeer", "OmemoPeers"]

ONION = OnionAddress.from_public_key(hashlib.sha256(b"a server").digest())
"""A name that is well formed and belongs to nobody."""


class OmemoPeer:
    """One OMEMO device. Entering opens its store and prepares it.

    Args:
        name: The account's name on the server, or a whole JID; devices of one account
            share it.
        server: Where device lists and bundles are.
        folder: For the store; the same folder and device is the same device again.
        policy: Its trust policy.
        device: Tells devices of one account apart.
        pins: Its pinned fingerprints.
        automatic_trust: Whether it hears and tells whom to believe.

    Attributes:
        contacts: Who is on its contact list.
        effects: What its operations wanted from the network and was not done yet.
        now: What its clock shows; tests move it.
        path: Of its store; a copy of its folder is a copy of the device.
    """

    def __init__(
        self,
        name: str,
        server: FakePepServer,
        folder: Path,
        policy: Trust = Trust.TOFU,
        *,
        device: str = "phone",
        pins: Mapping[JID, frozenset[str]] | None = None,
        automatic_trust: bool = True,
    ) -> None:
        self.jid = JID(name if "@" in name else f"{name}@{ONION}")
        self.pep = FakePep(self.jid, server)
        self.contacts: set[JID] = set()
        self.effects: list[Effect] = []
        self.now = 1000.0
        self.omemo: Omemo
        self.database: Database
        self.path = folder / f"{name}-{device}" / "store.db"
        self._witness = folder / ".state" / f"{name}-{device}"
        self._policy = policy
        self._pins = pins
        self._automatic_trust = automatic_trust
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.open()
        await self.omemo.prepare(self.database)
        if self.database.progress.is_rolled_back:
            async with self.database.transaction():
                await self.omemo.retire_sessions()
                await self.database.accept_rollback()
                self.effects += self.omemo.take_effects()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    async def open(self) -> None:
        """Open the store without preparing the device."""
        opening = Database.open(self.path, witness=self._witness)
        self.database = await self._stack.enter_async_context(opening)
        self.omemo = Omemo(
            self.jid,
            Keys(self.database),
            self.pep,
            policy=self._policy,
            pins=self._pins,
            automatic_trust=self._automatic_trust,
            is_contact=self.contacts.__contains__,
            clock=lambda: self.now,
        )

    async def encrypt(self, to: "OmemoPeer", text: str) -> Encrypted:
        """Fetch, then encrypt in one transaction."""
        await self.omemo.fetch([to.jid])
        async with self.database.transaction():
            encrypted = await self.omemo.encrypt(to.jid, Plain(text))
            self.effects += self.omemo.take_effects()
        return encrypted

    async def decrypt(
        self, what: Encrypted | ET.Element, sender: JID, *, to: JID | None = None
    ) -> Decrypted:
        """Fetch, then decrypt in one transaction."""
        elements = what.elements if isinstance(what, Encrypted) else (what,)
        await self.omemo.fetch_sender(elements, sender)
        async with self.database.transaction():
            decrypted = await self.omemo.decrypt(elements, sender, to=to)
            self.effects += self.omemo.take_effects()
        return decrypted

    async def read(
        self,
        what: Encrypted | ET.Element,
        sender: "OmemoPeer",
        *,
        to: "OmemoPeer | None" = None,
    ) -> str:
        """Decrypt and return the text; empty if the message only carried keys.

        Args:
            what: Which message.
            sender: Whose.
            to: For whom it was, if not for this account.
        """
        recipient = to.jid if to else None
        plain = (await self.decrypt(what, sender.jid, to=recipient)).plain
        return (plain.text if plain else None) or ""

    async def devices(self, of: "OmemoPeer") -> tuple[Device, ...]:
        """Return what is known of somebody's devices."""
        await self.omemo.fetch([of.jid])
        async with self.database.transaction():
            return await self.omemo.keyring.devices(of.jid)

    async def trust(self, whom: "OmemoPeer", level: TrustLevel) -> None:
        """Decide about a device as a person would."""
        await self.omemo.fetch([whom.jid])
        async with self.database.transaction():
            await self.omemo.keyring.set_trust(whom.jid, whom.omemo.fingerprint, level)

    def take_empties(self) -> list[ET.Element]:
        """Take the empty messages that wait to be sent."""
        empties = [e for e in self.effects if isinstance(e, SendEmpty)]
        self.effects = [e for e in self.effects if not isinstance(e, SendEmpty)]
        return [ET.fromstring(e.element) for e in empties]  # noqa: S314 - our own text

    async def do_jobs(self) -> None:
        """Do what waits, except for empty messages."""
        jobs = [e for e in self.effects if not isinstance(e, SendEmpty | Withdraw)]
        self.effects = [e for e in self.effects if isinstance(e, SendEmpty)]
        for job in jobs:
            await self.omemo.perform(job.kind, job.payload)
            async with self.database.transaction():
                await self.omemo.conclude(job.kind, job.payload)
                self.effects += self.omemo.take_effects()

    async def meet(self, other: "OmemoPeer") -> None:
        """Exchange a message each way, so that both sides have a confirmed session."""
        await other.read(await self.encrypt(other, "hello"), self)
        for element in other.take_empties():
            await self.read(element, other)
        await self.read(await other.encrypt(self, "hello yourself"), other)


class OmemoPeers:
    """Any number of devices on one server; leaving closes them all.

    Attributes:
        server: Where their device lists and bundles are.
    """

    def __init__(self, folder: Path) -> None:
        self.server = FakePepServer()
        self._folder = folder
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def newest(self) -> str:
        """The namespace that they speak with each other."""
        return self.server.newest

    def place(self, peer: OmemoPeer) -> tuple[str, str, int]:
        """Return where the server has the bundle of a device that others use."""
        return self.newest, peer.jid, peer.omemo.device_id

    def new(
        self,
        name: str,
        policy: Trust = Trust.TOFU,
        *,
        device: str = "phone",
        pins: Mapping[JID, frozenset[str]] | None = None,
        automatic_trust: bool = True,
    ) -> OmemoPeer:
        """Return a device that is not open yet."""
        return OmemoPeer(
            name,
            self.server,
            self._folder,
            policy,
            device=device,
            pins=pins,
            automatic_trust=automatic_trust,
        )

    async def add(
        self,
        name: str,
        policy: Trust = Trust.TOFU,
        *,
        device: str = "phone",
        pins: Mapping[JID, frozenset[str]] | None = None,
    ) -> OmemoPeer:
        """Make a device, or open it again if it was closed; prepare it."""
        peer = self.new(name, policy, device=device, pins=pins)
        return await self._stack.enter_async_context(peer)
