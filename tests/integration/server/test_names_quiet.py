"""Nobody learns which accounts there are by trying to log in, on a real Prosody."""

import asyncio
import base64
import re
import ssl
from collections.abc import Sequence

import pytest

from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask
from xmpp_onion.testing.circuit import Caller, announcement, call
from xmpp_onion.testing.light_member import LightMember, prove

pytestmark = pytest.mark.prosody

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NONCE = "fyko+d2lbbFgONRv9qkxdawL"
UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)


async def try_to_log_in(
    prosody: Prosody, name: str, mechanism: str = "SCRAM-SHA-256"
) -> Sequence[str]:
    """Return all that the server says, one text for each step.

    What is random in each exchange is taken out: the server's half of the nonce.
    """
    first = f"n={name},r={NONCE}"
    async with call(prosody.c2s_port) as caller:
        caller.open(prosody.onion)
        await caller.hear("</stream:features>")
        caller.heard = ""
        encoded = base64.b64encode(f"n,,{first}".encode()).decode()
        caller.say(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{encoded}</auth>")
        said = await caller.hear("</")
        if "<challenge" not in said:
            return [said]
        said = await caller.hear("</challenge>")
        caller.heard = ""
        text = base64.b64decode(said.partition(">")[2].partition("<")[0]).decode()
        proof = base64.b64encode(prove("guess", first, text)).decode()
        caller.say(f"<response xmlns='{SASL}'>{proof}</response>")
        answer = await caller.hear("</failure>")
    nonce, _, rest = text.removeprefix(f"r={NONCE}").partition(",")
    assert UUID.fullmatch(nonce)
    return [re.sub(">.*<", "><", said), rest, answer]


def salt_of(steps: Sequence[str]) -> str:
    return base64.b64decode(steps[1].removeprefix("s=").partition(",")[0]).decode()


async def test_a_name_that_is_there_and_one_that_is_not_are_answered_alike(
    prosody: Prosody,
) -> None:
    await prosody.add_account("alice", "pw")

    there = await try_to_log_in(prosody, "alice")
    absent = await try_to_log_in(prosody, "nobody")

    salts = salt_of(there), salt_of(absent)
    assert all(UUID.fullmatch(salt) for salt in salts)
    assert salts[0] != salts[1]
    assert [there[0], there[1].partition(",")[2], there[2]] == [
        absent[0], absent[1].partition(",")[2], absent[2]
    ]  # fmt: skip
    assert "not-authorized" in there[2]


async def test_who_asks_again_is_told_the_same_also_after_a_restart(
    prosody: Prosody,
) -> None:
    await prosody.add_account("alice", "pw")
    names = ("alice", "nobody", "somebody")
    before = [await try_to_log_in(prosody, name) for name in names]
    await prosody.restart()

    assert [await try_to_log_in(prosody, name) for name in names] == before
    assert len({salt_of(steps) for steps in before}) == 3


async def test_another_server_invents_something_else(
    prosody: Prosody, prosody_program: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("other") / "server"
    folder.parent.chmod(0o755)
    async with Prosody(folder, program=prosody_program) as other:
        salts = {
            salt_of(await try_to_log_in(server, "nobody"))
            for server in (prosody, other)
        }

    assert len(salts) == 2


async def test_a_disabled_account_is_answered_as_none(prosody: Prosody) -> None:
    await prosody.add_account("alice", "pw")
    await ask(
        prosody.data,
        f"""
        local users = prosody.hosts["{prosody.onion}"].users;
        if users.disable then users.disable("alice"); end -- 0.12 has no such thing
        return "";
        """,
    )

    assert "not-authorized" in (await try_to_log_in(prosody, "alice"))[2]


async def test_no_name_makes_it_stumble(prosody: Prosody) -> None:
    for name in ("a=2C", "=zz", "a b", "\u00ad", "A" * 2000):
        steps = await try_to_log_in(prosody, name)
        assert "<failure" in steps[-1]

    bob = await prosody.add_account("bob", "pw")
    async with LightMember(bob, "pw", prosody.c2s_port):
        assert "traceback" not in prosody.log_tail()


async def test_there_is_no_other_way_to_ask(prosody: Prosody) -> None:
    await prosody.add_account("alice", "pw")
    for mechanism in ("PLAIN", "OAUTHBEARER", "SCRAM-SHA-1"):
        answers = [
            await try_to_log_in(prosody, name, mechanism) for name in ("alice", "no")
        ]
        assert answers[0] == answers[1]
        assert re.search("<(invalid-mechanism|encryption-required)", answers[0][0])


async def test_in_tls_too_a_password_is_shown_to_nobody(prosody: Prosody) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", prosody.c2s_port)  # noqa: TID251 - the far end of a test, on loopback
    caller = Caller(reader, writer)
    try:
        caller.open(prosody.onion)
        await caller.hear("</stream:features>")
        caller.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await caller.hear("<proceed")
        await writer.start_tls(context)
        caller.heard = ""
        caller.open(prosody.onion)
        features = await caller.hear("</stream:features>")
    finally:
        writer.transport.abort()

    offered = set(re.findall("<mechanism>(.*?)</mechanism>", features))
    assert "SCRAM-SHA-256" in offered
    assert offered <= {"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}


async def test_eleven_new_passwords_in_a_row_are_too_many(prosody: Prosody) -> None:
    jid = await prosody.add_account("alice", "pw")
    change = (
        "<query xmlns='jabber:iq:register'><username>alice</username>"
        "<password>pw</password></query>"
    )
    first, port = announcement(7), prosody.circuit_port.port
    async with LightMember(jid, "pw", port, first=first) as alice:
        for _ in range(10):
            await alice.ask(change, kind="set")
        alice.send(f"<iq type='set' id='x'>{change}</iq>")
        with pytest.raises(AssertionError, match="closed the stream"):
            await alice.next(lambda stanza: stanza.get("type") == "result")
    assert "A circuit was cut: too many registrations" in prosody.log_tail()


async def test_who_has_no_invite_is_not_told_that_a_name_is_taken(
    prosody: Prosody,
) -> None:
    await prosody.add_account("alice", "pw")
    answers = []
    for name in ("alice", "nobody"):
        async with call(prosody.c2s_port) as caller:
            caller.open(prosody.onion)
            await caller.hear("</stream:features>")
            caller.heard = ""
            caller.say(
                "<iq type='set' id='r'><query xmlns='jabber:iq:register'>"
                f"<username>{name}</username><password>p</password></query></iq>"
            )
            answers.append(await caller.hear("</iq>"))

    assert answers[0] == answers[1]
    assert "not-acceptable" in answers[0]
