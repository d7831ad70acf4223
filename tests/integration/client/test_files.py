"""Files between two people, through a real Prosody."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.integration.durability.small_disk import SmallDisk
from xmpp_onion import Account, Attachment, Client, Trust
from xmpp_onion.chat import Link, Progress
from xmpp_onion.e2ee import OMEMO_2
from xmpp_onion.errors import (
    FileDamagedError,
    FileError,
    FileTooLargeError,
    StoreError,
    TransferError,
    UndecidedDevicesError,
)
from xmpp_onion.files import CHUNK_BYTES
from xmpp_onion.server import Prosody
from xmpp_onion.sharing import SINGLE_BYTES
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


@pytest.fixture
def wire(prosody: Prosody) -> LoopbackDialer:
    """Stands in for Tor: messages and files have ports of their own."""
    ports = {5280: prosody.http_port, 443: prosody.options.ports.https}
    return LoopbackDialer(prosody.c2s_port, ports=ports)


@pytest.fixture(autouse=True)
def _target(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()


@pytest.mark.parametrize("size", [0, 1, 4096, 300_001])
async def test_a_file_arrives_as_it_was_sent(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "report 7.pdf"
    source.write_bytes(secrets.token_bytes(size))
    target = tmp_path / "downloads"
    steps: list[tuple[int, int]] = []
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(60),
    ):
        delivery = await alice.send_file(bob.jid, source)
        message = await anext(bob.messages())
        assert message.attachment is not None
        saved = await message.attachment.save(
            target, lambda done, total: steps.append((done, total))
        )

    assert message.id == delivery.id
    assert saved.read_bytes() == source.read_bytes()
    assert saved.parent == target
    assert list(target.iterdir()) == [saved]
    if size:
        assert steps[-1] == (size, size)


LARGE = SINGLE_BYTES + 3 * CHUNK_BYTES + 12_345
# Three chunks come at once: with more than that, one at least is done.
MOST = 4 * CHUNK_BYTES
# Of those that go, three more may be out and not answered.
MOST_OUT = 6 * CHUNK_BYTES + 1


async def test_a_large_file_goes_in_chunks_over_several_circuits(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(LARGE))
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        await alice.send_file(bob.jid, source)
        attachment = await received(bob)
        up = circuits(wire)
        saved = await attachment.save(tmp_path / "downloads")

    assert saved.name == "film.mkv"
    assert saved.read_bytes() == source.read_bytes()
    assert list(saved.parent.iterdir()) == [saved]
    assert len(up) == 3 + 1  # the index has one of its own
    assert len(circuits(wire)) == len(up) + 1 + 3
    assert await kept_uploads(alice) == []


async def test_broken_circuits_cost_a_chunk_each_at_most(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(LARGE))
    cuts = [LARGE // 3, 2 * LARGE // 3]
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        await alice.send_file(bob.jid, source, cutting(wire, cuts))
        attachment = await received(bob)
        stored = stored_bytes(prosody)
        saved = await attachment.save(tmp_path / "downloads", cutting(wire, cuts))

    assert saved.read_bytes() == source.read_bytes()
    assert stored < LARGE + len(cuts) * 3 * CHUNK_BYTES + 4096


async def test_an_upload_goes_on_in_another_process(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(MOST_OUT + CHUNK_BYTES))
    alice_account, bob_account = await enrol("alice"), await enrol("bob")

    async with Client(bob_account, tor=wire):
        pass  # has keys from now on
    async with Client(alice_account, tor=wire) as alice, asyncio.timeout(120):
        with pytest.raises(Stop):
            await alice.send_file(bob_account.jid, source, stopping_at(MOST_OUT))
        begun = await kept_uploads(alice)
    before = stored_bytes(prosody)
    async with (
        Client(alice_account, tor=wire) as alice,
        Client(bob_account, tor=wire) as bob,
        asyncio.timeout(120),
    ):
        steps: list[int] = []
        await alice.send_file(bob.jid, source, lambda done, _total: steps.append(done))
        saved = await (await received(bob)).save(tmp_path / "downloads")

    assert len(begun) >= 2  # the file, and a chunk
    assert before >= CHUNK_BYTES
    assert steps[0] >= CHUNK_BYTES
    assert saved.read_bytes() == source.read_bytes()


async def test_what_could_not_be_said_is_not_stored_again(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(LARGE))
    async with (
        Client(await enrol("alice", Trust.MANUAL), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        with pytest.raises(UndecidedDevicesError):
            await alice.send_file(bob.jid, source)
        before = stored_bytes(prosody)
        await alice.verify(bob.jid, bob.fingerprint)
        await alice.send_file(bob.jid, source)

        assert await kept_uploads(alice) == []
        assert stored_bytes(prosody) == before
        saved = await (await received(bob)).save(tmp_path / "downloads")

    assert saved.read_bytes() == source.read_bytes()


async def test_a_file_that_changed_is_begun_anew_with_another_key(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(LARGE))
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(bob_account, tor=wire):
        pass
    async with Client(alice_account, tor=wire) as alice, asyncio.timeout(120):
        with pytest.raises(Stop):
            await alice.send_file(bob_account.jid, source, stopping_at(MOST))
        with source.open("r+b") as file:
            file.write(b"another beginning")
        with pytest.raises(Stop):
            await alice.send_file(bob_account.jid, source, stopping_at(MOST))
        begun = [name for name in await kept_uploads(alice) if name.count("/") == 3]
        keys = [await alice._sharing._journal._keys.load(name) for name in begun]

    assert len(begun) == 2
    assert len({json.loads(key or "")["key"] for key in keys}) == 2


async def test_a_download_goes_on_in_another_process(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(LARGE))
    target = tmp_path / "downloads"
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(bob_account, tor=wire):
        pass
    async with Client(alice_account, tor=wire) as alice, asyncio.timeout(120):
        await alice.send_file(bob_account.jid, source)
    async with Client(bob_account, tor=wire) as bob, asyncio.timeout(120):
        attachment = await received(bob)
        with pytest.raises(Stop):
            await attachment.save(target, stopping_at(MOST))
        there = [path.name for path in target.iterdir()]
    steps: list[int] = []
    async with Client(bob_account, tor=wire) as bob, asyncio.timeout(120):
        saved = await bob.download(
            attachment.url, target, lambda done, _total: steps.append(done)
        )

    assert there[0].startswith(".")
    assert steps[0] >= CHUNK_BYTES
    assert saved.read_bytes() == source.read_bytes()
    assert list(target.iterdir()) == [saved]


async def test_what_broke_off_of_a_message_that_disappears_goes_with_it(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    source, target = tmp_path / "film.mkv", tmp_path / "downloads"
    source.write_bytes(secrets.token_bytes(LARGE))
    hour = timedelta(hours=1)
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        await alice.send_file(bob.jid, source, expires=hour)
        attachment = await received(bob)
        with pytest.raises(Stop):
            await attachment.save(target, stopping_at(MOST))
        await bob._drafts.erase()
        begun = list(target.iterdir())
        bob._drafts._now = lambda: datetime.now(UTC) + hour
        await bob._drafts.erase()
        left = list(target.iterdir())
        saved = await attachment.save(target)
        await bob._drafts.erase()

    assert (len(begun), left) == (1, [])
    assert list(target.iterdir()) == [saved]


@pytest.mark.parametrize("size", [2_000_000, LARGE], ids=["one object", "chunks"])
async def test_a_full_disk_ends_a_download_and_it_goes_on_when_there_is_room(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(size))
    async with (
        SmallDisk(tmp_path / "small", "80m") as disk,
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        await alice.send_file(bob.jid, source)
        attachment = await received(bob)
        with pytest.raises(StoreError):
            await attachment.save(disk.inside, lambda _done, _total: disk.fill())
        there = {path.name[0] for path in disk.inside.iterdir()}
        with pytest.raises(FileTooLargeError, match="room"):
            await attachment.save(disk.inside)
        disk.make_room()
        saved = await attachment.save(disk.inside)

        assert there == {"f", "."}  # what fills it, and a draft
        assert saved.read_bytes() == source.read_bytes()
        assert list(disk.inside.iterdir()) == [saved]


async def test_a_chunk_that_the_server_exchanged_leaves_no_file(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(LARGE))
    target = tmp_path / "downloads"
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        await alice.send_file(bob.jid, source)
        attachment = await received(bob)
        chunks = [
            path for path in objects(prosody) if path.stat().st_size > CHUNK_BYTES
        ]
        one, other = chunks[0].read_bytes(), chunks[1].read_bytes()
        chunks[0].write_bytes(other)
        chunks[1].write_bytes(one)
        with pytest.raises(FileDamagedError):
            await attachment.save(target)

    assert list(target.iterdir()) == []


async def test_of_a_file_that_went_away_half_way_nothing_is_left(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path
) -> None:
    source, target = tmp_path / "film.mkv", tmp_path / "downloads"
    source.write_bytes(secrets.token_bytes(LARGE))
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        await alice.send_file(bob.jid, source)
        attachment = await received(bob)
        with pytest.raises(Stop):
            await attachment.save(target, stopping_at(MOST))
        begun = [path.stat().st_size > 0 for path in target.iterdir()]
        for path in objects(prosody):
            path.unlink()
        with pytest.raises(TransferError, match="no longer"):
            await attachment.save(target)

    assert (begun, list(target.iterdir())) == ([True], [])


@pytest.mark.parametrize("size", [0, 70_000, LARGE])
async def test_a_padded_file_arrives_as_it_was_and_the_server_sees_full_objects_alone(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(size))
    target = tmp_path / "downloads"
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        with pytest.raises(Stop):
            await alice.send_file(bob.jid, source, stopping_at(size), pad=True)
        await alice.send_file(bob.jid, source, pad=True)
        attachment = await received(bob)
        saved = await attachment.save(target)
        kept = await kept_uploads(alice)

    assert saved.read_bytes() == source.read_bytes()
    assert (attachment.size, list(target.iterdir())) == (size, [saved])
    assert kept == []
    full = {0: 64 * 1024, 70_000: 128 * 1024, LARGE: CHUNK_BYTES}[size]
    sizes = {path.stat().st_size for path in objects(prosody)}
    assert sizes == {full + 28}
    # The index, encrypted.
    assert [
        path.stat().st_size
        for path in folder_of(prosody).rglob("*.bin")
        if path.stat().st_size < 10_000
    ] == [4096 + 16]


async def test_a_device_that_cannot_take_padding_off_stops_a_file_before_it_is_stored(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(bytes(70_000))
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(60),
    ):
        await alice._omemo.fetch([bob.jid])
        # As if Bob's device spoke the older version alone.
        alice._omemo._directory.keep(OMEMO_2, bob.jid, {})

        with pytest.raises(FileError, match="take padding off"):
            await alice.send_file(bob.jid, source, pad=True)

    assert objects(prosody) == []


@pytest.mark.parametrize("is_accepted", [True, False], ids=["accepted", "undecided"])
async def test_one_of_ours_with_the_older_omemo_alone_gets_one_object_if_it_gets_any(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path, *, is_accepted: bool
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(bytes(LARGE))
    account = await enrol("alice")
    laptop = replace(account, profile="laptop", folder=tmp_path / "data" / "laptop")
    laptop.save()
    async with (
        Client(account, tor=wire) as alice,
        Client(laptop, tor=wire) as other,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        await alice.devices()  # the one that came meanwhile
        if is_accepted:
            await alice.verify(alice.jid, other.fingerprint)
        # As if our other device spoke the older version alone.
        alice._omemo._directory.keep(OMEMO_2, alice.jid, {})

        await alice.send_file(bob.jid, source)

        assert (await received(bob)).url.startswith("aesgcm:") == is_accepted


async def test_others_get_a_link_in_tls_and_we_need_none(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    source = tmp_path / "photo.jpg"
    source.write_bytes(secrets.token_bytes(300_001))
    target = tmp_path / "downloads"
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(60),
    ):
        await alice.send_file(bob.jid, source)
        message = await anext(bob.messages())
        assert message.attachment is not None
        ours = await message.attachment.save(target)
        plain = {port for _, port, _ in wire.dialed}
        for_others = await bob.download(message.text, target)

    assert Link.parse(message.text).place.url.startswith(f"https://{alice.jid.domain}/")
    assert Link.parse(message.attachment.url).place.port == 5280
    assert plain == {5222, 5280}
    assert wire.dialed[-1][1] == 443
    assert ours.read_bytes() == for_others.read_bytes() == source.read_bytes()


async def test_a_server_that_has_tls_alone_takes_and_gives_files(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xmpp_onion.session.upload.PLAIN", "urn:nobody")
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(LARGE))
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
    ):
        await alice.send_file(bob.jid, source)
        saved = await (await received(bob)).save(tmp_path / "downloads")

    assert saved.read_bytes() == source.read_bytes()
    assert {port for _, port, _ in wire.dialed} == {5222, 443}


async def test_the_server_sees_neither_name_nor_content(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path
) -> None:
    source = tmp_path / "canary-name.txt"
    source.write_bytes(b"canary content " * 1000)
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(60),
    ):
        await alice.send_file(bob.jid, source)
        assert (await received(bob)).name == "canary-name.txt"
        data = [path for path in folder_of(prosody).rglob("*") if path.is_file()]

        assert len(data) > 5
        assert not [path for path in data if b"canary" in path.read_bytes()]


# --- what they share ------------------------------------------------------------------


class Stop(Exception):  # noqa: N818 - it stands for a kill, not for an error
    """Ends a transfer where it is, as a kill would."""


def stopping_at(limit: int) -> Progress:
    def told(done: int, _total: int) -> None:
        if done >= limit:
            raise Stop

    return told


def cutting(wire: LoopbackDialer, places: list[int]) -> Progress:
    """Break every circuit, that of the session too, where so much was done."""
    left = list(places)

    def told(done: int, _total: int) -> None:
        if left and done >= left[0]:
            del left[0]
            wire.cut()

    return told


async def received(client: Client) -> Attachment:
    message = await anext(client.messages())
    assert message.attachment is not None
    return message.attachment


def circuits(wire: LoopbackDialer) -> set[tuple[str, str]]:
    """Which circuits files went over; none of them twice by chance."""
    return {how.credentials() for _, port, how in wire.dialed if port == 5280}


async def kept_uploads(client: Client) -> list[str]:
    return await client._sharing._journal._keys.names("/xmpp-onion/upload/")


def folder_of(prosody: Prosody) -> Path:
    return prosody.data


def objects(prosody: Prosody) -> list[Path]:
    found = folder_of(prosody).rglob("*.bin")
    return [path for path in found if path.is_file() and path.stat().st_size > 10_000]


def stored_bytes(prosody: Prosody) -> int:
    return sum(path.stat().st_size for path in objects(prosody))
