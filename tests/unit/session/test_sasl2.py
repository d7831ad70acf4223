import base64
import uuid
import xml.etree.ElementTree as ET

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import AuthenticationError, SessionError
from xmpp_onion.session.proof import PasswordProof, TokenProof
from xmpp_onion.session.sasl2 import (
    BIND2,
    FAST,
    SASL2,
    SM,
    decode,
    enable,
    encode,
    make_question,
    read_bound,
    read_success,
    resume,
)
from xmpp_onion.session.scram import Scram

ALICE = JID(f"alice@{OnionAddress.from_public_key(bytes(32))}")
DEVICE = "00112233aabbccdd"
TOKEN = TokenProof("alice", "secret")
PASSWORD = PasswordProof(Scram("SCRAM-SHA-256", "alice", "secret"))


def question(proof: TokenProof | PasswordProof = TOKEN, **other: object) -> ET.Element:
    options = {
        "device": DEVICE, "wants_token": False, "resuming": "", "binds": True,
        "acks": True, **other,
    }  # fmt: skip
    return ET.fromstring(make_question(proof, **options))  # type: ignore[arg-type] # noqa: S314 - as they are above; ours


def test_a_token_asks_for_all_in_one() -> None:
    asked = question()

    assert asked.tag == f"{{{SASL2}}}authenticate"
    assert asked.get("mechanism") == "HT-SHA-256-NONE"
    assert decode(asked.findtext(f"{{{SASL2}}}initial-response")) == TOKEN.first()
    assert asked.find(f"{{{FAST}}}fast") is not None
    assert asked.find(f"{{{FAST}}}request-token") is None
    assert asked.find(f"{{{BIND2}}}bind/{{{SM}}}enable") is not None
    assert asked.findtext(f"{{{BIND2}}}bind/{{{BIND2}}}tag") == DEVICE[:8]


def test_a_password_asks_for_a_token() -> None:
    asked = question(PASSWORD, wants_token=True, acks=False)

    wanted = asked.find(f"{{{FAST}}}request-token")
    assert wanted is not None
    assert wanted.get("mechanism") == "HT-SHA-256-NONE"
    assert asked.find(f"{{{FAST}}}fast") is None
    assert asked.find(f".//{{{SM}}}enable") is None
    assert "secret" not in ET.tostring(asked).decode()


def test_an_earlier_stream_comes_before_a_new_place() -> None:
    asked = question(resuming=resume("a'<b", 7))

    names = [child.tag for child in asked]
    assert names.index(f"{{{SM}}}resume") < names.index(f"{{{BIND2}}}bind")
    resuming = asked.find(f"{{{SM}}}resume")
    assert resuming is not None
    assert resuming.attrib == {"h": "7", "previd": "a'<b"}


def test_a_device_is_always_the_same_and_does_not_give_its_name_away() -> None:
    names = []
    for device in (DEVICE, DEVICE, "other"):
        agent = question(device=device).find(f"{{{SASL2}}}user-agent")
        assert agent is not None
        names.append(agent.attrib["id"])

    assert names[0] == names[1] != names[2]
    assert uuid.UUID(names[0]).version == 4
    assert DEVICE[8:] not in names[0]
    # Nothing says what program we are.
    assert question().find(f".//{{{SASL2}}}software") is None


def success(inside: str) -> ET.Element:
    return ET.fromstring(f"<success xmlns='{SASL2}'>{inside}</success>")  # noqa: S314 - ours


def test_a_success_is_read() -> None:
    read = read_success(
        success(
            f"<additional-data>{encode(b'v=proof')}</additional-data>"
            f"<authorization-identifier>{ALICE}/x</authorization-identifier>"
            f"<token xmlns='{FAST}' expiry='2026-12-24T00:00:00Z' token='t'/>"
            f"<failed xmlns='{SM}' h='3'/>"
            f"<bound xmlns='{BIND2}'><enabled xmlns='{SM}' id='i' resume='1'/></bound>"
        )
    )

    assert (read.who, read.shown, read.token) == (f"{ALICE}/x", b"v=proof", "t")
    assert read.is_bound
    assert read.resumption is not None
    assert read.resumption.get("h") == "3"
    assert read.enabled is not None
    assert read.enabled.get("id") == "i"


def test_an_empty_success_proves_nothing() -> None:
    read = read_success(success(""))

    assert (read.who, read.shown, read.token, read.is_bound) == ("", b"", "", False)
    assert read.resumption is read.enabled is None


def test_a_place_that_is_refused_is_told() -> None:
    with pytest.raises(SessionError, match="no resource"):
        read_success(success(f"<failed xmlns='{BIND2}'/>"))


@pytest.mark.parametrize("data", ["not base64!", "\u00e9", "="])
def test_what_is_malformed_is_refused(data: str) -> None:
    with pytest.raises(AuthenticationError, match="malformed"):
        read_success(success(f"<additional-data>{data}</additional-data>"))


@pytest.mark.parametrize(
    "text", ["", "@", str(ALICE), f"admin@{ALICE.domain}/x", f"{ALICE.domain}/x"]
)
def test_a_place_of_somebody_else_is_refused(text: str) -> None:
    with pytest.raises(AuthenticationError, match="somebody else"):
        read_bound(text, ALICE)


def test_our_own_place_is_taken() -> None:
    assert read_bound(f"{ALICE}/x~y", ALICE).resource == "x~y"


def test_acknowledgements_are_asked_for_to_be_resumed() -> None:
    assert ET.fromstring(enable()).attrib == {"resume": "true"}  # noqa: S314 - ours


def test_messages_survive_the_way() -> None:
    assert decode(encode(b"\0\xff")) == b"\0\xff"
    assert encode(b"a") == base64.b64encode(b"a").decode()
