"""Onion addresses, JIDs and invites: the only strings that may name a far end."""

import copy
import pickle
import traceback
from datetime import UTC, datetime
from string import ascii_lowercase

import pytest
import slixmpp.jid
from hypothesis import example, given
from hypothesis import strategies as st

from xmpp_onion.address import JID, Introduction, Invite, OnionAddress
from xmpp_onion.errors import (
    AddressError,
    InvalidInviteError,
    InvalidJIDError,
    InvalidOnionAddressError,
)

# RFC 8032, section 7.1, TEST 1, and the name that Tor's own tests expect of that
# key: src/test/test_hs_common.c, test_build_address.
RFC_8032_KEY = bytes.fromhex(
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)
RFC_8032_NAME = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion"
# Tor rendezvous specification v3, section 6: its three examples.
SPECIFIED_NAMES = [
    "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion",
    "sp3k262uwy4r2k3ycr5awluarykdpag6a7y33jxop4cs2lu5uz5sseqd.onion",
    "xa4r2iadxm55fbnqgwwi5mymqdcofiu3w6rpbtqn7b2dyn7mgwj64jyd.onion",
]
# Names in public use: DuckDuckGo's, with k for the Kelvin sign, and torproject.org's.
DUCKDUCKGO = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"
TORPROJECT = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
NAME = RFC_8032_NAME
BASE32 = ascii_lowercase + "234567"
KELVIN_SIGN = "\u212a"  # its lower case is k

TOKEN = "sesame-opens-this-door"
DOOR_KEY = "b" * 51 + "q"
CERTIFICATE = "0123456789abcdef" * 4

keys = st.binary(min_size=32, max_size=32)
onions = st.builds(OnionAddress.from_public_key, keys)


def typos(name: str) -> list[str]:
    """Every name that differs from ``name`` in one of its 56 characters."""
    return [
        name[:place] + letter + name[place + 1 :]
        for place in range(56)
        for letter in BASE32
        if letter != name[place]
    ]


# --- onion addresses --------------------------------------------------------------


def test_a_known_key_has_the_name_that_tor_gives_it() -> None:
    assert OnionAddress.from_public_key(RFC_8032_KEY) == RFC_8032_NAME


@pytest.mark.parametrize("name", [*SPECIFIED_NAMES, DUCKDUCKGO, TORPROJECT])
def test_a_known_name_is_accepted_as_it_is(name: str) -> None:
    assert OnionAddress(name) == name


@given(keys)
def test_the_name_of_any_key_is_accepted_in_any_case(key: bytes) -> None:
    onion = OnionAddress.from_public_key(key)

    assert OnionAddress(onion.upper()) == onion


@pytest.mark.parametrize("name", [RFC_8032_NAME, *SPECIFIED_NAMES, DUCKDUCKGO])
def test_every_single_mistyped_character_is_noticed(name: str) -> None:
    accepted = [typo for typo in typos(name) if is_onion(typo)]

    assert accepted == []


def test_a_typo_in_65536_has_the_right_checksum_as_the_docstring_says() -> None:
    # Of the 1,736 typos of this name one is a valid name: the checksum has 16 bits.
    accepted = [typo for typo in typos(TORPROJECT) if is_onion(typo)]

    assert accepted == ["23" + TORPROJECT[2:]]


