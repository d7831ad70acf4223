"""``urn:xmpp:omemo:2`` with somebody who has the bare library and an own envelope."""

import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import JID
from xmpp_onion.e2ee import (
    NAMESPACES,
    OMEMO_2,
    OMEMO_OLD,
    Device,
    Encrypted,
    Plain,
    TrustLevel,
)
from xmpp_onion.errors import DecryptionError
from xmpp_onion.testing.bare_account import BareAccount, envelope
from xmpp_onion.testing.omemo_peer import ONION, OmemoPeer, OmemoPeers

BARE = JID(f"bare@{ONION}")
CANARY = "canary-4711"
SCE = "{urn:xmpp:sce:1}"


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[OmemoPeers]:
    async with OmemoPeers(tmp_path) as peers:
        yield peers


@pytest.fixture
async def bare(peers: OmemoPeers) -> AsyncIterator[BareAccount]:
    async with BareAccount(BARE, peers.server) as bare:
        yield bare


@pytest.fixture
async def alice(peers: OmemoPeers) -> OmemoPeer:
    return await peers.add("alice")


async def write(bare: BareAccount, to: OmemoPeer, text: str) -> ET.Element:
    """Say something as XEP-0384, section 4.5.1 and XEP-0420 ask for it."""
    affixes = f"<rpad>x</rpad><from jid='{bare.jid}'/><to jid='{to.jid}'/>"
    (element,) = await bare.write(to.jid, {OMEMO_2: envelope(text, affixes)})
    assert element.tag == f"{{{OMEMO_2}}}encrypted"
    return element


async def read(bare: BareAccount, sent: Encrypted, sender: OmemoPeer) -> str:
    """Read what ours wrote, as somebody does who takes the envelope apart by hand."""
    (element,) = sent.elements
    assert element.tag == f"{{{OMEMO_2}}}encrypted"
    data = await bare.read(element, sender.jid)
    assert data is not None
    root = ET.fromstring(data)  # noqa: S314 - a test's own text
    (source,), (target,) = root.findall(f"{SCE}from"), root.findall(f"{SCE}to")
    assert (source.get("jid"), target.get("jid")) == (sender.jid, bare.jid)
    assert root.find(f"{SCE}rpad") is not None
    assert root.find(f"{SCE}time") is not None
    return root.findtext(f"{SCE}content/{{jabber:client}}body", "")


async def encrypt(peer: OmemoPeer, text: str) -> Encrypted:
    await peer.omemo.fetch([BARE])
    async with peer.database.transaction():
        sent = await peer.omemo.encrypt(BARE, Plain(text))
        peer.effects += peer.omemo.take_effects()
    return sent


async def devices(peer: OmemoPeer) -> tuple[Device, ...]:
    await peer.omemo.fetch([BARE])
    async with peer.database.transaction():
        return await peer.omemo.keyring.devices(BARE)


async def hear(peer: OmemoPeer, element: ET.Element) -> Plain | None:
    return (await peer.decrypt(element, BARE)).plain


async def talk(alice: OmemoPeer, bare: BareAccount) -> None:
    for number in range(3):
        there, back = f"there {number}", f"back {number}"
        assert await read(bare, await encrypt(alice, there), alice) == there
        assert await hear(alice, await write(bare, alice, back)) == Plain(back)


async def test_a_sender_like_the_bare_library_with_an_own_envelope_is_read(
    alice: OmemoPeer, bare: BareAccount
) -> None:
    got = await alice.decrypt(await write(bare, alice, "hello"), BARE)
    (empty,) = alice.take_empties()

    assert (got.plain, got.namespace) == (Plain("hello"), OMEMO_2)
    assert await bare.read(empty, alice.jid) is None
    await talk(alice, bare)


async def test_it_reads_our_first_message_and_the_next(
    alice: OmemoPeer, bare: BareAccount
) -> None:
    assert await read(bare, await encrypt(alice, "grüß dich <🧅>"), alice) == (
        "grüß dich <🧅>"
    )
    (empty,) = bare.empties

    assert await hear(alice, empty) is None
    await talk(alice, bare)


async def test_both_may_begin_at_once(alice: OmemoPeer, bare: BareAccount) -> None:
    ours = await encrypt(alice, "ours")
    theirs = await write(bare, alice, "theirs")

    assert await hear(alice, theirs) == Plain("theirs")
    assert await read(bare, ours, alice) == "ours"
    assert await hear(alice, await write(bare, alice, "again")) == Plain("again")


