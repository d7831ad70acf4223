"""After a roll-back nothing used is used again, and both sides talk on (T3)."""

import base64
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from oldmemo import oldmemo
from twomemo import twomemo

from xmpp_onion.e2ee import OMEMO_2, Encrypted
from xmpp_onion.errors import DecryptionError
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers


def place_of_key(element: ET.Element, reader: OmemoPeer) -> tuple[bytes, int]:
    """Return the chain and the number of the key that a message took for a device."""
    jid, number = reader.jid, reader.omemo.device_id
    for key in element.iterfind(".//{*}key"):
        if int(key.get("rid", "")) == number:
            raw = base64.b64decode(key.text or "")
            if key.get("prekey") in {"true", "1"}:
                _, raw = oldmemo.KeyExchangeImpl.parse(raw, set_sign_bit=False)
            if key.get("kex") in {"true", "1"}:
                _, raw = twomemo.KeyExchangeImpl.parse(raw)
            is_new = key.tag.startswith(f"{{{OMEMO_2}}}")
            material = (twomemo if is_new else oldmemo).EncryptedKeyMaterialImpl
            header = material.parse(raw, jid, number).encrypted_message
            return header.header.ratchet_pub, header.header.sending_chain_length
    raise AssertionError("the message is not for that device")


class Tap:
    """Sees all that one device sends to another."""

    def __init__(self, reader: OmemoPeer) -> None:
        self.places: list[tuple[bytes, int]] = []
        self._reader = reader

    def see(self, elements: Iterable[ET.Element]) -> None:
        for element in elements:
            self.places.append(place_of_key(element, self._reader))

    @property
    def has_repetitions(self) -> bool:
        return len(set(self.places)) != len(self.places)


@asynccontextmanager
async def restored(peers: OmemoPeers, copy: Path) -> AsyncIterator[OmemoPeer]:
    """Put the copy of a closed device back, and log it in."""
    peer = peers.new("alice")
    shutil.rmtree(peer.path.parent)
    shutil.copytree(copy, peer.path.parent)
    async with peer:
        yield peer


async def talk_and_copy(
    peers: OmemoPeers, bob: OmemoPeer, copy: Path, *, beyond: int = 3
) -> tuple[list[Encrypted], Tap]:
    """Have Alice write, be copied, and write on; return what she wrote after it."""
    tap = Tap(bob)
    async with peers.new("alice") as alice:
        await alice.meet(bob)
        sent = await alice.encrypt(bob, "before")
        tap.see(sent.elements)
        assert await bob.read(sent, alice) == "before"
    shutil.copytree(alice.path.parent, copy)
    after = []
    async with peers.new("alice") as alice:
        for number in range(beyond):
            sent = await alice.encrypt(bob, f"after {number}")
            tap.see(sent.elements)
            after.append(sent)
            assert await bob.read(sent, alice) == f"after {number}"
    return after, tap


async def test_after_an_old_copy_was_put_back_everything_can_be_read(
    peers: OmemoPeers, tmp_path: Path
) -> None:
    bob = await peers.add("bob")
    _, tap = await talk_and_copy(peers, bob, tmp_path / "copy")

    async with restored(peers, tmp_path / "copy") as alice:
        for number in range(3):
            sent = await alice.encrypt(bob, f"restored {number}")
            tap.see(sent.elements)
            assert await bob.read(sent, alice) == f"restored {number}"
        assert await alice.read(await bob.encrypt(alice, "answer"), bob) == "answer"
        sent = await alice.encrypt(bob, "and on")
        tap.see(sent.elements)
        assert await bob.read(sent, alice) == "and on"

    assert len(tap.places) == 8
    assert not tap.has_repetitions


async def test_without_notice_the_same_keys_are_used_again(
    peers: OmemoPeers, tmp_path: Path
) -> None:
    bob = await peers.add("bob")
    _, tap = await talk_and_copy(peers, bob, tmp_path / "copy")
    shutil.rmtree(tmp_path / ".state")  # nobody noted how far it was

    async with restored(peers, tmp_path / "copy") as alice:
        sent = await alice.encrypt(bob, "lost")
        tap.see(sent.elements)

        with pytest.raises(DecryptionError, match=r"duplicate|do not fit"):
            await bob.read(sent, alice)

    assert tap.has_repetitions


