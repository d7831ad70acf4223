"""Those who read in a room that is measured: bare streams with the library's devices.

A hundred of them fit into one process, because their streams do nothing that nobody
asked for and their devices keep nothing on a disk.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from xml.etree import ElementTree as ET

import oldmemo.etree
import twomemo.etree

from xmpp_onion.address import JID
from xmpp_onion.server import Prosody
from xmpp_onion.testing.bare_account import BareAccount
from xmpp_onion.testing.fake_pep import FakePepServer
from xmpp_onion.testing.light_member import LightMember

__all__ = ["DEVICES", "PASSWORD", "Occupant", "fill"]

DEVICES = 2
PASSWORD = "pw"  # noqa: S105 - of accounts that live for minutes
_PATIENCE = 1800.0  # seconds; the bare libraries need many
_NEW, _OLD = "urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl"
_FORMS = {_NEW: twomemo.etree, _OLD: oldmemo.etree}
_LISTS = {_NEW: f"{_NEW}:devices", _OLD: f"{_OLD}.devicelist"}
_PUBSUB = "{http://jabber.org/protocol/pubsub}"
_ACCOUNTS_AT_ONCE = 8


class Occupant:
    """Somebody who reads: a stream, and devices of the bare library.

    Args:
        member: The stream.
        pep: Where the library looks for lists and bundles; they are copies of what
            the real server has.
    """

    def __init__(self, member: LightMember, pep: FakePepServer) -> None:
        self.member = member
        self.devices = [BareAccount(member.jid, pep) for _ in range(DEVICES)]
        self._pep = pep

    async def publish(self) -> None:
        """Let the real server have what the library's devices published."""
        jid = self.member.jid
        for version, form in _FORMS.items():
            devices = self._pep.lists[version, jid]
            for number in devices:
                node, item = _bundle_place(version, number)
                element = form.serialize_bundle(self._pep.bundles[version, jid, number])
                await self.member.publish(
                    node, _text(element), item=item, max_items="max"
                )
            element = form.serialize_device_list(devices)
            await self.member.publish(_LISTS[version], _text(element))

    async def learn(self, jid: JID) -> None:
        """Copy an account's lists and bundles from the real server."""
        for version, form in _FORMS.items():
            [element] = await self._ask(jid, _LISTS[version])
            devices = form.parse_device_list(element)
            self._pep.put(jid, devices, [version])
            for number in devices:
                [element] = await self._ask(jid, *_bundle_place(version, number))
                bundle = form.parse_bundle(element, jid, number)
                self._pep.bundles[version, jid, number] = bundle

    async def _ask(self, jid: JID, node: str, item: str = "") -> list[ET.Element]:
        item = item and f"<item id='{item}'/>"
        answer = await self.member.ask(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
            f"<items node='{node}'>{item}</items></pubsub>",
            to=jid,
        )
        return [child for found in answer.iter(f"{_PUBSUB}item") for child in found]

    async def read(self, sender: JID, text: str, *, all_devices: bool = True) -> float:
        """Return when the next message was decrypted, and that it is this one."""
        message = await self.member.next_message()
        [element] = [child for child in message if child.tag.endswith("}encrypted")]
        for device in self.devices if all_devices else self.devices[:1]:
            envelope = await device.read(element, sender)
            assert envelope is not None
            assert text in envelope.decode()
            self._answer(device, sender)
        return time.perf_counter()

    async def drop(self) -> None:
        """Take the next message without reading it."""
        await self.member.next_message()

    def _answer(self, device: BareAccount, sender: JID) -> None:
        """Send the messages without text that complete sessions."""
        while device.empties:
            keys = _text(device.empties.pop())
            self.member.send(
                f"<message type='chat' to='{sender}' id='{secrets.token_hex(8)}'>"
                f"{keys}<store xmlns='urn:xmpp:hints'/></message>"
            )


def _bundle_place(version: str, number: int) -> tuple[str, str]:
    """Return node and item of a bundle."""
    if version == _NEW:
        return f"{_NEW}:bundles", str(number)
    return f"{_OLD}.bundles:{number}", "current"


def _text(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode")


async def each(
    occupants: Sequence[Occupant], do: Callable[[Occupant], Awaitable[object]]
) -> None:
    """Do something for all, a few at once."""
    gate = asyncio.Semaphore(_ACCOUNTS_AT_ONCE)

    async def one(occupant: Occupant) -> None:
        async with gate:
            await do(occupant)

    async with asyncio.TaskGroup() as group:
        for occupant in occupants:
            group.create_task(one(occupant))


async def fill(server: Prosody, stack: AsyncExitStack, count: int) -> list[Occupant]:
    """Make so many occupants in a new room, their keys published."""
    pep = FakePepServer()
    room = f"room@muc.{server.onion}"
    occupants = []
    for number in range(count):
        jid = await server.add_account(f"member{number}", PASSWORD)
        member = LightMember(jid, PASSWORD, server.c2s_port, patience=_PATIENCE)
        occupants.append(Occupant(await stack.enter_async_context(member), pep))
    for occupant in occupants:
        for device in occupant.devices:
            await stack.enter_async_context(device)
    await each(occupants, lambda one: one.publish())
    owner = occupants[0].member
    await owner.create(room, "member0")
    await owner.make_members(room, [str(one.member.jid) for one in occupants[1:]])
    for number, occupant in enumerate(occupants[1:], start=1):
        await occupant.member.join(room, f"member{number}")
    return occupants
