import asyncio
import logging
import xml.etree.ElementTree as ET

import aiodns
import pytest
from slixmpp.exceptions import IqTimeout
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.errors import NotAcknowledgedError
from xmpp_onion.session.client_xmpp import (
    OnionClient,
    quieten_library_logs,
    read_count,
)

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
