"""omemo-dr, the OMEMO library of Gajim, as the judge of what we encrypt.

It shares nothing with ours but the specification. Both see the same device lists and
bundles, in memory; what travels is the XML of XEP-0384, version 0.3, which is written
and read here by hand.
"""

import base64
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import oldmemo.etree
import pytest
from omemo_dr.exceptions import DuplicateMessage, KeyExchangeMessage
from omemo_dr.session_manager import OMEMOSessionManager
from omemo_dr.structs import OMEMOBundle, OMEMOMessage

from xmpp_onion import JID
from xmpp_onion.e2ee import Encrypted
from xmpp_onion.testing.omemo_peer import ONION, OmemoPeer, OmemoPeers

NAMESPACE = "eu.siacs.conversations.axolotl"
ROOT = Path(__file__).resolve().parents[2]


def tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def make_device(jid: str) -> OMEMOSessionManager:
    """Return what the benchmark measures: omemo-dr and a store in memory."""
    place = ROOT / "benchmarks" / "crypto" / "dr.py"
    spec = importlib.util.spec_from_file_location("dr", place)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make(jid)


class Judge:
    """A device of omemo-dr."""

    def __init__(self, peers: OmemoPeers, name: str = "judge") -> None:
        self.jid = JID(f"{name}@{ONION}")
        self._peers = peers
        self._device = make_device(self.jid)
        self.device_id = self._device.get_our_device()
        self.publish()

    def restart(self) -> None:
        """Begin anew with what is stored."""
        device = self._device
        self._device = OMEMOSessionManager(self.jid, device._storage, device._config)

    def publish(self) -> None:
        """Show the device and its bundle to everybody."""
        bundle = self._device.get_bundle(NAMESPACE)
        element = ET.Element(tag("bundle"))
        signed = str(bundle.spk["id"])
        add(element, "signedPreKeyPublic", bundle.spk["key"], signedPreKeyId=signed)
        add(element, "signedPreKeySignature", bundle.spk_signature)
        add(element, "identityKey", bundle.ik)
        pre_keys = ET.SubElement(element, tag("prekeys"))
        for one in bundle.otpks:
            add(pre_keys, "preKeyPublic", one["key"], preKeyId=str(one["id"]))
        server = self._peers.server
        parsed = oldmemo.etree.parse_bundle(element, self.jid, self.device_id)
        server.bundles[NAMESPACE, self.jid, self.device_id] = parsed
        server.put(self.jid, [self.device_id], [NAMESPACE])

    def meet(self, peer: OmemoPeer) -> None:
        """Fetch a bundle of ours and begin a session."""
        device_id = peer.omemo.device_id
        bundle = self._peers.server.bundles[NAMESPACE, peer.jid, device_id]
        element = oldmemo.etree.serialize_bundle(bundle)
        signed = element.find(tag("signedPreKeyPublic"))
        self._device.add_device(peer.jid, device_id)
        self._device.build_session(
            peer.jid,
            OMEMOBundle(
                device_id=device_id,
                namespace=NAMESPACE,
                ik=data(element.find(tag("identityKey"))),
                spk={"key": data(signed), "id": int(signed.get("signedPreKeyId"))},
                spk_signature=data(element.find(tag("signedPreKeySignature"))),
                otpks=[
                    {"key": data(one), "id": int(one.get("preKeyId"))}
                    for one in element.iter(tag("preKeyPublic"))
                ],
            ),
        )

    def write(self, peer: OmemoPeer, text: str) -> ET.Element:
        self._device.add_device(peer.jid, peer.omemo.device_id)
        message = self._device.encrypt(peer.jid, text, groupchat=False)
        element = ET.Element(tag("encrypted"))
        header = ET.SubElement(element, tag("header"), sid=str(message.sid))
        for device_id, (key, is_first) in message.keys.items():
            extra = {"prekey": "true"} if is_first else {}
            add(header, "key", key, rid=str(device_id), **extra)
        add(header, "iv", message.iv)
        add(element, "payload", message.payload)
        return element

    def read(self, what: Encrypted | ET.Element, sender: OmemoPeer) -> str:
        """Decrypt what came over the wire; empty if it only carried keys."""
        (element,) = what.elements if isinstance(what, Encrypted) else (what,)
        element = ET.fromstring(ET.tostring(element))  # noqa: S314 - our own text
        header, payload = element.find(tag("header")), element.find(tag("payload"))
        keys = {
            int(key.get("rid")): (data(key), key.get("prekey") in {"true", "1"})
            for key in header.findall(tag("key"))
        }
        message = OMEMOMessage(
            sid=int(header.get("sid")),
            iv=data(header.find(tag("iv"))),
            keys=keys,
            payload=None if payload is None else data(payload),
        )
        try:
            text, _, _ = self._device.decrypt_message(message, sender.jid)
        except KeyExchangeMessage:
            return ""
        return text


