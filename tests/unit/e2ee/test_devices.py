"""Device lists without a server: what is announced, and what is heard."""

from xml.etree import ElementTree as ET

import pytest
import slixmpp

from xmpp_onion.address import JID
from xmpp_onion.e2ee import NAMESPACES, OMEMO_2, OMEMO_OLD
from xmpp_onion.e2ee.devices import DeviceList, SlixmppPep
from xmpp_onion.e2ee.versions import list_node
from xmpp_onion.testing.omemo_peer import ONION

ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
LISTS = {
    OMEMO_2: "<devices xmlns='urn:xmpp:omemo:2'>{}</devices>",
    OMEMO_OLD: "<list xmlns='eu.siacs.conversations.axolotl'>{}</list>",
}
LIST = LISTS[OMEMO_OLD]


@pytest.fixture
async def xmpp() -> slixmpp.ClientXMPP:
    return slixmpp.ClientXMPP(ALICE, "")


def push(
    xmpp: slixmpp.ClientXMPP,
    *payloads: str,
    sender: str = BOB,
    version: str = OMEMO_OLD,
) -> None:
    """Let the client receive a device list as a server pushes it."""
    items = "".join(f"<item id='current'>{payload}</item>" for payload in payloads)
    element = ET.fromstring(  # noqa: S314 - the test's own text
        f"<message xmlns='jabber:client' from='{sender}' to='{ALICE}'>"
        "<event xmlns='http://jabber.org/protocol/pubsub#event'>"
        f"<items node='{list_node(version)[0]}'>{items}</items></event></message>"
    )
    message = slixmpp.Message(xmpp, xml=element)
    xmpp.event(f"omemo_devices_{version}_publish", message)


async def test_it_asks_for_device_lists_of_both_versions(
    xmpp: slixmpp.ClientXMPP,
) -> None:
    SlixmppPep(xmpp)

    info = await xmpp.plugin["xep_0030"].get_info(jid=xmpp.boundjid, local=True)
    for namespace in NAMESPACES:
        assert f"{list_node(namespace)[0]}+notify" in info["features"]


@pytest.mark.parametrize("version", NAMESPACES)
async def test_a_pushed_list_is_passed_on(
    xmpp: slixmpp.ClientXMPP, version: str
) -> None:
    heard: list[tuple[str, JID, DeviceList]] = []
    SlixmppPep(xmpp).watch(lambda *what: heard.append(what))

    payload = LISTS[version].format("<device id='7'/><device id='9'/>")
    push(xmpp, payload, sender=f"{BOB}/phone", version=version)

    assert heard == [(version, BOB, {7: None, 9: None})]


@pytest.mark.parametrize(
    ("payloads", "sender"),
    [
        ([LIST.format("<device/>")], BOB),
        ([LIST.format("<device id='x'/>")], BOB),
        (["<list xmlns='urn:example:other'/>"], BOB),
        (["<devices xmlns='urn:xmpp:omemo:2'><device id='7'/></devices>"], BOB),
        ([], BOB),
        ([LIST.format("")] * 2, BOB),
        ([LIST.format("<device id='7'/>")], "bob@example.org"),
        ([LIST.format("<device id='7'/>")], ""),
    ],
)
async def test_a_malformed_list_changes_nothing(
    xmpp: slixmpp.ClientXMPP, payloads: list[str], sender: str
) -> None:
    heard: list[tuple[str, JID, DeviceList]] = []
    SlixmppPep(xmpp).watch(lambda *what: heard.append(what))

    push(xmpp, *payloads, sender=sender)

    assert heard == []