async def test_what_comes_out_of_order_is_read(
    alice: OmemoPeer, bare: BareAccount
) -> None:
    await hear(alice, await write(bare, alice, "hello"))
    await talk(alice, bare)
    theirs = [await write(bare, alice, str(number)) for number in range(5)]

    for number in (4, 0, 2, 1, 3):
        assert await hear(alice, theirs[number]) == Plain(str(number))


async def test_its_devices_of_either_version_read_one_stanza_of_ours(
    peers: OmemoPeers, alice: OmemoPeer, bare: BareAccount
) -> None:
    async with BareAccount(BARE, peers.server, (OMEMO_OLD,)) as old:
        for device in await devices(alice):
            async with alice.database.transaction():
                await alice.omemo.keyring.set_trust(
                    BARE, device.fingerprint, TrustLevel.TRUSTED
                )
        sent = await encrypt(alice, "hello")

        newer, older = sent.elements
        assert await read(bare, Encrypted((newer,), 1, ()), alice) == "hello"
        assert await old.read(older, alice.jid) == b"hello"


async def test_of_a_stanza_with_both_the_newer_is_read(
    alice: OmemoPeer, bare: BareAccount
) -> None:
    (old,) = await bare.write(alice.jid, {OMEMO_OLD: b"the older"})
    new = await write(bare, alice, "the newer")

    for elements in ((old, new), (new, old)):
        await alice.omemo.fetch_sender(elements, BARE)
    async with alice.database.transaction():
        got = await alice.omemo.decrypt((old, new), BARE)

    assert (got.plain, got.namespace) == (Plain("the newer"), OMEMO_2)
    assert await hear(alice, old) == Plain("the older")


async def test_a_message_that_only_carries_keys_says_nothing(
    alice: OmemoPeer, bare: BareAccount
) -> None:
    element = await write(bare, alice, "never shown")
    payload = element.find(f"{{{OMEMO_2}}}payload")
    assert payload is not None
    element.remove(payload)

    assert await hear(alice, element) is None
    await talk(alice, bare)


@pytest.mark.parametrize(
    "affixes",
    [
        f"<from jid='{BARE}'/>",
        f"<from jid='{BARE}/phone'/><to jid='alice@{ONION}/laptop'/>",
        f"<time stamp='2026-11-25T12:00:00+01:00'/><from jid='{BARE}'/><rpad/>",
    ],
)
async def test_what_the_specification_lets_away_may_be_missing(
    alice: OmemoPeer, bare: BareAccount, affixes: str
) -> None:
    (element,) = await bare.write(alice.jid, {OMEMO_2: envelope("hello", affixes)})

    assert await hear(alice, element) == Plain("hello")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (envelope(CANARY, ""), "name its sender"),
        (envelope(CANARY, f"<from jid='mallory@{ONION}'/>"), "name its sender"),
        (envelope(CANARY, f"<from jid='{BARE}'/><to jid='x@{ONION}'/>"), "else"),
        (CANARY.encode(), "malformed"),
        (f"<body xmlns='jabber:client'>{CANARY}</body>".encode(), "no envelope"),
        (envelope(f"{CANARY}<", f"<from jid='{BARE}'/>"), "malformed"),
    ],
    ids=["nobody", "forged", "misdirected", "text", "body", "torn"],
)
async def test_a_forged_envelope_is_refused_without_its_text_and_talk_goes_on(
    alice: OmemoPeer, bare: BareAccount, content: bytes, why: str
) -> None:
    await hear(alice, await write(bare, alice, "hello"))
    (element,) = await bare.write(alice.jid, {OMEMO_2: content})

    with pytest.raises(DecryptionError, match=why) as caught:
        await hear(alice, element)

    assert CANARY not in "".join(traceback.format_exception(caught.value))
    await talk(alice, bare)


async def test_who_announces_a_version_and_cannot_read_it_looks_like_everybody(
    alice: OmemoPeer, bare: BareAccount
) -> None:
    # What slixmpp-omemo 2.2 publishes is what its library publishes, and so do we.
    sent = await encrypt(alice, "lost on slixmpp-omemo: see traps.md, T15")
    itself, _ = await bare.manager.get_own_device_information()

    (device,) = await devices(alice)
    assert (device.device_id, device.namespaces) == (itself.device_id, NAMESPACES)
    assert [element.tag for element in sent.elements] == [f"{{{OMEMO_2}}}encrypted"]
