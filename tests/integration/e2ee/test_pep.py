"""Device lists and bundles on a real Prosody."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import slixmpp
from twomemo import twomemo

from xmpp_onion.address import JID
from xmpp_onion.e2ee import (
    NAMESPACES,
    OMEMO_2,
    OMEMO_OLD,
    Omemo,
    Plain,
    SlixmppPep,
    Trust,
)
from xmpp_onion.e2ee.devices import DeviceList, Listing
from xmpp_onion.e2ee.nodes import Nodes
from xmpp_onion.e2ee.versions import Node, bundle_node, list_node
from xmpp_onion.errors import NoDevicesError
from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask
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
        self.nodes = Nodes(session.xmpp)
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

    async def publish(self, node: Node, payload: ET.Element) -> None:
        await self.nodes.publish(node, payload, max_items="max")

    async def close(self, name: str) -> None:
        """Show a node to contacts only, as Profanity does."""
        await self.nodes._configure(name, {"pubsub#access_model": "presence"})


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
            await session.wait_online(60)
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


@pytest.mark.parametrize("version", NAMESPACES)
async def test_a_list_is_pushed_to_whoever_asked_for_it(
    log_in: LogIn, version: str
) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    heard: asyncio.Queue[tuple[str, JID, DeviceList]] = asyncio.Queue()
    bob.pep.watch(lambda *what: heard.put_nowait(what))

    found = await bob.pep.fetch_device_list(version, alice.jid)
    more: DeviceList = {alice.omemo.device_id: None, 4711: None}
    await alice.pep.publish_device_list(version, more)

    assert found == Listing({alice.omemo.device_id: None}, is_watched=True)
    async with asyncio.timeout(60):
        while await heard.get() != (version, alice.jid, more):
            pass  # the list as it was before, pushed because of the subscription


async def test_what_is_pushed_is_taken_into_account(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    await bob.send(alice, "hello")

    for version in NAMESPACES:
        await alice.pep.publish_device_list(version, {})
    async with asyncio.timeout(60):
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
        for version in NAMESPACES:
            found = await alice.pep.fetch_device_list(version, nobody)
            assert (found.devices, found.is_watched) == ({}, False)
            assert await alice.pep.fetch_bundle(version, nobody, 1) is None


@pytest.mark.parametrize("version", NAMESPACES)
async def test_a_bundle_that_cannot_be_read_is_as_good_as_none(
    log_in: LogIn, version: str
) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    for number, payload in enumerate(("bundle", "something")):
        element = ET.Element(f"{{{version}}}{payload}")
        await alice.publish(bundle_node(version, number), element)

        assert await bob.pep.fetch_bundle(version, alice.jid, number) is None


@pytest.mark.parametrize("version", NAMESPACES)
async def test_a_list_that_cannot_be_read_is_as_good_as_empty(
    log_in: LogIn, version: str
) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    element = ET.Element(f"{{{version}}}{'devices' if version == OMEMO_2 else 'list'}")
    ET.SubElement(element, f"{{{version}}}device", {"id": "-1"})

    await alice.publish(list_node(version), element)

    assert (await bob.pep.fetch_device_list(version, alice.jid)).devices == {}


async def test_the_server_holds_open_nodes_of_both_versions(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    await alice.send(bob, "hello")

    disco = alice.session.xmpp.plugin["xep_0030"]
    answer = await disco.get_items(slixmpp.JID(alice.jid))
    nodes = {node for _, node, _ in answer["disco_items"]["items"]}

    ours = {list_node(version)[0] for version in NAMESPACES} | {
        bundle_node(version, alice.omemo.device_id)[0] for version in NAMESPACES
    }
    assert {node for node in nodes if "omemo" in node or "axolotl" in node} == ours
    for node in ours:
        assert await alice.nodes.access_model(node) == "open"


@pytest.fixture
async def closed_nodes(prosody: Prosody) -> None:
    """A server that lets nodes be closed, as those of others do."""
    await ask(
        prosody.data,
        'local manager = require "core.modulemanager" '
        f'manager.unload("{prosody.onion}", "omemo_open") return ""',
    )


@pytest.mark.usefixtures("closed_nodes")
async def test_a_node_that_is_closed_is_opened(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    node, _ = list_node(OMEMO_OLD)
    await alice.close(node)
    assert await alice.nodes.access_model(node) == "presence"
    assert (await bob.pep.fetch_device_list(OMEMO_OLD, alice.jid)).is_hidden

    assert await alice.pep.open_node(node)

    found = await bob.pep.fetch_device_list(OMEMO_OLD, alice.jid)
    assert found.devices == {alice.omemo.device_id: None}


@pytest.mark.usefixtures("closed_nodes")
async def test_a_contact_that_hides_its_devices_is_named_before_anything_is_sent(
    log_in: LogIn,
) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    for version in NAMESPACES:
        await alice.close(list_node(version)[0])

    with pytest.raises(NoDevicesError, match="to contacts only") as caught:
        await bob.send(alice, "hello")
    assert caught.value.fix.startswith(f"xmpp-onion contact add {alice.jid}")


async def test_the_bundles_of_several_devices_live_in_one_node(log_in: LogIn) -> None:
    alice, bob = await log_in("alice"), await log_in("bob")
    (bundle,) = [await bob.pep.fetch_bundle(OMEMO_2, alice.jid, alice.omemo.device_id)]
    assert isinstance(bundle, twomemo.BundleImpl)

    for number in (1, 2, 3):
        other = twomemo.BundleImpl(
            alice.jid,
            number,
            bundle.bundle,
            bundle.signed_pre_key_id,
            bundle.pre_key_ids,
        )
        await alice.pep.publish_bundle(other)

    for number in (1, 2, 3, alice.omemo.device_id):
        assert await bob.pep.fetch_bundle(OMEMO_2, alice.jid, number) is not None
