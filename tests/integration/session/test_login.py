"""How often a login waits for the server, on a real one, and what it survives."""

import asyncio
import secrets
import socket
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import (
    AuthenticationError,
    DialTimeoutError,
    DuplicateDeviceError,
)
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.server.console import ask
from xmpp_onion.session import (
    Connected,
    Disconnected,
    Received,
    Remembered,
    Session,
    Timing,
    message_stanza,
)
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.prosody_modules import add_quick_login, find_modules
from xmpp_onion.testing.visit import read_until
from xmpp_onion.transport import Isolation, Tor

pytestmark = pytest.mark.prosody

# Seconds: well above what a program thinks, so that the count is exact.
RTT = 0.8
QUICK = Timing(first_retry=0.05, longest_retry=0.2)
DEVICE = "00112233aabbccdd"


# Leaves resumption to Prosody alone.
UNLOAD = """
local manager = require "core.modulemanager"
assert(manager.unload("{onion}", "resumption"))
return ""
"""

ENCRYPTED = "{urn:xmpp:omemo:2}encrypted"
STEP_BYTES = 37  # of the first flight, from one place where it is cut to the next
IN_STEPS, IN_ONE = "in steps", "in one"


@pytest.fixture(params=[IN_STEPS, IN_ONE])
def way(request: pytest.FixtureRequest) -> str:
    """How people log in: in one with Debian's modules."""
    chosen: str = request.param
    return chosen


@pytest.fixture
async def prosody(
    prosody_program: str, way: str, tmp_path: Path
) -> AsyncIterator[Prosody]:
    initialise(tmp_path / "server")
    if way == IN_ONE:
        modules = find_modules()
        assert modules, "run scripts/fetch-prosody-modules"
        add_quick_login(tmp_path / "server", modules, program=prosody_program)
    async with Prosody(tmp_path / "server", program=prosody_program) as running:
        yield running
        assert "error" not in running.log_tail()


@dataclass
class Device:
    """One device of an account, and what it keeps between its sessions."""

    who: JID
    prosody: Prosody
    password: str = "pw"
    known: Remembered = field(default_factory=Remembered)

    async def remember(self, known: Remembered) -> None:
        # Through its text, as in the store.
        self.known = Remembered.parse(known.dump())
        assert self.known == known

    @asynccontextmanager
    async def session(
        self, tor: Tor | LoopbackDialer, *, tls: bool = False
    ) -> AsyncIterator[Session]:
        async with Session(
            self.who,
            self.password,
            tor=tor,
            certificate=self.prosody.certificate_fingerprint if tls else "",
            tls=tls,
            resource=DEVICE,
            known=self.known,
            remember=self.remember,
            timing=QUICK,
        ) as session:
            await session.wait_online(60)
            yield session


@pytest.fixture
async def alice(prosody: Prosody) -> Device:
    return Device(await prosody.add_account("alice", "pw"), prosody)


async def log_in(alice: Device, tor: Tor | LoopbackDialer) -> str:
    """Log in and out; return the resource."""
    async with alice.session(tor) as session:
        await session.announce()
        return session.jid.resource


@pytest.mark.alone
@pytest.mark.parametrize("tls", ["without TLS", "with TLS"])
async def test_a_login_waits_as_seldom_as_the_server_allows(
    alice: Device, prosody: Prosody, way: str, tls: str
) -> None:
    routes: dict[str, int] = {prosody.onion: prosody.c2s_port}
    async with (
        ChaosProxy(routes=routes, rtt=RTT) as proxy,
        Tor.attach(proxy.socks) as tor,
    ):
        has_tls = tls == "with TLS"
        async with alice.session(tor, tls=has_tls):
            first = proxy.round_trips
        before = proxy.round_trips
        async with alice.session(tor, tls=has_tls) as session:
            later = proxy.round_trips - before
            await read_until(session, Connected)
            await asyncio.sleep(2 * RTT)  # until the stream is at rest
            before = proxy.round_trips
            proxy.cut()
            assert (await read_until(session, Connected))[-1] == Connected(resumed=True)
            resumed = proxy.round_trips - before

    # Without TLS: a question for the features and two for the password; then a token,
    # and nothing but that. With it two more for TLS, and what goes before it.
    goals = {
        ("without TLS", IN_ONE): (3, 1, 1),
        ("without TLS", IN_STEPS): (4, 3, 3),
        ("with TLS", IN_ONE): (6, 3, 3),
        ("with TLS", IN_STEPS): (7, 5, 5),
    }
    assert (first, later, resumed) == goals[tls, way]


async def test_a_device_has_one_place_at_the_server_however_it_logs_in(
    alice: Device, prosody: Prosody
) -> None:
    tor = LoopbackDialer(prosody.c2s_port)
    places = [await log_in(alice, tor) for _ in range(3)]

    assert len(set(places)) == 1
    assert bool(alice.known.token) is alice.known.is_quick


