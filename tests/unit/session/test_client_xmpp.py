import asyncio
import logging
import xml.etree.ElementTree as ET

import aiodns
import pytest
from slixmpp.exceptions import IqTimeout
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.e2ee import SlixmppPep
from xmpp_onion.errors import NotAcknowledgedError
from xmpp_onion.session.client_xmpp import (
    _ASK_EVERY,
    OnionClient,
    quieten_library_logs,
    read_count,
)
from xmpp_onion.session.wire import Wire

BOB = JID("bob@25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion")
FORBIDDEN = (
    "0012", "0065", "0066", "0070", "0092", "0095", "0096", "0146", "0198", "0202",
    "0363", "0454",
)  # fmt: skip


async def test_slixmpp_cannot_dial() -> None:
    client = OnionClient(BOB)
    for target in ((), ("127.0.0.1", 5222)):
        with pytest.raises(RuntimeError, match="must not dial"):
            client.connect(*target)


async def test_slixmpp_cannot_look_up_names(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(aiodns, "DNSResolver", lambda *a, **k: made.append((a, k)))
    client = OnionClient(BOB)
    with pytest.raises(RuntimeError, match="must not look up"):
        await client.get_dns_records(BOB.domain)
    assert made == []


async def test_slixmpp_never_has_the_password() -> None:
    assert OnionClient(BOB).password == ""


async def test_no_plugin_that_dials_or_tells_what_we_run_is_loaded() -> None:
    client = OnionClient(BOB)
    assert [n for n in FORBIDDEN if f"xep_{n}" in client.plugin] == []
    assert client.plugin["xep_0184"].auto_ack is False
    assert client.roster.auto_subscribe is False
    assert client.roster.auto_authorize is False


async def test_a_resource_is_random_unless_it_is_given() -> None:
    resources = {OnionClient(BOB).requested_jid.resource for _ in range(20)}
    assert len(resources) == 20
    assert OnionClient(BOB, resource="mine").requested_jid.resource == "mine"


async def test_nothing_can_be_sent_before_there_is_a_session() -> None:
    client = OnionClient(BOB)
    with pytest.raises(NotConnectedError):
        client.send_counted("<message/>")
    client.send_raw(" ")  # white space is just lost
    client.send_ack()
    client.ask_for_ack()
    client.reconnect()
    assert not client.online


async def test_while_a_stream_may_be_resumed_stanzas_wait() -> None:
    client = OnionClient(BOB)
    client.resume_id = "x"
    done = asyncio.get_running_loop().create_future()
    client.send_counted("<message/>", done)
    client.send_raw("<iq/>")
    assert list(client.outgoing.unacknowledged()) == ["<message/>", "<iq/>"]
    client.forget_stream(acknowledged=1)
    assert done.result() is None
    assert len(client.outgoing) == 0


async def test_a_stream_that_is_given_up_fails_what_waits() -> None:
    client = OnionClient(BOB)
    client.resume_id = "x"
    done = asyncio.get_running_loop().create_future()
    client.send_counted("<message/>", done)
    request = client.make_iq_get("jabber:iq:roster").send(timeout=1000)
    assert client.is_asking
    client.forget_stream(acknowledged=99)  # it cannot have that many: none counts
    with pytest.raises(NotAcknowledgedError):
        await done
    with pytest.raises(IqTimeout):
        await request
    assert not client.is_asking


async def test_a_request_that_times_out_is_no_longer_due() -> None:
    changes: list[bool] = []
    client = OnionClient(BOB, asking=lambda: changes.append(client.is_asking))
    request = client.make_iq_get("jabber:iq:roster").send(timeout=0)
    with pytest.raises(IqTimeout):
        await request
    await asyncio.sleep(0)
    assert changes == [True, False]


# What each handler of slixmpp that is left is for; all from our own account or server.
HEARD = {
    "Presence": "<presence/>",
    "Entity Capabilities": "<presence><c xmlns='http://jabber.org/protocol/caps'/>"
    "</presence>",
    "Disco Info": "<iq type='get'>"
    "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    "Disco Items": "<iq type='get'>"
    "<query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
    "Ping": "<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
} | {
    f"Pubsub Event: {name}": "<message>"
    "<event xmlns='http://jabber.org/protocol/pubsub#event'>"
    f"<{name.lower()} node='urn:xmpp:omemo:2:devices'/></event></message>"
    for name in ("Items", "Purge", "Delete", "Configuration", "Subscription")
}  # fmt: skip
NOTHING_HEARD = (
    "<message type='chat'><body>hello</body></message>",
    "<message type='error'><error type='cancel'/></message>",
    "<message><received xmlns='urn:xmpp:receipts' id='1'/></message>",
    "<message><encryption xmlns='urn:xmpp:eme:0'/></message>",
    "<message><x xmlns='jabber:x:data' type='form'/></message>",
)


def listen(client: OnionClient) -> list[str]:
    """Return where the names of handlers go that a stanza sets off."""
    ran: list[str] = []
    for handler in client._XMLStream__handlers:
        handler.run = lambda _, name=handler.name: ran.append(name)
    return ran


def take(client: OnionClient, xml: str) -> None:
    element = ET.fromstring(f"<stream xmlns='jabber:client'>{xml}</stream>")[0]  # noqa: S314 - written above
    element.set("from", BOB)
    client._take(element)


async def test_each_handler_that_is_left_hears_what_it_is_for() -> None:
    client = OnionClient(BOB)
    client.resume_id = "x"
    SlixmppPep(client)
    ran = listen(client)
    names = {handler.name for handler in client._XMLStream__handlers}
    assert names == HEARD.keys()
    for name, xml in HEARD.items():
        ran.clear()
        take(client, xml)
        assert name in ran


async def test_a_message_that_no_handler_is_for_is_not_made_into_a_stanza() -> None:
    client = OnionClient(BOB)
    made: list[object] = []
    client.add_filter("in", made.append)
    for xml in NOTHING_HEARD:
        take(client, xml)
    assert made == []
    take(client, HEARD["Pubsub Event: Items"])
    assert len(made) == 1


class Noting(Wire):
    """Notes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str) -> None:
        self.written.append(text)

    @property
    def questions(self) -> int:
        return sum(text.startswith("<r ") for text in self.written)


def acknowledge(client: OnionClient) -> None:
    """Answer the last question."""
    client.take_ack(ET.Element("a", {"h": str(client._asked_for)}))


async def test_a_burst_asks_for_its_ack_when_the_one_before_has_come() -> None:
    client, wire = OnionClient(BOB), Noting()
    client.go_online(wire, resumed=False, early=[])
    acknowledge(client)
    wire.written.clear()
    loop = asyncio.get_running_loop()
    began = loop.time()

    done = [loop.create_future() for _ in range(50)]
    for token in done:
        client.send_counted("<message/>", token)
        await asyncio.sleep(0)  # each in a turn of its own
    waited = (loop.time() - began) / _ASK_EVERY  # on a machine that stood still
    assert wire.questions <= 1 + waited

    acknowledge(client)
    await asyncio.sleep(0)
    assert wire.written[-1].startswith("<r ")
    acknowledge(client)
    assert all(token.done() for token in done)
    assert not client.ack_requested.is_set()


async def test_a_question_waits_not_for_ever_for_the_answer_to_the_one_before() -> None:
    client, wire = OnionClient(BOB), Noting()
    client.go_online(wire, resumed=False, early=[])  # which asks, and gets no answer
    before = wire.questions

    client.send_counted("<message/>", asyncio.get_running_loop().create_future())
    async with asyncio.timeout(60):
        while wire.questions == before:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(_ASK_EVERY)

    assert client._asked_for == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("12", 12), ("", None), ("-1", None), ("x", None), ("1" * 12, None),
     ("\u0663", None), ("1.0", None), (" 1", None)],
)  # fmt: skip
def test_a_counter_is_plain_digits(text: str, count: int | None) -> None:
    assert read_count(ET.Element("a", {"h": text})) == count


def test_logs_are_capped_and_never_opened() -> None:
    log = logging.getLogger("slixmpp.xmlstream")
    before = log.level
    try:
        log.setLevel(logging.CRITICAL + 1)
        quieten_library_logs()
        assert log.level == logging.CRITICAL + 1
        log.setLevel(logging.DEBUG)
        quieten_library_logs()
        assert not logging.getLogger("slixmpp.xmlstream.xmlstream").isEnabledFor(
            logging.ERROR
        )
        assert not logging.getLogger("slixmpp.plugins").isEnabledFor(logging.WARNING)
    finally:
        log.setLevel(max(before, logging.CRITICAL))
