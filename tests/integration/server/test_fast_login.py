"""Logging in with Debian's prosody-modules and without, on the same configuration."""

import base64
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.server import Prosody, initialise
from xmpp_onion.server.console import ask
from xmpp_onion.testing.light_member import LightMember, prove
from xmpp_onion.testing.prosody_modules import add_quick_login, find_modules

pytestmark = pytest.mark.prosody

SASL2 = "urn:xmpp:sasl:2"
FAST = "urn:xmpp:fast:0"
MECHANISM = "HT-SHA-256-NONE"
# Writes down what is told of log-ins.
COUNT = """
prosody.seen = {{ }}
for _, how in ipairs {{ "success"; "failure" }} do
	prosody.hosts["{onion}"].events.add_handler("authentication-"..how, function ()
		table.insert(prosody.seen, how)
	end)
end
return ""
"""


@pytest.fixture(params=["without", "with"])
def modules(request: pytest.FixtureRequest) -> Path | None:
    if request.param == "without":
        return None
    found = find_modules()
    assert found, "run scripts/fetch-prosody-modules"
    return found


@pytest.fixture
async def prosody(
    prosody_program: str, modules: Path | None, tmp_path: Path
) -> AsyncIterator[Prosody]:
    initialise(tmp_path / "server")
    if modules is not None:
        add_quick_login(tmp_path / "server", modules, program=prosody_program)
    async with Prosody(tmp_path / "server", program=prosody_program) as running:
        yield running


class FastMember(LightMember):
    """Logs in by SASL2 in one flight after the features, or by a token in none.

    Attributes:
        token: What it may log in with the next time.
        device: Who it is to the server, with its tokens.
        outcome: What came of it.
    """

    token = ""
    device = "d4565fa7-4d72-4749-b3d3-740edbf87770"
    outcome: ET.Element

    async def authenticate(self) -> None:
        first = f"n={self.jid.local},r={secrets.token_urlsafe(12)}"
        self._say(
            "SCRAM-SHA-256", f"n,,{first}".encode(),
            f"<request-token xmlns='{FAST}' mechanism='{MECHANISM}'/>",
        )  # fmt: skip
        challenge = base64.b64decode((await self.next()).text or "").decode()
        proof = base64.b64encode(prove(self._password, first, challenge)).decode()
        self.send(f"<response xmlns='{SASL2}'>{proof}</response>")
        await self._end()

    async def use_token(self, token: str) -> None:
        proof = hmac.digest(token.encode(), b"Initiator", "sha256")
        initial = self.jid.local.encode() + b"\0" + proof
        self._say(MECHANISM, initial, f"<fast xmlns='{FAST}'/>")
        await self._end()

    def _say(self, mechanism: str, initial: bytes, extra: str) -> None:
        self.send(
            f"<authenticate xmlns='{SASL2}' mechanism='{mechanism}'>"
            f"<initial-response>{base64.b64encode(initial).decode()}</initial-response>"
            f"<user-agent id='{self.device}'/><bind xmlns='urn:xmpp:bind:0'/>"
            f"{extra}</authenticate>"
        )

    async def _end(self) -> None:
        self.outcome = await self.next()
        token = self.outcome.find(f"{{{FAST}}}token")
        if token is not None:
            self.token = token.attrib["token"]

    @property
    def is_in(self) -> bool:
        return self.outcome.tag == f"{{{SASL2}}}success"


@asynccontextmanager
async def opened(member: FastMember) -> AsyncIterator[ET.Element]:
    """Open a stream, yield its features, and close it."""
    features = await member.connect()
    try:
        yield features
    finally:
        await member.__aexit__(None, None, None)


async def test_everybody_logs_in_as_ever(prosody: Prosody) -> None:
    alice = await prosody.add_account("alice", "pw")

    async with LightMember(alice, "pw", prosody.c2s_port):
        assert (await prosody.load()).sessions == 1

    stranger = FastMember(alice, "wrong", prosody.c2s_port)
    async with opened(stranger):
        with pytest.raises(AssertionError, match="not-authorized"):
            await stranger._log_in()
    assert "error" not in prosody.log_tail()


async def test_a_token_stands_for_a_password_where_the_modules_are(
    prosody: Prosody, modules: Path | None
) -> None:
    alice = await prosody.add_account("alice", "pw")
    first = FastMember(alice, "pw", prosody.c2s_port)
    async with opened(first) as features:
        offered = features.find(f"{{{SASL2}}}authentication")
        assert (offered is not None) is (modules is not None)
        if offered is None:
            return
        # Resuming a stream along with it: 13.0 alone.
        is_new = prosody.version.startswith("13")
        assert (offered.find(".//{urn:xmpp:sm:3}sm") is not None) is is_new
        await first.authenticate()
        assert first.is_in
        assert (await prosody.load()).sessions == 1
        await first.ask("<ping xmlns='urn:xmpp:ping'/>", to=alice.domain)

    second = FastMember(alice, "", prosody.c2s_port)
    async with opened(second):
        await second.use_token(first.token)
        assert second.is_in, ET.tostring(second.outcome)
        await second.ask("<ping xmlns='urn:xmpp:ping'/>", to=alice.domain)
    assert "error" not in prosody.log_tail()


async def test_a_wrong_token_is_refused_and_the_password_still_good(
    prosody: Prosody, modules: Path | None
) -> None:
    alice = await prosody.add_account("alice", "pw")
    member, data = FastMember(alice, "pw", prosody.c2s_port), prosody._folder.data
    async with opened(member):
        if modules is None:
            return
        await ask(data, COUNT.format(onion=prosody.onion))
        await member.use_token("secret-token:fast-made-up")
        assert not member.is_in
        await member.authenticate()
        assert member.is_in
        # What limits log-ins of a circuit hears of these, too.
        assert await ask(data, "return table.concat(prosody.seen, ' ')") == (
            "failure success"
        )
    assert "error" not in prosody.log_tail()
