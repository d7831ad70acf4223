import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID
from xmpp_onion.session.guards import StanzaReader
from xmpp_onion.session.shelf import read_waiting, write_incoming
from xmpp_onion.session.stanzas import (
    Incoming,
    message_stanza,
    presence_stanza,
    read_message,
)

ONION = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion"
OTHER = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
BOB, ALICE = JID(f"bob@{ONION}"), JID(f"alice@{OTHER}/phone")
OMEMO = "eu.siacs.conversations.axolotl"
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HEADER = (
    b"<stream:stream xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams'>"
)


def encrypted(payload: str | None = "QUJD") -> ET.Element:
    element = ET.Element(f"{{{OMEMO}}}encrypted")
    header = ET.SubElement(element, f"{{{OMEMO}}}header", {"sid": "7"})
    ET.SubElement(header, f"{{{OMEMO}}}key", {"rid": "1"}).text = "a2V5"
    if payload is not None:
        ET.SubElement(element, f"{{{OMEMO}}}payload").text = payload
    return element


def arrived(text: str) -> ET.Element:
    """Return a stanza as our reader makes it of what is on the wire."""
    _, element = StanzaReader().feed(HEADER + text.encode())
    assert isinstance(element, ET.Element)
    return element


def incoming(inside: str = "", attributes: str = "") -> Incoming | None:
    start = f"<message from='{ALICE}' to='{BOB}' id='m1' type='chat' {attributes}>"
    return read_message(arrived(f"{start}{inside}</message>"), own=BOB, now=NOW)


ENCRYPTED = f"<encrypted xmlns='{OMEMO}'><header sid='7'/></encrypted>"


# --- out --------------------------------------------------------------------------


def test_a_message_carries_what_omemo_clients_expect() -> None:
    message = arrived(message_stanza(BOB, "f" * 32, [encrypted()], receipt=True))
    assert message.attrib == {"type": "chat", "id": "f" * 32, "to": BOB}
    assert [child.tag for child in message] == [
        f"{{{OMEMO}}}encrypted",
        "{jabber:client}body",
        "{urn:xmpp:eme:0}encryption",
        "{urn:xmpp:sid:0}origin-id",
        "{urn:xmpp:hints}store",
        "{urn:xmpp:receipts}request",
    ]
    assert message[1].text == (
        "I sent you an OMEMO encrypted message but your client "
        "doesn\u2019t seem to support that."
    )
    assert message[2].attrib == {"namespace": OMEMO, "name": "OMEMO"}
    assert message[3].attrib == {"id": "f" * 32}
    assert ET.canonicalize(ET.tostring(message[0])) == ET.canonicalize(
        ET.tostring(encrypted())
    )


def test_a_silent_message_has_no_text_for_people_and_is_read_as_such() -> None:
    loud = message_stanza(BOB, "a" * 32, [encrypted()])
    silent = message_stanza(BOB, "a" * 32, [encrypted()], silent=True)
    inside = f"<message from='{ALICE}' to='{BOB}' type='chat' "

    def read(stanza: str) -> Incoming | None:
        text = stanza.replace("<message ", inside.replace("type='chat' ", ""), 1)
        return read_message(arrived(text.replace(f'to="{BOB}"', "")), own=BOB, now=NOW)

    heard, unheard = read(loud), read(silent)
    assert heard is not None
    assert unheard is not None
    assert "<body" not in silent
    assert (heard.is_silent, unheard.is_silent) == (False, True)


def test_an_empty_omemo_message_has_no_fallback_text() -> None:
    message = arrived(message_stanza(BOB, "f" * 32, [encrypted(None)]))
    assert message.find("{jabber:client}body") is None
    assert message.find("{urn:xmpp:receipts}request") is None


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_text_cannot_break_out_of_a_stanza(text: str) -> None:
    xml = message_stanza(BOB, "id", [encrypted(text)])
    message = arrived(xml)
    assert message.findtext(f".//{{{OMEMO}}}payload", "") == text.replace("\r", "\n")


def test_a_presence_about_a_subscription_goes_to_the_bare_jid() -> None:
    presence = arrived(presence_stanza(ALICE, "subscribe", "1"))
    assert presence.tag == "{jabber:client}presence"
    assert presence.attrib == {"type": "subscribe", "id": "1", "to": ALICE.bare}


# --- in ---------------------------------------------------------------------------


def test_an_encrypted_message_is_read() -> None:
    message = incoming(ENCRYPTED)
    assert message is not None
    assert message.id == "m1"
    assert message.sender == ALICE
    assert message.at == NOW
    (element,) = message.encrypted
    assert element.find(f"{{{OMEMO}}}header") is not None


def test_a_message_in_the_clear_is_read_as_such() -> None:
    message = incoming("<body>hi</body>")
    assert message is not None
    assert message.encrypted == ()


@pytest.mark.parametrize(
    ("inside", "attributes"),
    [
        (ENCRYPTED + ENCRYPTED, ""),
        ("", ""),
        ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", ""),
        ("<encrypted xmlns='eu.siacs.conversations.axolotl.evil'/>", ""),
        (f"<x>{ENCRYPTED}</x>", ""),
    ],
)
def test_what_is_not_a_message_of_a_person_is_none(
    inside: str, attributes: str
) -> None:
    assert incoming(inside, attributes) is None