@pytest.mark.parametrize("place", range(55))
def test_two_swapped_characters_are_noticed(place: int) -> None:
    pair = NAME[place : place + 2]
    swapped = NAME[:place] + pair[::-1] + NAME[place + 2 :]

    assert is_onion(swapped) == (pair[0] == pair[1])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("onion", id="the suffix alone"),
        pytest.param(".onion", id="no label"),
        pytest.param("expyuzz4wqqyqhjn.onion", id="version 2"),
        pytest.param(NAME.removesuffix(".onion"), id="no suffix"),
        pytest.param(NAME + ".", id="trailing dot"),
        pytest.param(NAME + ".evil.com", id="a suffix behind"),
        pytest.param(NAME.replace(".onion", ".onion.onion"), id="two suffixes"),
        pytest.param("." + NAME, id="an empty sub-domain"),
        pytest.param("muc.." + NAME, id="an empty label between"),
        pytest.param("-muc." + NAME, id="a hyphen in front"),
        pytest.param("mu_c." + NAME, id="an underscore"),
        pytest.param("x" * 64 + "." + NAME, id="a label too long"),
        pytest.param("x." * 96 + NAME, id="a name too long"),
        pytest.param("muc" + NAME, id="a sub-domain without its dot"),
        pytest.param("http://" + NAME, id="a URL"),
        pytest.param(NAME + ":5222", id="a port"),
        pytest.param("bob@" + NAME, id="a JID"),
        pytest.param(NAME + "\n", id="a line feed"),
        pytest.param(NAME + "\0", id="a null"),
        pytest.param(" " + NAME, id="a blank"),
        pytest.param("0" + NAME[1:], id="0 is no base32"),
        pytest.param("1" + NAME[1:], id="1 is no base32"),
        pytest.param("127.0.0.1", id="IPv4"),
        pytest.param("[::1]", id="IPv6"),
        pytest.param("localhost", id="localhost"),
        pytest.param("example.org", id="the open network"),
        pytest.param("b\u00fccher." + NAME, id="not ASCII"),
        pytest.param("xn--bcher-kva." + NAME + ".", id="punycode and a dot"),
        pytest.param(DUCKDUCKGO.replace("k", KELVIN_SIGN, 1), id="Kelvin sign"),
        pytest.param(NAME.replace(".", "\u3002"), id="ideographic full stop"),
        pytest.param("\udc80" + NAME, id="a byte that is no text"),
    ],
)
def test_what_is_no_version_3_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidOnionAddressError):
        OnionAddress(text)


def test_another_version_is_refused_though_its_checksum_fits() -> None:
    # Version 4 by the last five bits; the checksum below is right for it.
    with pytest.raises(InvalidOnionAddressError, match="not a version 3 name"):
        OnionAddress(NAME[:55] + "e.onion")


@given(onions)
def test_a_subdomain_is_kept_and_its_service_known(onion: OnionAddress) -> None:
    room_service = OnionAddress("MUC.a-1." + onion)

    assert room_service == "muc.a-1." + onion
    assert room_service.service == onion


@given(st.text())
@example(NAME.upper())
def test_any_text_is_a_canonical_name_or_an_address_error(text: str) -> None:
    try:
        onion = OnionAddress(text)
    except InvalidOnionAddressError:
        return

    assert onion == text.lower()


def test_the_short_form_names_nobody() -> None:
    assert OnionAddress("muc." + NAME).short == "25njqa….onion"


def test_a_message_quotes_at_most_80_characters_with_escapes_visible() -> None:
    with pytest.raises(InvalidOnionAddressError) as caught:
        OnionAddress("\x1b[2J" + "x" * 1_000)

    assert caught.value.what == f"'\\x1b[2J{'x' * 76}...' is not an onion address"


# --- JIDs ---------------------------------------------------------------------------


def test_a_jid_is_brought_into_canonical_form() -> None:
    jid = JID("Bob@MUC." + NAME.upper() + "/My Phone")

    assert jid == f"bob@muc.{NAME}/My Phone"
    assert (jid.local, jid.domain, jid.resource) == ("bob", f"muc.{NAME}", "My Phone")
    assert jid.bare == f"bob@muc.{NAME}"


def test_a_resource_may_contain_what_separates_the_other_parts() -> None:
    jid = JID(f"bob@{NAME}/a/b@c")

    assert (jid.bare, jid.resource) == (f"bob@{NAME}", "a/b@c")


def test_a_server_is_a_jid_without_a_local_part() -> None:
    assert JID(NAME).local == ""


