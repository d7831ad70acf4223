"""Nodes of others: who answers for them, and what a refusal means (C12)."""

import re

import pytest

from xmpp_onion.address import JID
from xmpp_onion.e2ee.nodes import HiddenNodeError, Nodes
from xmpp_onion.e2ee.versions import OMEMO_OLD, list_node
from xmpp_onion.errors import DeviceListError
from xmpp_onion.session import Connected, Session
from xmpp_onion.testing.hostile import HostileServer, Peer, make_onion_name
from xmpp_onion.testing.visit import read_until, visit

BOB, MALLORY = (JID(f"{name}@{make_onion_name()}") for name in ("bob", "mallory"))
LIST = "<list xmlns='eu.siacs.conversations.axolotl'><device id='{}'/></list>"


def result(request_id: str, sender: str, device: int) -> str:
    start = f"<iq type='result' id='{request_id}'"
    return (
        f"{start}{sender and f' from={sender!r}'}>"
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
        f"<items node='{list_node(OMEMO_OLD)[0]}'><item id='current'>"
        f"{LIST.format(device)}</item></items></pubsub></iq>"
    )


def error(request_id: str, kind: str, condition: str) -> str:
    return (
        f"<iq type='error' id='{request_id}' from='{BOB}'><error type='{kind}'>"
        f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    )


def answering(*answers: str) -> HostileServer:
    """Return a server that answers a request for a node with these texts."""

    async def script(peer: Peer) -> None:
        await peer.log_in()
        request = await peer.read("http://jabber.org/protocol/pubsub")
        found = re.findall(r'id="([^"]+)"', request)[-1]
        ids = re.findall(r'<iq[^>]* id="([^"]+)"', request)
        for answer in answers:
            await peer.send(answer.replace("THE-ID", ids[-1] if ids else found))
        await peer.read("</stream:stream>")

    return HostileServer(script)


async def fetch(session: Session) -> str | None:
    await read_until(session, Connected)
    session.xmpp.register_plugin("xep_0060")
    nodes = Nodes(session.xmpp)
    element = await nodes.fetch(BOB, list_node(OMEMO_OLD), newest=True)
    return None if element is None else element[0].get("id")


@pytest.mark.parametrize(
    "liar",
    [MALLORY, f"{MALLORY}/phone", MALLORY.domain],
    ids=["another", "device of another", "another server"],
)
async def test_nobody_else_may_answer_than_whom_we_asked(liar: str) -> None:
    answers = result("THE-ID", liar, 666), result("THE-ID", BOB, 7)
    async with answering(*answers) as server, visit(server) as session:
        assert await fetch(session) == "7"


@pytest.mark.parametrize(
    ("kind", "condition"), [("auth", "not-authorized"), ("auth", "forbidden")]
)
async def test_a_node_for_contacts_only_is_told_apart(
    kind: str, condition: str
) -> None:
    answer = error("THE-ID", kind, condition)
    async with answering(answer) as server, visit(server) as session:
        with pytest.raises(HiddenNodeError):
            await fetch(session)


async def test_a_node_that_is_not_there_is_empty() -> None:
    answer = error("THE-ID", "cancel", "item-not-found")
    async with answering(answer) as server, visit(server) as session:
        assert await fetch(session) is None


@pytest.mark.parametrize(
    "condition", ["remote-server-timeout", "remote-server-not-found"]
)
async def test_a_server_that_is_away_is_no_answer(condition: str) -> None:
    answer = error("THE-ID", "wait", condition)
    async with answering(answer) as server, visit(server) as session:
        with pytest.raises(DeviceListError):
            await fetch(session)
