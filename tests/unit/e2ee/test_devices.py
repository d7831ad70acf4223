"""The PEP glue without a server: what it announces, what it hears, what it borrows."""

import asyncio
import inspect
from xml.etree import ElementTree as ET

import pytest
import slixmpp
from omemo.session_manager import BundleDownloadFailed
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream.xmlstream import NotConnectedError
from slixmpp_omemo import xep_0384

from xmpp_onion.address import JID
from xmpp_onion.e2ee.devices import DEVICE_LIST_NODE, SlixmppPep, _is_final
from xmpp_onion.testing.omemo_peer import ONION

ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
LIST = "<list xmlns='eu.siacs.conversations.axolotl'>{}</list>"


@pytest.fixture
async def xmpp() -> slixmpp.ClientXMPP:
    return slixmpp.ClientXMPP(ALICE, "")


def push(xmpp: slixmpp.ClientXMPP, *payloads: str, sender: str = BOB) -> None:
    """Let the client receive a device list as a server pushes it."""
    items = "".join(f"<item id='current'>{payload}</item>" for payload in payloads)
    element = ET.fromstring(  # noqa: S314 - the test's own text
        f"<message xmlns='jabber:client' from='{sender}' to='{ALICE}'>"
        "<event xmlns='http://jabber.org/protocol/pubsub#event'>"
        f"<items node='{DEVICE_LIST_NODE}'>{items}</items></event></message>"
    )
    message = slixmpp.Message(xmpp, xml=element)
    xmpp.event("omemo_device_list_publish", message)


def test_the_borrowed_names_are_still_there() -> None:
    make = xep_0384._make_session_manager

    assert list(inspect.signature(make).parameters) == ["xmpp", "xep_0384"]
    source = inspect.getsource(make)
    for name in (
        "_upload_bundle(bundle: omemo.Bundle)",
        "_download_bundle(namespace: str, bare_jid: str, device_id: int)",
        "_upload_device_list(namespace: str, device_list: DeviceList)",
        "_download_device_list(namespace: str, bare_jid: str)",
    ):
        assert f"@staticmethod\n        async def {name}" in source
    assert '"pubsub#access_model": "open"' in source


def refusal(condition: str) -> IqError:
    iq = slixmpp.Iq()
    iq["error"]["condition"] = condition
    return IqError(iq)


@pytest.mark.parametrize(
    ("cause", "is_final"),
    [
        (refusal("service-unavailable"), True),
        (refusal("forbidden"), True),
        (refusal("remote-server-timeout"), False),
        (refusal("internal-server-error"), False),
        (IqTimeout(slixmpp.Iq()), False),
        (NotConnectedError(), False),
        (ValueError("malformed"), True),
        (None, True),
    ],
)
def test_only_what_may_change_is_asked_again(
    cause: Exception | None, *, is_final: bool
) -> None:
    error = BundleDownloadFailed()
    error.__cause__ = cause

    assert _is_final(error) is is_final


async def test_a_time_out_is_never_final() -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0):
            await asyncio.sleep(1)

    assert not _is_final(caught.value)


async def test_it_asks_for_device_lists_of_the_one_version_only(
    xmpp: slixmpp.ClientXMPP,
) -> None:
    SlixmppPep(xmpp)

    info = await xmpp.plugin["xep_0030"].get_info(jid=xmpp.boundjid, local=True)
    features = info["features"]
    assert f"{DEVICE_LIST_NODE}+notify" in features
    assert not [feature for feature in features if "omemo:2" in feature]


async def test_a_pushed_list_is_passed_on(xmpp: slixmpp.ClientXMPP) -> None:
    heard: list[tuple[JID, tuple[int, ...]]] = []
    SlixmppPep(xmpp).watch(lambda jid, ids: heard.append((jid, ids)))

    push(xmpp, LIST.format("<device id='7'/><device id='9'/>"), sender=f"{BOB}/phone")

    assert heard == [(BOB, (7, 9))]


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
    heard: list[tuple[JID, tuple[int, ...]]] = []
    SlixmppPep(xmpp).watch(lambda jid, ids: heard.append((jid, ids)))

    push(xmpp, *payloads, sender=sender)

    assert heard == []
