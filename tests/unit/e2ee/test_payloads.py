"""The payload of the older version, as others may make it: key, tag and IV."""

import secrets
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from oldmemo.oldmemo import ContentImpl, PlainKeyMaterialImpl

from xmpp_onion.address import JID
from xmpp_onion.e2ee import OMEMO_OLD, Plain
from xmpp_onion.errors import DecryptionError
from xmpp_onion.testing.bare_account import BareAccount
from xmpp_onion.testing.omemo_peer import ONION, OmemoPeer, OmemoPeers

BARE = JID(f"bare@{ONION}")
CANARY = "canary-4711"
TAG = 16


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[OmemoPeers]:
    async with OmemoPeers(tmp_path) as peers:
        yield peers


@pytest.fixture
async def bare(peers: OmemoPeers) -> AsyncIterator[BareAccount]:
    async with BareAccount(BARE, peers.server, (OMEMO_OLD,)) as bare:
        yield bare


@pytest.fixture
async def alice(peers: OmemoPeers) -> OmemoPeer:
    return await peers.add("alice")


async def write(
    bare: BareAccount,
    alice: OmemoPeer,
    monkeypatch: pytest.MonkeyPatch,
    *,
    iv: int = 12,
    sealed_iv: bytes | None = None,
    tag_of: int = TAG,
    inside: int = TAG,
) -> ET.Element:
    """Encrypt as XEP-0384, section 4.4 says, except for what the arguments say.

    Args:
        bare: Who writes.
        alice: To whom.
        monkeypatch: Of the test.
        iv: How long the IV is.
        sealed_iv: What the stanza says the IV was, if not that.
        tag_of: How many bytes of the tag are right.
        inside: How many bytes of the tag are in the key; the others in the payload.
    """

    async def encrypt(text: bytes) -> tuple[ContentImpl, PlainKeyMaterialImpl]:
        key, vector = secrets.token_bytes(16), secrets.token_bytes(iv)
        sealed = AESGCM(key).encrypt(vector, text, None)
        payload, tag = sealed[:-TAG], bytearray(sealed[-TAG:])
        for position in range(tag_of, TAG):
            tag[position] ^= 1
        said = vector if sealed_iv is None else sealed_iv
        content = ContentImpl(payload + bytes(tag[inside:]), said)
        return content, PlainKeyMaterialImpl(key, bytes(tag[:inside]))

    with monkeypatch.context() as context:
        context.setattr(bare.backends[OMEMO_OLD], "encrypt_plaintext", encrypt)
        (element,) = await bare.write(alice.jid, {OMEMO_OLD: CANARY.encode()})
    return element


async def talk(alice: OmemoPeer, bare: BareAccount) -> None:
    (element,) = await bare.write(alice.jid, {OMEMO_OLD: b"hello"})
    assert (await alice.decrypt(element, BARE)).plain == Plain("hello")


@pytest.mark.parametrize("length", [12, 16])
async def test_an_iv_of_12_bytes_is_read_and_one_of_16(
    alice: OmemoPeer,
    bare: BareAccount,
    monkeypatch: pytest.MonkeyPatch,
    length: int,
) -> None:
    element = await write(bare, alice, monkeypatch, iv=length)

    assert (await alice.decrypt(element, BARE)).plain == Plain(CANARY)


@pytest.mark.parametrize("begun", [False, True], ids=["first", "later"])
@pytest.mark.parametrize(
    "how",
    [
        {"iv": 64},
        {"iv": 8},
        {"sealed_iv": b""},
        {"tag_of": 15},
        {"tag_of": 0},
        {"inside": 0},
        {"inside": 4},
        {"inside": 15},
    ],
    ids=lambda how: " ".join(f"{name} {value}" for name, value in how.items()),
)
async def test_what_is_not_sealed_as_it_should_be_is_refused_and_talk_goes_on(
    alice: OmemoPeer,
    bare: BareAccount,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, int],
    begun: bool,  # noqa: FBT001 - pytest's parameters have names
) -> None:
    if begun:
        await talk(alice, bare)
    element = await write(bare, alice, monkeypatch, **how)

    with pytest.raises(DecryptionError) as caught:
        await alice.decrypt(element, BARE)

    assert CANARY not in "".join(traceback.format_exception(caught.value))
    await talk(alice, bare)