@pytest.mark.parametrize(
    ("local", "canonical"),
    # RFC 6122, appendix A: nodeprep folds case and compatibility forms.
    [("BOB", "bob"), ("stra\u00dfe", "strasse"), (KELVIN_SIGN, "k"), ("\uff42", "b")],
)
def test_two_spellings_of_a_local_part_are_one_jid(local: str, canonical: str) -> None:
    assert JID(f"{local}@{NAME}") == f"{canonical}@{NAME}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("@", id="separators alone"),
        pytest.param("bob@", id="no domain"),
        pytest.param("@" + NAME, id="an empty local part"),
        pytest.param(f"bob@{NAME}/", id="an empty resource"),
        pytest.param("bob@@" + NAME, id="two at signs"),
        pytest.param("b ob@" + NAME, id="a blank"),
        pytest.param("bob\n@" + NAME, id="a line feed"),
        pytest.param(f"bob@{NAME}/a\0b", id="a null"),
        pytest.param(f"bob@{NAME}/\udc80", id="a byte that is no text"),
        pytest.param(f"\udc80@{NAME}", id="such a byte in the local part"),
        pytest.param("bob@example.org", id="the open network"),
        pytest.param(f"bob@{NAME}.evil.com", id="a suffix behind"),
        pytest.param(f"bob@{NAME}.", id="trailing dot"),
        pytest.param(f"bob@{NAME}:5222", id="a port"),
        pytest.param("bob@127.0.0.1", id="IPv4"),
        pytest.param("bob@[::1]", id="IPv6"),
        pytest.param(f"bob@b\u00fccher.{NAME}", id="an international domain"),
        pytest.param(f"bob@{DUCKDUCKGO}".replace("k", KELVIN_SIGN), id="Kelvin sign"),
        pytest.param(f"bob@\uff12{NAME[1:]}", id="a full-width digit"),
        pytest.param(f"bob@{NAME[:55]}x.onion", id="a typo"),
        pytest.param(f"xmpp:bob@{NAME}", id="a URI"),
        pytest.param(f"{'x' * 1_024}@{NAME}", id="a local part too long"),
        pytest.param(f"bob@{NAME}/{'x' * 1_024}", id="a resource too long"),
    ],
)
def test_what_is_no_jid_at_an_onion_service_is_refused(text: str) -> None:
    with pytest.raises(InvalidJIDError):
        JID(text)


@given(st.text())
def test_any_text_is_a_jid_or_an_address_error(text: str) -> None:
    try:
        jid = JID(f"{text}@{NAME}")
    except AddressError:
        return

    assert JID(jid) is jid
    assert JID(str(jid)) == jid


# All of ASCII, and signs that become ASCII, several letters or nothing.
signs = st.one_of(
    st.characters(max_codepoint=127),
    st.sampled_from("ßİ\u212a\u00ad\u00a0\u017f\ufb01\u202e"),
)
parts = st.one_of(
    st.text(signs, max_size=4),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
    st.sampled_from(["a" * 1023, "a" * 1024]),
)
hosts = st.sampled_from(
    ["", "muc.", "a--b.", "ab--c.", "xn--a.", "xn--bcher-kva.", "A."]
)


@given(local=parts, at=st.sampled_from(["", "@"]), host=hosts,
       slash=st.sampled_from(["", "/"]), resource=parts)  # fmt: skip
@example(local="a:b", at="@", host="", slash="", resource="")
@example(local="", at="@", host="", slash="", resource="")
@example(local="a", at="@", host="", slash="/", resource="")
@example(local="a", at="@", host="", slash="/", resource="\n")
@example(local="a", at="@", host="", slash="/", resource="\x7f")
@example(local="a", at="@", host="ab--c.", slash="", resource="")
@example(local="a" * 1024, at="@", host="", slash="", resource="")
@example(local="a", at="@", host="", slash="/", resource="a" * 1024)
def test_a_jid_is_what_the_xmpp_library_makes_of_it(
    local: str, at: str, host: str, slash: str, resource: str
) -> None:
    text = f"{local}{at}{host}{NAME}{slash}{resource}"
    try:
        expected = slixmpp.jid.JID(text)
    except (slixmpp.jid.InvalidJID, UnicodeError):
        expected = None
    try:
        made = JID(text)
    except InvalidJIDError:
        made = None

    if made is None:
        # What only the library accepts has a server that is no onion.
        host = text.partition("/")[0].rpartition("@")[2]
        assert expected is None or not is_onion(host)
    else:
        assert expected is not None
        assert (made, made.local, made.resource) == (
            str(expected), str(expected.local), str(expected.resource)
        )  # fmt: skip


