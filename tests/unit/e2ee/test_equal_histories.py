"""Whatever happens between three devices, all end with the same history.

Two accounts, one of them with two devices, each with real keys and a real store. The
machine sends, delivers in any order, delivers again, loses answers, restarts, fails
in the middle of transactions, and lets requests fail. A device whose keys could not
be fetched is left out of a message: then its sender was told so, and no other device
misses it. What the machine does around `Omemo` is what `clerk`, `courier` and
`outgoing` do. A long run:

    XMPP_ONION_HYPOTHESIS=long python -m pytest tests/unit/e2ee/test_equal_histories.py
"""

import asyncio
import contextlib
import copy
import functools
import shutil
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from xmpp_onion.address import JID
from xmpp_onion.e2ee import Plain, SendEmpty, TrustLevel, Withdraw
from xmpp_onion.errors import DeviceListError
from xmpp_onion.store import Inbox, Outbox, OutboxRow
from xmpp_onion.testing.fake_pep import FakePepServer
from xmpp_onion.testing.omemo_peer import OmemoPeer

PEOPLE = [("alice", "phone"), ("bob", "phone"), ("bob", "laptop")]


class CrashError(Exception):
    """Stands for a kill inside a transaction."""


class Stanza:
    """What travels: encrypted elements of somebody."""

    def __init__(self, row: OutboxRow, device: "Device") -> None:
        self.key, self.text = f"{device.name} {row.id}", row.message_id
        self.sender, self.to = device.peer.jid, JID(row.to)
        xml = row.stanza_xml
        self.elements = list(ET.fromstring(xml))  # noqa: S314 - our own text

    def is_for(self, device_id: int) -> bool:
        """Tell whether a device has a key in it."""
        return any(
            child.get("rid") == str(device_id)
            for element in self.elements
            for child in element.iter()
        )


class Device:
    """One device with its store, and what the server holds for it."""

    def __init__(self, peer: OmemoPeer, name: str) -> None:
        self.peer, self.name = peer, name
        self.queue: list[Stanza] = []

    async def open(self) -> None:
        await self.peer.open()
        self.inbox = Inbox(self.peer.database)
        self.outbox = Outbox(self.peer.database)
        failures, self.peer.pep.failures = self.peer.pep.failures, 0
        await self.peer.omemo.prepare(self.peer.database)
        self.peer.pep.failures = failures
        async with self.peer.database.transaction():
            await self.keep_effects()

    async def close(self) -> None:
        await self.peer.__aexit__(None, None, None)

    async def send(self, to: JID, text: str, *, crash: bool) -> tuple[str, ...]:
        """Say something, and return which devices cannot read it."""
        await self.peer.omemo.fetch([to])
        async with self.peer.database.transaction():
            encrypted = await self.peer.omemo.encrypt(to, Plain(text))
            await self.keep(to, list(encrypted.elements), text)
            await self.inbox.add(text)
            await self.keep_effects()
            if crash:
                raise CrashError
        return encrypted.skipped

    async def keep(self, to: JID, elements: list[ET.Element], name: str) -> None:
        xml = "".join(ET.tostring(element, "unicode") for element in elements)
        await self.outbox.add(f"<all>{xml}</all>", to=str(to), message_id=name)

    async def keep_effects(self) -> None:
        for effect in self.peer.omemo.take_effects():
            if isinstance(effect, SendEmpty):
                element = ET.fromstring(effect.element)  # noqa: S314 - our own text
                await self.keep(effect.to, [element], "")
            elif not isinstance(effect, Withdraw):
                await self.outbox.add_job(effect.kind, effect.payload)

    async def receive(self, stanza: Stanza, *, crash: bool) -> None:
        if await self.inbox.is_seen(stanza.key):
            return
        await self.peer.omemo.fetch_sender(stanza.elements, stanza.sender)
        async with self.peer.database.transaction():
            decrypted = await self.peer.omemo.decrypt(
                stanza.elements, stanza.sender, to=stanza.to
            )
            await self.inbox.mark_seen(stanza.key)
            if decrypted.plain is not None and decrypted.plain.text is not None:
                await self.inbox.add(decrypted.plain.text)
            await self.keep_effects()
            if crash:
                raise CrashError

    async def do_jobs(self) -> None:
        for job in await self.outbox.jobs():
            await self.peer.omemo.perform(job.kind, job.payload)
            async with self.peer.database.transaction():
                await self.outbox.remove_job(job.id)

    async def history(self) -> list[str]:
        rows = [row.event_json for row in await self.inbox.pending()]
        return [text for text in rows if " of " in text]  # and none about devices


@functools.cache
def prepared() -> tuple[TemporaryDirectory[str], FakePepServer]:
    """Three devices that know each other and have said nothing; made once."""
    folder, server = TemporaryDirectory(), FakePepServer()

    async def make() -> None:
        async with contextlib.AsyncExitStack() as stack:
            peers = [
                await stack.enter_async_context(
                    OmemoPeer(name, server, Path(folder.name), device=device)
                )
                for name, device in PEOPLE
            ]
            _, phone, laptop = peers
            await phone.trust(laptop, TrustLevel.TRUSTED)
            await laptop.trust(phone, TrustLevel.TRUSTED)

    asyncio.run(make())
    server.watchers.clear()
    return folder, server


devices = st.sampled_from(range(3))


