"""What the server tells of itself and of its people, and what it writes down."""

import contextlib
from xml.etree import ElementTree as ET

import pytest

from tests.integration.server.uploads import http, upload
from xmpp_onion.address import JID
from xmpp_onion.server import Prosody
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

PASSWORD = "canary-of-alice"
# Well formed, and of no service.
NOBODY = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"


@pytest.fixture
async def alice(prosody: Prosody) -> LightMember:
    jid = await prosody.add_account("alice", PASSWORD)
    return LightMember(jid, PASSWORD, prosody.c2s_port)


@pytest.mark.parametrize(
    "question",
    [
        "<query xmlns='jabber:iq:version'/>",
        "<query xmlns='jabber:iq:last'/>",
        "<query xmlns='jabber:iq:time'/>",
        "<time xmlns='urn:xmpp:time'/>",
        "<query xmlns='http://jabber.org/protocol/stats'/>",
        "<query xmlns='http://jabber.org/protocol/disco#info' node='uptime'/>",
    ],
)
async def test_it_tells_neither_its_version_nor_its_time(
    prosody: Prosody, alice: LightMember, question: str
) -> None:
    await prosody.add_account("bob", "pw")
    own = prosody.onion
    refusals = ("service-unavailable", "item-not-found", "forbidden")
    async with alice:
        for place in (own, f"muc.{own}", f"share.{own}", f"bob@{own}", str(alice.jid)):
            with pytest.raises(AssertionError) as refused:
                await alice.ask(question, to=place)
            assert any(word in str(refused.value) for word in refusals), place


async def test_it_does_not_say_which_program_it_is(
    prosody: Prosody, alice: LightMember
) -> None:
    own = prosody.onion
    question = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
    async with alice:
        said = [
            ET.tostring(await alice.ask(question, to=place), encoding="unicode")
            for place in (own, f"muc.{own}", f"share.{own}")
        ]

    assert "prosody" not in "".join(said).lower()


async def test_its_http_tells_no_time_and_no_program(
    prosody: Prosody, alice: LightMember
) -> None:
    async with alice:
        link = await upload(prosody, alice, b"x" * 1000)
    answers = [
        await http(prosody, method, target)
        for method, target in [
            ("GET", "/"), ("GET", link), ("HEAD", link), ("GET", "/file_share/x"),
            ("POST", "/"), ("GET", "/..%2f"), ("OPTIONS", link),
        ]
    ]  # fmt: skip

    assert b" 404 " in answers[0][0].splitlines()[0] + b" "
    assert answers[0][1] == b""
    assert answers[1][1] == b"x" * 1000
    for head, _ in answers:
        names = {line.partition(b":")[0] for line in head.splitlines()[1:]}
        assert not names & {b"date", b"server", b"x-request-id", b"x-powered-by"}
        assert b"prosody" not in head


async def test_its_log_names_nobody(prosody: Prosody, alice: LightMember) -> None:
    port, own = prosody.c2s_port, prosody.onion
    bob = LightMember(await prosody.add_account("bob", "pw"), "pw", port)
    wrong = LightMember(alice.jid, "not-hers", port)
    unknown = LightMember(JID(f"carol@{own}"), "x", port)
    async with alice, bob:
        for member in (wrong, unknown):
            # Who is unknown gets no challenge.
            with pytest.raises((AssertionError, ValueError)):
                await member.__aenter__()
            await member.__aexit__(None, None, None)
        await upload(prosody, alice, b"x" * 100)
        await alice.create(f"secret-room@muc.{own}", "alice")
        for place in (
            str(bob.jid),
            f"dora@{own}",
            f"mallory@{NOBODY}",
            "x@example.com",
        ):
            alice.send(
                f"<message to='{place}' type='chat' id='{place}'><body>canary</body>"
                "</message>"
            )
        # A dial to the other one is under way, and ends with the server.
        await alice.next(lambda stanza: stanza.get("id") == "x@example.com")
        bob.send("<presence/><message to='frank'/><nonsense><//")
        with contextlib.suppress(AssertionError):
            await bob.next(lambda _: False)
    guest = LightMember(alice.jid, "x", port)
    await guest.connect()
    guest.send(
        f"<iq type='set' id='p' to='{own}'>"
        "<preauth xmlns='urn:xmpp:pars:0' token='canary-token'/></iq>"
    )
    await guest.next(lambda stanza: stanza.get("id") == "p")
    await guest.__aexit__(None, None, None)
    await prosody.restart()

    log = prosody.folder.log_file.read_text()
    for word in (
        "@", "alice", "bob", "carol", "dora", "mallory", "secret-room", "canary",
        "127.0.0.1", "example.com", NOBODY, "not-hers", PASSWORD,
    ):  # fmt: skip
        assert word not in log, log
    assert "traceback" not in log, log


async def test_no_password_is_kept_and_no_weaker_proof_of_one(
    prosody: Prosody, alice: LightMember
) -> None:
    guest = LightMember(alice.jid, "", prosody.c2s_port)
    features = ET.tostring(await guest.connect(), encoding="unicode")
    await guest.__aexit__(None, None, None)

    (account,) = prosody.data.glob("*/accounts/alice.dat")
    text = account.read_text()
    assert PASSWORD not in text
    assert '"password"' not in text
    # 32 bytes of SHA-256, as hex digits; SHA-1 has 40 of them.
    stored = text.partition('stored_key"] = "')[2].partition('"')[0]
    assert len(stored) == 64
    assert "SCRAM-SHA-256<" in features
    assert "SCRAM-SHA-1<" not in features
    assert "PLAIN<" not in features