def test_the_short_form_of_a_jid_names_nobody() -> None:
    assert JID(f"bob@{NAME}/phone").short == "b…@25njqa….onion"


# --- invites ------------------------------------------------------------------------


@given(
    onion=onions,
    local=st.sampled_from(["", "bob", "stra\u00dfe", "\u00e9"]),
    token=st.text(BASE32.upper() + BASE32 + "-_", min_size=8, max_size=256),
    expires=st.none() | st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy adds the zone
)
def test_an_invite_carries_what_it_was_built_from(
    onion: OnionAddress, local: str, token: str, expires: datetime | None
) -> None:
    invite = Invite.build(
        onion, token, local=local, cert_sha256=CERTIFICATE, expires=expires
    )
    read = Invite(str(invite))

    assert (read.onion, read.token, read.cert_sha256) == (onion, token, CERTIFICATE)
    assert read.local == (JID(f"{local}@{onion}").local if local else "")
    assert read.expires == (expires and expires.replace(microsecond=0))


@pytest.mark.parametrize("place", [NAME, DUCKDUCKGO])
def test_an_invite_carries_the_key_for_a_private_door(place: str) -> None:
    door = OnionAddress(place), DOOR_KEY.upper()
    invite = Invite.build(OnionAddress(NAME), TOKEN, door=door)

    assert Invite(str(invite)).door == door
    assert (place in str(invite).partition("?")[2]) is (place != NAME)
    assert DOOR_KEY.upper() not in repr(invite).upper()


def test_an_invite_to_a_public_door_has_no_key() -> None:
    assert Invite.build(OnionAddress(NAME), TOKEN).door is None


def test_an_invite_of_another_maker_is_understood() -> None:
    # XEP-0401, section 3: other parameters may stand beside ours.
    invite = Invite(f" XMPP:{NAME}?register;preauth={TOKEN};ibr=y;later\n")

    assert (invite.onion, invite.local, invite.token) == (NAME, "", TOKEN)
    assert (invite.cert_sha256, invite.expires) == ("", None)


