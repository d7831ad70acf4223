"""python-omemo's session manager on our backends and our store.

What its own test claims, for each namespace alone and over more rounds: sessions in
both, a message whose payload was taken away, and talk that goes on after it. That
test itself is run in ``test_upstream.py``.
"""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import oldmemo.etree
import pytest
import twomemo.etree
from oldmemo.oldmemo import NAMESPACE as OLD
from twomemo.twomemo import NAMESPACE as NEW

from xmpp_onion.e2ee.local_oldmemo import LocalOldmemo
from xmpp_onion.e2ee.local_twomemo import LocalTwomemo
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.store import Database, Keys

PLACE = Path(__file__).resolve().parents[2] / "benchmarks" / "crypto"
BOTH = pytest.mark.parametrize("namespace", [NEW, OLD], ids=["new", "old"])


def load_library():
    """Return the benchmark's module: it has a session manager and a post office."""
    spec = importlib.util.spec_from_file_location("library", PLACE / "library.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LIBRARY = load_library()


class Party:
    """An account with one device and both backends."""

    def __init__(self, name: str, database: Database, post) -> None:
        self.name = name
        self.post = post
        self.database = database

    async def prepare(self) -> None:
        storage = KeyStorage(Keys(self.database))
        async with self.database.transaction():
            self.manager = await LIBRARY.manager_class(self.post).create(
                [LocalTwomemo(storage), LocalOldmemo(storage)],
                storage,
                self.name,
                None,
                "new",
            )
            await self.manager.shutdown()
            await self.manager.after_history_sync()
            info, _ = await self.manager.get_own_device_information()
        for namespace in (NEW, OLD):
            self.post.lists[namespace, self.name].add(info.device_id)

    async def learn(self, other: "Party") -> None:
        async with self.database.transaction():
            for namespace in (NEW, OLD):
                await self.manager.refresh_device_list(namespace, other.name)

    async def write(self, to: "Party", namespace: str, text: bytes):
        async with self.database.transaction():
            messages, errors = await self.manager.encrypt(
                frozenset({to.name}), {namespace: text}, [namespace]
            )
        assert not errors
        (message,) = messages
        return message

    async def read(self, message) -> bytes | None:
        async with self.database.transaction():
            text, _, _ = await self.manager.decrypt(message)
        return text


@pytest.fixture
async def parties(tmp_path: Path) -> AsyncIterator[tuple[Party, Party]]:
    async with AsyncExitStack() as stack:
        post, made = LIBRARY.Post(), []
        for name in ("alice@x", "bob@x"):
            opening = Database.open(tmp_path / name / "store.db")
            party = Party(name, await stack.enter_async_context(opening), post)
            await party.prepare()
            made.append(party)
        alice, bob = made
        await alice.learn(bob)
        await bob.learn(alice)
        yield alice, bob


async def without_payload(message, namespace: str, reader: Party):
    """Take the payload out of the XML, as a key transport has none."""
    etree = twomemo.etree if namespace == NEW else oldmemo.etree
    element = etree.serialize_message(message)
    for payload in element.findall(f"{{{namespace}}}payload"):
        element.remove(payload)
    if namespace == NEW:
        return twomemo.etree.parse_message(element, message.bare_jid)
    return await oldmemo.etree.parse_message(
        element, message.bare_jid, reader.name, reader.manager
    )


@BOTH
async def test_talk_goes_on_after_a_message_without_payload(
    parties: tuple[Party, Party], namespace: str
) -> None:
    alice, bob = parties
    assert await bob.read(await alice.write(bob, namespace, b"hello")) == b"hello"
    (answer,) = alice.post.answers
    assert await alice.read(answer) is None

    message = await alice.write(bob, namespace, bytes(32))
    assert await bob.read(await without_payload(message, namespace, bob)) is None

    assert await bob.read(await alice.write(bob, namespace, b"again")) == b"again"
    assert await alice.read(await bob.write(alice, namespace, b"back")) == b"back"


async def test_the_namespaces_have_sessions_of_their_own(
    parties: tuple[Party, Party],
) -> None:
    alice, bob = parties
    for namespace in (NEW, OLD, NEW, OLD):
        text = namespace.encode()
        assert await bob.read(await alice.write(bob, namespace, text)) == text
        assert await alice.read(await bob.write(alice, namespace, text)) == text