@pytest.mark.parametrize("kind", ["groupchat", "headline", "CHAT", "x"])
def test_other_kinds_of_messages_take_other_ways(kind: str) -> None:
    text = f"<message from='{ALICE}' type='{kind}'>{ENCRYPTED}</message>"
    assert read_message(arrived(text), own=BOB) is None


@pytest.mark.parametrize("sender", ["", "@@", "bob@example.org", "a@" + ONION[1:]])
def test_a_sender_that_cannot_be_is_none(sender: str) -> None:
    text = f"<message from='{sender}' type='chat'>{ENCRYPTED}</message>"
    assert read_message(arrived(text), own=BOB) is None
    assert read_message(arrived(f"<message>{ENCRYPTED}</message>"), own=BOB) is None


def test_only_our_own_archive_names_a_message() -> None:
    forged = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ALICE.bare}' id='forged'/>"
    real = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{BOB}' id='real'/>"
    both, one = incoming(ENCRYPTED + forged + real), incoming(ENCRYPTED + forged)
    assert both is not None
    assert one is not None
    assert (both.stanza_id, one.stanza_id) == ("real", "")


@pytest.mark.parametrize(
    "forged",
    [
        f"<x xmlns='y'><stanza-id xmlns='urn:xmpp:sid:0' by='{BOB}' id='forged'/></x>",
        f"<stanza-id xmlns='urn:xmpp:sid:1' by='{BOB}' id='forged'/>",
    ],
)
def test_nobody_can_hide_a_name_of_our_archive_in_what_they_send(forged: str) -> None:
    real = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{BOB}' id='real'/>"
    alone, beside = incoming(ENCRYPTED + forged), incoming(ENCRYPTED + forged + real)

    assert alone is not None
    assert beside is not None
    assert (alone.stanza_id, beside.stanza_id) == ("", "real")


def test_of_two_names_of_our_archive_none_is_believed() -> None:
    twice = [
        f"<stanza-id xmlns='urn:xmpp:sid:0' by='{BOB}' id='{name}'/>" for name in "ab"
    ]
    message = incoming(ENCRYPTED + "".join(twice))

    assert message is not None
    assert message.stanza_id == ""


def test_our_servers_stamp_stands_behind_one_that_the_author_made_up() -> None:
    message = incoming(
        ENCRYPTED
        + delay("2001-01-01T00:00:00Z", ONION)
        + delay("2026-05-04T10:00:00Z", ONION)
    )

    assert message is not None
    assert message.at == datetime(2026, 5, 4, 10, tzinfo=UTC)


def test_the_origin_id_is_the_name_that_the_sender_gave() -> None:
    message = incoming(ENCRYPTED + "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>")
    assert message is not None
    assert message.id == "o1"


def delay(stamp: str, by: str) -> str:
    return f"<delay xmlns='urn:xmpp:delay' from='{by}' stamp='{stamp}'/>"


@pytest.mark.parametrize(
    ("stamp", "by", "expected"),
    [
        ("2026-05-04T10:00:00Z", ONION, datetime(2026, 5, 4, 10, tzinfo=UTC)),
        ("2026-05-04T10:00:00Z", BOB, datetime(2026, 5, 4, 10, tzinfo=UTC)),
        ("2026-05-04T12:00:00+02:00", BOB, datetime(2026, 5, 4, 10, tzinfo=UTC)),
        ("2026-05-04T10:00:00Z", OTHER, NOW),
        ("2026-05-04T10:00:00Z", ALICE, NOW),
        ("2400-01-01T00:00:00Z", ONION, NOW),
        ("0001-01-01T00:00:00+23:00", ONION, NOW),
        ("yesterday", ONION, NOW),
        ("", ONION, NOW),
    ],
)
def test_only_our_own_server_tells_the_time_and_not_the_future(
    stamp: str, by: str, expected: datetime
) -> None:
    message = incoming(ENCRYPTED + delay(stamp, by))
    assert message is not None
    assert message.at == expected


def key(inside: str, attributes: str = "") -> str:
    message = incoming(inside, attributes)
    assert message is not None
    return message.key


def test_the_same_bytes_have_the_same_key_whatever_servers_add() -> None:
    added = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{BOB}' id='9'/>"
    late = delay("2026-05-04T10:00:00Z", ONION)
    assert key(ENCRYPTED) == key(ENCRYPTED + added) == key(ENCRYPTED + late)
    assert key(ENCRYPTED) == key(ENCRYPTED.replace("'", '"'))


def test_two_messages_with_one_id_have_two_keys() -> None:
    other = ENCRYPTED.replace("sid='7'", "sid='8'")
    assert len({key(ENCRYPTED), key(other), key("<body>a</body>")}) == 3