async def test_a_token_that_is_not_good_any_more_costs_a_proof_of_the_password(
    alice: Device, prosody: Prosody, way: str
) -> None:
    if way == IN_STEPS:
        return
    tor = LoopbackDialer(prosody.c2s_port)
    await log_in(alice, tor)
    alice.known = replace(alice.known, token="secret-token:fast-made-up")

    await log_in(alice, tor)

    assert len(tor.dialed) == 2  # on the same connection
    assert alice.known.token != "secret-token:fast-made-up"
    assert "made-up" not in repr(alice.known)
    await log_in(alice, tor)
    assert len(tor.dialed) == 3


async def test_a_token_and_a_wrong_password_end_as_a_wrong_password(
    alice: Device, prosody: Prosody
) -> None:
    tor = LoopbackDialer(prosody.c2s_port)
    await log_in(alice, tor)
    alice.known, alice.password = replace(alice.known, token="other"), "wrong"

    with pytest.raises(AuthenticationError):
        await log_in(alice, tor)
    assert len(tor.dialed) == 2


async def test_a_resumed_stream_goes_on_where_the_token_is_refused(
    alice: Device, prosody: Prosody
) -> None:
    tor = LoopbackDialer(prosody.c2s_port)
    async with alice.session(tor) as session:
        session._known = replace(session._known, token="other")
        await read_until(session, Connected)
        tor.cut()
        seen = await read_until(session, Connected)

    assert seen[-1] == Connected(resumed=True)


def words(to: JID, text: str) -> tuple[str, str]:
    encrypted = ET.Element(ENCRYPTED)
    ET.SubElement(encrypted, "payload").text = text
    message_id = secrets.token_hex(16)
    return message_stanza(to, message_id, [encrypted]), message_id


async def next_words(session: Session) -> str | None:
    received = (await read_until(session, Received))[-1]
    assert isinstance(received, Received)
    return received.element.findtext(f"{ENCRYPTED}/payload")


@pytest.mark.parametrize("resumption", ["ours", "Prosody's own"])
async def test_what_is_said_while_a_stream_is_away_arrives_once_on_a_slow_way(
    alice: Device, prosody: Prosody, resumption: str
) -> None:
    if resumption != "ours":
        data = prosody._folder.data
        await ask(data, UNLOAD.format(onion=prosody.onion))
    bob = Device(await prosody.add_account("bob", "pw"), prosody)
    routes: dict[str, int] = {prosody.onion: prosody.c2s_port}
    said = [f"{number} {'x' * 900}" for number in range(12)]
    async with (
        bob.session(LoopbackDialer(prosody.c2s_port)) as reader,
        # Each piece is read by itself.
        ChaosProxy(routes=routes, rate=9000) as proxy,
        Tor.attach(proxy.socks) as tor,
        alice.session(tor) as session,
    ):
        await reader.announce()
        await read_until(session, Connected)
        for start in range(0, len(said), 4):
            while session.xmpp.outgoing.written:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.05)
            proxy.cut()
            await read_until(session, Disconnected)
            texts = said[start : start + 4]
            waiting = [session.send(*words(bob.who, text)) for text in texts]
            seen = await read_until(session, Connected)
            assert seen[-1] == Connected(resumed=True)
            await asyncio.gather(*waiting)
        heard = [await next_words(reader) for _ in said]

    assert heard == said


async def test_a_server_that_was_set_up_anew_is_asked_anew(
    alice: Device, prosody: Prosody, way: str
) -> None:
    # What is known is wrong in both directions.
    tor = LoopbackDialer(prosody.c2s_port)
    is_quick = way == IN_ONE
    alice.known = Remembered(
        mechanism="SCRAM-SHA-256",
        is_current=True,
        is_quick=not is_quick,
        gives_tokens=not is_quick,
        acks_inline=not is_quick,
        token="of another time" if not is_quick else "",
    )

    await log_in(alice, tor)

    assert alice.known.is_quick is is_quick
    assert len(tor.dialed) == 2


@pytest.mark.parametrize("end", [1, 40, 200, 330, 500, 650, 800, 5000])
async def test_a_first_flight_that_is_cut_anywhere_is_made_again(
    alice: Device, prosody: Prosody, end: int
) -> None:
    await log_in(alice, LoopbackDialer(prosody.c2s_port))
    tor = _Cutter(prosody.c2s_port, end=end)
    async with alice.session(tor) as session, asyncio.timeout(30):
        while len(tor.dialed) < 2 or not session.xmpp.online:  # noqa: ASYNC110 - it may have been let in before the cut
            await asyncio.sleep(0.01)
        await session.send(*_note_to(session))
        assert session.jid.bare == alice.who

    assert len(tor.dialed) == 2


