"""Sessions that were replaced and pre-keys that were used, for both backends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import omemo
import pytest

from xmpp_onion.e2ee.backend import LocalOldmemo, LocalTwomemo
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


async def test_a_used_pre_key_serves_until_it_is_deleted(add: Add) -> None:
    alice, bob = await add("alice"), await add("bob")
    one = await alice.write(b"one", "bob", await bob.prepare())

    assert await bob.read(one, "alice") == b"one"
    # As if a second device had taken the same pre-key.
    assert await bob.read(one, "carol") == b"one"
    async with bob.transaction():
        assert await bob.backend.get_num_visible_pre_keys() == 99
        await bob.backend.delete_hidden_pre_keys()
        assert await bob.backend.get_num_visible_pre_keys() == 99
    with pytest.raises(omemo.KeyExchangeFailed):
        await bob.read(one, "dave")
