"""A post with keys is one: what is carried was encrypted, and is decrypted."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import JID
from xmpp_onion.chat import Content
from xmpp_onion.e2ee import Decrypted, Omemo, Trust, TrustLevel
from xmpp_onion.errors import DecryptionError
from xmpp_onion.testing.fake_post import OmemoPost
from xmpp_onion.testing.fake_world import ONION

BOT, ALICE, BOB = (JID(f"{name}@{ONION}") for name in ("bot", "alice", "bob"))
ROOM = JID(f"friends@muc.{ONION}")
SECRET = Content(text="canary-2718", reply_to="canary-id")


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[OmemoPost]:
    made = OmemoPost(BOT, Trust.PINNED, lambda _jid: TrustLevel.TRUSTED, tmp_path)
    async with made:
        yield made


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What devices were given to decrypt, as text."""
    seen: list[str] = []
    decrypt = Omemo.decrypt

    async def noted(
        self: Omemo,
        elements: Sequence[ET.Element],
        sender: JID,
        *,
        to: JID | None = None,
        room: JID | None = None,
    ) -> Decrypted:
        seen.extend(ET.tostring(each, encoding="unicode") for each in elements)
        return await decrypt(self, elements, sender, to=to, room=room)

    monkeypatch.setattr(Omemo, "decrypt", noted)
    return seen


async def test_nothing_that_is_said_can_be_seen_on_the_way(
    post: OmemoPost, wire: list[str]
) -> None:
    to_bot = await post.carry(ALICE, BOT, [BOT], SECRET)
    to_room = await post.carry(BOT, ROOM, [ALICE, BOB], SECRET)

    reads = [to_bot.reads[BOT], to_room.reads[ALICE], to_room.reads[BOB]]
    assert [getattr(read, "content", None) for read in reads] == [SECRET] * 3
    assert len(wire) >= 3
    assert not [text for text in wire if "canary" in text]


async def test_each_has_a_device_of_his_own(post: OmemoPost) -> None:
    reads = [
        (await post.carry(who, BOT, [BOT], SECRET)).reads[BOT] for who in (ALICE, BOB)
    ]
    assert len({getattr(read, "fingerprint", "") for read in reads}) == 2


async def test_what_cannot_be_decrypted_is_not_read(
    post: OmemoPost, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_args: object, **_named: object) -> None:
        raise DecryptionError("a message cannot be decrypted", why="the keys are gone")

    await post.carry(ALICE, BOT, [BOT], SECRET)
    monkeypatch.setattr(Omemo, "decrypt", refuse)

    assert (await post.carry(ALICE, BOT, [BOT], SECRET)).reads == {
        BOT: "the keys are gone"
    }