def _note_to(session: Session) -> tuple[str, str]:
    message_id = secrets.token_hex(8)
    return message_stanza(session.jid.bare, message_id, []), message_id


@dataclass
class _InPieces(LoopbackDialer):
    """Sends so much of the first flight, and the rest when the server has read that."""

    end: int = 0
    length: int = 0

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = 60.0,
        first: bytes = b"",
    ) -> socket.socket:
        self.length = len(first)
        sock = await super().dial(
            address,
            port,
            isolation=isolation,
            timeout=timeout,
            first=first[: self.end],
        )
        own = sock.getsockname()[1]
        while _unread(self.port, own):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)
        await asyncio.get_running_loop().sock_sendall(sock, first[self.end :])
        return sock


def _unread(port: int, own: int) -> bool:
    """Tell whether the server has not read all that our socket has sent it."""
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if (local[-4:], remote[-4:]) == (f"{port:04X}", f"{own:04X}"):
            return not queues.endswith(":00000000")
    return True  # it is not accepted yet


async def test_a_first_flight_may_come_in_two_pieces_wherever_it_is_cut(
    alice: Device, prosody: Prosody, way: str
) -> None:
    if way == IN_STEPS:
        return  # it is a header, and the name of a mechanism
    bob = Device(await prosody.add_account("bob", "pw"), prosody)
    tor, said = _InPieces(prosody.c2s_port), list[str]()
    await log_in(alice, tor)
    async with (
        bob.session(LoopbackDialer(prosody.c2s_port)) as reader,
        alice.session(tor) as session,
    ):
        await reader.announce()
        await read_until(session, Connected)
        while tor.end <= tor.length:
            while session.xmpp.outgoing.written:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.005)
            tor.cut()
            await read_until(session, Disconnected)
            tor.end += STEP_BYTES
            texts = [f"{tor.end} {half}" for half in ("one", "two")]
            waiting = [session.send(*words(bob.who, text)) for text in texts]
            said += texts
            seen = await read_until(session, Connected)
            assert seen[-1] == Connected(resumed=True)
            await asyncio.gather(*waiting)
        heard = [await next_words(reader) for _ in said]

    assert heard == said
    assert len(tor.dialed) == len(said) // 2 + 2
    assert len(said) > 60  # the messages went with it


@dataclass
class _Cutter(LoopbackDialer):
    """Sends so much of the first flight, and breaks the connection."""

    end: int = 0

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = 60.0,
        first: bytes = b"",
    ) -> socket.socket:
        is_cut = not self.dialed
        sock = await super().dial(
            address,
            port,
            isolation=isolation,
            timeout=timeout,
            first=first[: self.end] if is_cut else first,
        )
        if is_cut:
            await asyncio.sleep(0.05)  # the server reads it
            self.cut()
        return sock


async def test_a_login_that_comes_through_after_it_was_given_up_is_no_other_process(
    alice: Device, prosody: Prosody, way: str
) -> None:
    if way == IN_STEPS:
        return  # what is said in steps has no effect without us
    await log_in(alice, LoopbackDialer(prosody.c2s_port))
    tor = _Late(prosody.c2s_port)
    async with alice.session(tor) as session:
        events = session.events()
        assert isinstance(await anext(events), Connected)
        await session.send(*_note_to(session))  # nothing is on its way

        async with _said_again(tor), asyncio.timeout(30):
            while not isinstance(event := await anext(events), Disconnected):
                pass
            assert "conflict" in event.reason
        while not isinstance(await anext(events), Connected):
            pass
        await session.send(*_note_to(session))

        # Once: another one of our name is one too many.
        async with _said_again(tor):
            with pytest.raises(DuplicateDeviceError):
                await _read_on(events)


async def _read_on(events: AsyncIterator[object]) -> None:
    async with asyncio.timeout(30):
        async for _ in events:
            pass


@asynccontextmanager
async def _said_again(tor: "_Late") -> AsyncIterator[None]:
    """Let the server hear now what was given up."""
    _, writer = await asyncio.open_connection(  # noqa: TID251 - not by our door
        "127.0.0.1", tor.port
    )
    writer.write(tor.said)
    try:
        yield
    finally:
        writer.transport.abort()


@dataclass
class _Late(LoopbackDialer):
    """Gives the first dial up; what was said with it is not there yet."""

    said: bytes = b""

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = 60.0,
        first: bytes = b"",
    ) -> socket.socket:
        if not self.said:
            self.said = first
            raise DialTimeoutError("no answer", host=str(address))
        return await super().dial(
            address, port, isolation=isolation, timeout=timeout, first=first
        )