def add(parent: ET.Element, name: str, value: bytes, **attributes: str) -> None:
    child = ET.SubElement(parent, tag(name), attributes)
    child.text = base64.b64encode(value).decode()


def data(element: ET.Element) -> bytes:
    return base64.b64decode(element.text)


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[OmemoPeers]:
    async with OmemoPeers(tmp_path) as peers:
        yield peers


async def read(peer: OmemoPeer, element: ET.Element, judge: Judge) -> str:
    plain = (await peer.decrypt(element, judge.jid)).plain
    return (plain.text if plain else None) or ""


async def encrypt(peer: OmemoPeer, judge: Judge, text: str) -> Encrypted:
    return await peer.encrypt(judge, text)


async def talk(alice: OmemoPeer, judge: Judge, rounds: int) -> None:
    for number in range(rounds):
        there, back = f"there {number}", f"back {number}"
        assert judge.read(await encrypt(alice, judge, there), alice) == there
        assert await read(alice, judge.write(alice, back), judge) == back


async def test_we_write_first_and_it_answers(peers: OmemoPeers) -> None:
    alice, judge = await peers.add("alice"), Judge(peers)

    assert judge.read(await encrypt(alice, judge, "hello"), alice) == "hello"
    await talk(alice, judge, 5)


async def test_it_writes_first_and_we_answer(peers: OmemoPeers) -> None:
    alice, judge = await peers.add("alice"), Judge(peers)
    judge.meet(alice)

    assert await read(alice, judge.write(alice, "hello"), judge) == "hello"
    for empty in alice.take_empties():
        assert judge.read(empty, alice) == ""
    await talk(alice, judge, 5)


@pytest.mark.parametrize("order", [(4, 0, 2, 1, 3), (3, 2, 1, 0, 4)])
async def test_what_comes_out_of_order_is_read(
    peers: OmemoPeers, order: tuple[int, ...]
) -> None:
    alice, judge = await peers.add("alice"), Judge(peers)
    await talk(alice, judge, 1)
    theirs = [judge.write(alice, str(number)) for number in range(5)]
    ours = [await encrypt(alice, judge, str(number)) for number in range(5)]

    for number in order:
        assert await read(alice, theirs[number], judge) == str(number)
        assert judge.read(ours[number], alice) == str(number)
    with pytest.raises(DuplicateMessage):
        judge.read(ours[0], alice)


async def test_a_thousand_messages_of_theirs_are_skipped_and_read_later(
    peers: OmemoPeers,
) -> None:
    alice, judge = await peers.add("alice"), Judge(peers)
    await talk(alice, judge, 1)
    theirs = [judge.write(alice, str(number)) for number in range(1001)]

    assert await read(alice, theirs[1000], judge) == "1000"
    await talk(alice, judge, 1)
    for number in (0, 999, 500):
        assert await read(alice, theirs[number], judge) == str(number)


async def test_a_thousand_messages_of_ours_are_skipped_and_read_later(
    peers: OmemoPeers,
) -> None:
    alice, judge = await peers.add("alice"), Judge(peers)
    await talk(alice, judge, 1)
    ours = [await encrypt(alice, judge, str(number)) for number in range(1001)]

    assert judge.read(ours[1000], alice) == "1000"
    await talk(alice, judge, 1)
    for number in (0, 999, 500):
        assert judge.read(ours[number], alice) == str(number)


async def test_both_begin_at_once(peers: OmemoPeers) -> None:
    alice, judge = await peers.add("alice"), Judge(peers)
    judge.meet(alice)
    theirs, ours = judge.write(alice, "theirs"), await encrypt(alice, judge, "ours")

    assert await read(alice, theirs, judge) == "theirs"
    assert judge.read(ours, alice) == "ours"
    await talk(alice, judge, 3)


async def test_either_may_begin_anew_with_what_is_stored(peers: OmemoPeers) -> None:
    judge = Judge(peers)
    for number in range(3):
        async with peers.new("alice") as alice:
            await talk(alice, judge, 2)
            late = judge.write(alice, "late")
            assert await read(alice, judge.write(alice, str(number)), judge)
        judge.restart()
        async with peers.new("alice") as alice:
            assert await read(alice, late, judge) == "late"
