"""Sessions that were replaced and pre-keys that were used, for both backends."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import doubleratchet
import omemo
import pytest

from xmpp_onion.e2ee.local_oldmemo import LocalOldmemo
from xmpp_onion.e2ee.local_twomemo import LocalTwomemo
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.store import Database, Keys
from xmpp_onion.testing.bare_device import BareDevice

Add = Callable[[str], Awaitable[BareDevice]]


@pytest.fixture(params=[LocalOldmemo, LocalTwomemo], ids=["old", "new"])
def backend(request: pytest.FixtureRequest) -> type[LocalOldmemo | LocalTwomemo]:
    """Every claim holds for both namespaces."""
    kind = request.param
    assert isinstance(kind, type)
    return LocalTwomemo if kind is LocalTwomemo else LocalOldmemo


@pytest.fixture
async def add(
    tmp_path: Path, backend: type[LocalOldmemo | LocalTwomemo]
) -> AsyncIterator[Add]:
    async with AsyncExitStack() as stack:

        async def add(name: str) -> BareDevice:
            path = tmp_path / name / "store.db"
            database = await stack.enter_async_context(Database.open(path))
            storage = KeyStorage(Keys(database))
            return BareDevice(name, backend(storage), database, keeps_spent=True)

        yield add


async def test_two_that_begin_at_once_read_each_other_from_then_on(add: Add) -> None:
    alice, bob = await add("alice"), await add("bob")
    of_alice, of_bob = await alice.prepare(), await bob.prepare()

    one = await alice.write(b"one", "bob", of_bob)
    two = await bob.write(b"two", "alice", of_alice)
    assert await bob.read(one, "alice") == b"one"
    assert await alice.read(two, "bob") == b"two"
    for text in (b"three", b"four"):
        there = await alice.write(text, "bob", of_bob)
        assert await bob.read(there, "alice") == text
        back = await bob.write(text, "alice", of_alice)
        assert await alice.read(back, "bob") == text


async def test_a_copy_of_a_first_message_begins_nothing(add: Add) -> None:
    alice, bob = await add("alice"), await add("bob")
    one = await alice.write(b"one", "bob", await bob.prepare())
    assert await bob.read(one, "alice") == b"one"
    async with bob.transaction():
        await bob.backend.purge_bare_jid("alice")

    with pytest.raises(omemo.DecryptionFailed) as caught:
        await bob.read(one, "alice")
    assert isinstance(caught.value.__cause__, doubleratchet.DuplicateMessageException)


async def test_who_begins_sessions_in_a_loop_is_refused_and_others_are_not(
    add: Add,
) -> None:
    bob, alice = await add("bob"), await add("alice")
    bundle = await bob.prepare()
    read = 0
    for _ in range(60):
        async with alice.transaction():
            await alice.backend.purge_bare_jid("bob")
        letter = await alice.write(b"again", "bob", bundle)
        with contextlib.suppress(omemo.KeyExchangeFailed):
            await bob.read(letter, "mallory")
            read += 1

    async with bob.transaction():
        assert await bob.backend.get_num_visible_pre_keys() == 25
    assert read == 40
    letter = await alice.write(b"again", "bob", bundle)
    assert await bob.read(letter, "alice") == b"again"


async def test_a_hundred_strangers_who_took_their_keys_of_one_bundle_are_read(
    add: Add,
) -> None:
    bob, alice = await add("bob"), await add("alice")
    bundle = await bob.prepare()

    for number in range(100):
        async with alice.transaction():
            await alice.backend.purge_bare_jid("bob")
        letter = await alice.write(b"hello", "bob", bundle)
        assert await bob.read(letter, f"stranger {number}") == b"hello"


async def test_sessions_with_many_devices_of_one_jid_are_bounded(add: Add) -> None:
    bob, alice = await add("bob"), await add("alice")
    bundle = await bob.prepare()
    await alice.write(b"text", "bob", bundle)
    async with alice.transaction():
        session = await alice.backend.load_session("bob", 1)
        assert session
        for number in range(2, 80):
            _, plain = await alice.backend.encrypt_plaintext(b"text")
            other, _ = await alice.backend.build_session_active(
                "bob", number, bundle, plain
            )
            await alice.backend.store_session(other)

    async with alice.transaction():
        kept = [
            number
            for number in range(1, 80)
            if await alice.backend.load_session("bob", number)
        ]
    assert kept == list(range(16, 80))
