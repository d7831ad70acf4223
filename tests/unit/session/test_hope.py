import xml.etree.ElementTree as ET

import pytest

from xmpp_onion.address import JID
from xmpp_onion.session import message_stanza
from xmpp_onion.session.client_xmpp import OnionClient
from xmpp_onion.session.hope import Hope
from xmpp_onion.session.serialising import serialise

ALICE = JID("alice@25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion")
ROOM = JID("room@25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion")
QUESTION = "<r xmlns='urn:xmpp:sm:3'/>"
WORDS = message_stanza(ALICE, "1", [])
ROOM_WORDS = message_stanza(ROOM, "2", [], is_room=True)
GET = '<iq id="3" type="get"><query xmlns="jabber:iq:roster"/></iq>'
SET = '<iq id="4" type="set"><query xmlns="jabber:iq:roster"/></iq>'


def make(*texts: str, resuming: bool = False) -> tuple[OnionClient, Hope]:
    client = OnionClient(ALICE)
    client.resume_id = "again"  # or it would take nothing
    for text in texts:
        client.send_counted(text)
    if not resuming:
        client.resume_id = ""
    return client, Hope(client)


async def test_all_that_was_prepared_for_a_new_stream_goes_along() -> None:
    client, hope = make(WORDS, SET, GET)
    assert hope.say(resuming=False, asks=True) == WORDS + SET + GET + QUESTION
    assert (hope.said, client.outgoing.written) == (3, 3)


async def test_nothing_is_asked_where_nothing_goes_along() -> None:
    _, hope = make()
    assert hope.say(resuming=False, asks=True) == ""


@pytest.mark.parametrize(
    "other",
    [
        ROOM_WORDS,
        SET,
        "<presence/>",
        "<message to='a' id='type=chat'><x type='chat'/></message>",
        '<message id="a" to="b"><body>type="chat"</body></message>',
    ],
)
async def test_behind_a_resumption_goes_only_what_does_no_harm_if_it_fails(
    other: str,
) -> None:
    _, hope = make(WORDS, GET, other, WORDS, resuming=True)
    assert hope.say(resuming=True, asks=True) == WORDS + GET + QUESTION
    assert hope.said == 2


async def test_what_slixmpp_writes_is_seen_for_what_it_is() -> None:
    client = OnionClient(ALICE)
    roster = serialise(client.make_iq_get("jabber:iq:roster").xml)
    _, hope = make(roster, resuming=True)
    assert hope.say(resuming=True, asks=False) == roster


async def test_nothing_goes_along_where_the_servers_count_is_not_known() -> None:
    client, hope = make(WORDS, WORDS, resuming=True)
    client.outgoing.mark_written(1)
    assert hope.say(resuming=True, asks=True) == ""
    assert hope.said == 0


async def test_what_was_said_in_vain_is_said_again_to_who_lets_us_in() -> None:
    client, hope = make(WORDS, resuming=True)
    first = hope.say(resuming=True, asks=True)
    hope.fail()
    assert (hope.said, client.outgoing.written) == (0, 0)
    assert hope.say(resuming=True, asks=True) == first


async def test_but_not_behind_a_login_of_which_nobody_knows_how_it_ended() -> None:
    client, hope = make(WORDS, resuming=True)
    hope.say(resuming=True, asks=True)
    assert Hope(client).say(resuming=True, asks=True) == ""


async def test_a_first_flight_is_bounded() -> None:
    long = message_stanza(ALICE, "x" * 20_000, [])
    _, hope = make(long, long)
    assert len(hope.say(resuming=False, asks=False)) < 66_000
    assert hope.said == 1


async def test_as_many_refusals_are_passed_over_as_there_were_stanzas() -> None:
    _, hope = make(WORDS, GET)
    refusal = ET.Element("{jabber:client}iq", {"type": "error"})
    assert not hope.takes_refusal(refusal)
    hope.say(resuming=False, asks=True)
    hope.fail()
    others = [
        ET.Element("{jabber:client}iq", {"type": "result"}),
        ET.Element("{jabber:client}presence", {"type": "error"}),
        ET.Element("{urn:xmpp:sasl:2}challenge", {"type": "error"}),
    ]
    assert not any(map(hope.takes_refusal, others))
    assert [hope.takes_refusal(refusal) for _ in range(3)] == [True, True, False]
