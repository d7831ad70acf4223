"""Files in rooms, through a real Prosody: who is away fetches them later."""

import secrets
import wave
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import JID, Account, Client, Message, Room
from xmpp_onion.e2ee import OMEMO_2
from xmpp_onion.errors import RoomError
from xmpp_onion.files import CHUNK_BYTES
from xmpp_onion.server import Prosody
from xmpp_onion.sharing import SINGLE_BYTES
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody

LARGE = SINGLE_BYTES + CHUNK_BYTES + 12_345


@pytest.fixture
def wire(prosody: Prosody) -> LoopbackDialer:
    """Stands in for Tor: messages and files have ports of their own."""
    return LoopbackDialer(prosody.c2s_port, ports={5280: prosody.http_port})


async def come_together(owner: Client, others: list[Client]) -> Room:
    name = f"friends@muc.{owner.jid.domain}"
    room = await owner.create_room(name)
    for other in others:
        await room.invite(other.jid)
        await other.join(name)
    everybody = {owner.jid, *(other.jid for other in others)}
    while (state := room.state) is None or not everybody <= set(state.members):
        await owner.rooms.changed.wait()
    return room


async def saved(client: Client, folder: Path) -> tuple[Message, bytes]:
    message = await anext(client.messages())
    assert message.attachment is not None
    return message, (await message.attachment.save(folder)).read_bytes()


@pytest.mark.parametrize("size", [300_001, LARGE], ids=["small", "large"])
async def test_all_members_fetch_a_file_also_one_who_was_away(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(size))
    for who in ("bob", "carol"):
        (tmp_path / who).mkdir()
    account = await enrol("carol")
    async with AsyncExitStack() as stack:
        alice, bob = [
            await stack.enter_async_context(Client(await enrol(name), tor=wire))
            for name in ("alice", "bob")
        ]
        async with Client(account, tor=wire) as carol:
            room = await come_together(alice, [bob, carol])

        delivery = await room.send_file(source)

        assert (delivery.devices, delivery.skipped) == (2, ())
        at_bob, data = await saved(bob, tmp_path / "bob")
        assert data == source.read_bytes()
        async with Client(account, tor=wire) as carol:
            at_carol, data = await saved(carol, tmp_path / "carol")
        assert data == source.read_bytes()
    for message in (at_bob, at_carol):
        assert (message.sender, message.room) == (alice.jid, room.jid)
        assert message.id == delivery.id
        assert message.attachment is not None
        is_split = message.attachment.url.startswith("aesgcm+chunks:")
        assert is_split == (size == LARGE)


async def test_a_padded_recording_for_a_room_says_how_long_it_lasts_and_may_be_kept(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    source = tmp_path / "note.wav"
    with wave.open(str(source), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await come_together(alice, [bob])

        hour = timedelta(hours=1)
        await room.send_file(source, is_voice=True, expires=hour, pad=True)

        message = await anext(bob.messages())
        assert message.expires_at is not None
        assert message.attachment is not None
        assert message.attachment.seconds == 0.5
        assert message.attachment.url.startswith("aesgcm+chunks:")  # one, padded


async def test_a_member_with_the_older_omemo_alone_makes_it_one_object(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(bytes(LARGE))
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await come_together(alice, [bob])
        await alice._omemo.fetch([bob.jid])
        # As if Bob's device spoke the older version alone.
        alice._omemo._directory.keep(OMEMO_2, bob.jid, {})

        await room.send_file(source)

        message = await anext(bob.messages())
        assert message.attachment is not None
        assert message.attachment.url.startswith("aesgcm:")


async def test_nothing_is_stored_for_a_room_that_is_open_to_others(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    source = tmp_path / "secret.txt"
    source.write_bytes(b"secret")
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await come_together(alice, [bob])
        open_it = {"muc#roomconfig_membersonly": "0"}
        await alice._session.rooms.configure(JID(room.jid), open_it)
        while (state := room.state) is None or state.is_private:
            await alice.rooms.changed.wait()

        with pytest.raises(RoomError, match="not private"):
            await room.send_file(source)

    assert not [port for _, port, _ in wire.dialed if port == 5280]
