"""H2 and H6: which links are followed, and which forms of a key are one."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Link, Place
from xmpp_onion.errors import AddressError

ONION = str(OnionAddress.from_public_key(bytes(32)))
IV, KEY = "0123456789abcdef01234567", "ab" * 32
GOOD = f"aesgcm://{ONION}:5280/share/x#{IV}{KEY}"

KEYS = st.binary(min_size=32, max_size=32)
TARGETS = st.from_regex(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,200}", fullmatch=True)


@given(
    TARGETS, st.integers(1, 65535), st.binary(min_size=32, max_size=32), st.booleans()
)
def test_every_link_reads_as_it_was_written(
    target: str,
    port: int,
    key: bytes,
    is_index: bool,  # noqa: FBT001 - drawn
) -> None:
    place = Place(OnionAddress(ONION), port, target)
    link = Link(place, key, b"123456789012", is_index)

    assert Link.parse(link.text) == link
    assert Place.parse(place.url) == place


@pytest.mark.parametrize(
    ("url", "port", "is_plain"),
    [
        (f"http://{ONION}/x", 80, True),
        (f"http://{ONION}:5280/x", 5280, True),
        (f"https://{ONION}/x", 443, False),
        (f"https://{ONION}:5281/x", 5281, False),
    ],
)
def test_the_port_says_whether_there_is_tls(
    url: str, port: int, *, is_plain: bool
) -> None:
    place = Place.parse(url)

    assert (place.port, place.is_plain, place.url) == (port, is_plain, url)


@pytest.mark.parametrize(
    "url",
    [f"https://{ONION}:80/x", f"https://{ONION}:5280/x", f"http://{ONION}:443/x"],
)
def test_a_port_that_speaks_the_other_protocol_is_refused(url: str) -> None:
    with pytest.raises(AddressError):
        Place.parse(url)


def test_a_link_without_a_port_is_in_tls_as_others_read_it() -> None:
    place = Link.parse(f"aesgcm://{ONION}/x#{IV}{KEY}").place

    assert place == Place(OnionAddress(ONION), 443, "/x")
    assert place.in_plain.in_tls == place
    assert place.in_plain.url == f"http://{ONION}:5280/x"


def test_what_is_at_no_port_of_ours_stays_there() -> None:
    place = Place(OnionAddress(ONION), 8443, "/x")

    assert place.in_plain == place.in_tls == place


@given(st.text(max_size=300))
def test_no_text_breaks_the_reading(text: str) -> None:
    for candidate in (text, f"aesgcm://{text}", f"{GOOD}{text}"):
        with contextlib.suppress(AddressError):
            assert Link.parse(candidate).place.host == ONION


@pytest.mark.parametrize("iv", ["0" * 24, "0" * 32, "AbCdEf" * 4])
def test_an_iv_of_12_or_16_bytes_is_taken_in_any_case(iv: str) -> None:
    link = Link.parse(f"aesgcm://{ONION}/x#{iv}{KEY.upper()}")

    assert link.iv == bytes.fromhex(iv)
    assert link.key == bytes.fromhex(KEY)


@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "#",
        f"#{KEY}",
        f"#{IV}{KEY[:-1]}",
        f"#{IV}{KEY}0",
        f"#{IV}%61{KEY}",
        f"#{IV} {KEY}",
        f"#{IV}{KEY}#",
        "#" + "g" * 88,
        "#" + "0" * 64,
        "#" + "0" * 128,
    ],
)
def test_a_fragment_of_any_other_form_is_refused(fragment: str) -> None:
    with pytest.raises(AddressError):
        Link.parse(f"aesgcm://{ONION}/x{fragment}")


_HOSTS = [
    "example.org",
    "127.0.0.1",
    "localhost",
    "[::1]",
    "10.0.0.1",
    "192.168.1.1",
    "0",
    "2130706433",
    "0x7f000001",
    "169.254.169.254",
    f"{ONION}.example.org",
    f"x{ONION}",
    ONION.replace("a", "b", 1),
    ONION[:-6],
    "onion",
    ".onion",
    f"{ONION}.",
    f"user@{ONION}",
    f"user:pass@{ONION}",
    f"{ONION}@example.org",
    f"example.org#{ONION}",
    f"{ONION}\\@evil",
    "duckduckgo.onion",
    f"{ONION}:0",
    f"{ONION}:65536",
    f"{ONION}:99999",
    f"{ONION}:x",
    f"{ONION}:",
    f"{ONION}:80:80",
    f"{ONION}%2eexample.org",
    f"{ONION}\n",
    f"\u212a{ONION}",
    "",
    "..",
    f"-{ONION}",
    f"{ONION}/../..//evil\n",
    f"{ONION}\x00",
    "[::ffff:127.0.0.1]",
]
_URLS = [
    "file:///etc/passwd",
    "data:text/plain,x",
    "http://example.org/x",
    "ftp://x/y",
    "x",
    f"https://{ONION}/x",
    f"http://{ONION}/x",
    f"http://{ONION}/x#{IV}{KEY}",
    "aesgcm:",
    f"AESGCM://{ONION}/x#{IV}{KEY}",
    f"aesgcm:/{ONION}/x#{IV}{KEY}",
    "javascript:x()",
    f"aesgcm:{ONION}/x#{IV}{KEY}",
    f" {GOOD}",
    f"{GOOD} ",
    f"{GOOD}\n",
    "",
    "aesgcm://",
    f"aesgcm://{ONION}#{IV}{KEY}",
    f"aesgcm://{ONION}/a b#{IV}{KEY}",
    "unix:///run/x",
    f"aesgcm://{ONION}/\u00e9#{IV}{KEY}",
    f"aesgcm://{ONION}/{'x' * 3000}#{IV}{KEY}",
    f"aesgcm://{ONION}/x\r\nHost: y#{IV}{KEY}",
    f"aesgcm+chunk://{ONION}/x#{IV}{KEY}",
]
ELSEWHERE = [*(f"aesgcm://{host}/x#{IV}{KEY}" for host in _HOSTS), *_URLS]


def test_there_are_enough_urls() -> None:
    assert len(ELSEWHERE) >= 60


@pytest.mark.parametrize("url", ELSEWHERE, ids=ascii)
def test_nothing_but_an_onion_is_ever_asked(url: str) -> None:
    with pytest.raises(AddressError) as refused:
        Link.parse(url)

    assert refused.value.why
    assert KEY not in str(refused.value)


def test_neither_link_nor_place_shows_its_secrets() -> None:
    link = Link.parse(GOOD)

    assert KEY not in repr(link)
    assert "/share/x" not in repr(link)
