"""What a server says that it takes at once: believed as far as that is of use."""

import xml.etree.ElementTree as ET

import pytest

from xmpp_onion.session.stream_limits import read_limit


def features(limits: str) -> ET.Element:
    return ET.fromstring(  # noqa: S314 - of a test
        "<features xmlns='http://etherx.jabber.org/streams'><other xmlns='x'/>"
        f"{limits}</features>"
    )


def told(text: str) -> ET.Element:
    return features(
        "<limits xmlns='urn:xmpp:stream-limits:0'><idle-seconds>840</idle-seconds>"
        f"<max-bytes>{text}</max-bytes></limits>"
    )


def test_what_a_server_says_is_read() -> None:
    assert read_limit(told("262144")) == 262_144
    assert read_limit(told("\n 20000 ")) == 20_000


@pytest.mark.parametrize("text", ["0", "1", "9999"])
def test_less_than_each_server_has_to_take_is_not_believed(text: str) -> None:
    assert read_limit(told(text)) == 10_000


@pytest.mark.parametrize(
    "text", ["", "-1", "1e9", "many", "\u0661\u0662\u0663\u0664\u0665", "9" * 5000]
)
def test_what_is_no_number_says_nothing(text: str) -> None:
    assert read_limit(told(text)) is None


@pytest.mark.parametrize(
    "limits",
    [
        "",
        "<limits xmlns='urn:xmpp:stream-limits:0'/>",
        "<limits xmlns='x'><max-bytes>20000</max-bytes></limits>",
    ],
)
def test_a_server_may_say_none(limits: str) -> None:
    assert read_limit(features(limits)) is None