async def test_what_was_on_its_way_is_still_decrypted(
    peers: OmemoPeers, tmp_path: Path
) -> None:
    bob = await peers.add("bob")
    await talk_and_copy(peers, bob, tmp_path / "copy")
    alice_then = peers.new("alice")
    late = [await bob.encrypt(alice_then, f"late {n}") for n in range(3)]

    async with restored(peers, tmp_path / "copy") as alice:
        sent = await alice.encrypt(bob, "restored")
        for number, one in enumerate(late):
            assert await alice.read(one, bob) == f"late {number}"
        await bob.read(sent, alice)
        assert await alice.read(await bob.encrypt(alice, "new"), bob) == "new"


async def test_no_answer_leaves_by_a_session_that_was_brought_back(
    peers: OmemoPeers, tmp_path: Path
) -> None:
    bob = await peers.add("bob")
    tap = Tap(bob)
    async with peers.new("alice") as alice:
        first = await bob.encrypt(alice, "hello")  # a key exchange: it wants an answer
        copy = tmp_path / "copy"
        await alice.read(first, bob)
        tap.see(alice.take_empties())
    shutil.copytree(alice.path.parent, copy)
    async with peers.new("alice") as alice:
        for number in range(3):
            sent = await alice.encrypt(bob, str(number))
            tap.see(sent.elements)

    async with restored(peers, copy) as alice:
        for number in range(60):
            await alice.read(await bob.encrypt(alice, str(number)), bob)
        tap.see(alice.take_empties())
        await alice.do_jobs()
        tap.see(alice.take_empties())

    assert not tap.has_repetitions


async def test_the_other_side_is_given_a_fresh_session_once(
    peers: OmemoPeers, tmp_path: Path
) -> None:
    bob = await peers.add("bob")
    await talk_and_copy(peers, bob, tmp_path / "copy")

    async with restored(peers, tmp_path / "copy") as alice:
        await alice.do_jobs()
        [fresh] = alice.take_empties()
        assert await bob.read(fresh, alice) == ""
        sent = await bob.encrypt(alice, "on the fresh session")
        assert await alice.read(sent, bob) == "on the fresh session"
        await alice.do_jobs()
        assert alice.take_empties() == []


async def test_a_second_roll_back_retires_the_sessions_of_the_first(
    peers: OmemoPeers, tmp_path: Path
) -> None:
    bob = await peers.add("bob")
    _, tap = await talk_and_copy(peers, bob, tmp_path / "copy")
    async with restored(peers, tmp_path / "copy") as alice:
        sent = await alice.encrypt(bob, "restored")
        tap.see(sent.elements)
        await bob.read(sent, alice)
    shutil.copytree(alice.path.parent, tmp_path / "second")
    async with peers.new("alice") as alice:
        sent = await alice.encrypt(bob, "beyond the second copy")
        tap.see(sent.elements)
        await bob.read(sent, alice)

    async with restored(peers, tmp_path / "second") as alice:
        sent = await alice.encrypt(bob, "restored again")
        tap.see(sent.elements)

        assert await bob.read(sent, alice) == "restored again"

    assert not tap.has_repetitions


async def test_what_strangers_are_offered_is_made_new(
    peers: OmemoPeers, tmp_path: Path
) -> None:
    bob, carol = await peers.add("bob"), await peers.add("carol")
    await talk_and_copy(peers, bob, tmp_path / "copy")
    early = await carol.encrypt(peers.new("alice"), "with a key of before")

    async with restored(peers, tmp_path / "copy") as alice:
        key = peers.place(alice)
        before = peers.server.bundles[key]
        await alice.do_jobs()
        after = peers.server.bundles[key]

        assert not before.bundle.pre_keys & after.bundle.pre_keys  # type: ignore[attr-defined]  # a bundle of oldmemo
        assert before.bundle.signed_pre_key != after.bundle.signed_pre_key  # type: ignore[attr-defined]  # a bundle of oldmemo
        assert after.identity_key == before.identity_key
        assert await alice.read(early, carol) == "with a key of before"


async def test_a_copy_without_sessions_asks_nobody(
    peers: OmemoPeers, tmp_path: Path
) -> None:
    async with peers.new("alice") as alice:
        pass
    shutil.copytree(alice.path.parent, tmp_path / "copy")
    async with peers.new("alice") as alice:
        await alice.encrypt(await peers.add("bob"), "hello")

    async with restored(peers, tmp_path / "copy") as alice:
        await alice.do_jobs()

        assert alice.take_empties() == []
