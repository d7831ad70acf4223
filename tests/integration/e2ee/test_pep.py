"""Device lists and bundles on a real Prosody."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import slixmpp
from slixmpp_omemo import xep_0384

from xmpp_onion.address import JID
from xmpp_onion.e2ee import NAMESPACE, Omemo, Plain, SlixmppPep, Trust
from xmpp_onion.e2ee.devices import DEVICE_LIST_NODE
from xmpp_onion.errors import NoDevicesError
from xmpp_onion.server import Prosody
from xmpp_onion.session import Session
from xmpp_onion.store import Database, Keys
from xmpp_onion.testing.loopback import LoopbackDialer

pytestmark = pytest.mark.prosody


class Online:
    """An account that is logged in and has OMEMO."""

    def __init__(self, session: Session, database: Database) -> None:
        self.jid = session.jid.bare
        self.session = session
        self.pep = SlixmppPep(session.xmpp)
        self.database = database
        self.omemo = Omemo(self.jid, Keys(database), self.pep, policy=Trust.BTBV)

    async def send(self, to: "Online", text: str) -> str:
        """Encrypt, let the other side decrypt, and return what it read."""
        await self.omemo.fetch([to.jid])
        async with self.database.transaction():
            sent = await self.omemo.encrypt(to.jid, Plain(text))
        await to.omemo.fetch_sender(sent.elements, self.jid)
        async with to.database.transaction():
            got = await to.omemo.decrypt(sent.elements, self.jid)
        return (got.plain.text if got.plain else None) or ""

    async def publish(self, node: str, payload: ET.Element) -> None:
        await xep_0384._publish_item_and_configure_node(
            self.session.xmpp.plugin["xep_0060"],
            self.jid,
            node,
            payload,
            "current",
            {"pubsub#access_model": "open"},
        )


LogIn = Callable[[str], Awaitable[Online]]


@pytest.fixture
async def log_in(prosody: Prosody, tmp_path: Path) -> AsyncIterator[LogIn]:
    async with AsyncExitStack() as stack:

        async def make(name: str) -> Online:
            jid = await prosody.add_account(name, "password")
            database = await stack.enter_async_context(
                Database.open(tmp_path / name / "store.db")
            )
            dialer = LoopbackDialer(prosody.c2s_port)
            session = Session(jid, "password", tor=dialer, tls=False)
            online = Online(session, database)
            await stack.enter_async_context(session)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(tasks.create_task(drain(session)).cancel)
            await session.wait_online(10)
            await online.omemo.prepare(database)
            await session.announce()
            return online

        yield make


async def drain(session: Session) -> None:
    async for _ in session.events():
        pass


async def test_strangers_find_each_others_devices(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")

    assert await alice.send(bob, "hello") == "hello"
    assert await bob.send(alice, "hello yourself") == "hello yourself"


async def test_a_list_is_pushed_to_whoever_asked_for_it(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    heard: asyncio.Queue[tuple[JID, tuple[int, ...]]] = asyncio.Queue()
    bob.pep.watch(lambda jid, ids: heard.put_nowait((jid, ids)))

    found = await bob.pep.fetch_device_list(alice.jid)
    await alice.pep.publish_device_list((alice.omemo.device_id, 4711))

    assert found.is_watched
    assert found.ids == (alice.omemo.device_id,)
    async with asyncio.timeout(10):
        while await heard.get() != (alice.jid, (alice.omemo.device_id, 4711)):
            pass  # the list as it was before, pushed because of the subscription


async def test_what_is_pushed_is_taken_into_account(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    await bob.send(alice, "hello")

    await alice.pep.publish_device_list(())
    async with asyncio.timeout(10):
        while True:
            await bob.omemo.fetch([alice.jid])
            try:
                async with bob.database.transaction():
                    await bob.omemo.encrypt(alice.jid, Plain("nobody there"))
            except NoDevicesError:
                break
            await asyncio.sleep(0.05)


async def test_an_account_without_devices_has_an_empty_list(
    log_in: LogIn, prosody: Prosody
) -> None:
    alice = await log_in("alice")
    carol = await prosody.add_account("carol", "password")

    for nobody in (carol, JID(f"nobody@{prosody.onion}")):
        assert (await alice.pep.fetch_device_list(nobody)).ids == ()
        assert await alice.pep.fetch_bundle(nobody, 1) is None


async def test_a_bundle_that_cannot_be_read_is_as_good_as_none(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    for number, payload in enumerate(("bundle", "something")):
        element = ET.Element(f"{{{NAMESPACE}}}{payload}")
        await alice.publish(f"{NAMESPACE}.bundles:{number}", element)

        assert await bob.pep.fetch_bundle(alice.jid, number) is None


async def test_a_list_that_cannot_be_read_is_as_good_as_empty(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    broken = ET.Element(f"{{{NAMESPACE}}}list")
    ET.SubElement(broken, f"{{{NAMESPACE}}}device", {"id": "-1"})

    await alice.publish(DEVICE_LIST_NODE, broken)

    assert (await bob.pep.fetch_device_list(alice.jid)).ids == ()


async def test_the_server_holds_nodes_of_one_version_only(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    await alice.send(bob, "hello")

    disco = alice.session.xmpp.plugin["xep_0030"]
    answer = await disco.get_items(slixmpp.JID(alice.jid))
    nodes = {node for _, node, _ in answer["disco_items"]["items"]}

    bundle_node = f"{NAMESPACE}.bundles:{alice.omemo.device_id}"
    assert {node for node in nodes if "omemo" in node or "axolotl" in node} == {
        DEVICE_LIST_NODE,
        bundle_node,
    }