BAD_INVITES = [
    pytest.param(TOKEN, id="the token alone"),
    pytest.param(f"http://{NAME}?register;preauth={TOKEN}", id="another scheme"),
    pytest.param(f"xmpp://{NAME}?register;preauth={TOKEN}", id="an authority"),
    pytest.param(f"xmpp:{NAME}?message;preauth={TOKEN}", id="another action"),
    pytest.param(f"xmpp:{NAME}?register&preauth={TOKEN}", id="another separator"),
    pytest.param(f"xmpp:{NAME}?register", id="no token"),
    pytest.param(f"xmpp:{NAME}?register;preauth={TOKEN[:7]}", id="a token too short"),
    pytest.param(f"xmpp:{NAME}?register;preauth={TOKEN}%0a", id="a token of two lines"),
    pytest.param(f"xmpp:example.org?register;preauth={TOKEN}", id="the open network"),
    pytest.param(f"xmpp:{NAME};preauth={TOKEN}?register", id="the token in the host"),
    pytest.param(f"xmpp:{TOKEN}?register;preauth={TOKEN}", id="the token as host"),
    pytest.param(f"xmpp:a@b@{NAME}?register;preauth={TOKEN}", id="two at signs"),
    pytest.param(f"xmpp:a%2Fb@{NAME}?register;preauth={TOKEN}", id="a hidden slash"),
    pytest.param(
        f"xmpp:a%40{DUCKDUCKGO}%2Fb@{NAME}?register;preauth={TOKEN}",
        id="another server hidden in the account name",
    ),
    pytest.param(f"xmpp:a%00b@{NAME}?register;preauth={TOKEN}", id="a hidden null"),
    pytest.param(
        f"xmpp:{NAME}?register;preauth={TOKEN};cert-sha256={TOKEN}",
        id="a malformed fingerprint",
    ),
    pytest.param(
        f"xmpp:{NAME}?register;preauth={TOKEN};expires={TOKEN}",
        id="a malformed time",
    ),
    pytest.param(
        f"xmpp:{NAME}?register;preauth={TOKEN};door={DUCKDUCKGO}",
        id="a door without a key",
    ),
    pytest.param(
        f"xmpp:{NAME}?register;preauth={TOKEN};door-key={TOKEN}",
        id="a malformed key",
    ),
    pytest.param(
        f"xmpp:{NAME}?register;preauth={TOKEN};door-key={DOOR_KEY[:51]}b",
        id="a key with stray bits",
    ),
    pytest.param(
        f"xmpp:{NAME}?register;preauth={TOKEN};door=example.org;door-key={DOOR_KEY}",
        id="a door on the open network",
    ),
    pytest.param(
        f"xmpp:{NAME}?register;preauth={TOKEN};expires=2026-02-30T00:00:00Z",
        id="a day that is none",
    ),
]


@pytest.mark.parametrize("text", BAD_INVITES)
def test_what_is_no_invite_is_refused_without_showing_its_token(text: str) -> None:
    with pytest.raises(InvalidInviteError) as caught:
        Invite(text)

    shown = "".join(traceback.format_exception(caught.value, limit=0))
    assert TOKEN not in shown + repr(caught.value)


def test_neither_a_repr_nor_a_list_of_invites_shows_the_token() -> None:
    invite = Invite.build(OnionAddress(NAME), TOKEN)

    assert repr(invite) == "<Invite to 25njqa….onion>"
    assert TOKEN not in f"{[invite]}"


@given(st.text())
def test_any_text_is_an_invite_or_an_address_error(text: str) -> None:
    with pytest.raises(InvalidInviteError):
        Invite(f"xmpp:{text}")


# --- all three ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        OnionAddress(NAME),
        JID(f"bob@{NAME}/phone"),
        Invite.build(OnionAddress(NAME), TOKEN, local="bob"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_survives_copying_and_pickling(value: object) -> None:
    for other in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):  # noqa: S301 - our own bytes
        assert (type(other), other) == (type(value), value)
        assert repr(other) == repr(value)


def is_onion(text: str) -> bool:
    try:
        OnionAddress(text)
    except InvalidOnionAddressError:
        return False
    return True


def test_an_introduction_carries_who_and_what() -> None:
    made = Introduction.build(JID(f"alice@{NAME}"), TOKEN)

    read = Introduction(f" {made};ibr=y\n")
    assert (read.jid, read.token) == (f"alice@{NAME}", TOKEN)
    assert made == f"xmpp:alice@{NAME}?roster;preauth={TOKEN}"
    assert TOKEN not in repr(made)
    assert pickle.loads(pickle.dumps(made)).token == TOKEN  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        f"xmpp:alice@{NAME}",
        f"xmpp:alice@{NAME}?register;preauth={TOKEN}",
        f"xmpp:{NAME}?roster;preauth={TOKEN}",
        f"xmpp:alice@{NAME}?roster",
        f"xmpp:alice@{NAME}?roster;preauth=a",
        f"xmpp:alice@{NAME}?roster;preauth=%3Cx%3E12345678",
        f"xmpp:alice@example.com?roster;preauth={TOKEN}",
    ],
)
def test_what_is_no_introduction_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(InvalidInviteError) as caught:
        Introduction(text)

    assert TOKEN not in str(caught.value)