class HistoryMachine(RuleBasedStateMachine):
    """Three devices and the server between them."""

    def __init__(self) -> None:
        super().__init__()
        template, server = prepared()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.server = copy.deepcopy(server)
        self.said: list[str] = []
        # What a device cannot read, as its sender was told.
        self.left_out: dict[str, set[str]] = {"-".join(who): set() for who in PEOPLE}
        shutil.copytree(template.name, self.folder.name, dirs_exist_ok=True)
        self.devices = [
            Device(self.peer(*person), "-".join(person)) for person in PEOPLE
        ]
        for device in self.devices:
            self.runner.run(device.open())

    def peer(self, name: str, device: str) -> OmemoPeer:
        return OmemoPeer(name, self.server, Path(self.folder.name), device=device)

    @rule(who=devices, crash=st.booleans())
    def say(self, who: int, *, crash: bool) -> None:
        self.runner.run(self.run_say(self.devices[who], crash=crash))

    async def run_say(self, device: Device, *, crash: bool) -> None:
        own = device.peer.jid
        to = next(d.peer.jid for d in self.devices if d.peer.jid != own)
        text = f"{len(self.said)} of {device.name}"
        with contextlib.suppress(CrashError, DeviceListError):
            skipped = await device.send(to, text, crash=crash)
            self.said.append(text)
            for other in self.devices:
                omemo = other.peer.omemo
                if {omemo.fingerprint, f"device {omemo.device_id}"} & {*skipped}:
                    self.left_out[other.name].add(text)

    @rule(who=devices, is_answered=st.booleans())
    def carry(self, who: int, *, is_answered: bool) -> None:
        self.runner.run(self.run_carry(self.devices[who], is_answered=is_answered))

    async def run_carry(self, device: Device, *, is_answered: bool) -> None:
        """Give the server the oldest stanza; without an answer it goes again."""
        for row in (await device.outbox.pending())[:1]:
            stanza = Stanza(row, device)
            for other in self.devices:
                is_reader = stanza.is_for(other.peer.omemo.device_id)
                if other is not device and (row.message_id or is_reader):
                    other.queue.append(stanza)
            if is_answered:
                async with device.peer.database.transaction():
                    await device.outbox.remove(row.id)

    @rule(
        who=devices,
        place=st.integers(0, 5),
        crash=st.booleans(),
        is_again=st.booleans(),
    )
    def receive(self, who: int, place: int, *, crash: bool, is_again: bool) -> None:
        device = self.devices[who]
        self.runner.run(self.run_receive(device, place, crash=crash, is_again=is_again))

    async def run_receive(
        self, device: Device, place: int, *, crash: bool, is_again: bool
    ) -> None:
        if not device.queue:
            return
        stanza = device.queue[place % len(device.queue)]
        if stanza.text in self.left_out[device.name]:
            assert not stanza.is_for(device.peer.omemo.device_id)
            device.queue.remove(stanza)
            return
        with contextlib.suppress(CrashError, DeviceListError):
            await device.receive(stanza, crash=crash)
            if not is_again:
                device.queue.remove(stanza)

    @rule(who=devices)
    def do_jobs(self, who: int) -> None:
        with contextlib.suppress(DeviceListError):
            self.runner.run(self.devices[who].do_jobs())

    @rule(who=devices, number=st.integers(1, 4))
    def let_requests_fail(self, who: int, number: int) -> None:
        self.devices[who].peer.pep.failures = number

    @rule(who=devices)
    def restart(self, who: int) -> None:
        device = self.devices[who]
        self.runner.run(device.close())
        self.server.watchers.remove(device.peer.pep)
        device.peer = self.peer(*PEOPLE[who])
        self.runner.run(device.open())

    def teardown(self) -> None:
        try:
            histories = self.runner.run(self.settle())
        finally:
            for device in self.devices:
                self.runner.run(device.close())
            self.runner.close()
            self.folder.cleanup()

        for name, history in histories.items():
            readable = [text for text in self.said if text not in self.left_out[name]]
            assert Counter(history) == Counter(readable), name

    async def settle(self) -> dict[str, list[str]]:
        """Let everything arrive, and return what each device has."""
        for _ in range(100):
            is_quiet = True
            for device in self.devices:
                device.peer.pep.failures = 0
                await device.do_jobs()
                while await device.outbox.pending():
                    await self.run_carry(device, is_answered=True)
                    is_quiet = False
                while device.queue:
                    await self.run_receive(device, 0, crash=False, is_again=False)
                    is_quiet = False
            if is_quiet:
                break
        return {device.name: await device.history() for device in self.devices}


TestHistories = HistoryMachine.TestCase
if settings.get_current_profile_name() == "house":
    TestHistories.settings = settings(max_examples=15, stateful_step_count=40)


def test_a_device_left_out_is_named_and_the_others_miss_nothing() -> None:
    machine = HistoryMachine()
    alice, laptop = 0, 2
    try:
        machine.say(who=laptop, crash=False)
        machine.carry(who=laptop, is_answered=False)
        machine.receive(who=alice, place=0, crash=False, is_again=False)
        machine.let_requests_fail(who=alice, number=2)
        machine.say(who=alice, crash=False)
        left_out = {name for name, texts in machine.left_out.items() if texts}
        assert left_out == {"bob-phone"}
    finally:
        machine.teardown()