@given(st.binary(max_size=200))
def test_no_stanza_makes_reading_raise(data: bytes) -> None:
    text = data.decode("latin-1").translate(dict.fromkeys(range(32)))
    message = ET.Element("{jabber:client}message", {"from": text, "id": text})
    ET.SubElement(message, f"{{{OMEMO}}}encrypted", {"x": text}).text = text
    read_message(message, own=BOB)


# --- copies and notices -----------------------------------------------------------


def carbon(by: str, name: str, sender: str, to: str, inside: str = ENCRYPTED) -> str:
    return (
        f"<message from='{by}' to='{BOB}/here'><{name} xmlns='urn:xmpp:carbons:2'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' "
        f"type='chat' id='m1' from='{sender}' to='{to}'>{inside}</message>"
        f"</forwarded></{name}></message>"
    )


def test_a_copy_of_what_we_sent_elsewhere_is_ours_and_names_the_recipient() -> None:
    text = carbon(BOB, "sent", f"{BOB}/laptop", ALICE)

    copy = read_message(arrived(text), own=BOB, now=NOW)

    assert copy is not None
    assert (copy.sender, copy.to) == (f"{BOB}/laptop", ALICE.bare)
    assert len(copy.encrypted) == 1


def test_a_copy_of_what_came_elsewhere_is_the_message_itself() -> None:
    copy = read_message(
        arrived(carbon(BOB, "received", ALICE, f"{BOB}/laptop")), own=BOB, now=NOW
    )
    direct = incoming(ENCRYPTED)

    assert copy is not None
    assert direct is not None
    assert (copy.sender, copy.to, copy.key) == (ALICE, BOB, direct.key)


@pytest.mark.parametrize("name", ["sent", "received"])
@pytest.mark.parametrize(
    "by",
    [
        f"mallory@{OTHER}",
        ALICE,
        ALICE.bare,
        f"{BOB}/laptop",
        f"b0b@{ONION}",
        ONION,
        f"friends@muc.{ONION}",
    ],
)
def test_an_envelope_that_our_own_server_did_not_make_is_dropped(
    by: str, name: str
) -> None:
    sender = f"{BOB}/laptop" if name == "sent" else ALICE
    text = carbon(by, name, sender, f"{BOB}/laptop")

    assert read_message(arrived(text), own=BOB) is None


@pytest.mark.parametrize(
    ("name", "sender"), [("sent", ALICE), ("received", f"{BOB}/laptop")]
)
def test_a_copy_that_contradicts_itself_is_dropped(name: str, sender: str) -> None:
    assert read_message(arrived(carbon(BOB, name, sender, ALICE)), own=BOB) is None


def test_a_forwarded_message_outside_of_a_copy_says_nothing() -> None:
    forwarded = (
        "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' "
        f"from='{BOB}'>{ENCRYPTED}</message></forwarded>"
    )

    assert incoming(forwarded) is None


def test_what_we_said_unencrypted_elsewhere_is_nothing() -> None:
    text = carbon(BOB, "sent", f"{BOB}/laptop", ALICE, "<body>hi</body>")

    assert read_message(arrived(text), own=BOB) is None


def test_a_receipt_and_an_error_are_notices_and_have_keys_of_their_own() -> None:
    first = incoming("<received xmlns='urn:xmpp:receipts' id='1'/>")
    second = incoming("<received xmlns='urn:xmpp:receipts' id='2'/>")
    failed = read_message(
        arrived(
            f"<message from='{ALICE.bare}' type='error' id='1'>{ENCRYPTED}</message>"
        ),
        own=BOB,
    )

    assert first is not None
    assert second is not None
    assert failed is not None
    assert first.notice is not None
    assert failed.notice is not None
    assert (failed.notice.target, failed.encrypted) == ("1", ())
    assert len({first.key, second.key, failed.key}) == 3


def test_an_error_without_a_sender_is_our_own_servers() -> None:
    failed = read_message(arrived("<message type='error' id='1'/>"), own=BOB)

    assert failed is not None
    assert failed.notice is not None
    assert failed.notice.by is None


@pytest.mark.parametrize("said", [ENCRYPTED, "<body>hi</body>"])
def test_a_receipt_beside_a_message_is_not_looked_at(said: str) -> None:
    message = incoming(f"{said}<received xmlns='urn:xmpp:receipts' id='1'/>")

    assert message is not None
    assert message.notice is None


@pytest.mark.parametrize(
    "inside",
    [
        ENCRYPTED,
        ENCRYPTED + "<body>fallback</body>",
        ENCRYPTED + "<request xmlns='urn:xmpp:receipts'/>",
        ENCRYPTED + "<origin-id xmlns='urn:xmpp:sid:0' id='o &lt;1'/>",
    ],
)
def test_a_message_that_has_to_wait_is_the_same_afterwards(inside: str) -> None:
    message = incoming(inside)
    assert message is not None

    again = read_waiting(
        write_incoming(message), own=BOB, at=message.at, stanza_id="s1"
    )

    assert again is not None
    assert (again.key, again.id, again.sender) == (
        message.key,
        message.id,
        message.sender,
    )
    assert (again.is_silent, again.asks) == (message.is_silent, message.asks)
