"""Bare slixmpp falls into its traps; ours beside it: see traps.md."""

import asyncio
import importlib.util
import logging
import random  # noqa: TID251 - the trap is about it
import re
import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest
from bare_stream import bare_client, bind, enable, let_in, request_id
from slixmpp.plugins.xep_0454 import XEP_0454
from slixmpp.stanza import Message
from slixmpp.util.sasl.mechanisms import SCRAM
from trap import falls, still_there

from xmpp_onion.testing.hostile import SESSION, SM, HostileServer, Peer, make_onion_name

MAM = "urn:xmpp:mam:2"
STRANGER = f"mallory@{make_onion_name()}"
CANARY = "canary-4711"


def chat(content: str) -> str:
    return f"<message from='{STRANGER}' type='chat'>{content}</message>"


async def first_message(script_sends: str, prolog: str = "") -> Message:
    """Return the first message that a bare client hands to its application."""

    async def script(peer: Peer) -> None:
        await let_in(peer, prolog)
        await peer.send(script_sends)

    async with HostileServer(script) as server, bare_client(server) as client:
        came: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        client.add_event_handler("message", came.set_result)
        return await asyncio.wait_for(came, 20)


# --- T8: the login ------------------------------------------------------------------


class Patient(SCRAM):
    """Counts the rounds instead of doing them."""

    rounds = 0

    def Hi(self, text: str, salt: bytes, iterations: int) -> bytes:  # noqa: N802 - the library's name
        self.rounds = iterations
        return super().Hi(text, salt, 1)


def mechanism() -> Patient:
    settings = {"encrypted": True, "binding_proposed": False, "tls_version": None}
    credentials = {"username": b"victim", "password": b"sesame", "authzid": b""}
    return Patient("SCRAM-SHA-256", {**credentials, "channel_binding": None}, settings)


def test_t8_the_nonce_can_be_foreseen() -> None:
    nonces = []
    for _ in range(2):
        random.seed(4711)
        nonces.append(mechanism().process())

    still_there(nonces[0] == nonces[1], "session/scram.py: a nonce of `secrets`")


@pytest.mark.parametrize("iterations", [1, 2**31])
def test_t8_any_number_of_rounds_is_done(iterations: int) -> None:
    scram = mechanism()
    nonce = scram.process().decode().partition("r=")[2]

    scram.process(f"r={nonce}more,s=AAAA,i={iterations}".encode())

    still_there(scram.rounds == iterations, "session/scram.py: bounds")


# --- T9, T10, T11: what a stream may contain ----------------------------------------


async def test_t9_a_document_type_is_accepted_and_its_entities_blow_up() -> None:
    entity = "x" * 1000
    prolog = f"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e '{entity}'>]>"

    message = await first_message(chat(f"<body>{'&e;' * 1000}</body>"), prolog)

    still_there(len(message["body"]) == 10**6, "session/guards.py: restricted XML")


async def test_t10_a_stanza_of_any_length_is_taken() -> None:
    message = await first_message(chat(f"<body>{'x' * 3_000_000}</body>"))

    still_there(len(message["body"]) == 3_000_000, "session/guards.py: limits")


async def test_t10_a_stanza_of_any_number_of_elements_is_taken() -> None:
    message = await first_message(chat("<body>x</body>" + "<x/>" * 100_000))

    still_there(len(message.xml) > 100_000, "session/guards.py: limits")


async def test_t11_a_deep_stanza_breaks_whoever_writes_it_down() -> None:
    message = await first_message(chat("<body>x</body>" + "<x>" * 3000 + "</x>" * 3000))

    with falls(RecursionError, "session/guards.py: the depth"):
        str(message)


async def test_t11_a_deep_stanza_ends_a_stream_that_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Each of them: whoever ran before may have quietened the one that counts.
    for name in ("slixmpp", "slixmpp.xmlstream", "slixmpp.xmlstream.xmlstream"):
        caplog.set_level(logging.DEBUG, name)
    is_awaited = asyncio.Event()

    async def script(peer: Peer) -> None:
        await let_in(peer)
        await is_awaited.wait()
        await peer.send(chat("<body>x</body>" + "<x>" * 3000 + "</x>" * 3000))

    async def begin() -> None:
        is_awaited.set()

    async with HostileServer(script) as server, bare_client(server) as client:
        await asyncio.gather(client.wait_until("disconnected", 20), begin())


# --- T12, T13, T20: files -----------------------------------------------------------


class Impatient(BytesIO):
    """A file whose reader must notice its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() == len(self.getvalue()):
            self.ends = getattr(self, "ends", 0) + 1
            if self.ends > 100:
                raise TimeoutError
        return super().read(size)


@pytest.mark.parametrize("length", [4096, 8192])
def test_t12_a_file_of_this_length_is_read_for_ever(length: int) -> None:
    payload, fragment = XEP_0454.encrypt(BytesIO(bytes(length)))

    with falls(TimeoutError, "the list of plugins that are never loaded"):
        XEP_0454.decrypt(Impatient(payload), fragment)


def test_t13_a_file_is_copied_whole_for_each_piece_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4_000_000))
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            XEP_0454.encrypt(file)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    still_there(most > 7_900_000, "the list of plugins that are never loaded")


def test_t20_the_upload_dials_by_itself() -> None:
    found = importlib.util.find_spec("slixmpp.plugins")
    assert found is not None
    assert found.origin is not None
    plugin = Path(found.origin).parent / "xep_0363" / "http_upload.py"
    text = plugin.read_text("utf-8")

    still_there(
        "from aiohttp import ClientSession" in text and "ClientSession(" in text,
        "the list of plugins that are never loaded",
    )


# --- T16: logs ----------------------------------------------------------------------


async def test_t16_the_logs_have_the_text_and_the_login(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "slixmpp")
    for name in ("slixmpp.basexmpp", "slixmpp.xmlstream"):
        caplog.set_level(logging.DEBUG, name)

    await first_message(chat(f"<body>{CANARY}</body>"))

    still_there(
        CANARY in caplog.text and "<response " in caplog.text,
        "session/client_xmpp.py: quieten_library_logs()",
    )


# --- T18: answers that nobody gave --------------------------------------------------


async def test_t18_a_stranger_is_let_in_and_asked_back() -> None:
    async def script(peer: Peer) -> None:
        await let_in(peer)
        await peer.send(f"<presence type='subscribe' from='{STRANGER}'/>")

    async with HostileServer(script) as server, bare_client(server):
        await server.wait_heard("<presence")
        for kind in ("subscribed", "subscribe"):
            await server.wait_heard(f'type="{kind}"')


async def test_t18_a_stranger_gets_a_receipt() -> None:
    async def script(peer: Peer) -> None:
        await let_in(peer)
        await peer.send(
            f"<message from='{STRANGER}' id='m' type='chat'><body>x</body>"
            "<request xmlns='urn:xmpp:receipts'/></message>"
        )

    async with HostileServer(script) as server, bare_client(server, "xep_0184"):
        await server.wait_heard("<received")


# --- T19, T26: a stream that cannot be resumed, or is and is deaf -------------------


async def test_t19_what_was_not_acknowledged_is_dropped_with_its_stream() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.scram()
        await peer.greet(SESSION)
        request = await peer.read(">")
        if "<resume" in request:
            await peer.send(
                f"<failed {SM}><item-not-found "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
            )
            request = ""
        await bind(peer, request + await peer.read("</iq>"))
        await enable(peer)
        await peer.read("</message>")
        peer.writer.transport.abort()

    async with (
        HostileServer(script) as server,
        bare_client(server, "xep_0198") as client,
    ):
        for text in ("precious", "later"):
            enabled = client.wait_until("sm_enabled", 20)
            ended = client.wait_until("disconnected", 20)
            await enabled
            client.send_message(server.jid, text)
            await ended
            client.connect("127.0.0.1", server.port)

    assert "later" in server.peers[1].heard
    still_there("precious" not in server.peers[1].heard, "store/outbox.py, courier.py")


async def test_t26_a_resumed_stream_is_not_asked_whether_it_hears() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.scram()
        await peer.greet(SESSION)
        request = await peer.read(">")
        if "<resume" in request:
            await peer.send(f"<resumed {SM} h='0' previd='again'/>")
            return  # and deaf from now on
        await bind(peer, request + await peer.read("</iq>"))
        await enable(peer)
        peer.writer.transport.abort()

    async with (
        HostileServer(script) as server,
        bare_client(server, "xep_0198") as client,
    ):
        await client.wait_until("disconnected", 20)
        client.connect("127.0.0.1", server.port)
        await client.wait_until("session_resumed", 20)
        for text in ("one", "two", "three"):
            client.send_message(server.jid, text)
        await server.wait_heard("three")

    resumed = server.peers[1].heard.partition("<resume")[2]
    still_there("<r " not in resumed, "session/liveness.py: a resumed stream")


# --- T25, T27: the archive ----------------------------------------------------------


def result(peer: Peer, query: str, *, sender: str = "") -> str:
    own = peer.account
    return (
        f"<message from='{sender or own}' to='{own}/here'>"
        f"<result xmlns='{MAM}' queryid='{query}' id='1'>"
        "<forwarded xmlns='urn:xmpp:forward:0'>"
        "<delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05Z'/>"
        f"<message xmlns='jabber:client' from='{STRANGER}' to='{own}' type='chat'>"
        "<body>text</body></message></forwarded></result></message>"
    )


async def read_archive(answer: str, *, sender: str = "", most: int = 50) -> int:
    """Return how many messages a bare client takes from an archive."""

    async def script(peer: Peer) -> None:
        await let_in(peer)
        while True:
            request = await peer.read("</iq>")
            if MAM not in request:
                continue
            query = re.findall(r"queryid=['\"]([^'\"]+)", request)[-1]
            head = f"<iq id='{request_id(request)}' "
            await peer.send(result(peer, query, sender=sender) if most else "")
            await peer.send(head + answer)

    async with (
        HostileServer(script) as server,
        bare_client(server, "xep_0313") as client,
    ):
        await client.wait_until("session_start", 20)
        taken = 0
        async with asyncio.timeout(30):
            async for _ in client.plugin["xep_0313"].iterate():
                taken += 1
                if taken == most:
                    break
    return taken


NEVER_MOVES = (
    f"type='result'><fin xmlns='{MAM}'>"
    "<set xmlns='http://jabber.org/protocol/rsm'><first>1</first><last>1</last>"
    "</set></fin></iq>"
)
EXPIRED = (
    "type='error'><error type='cancel'><item-not-found "
    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
)


async def test_t25_pages_that_never_move_are_followed_for_ever() -> None:
    taken = await read_archive(NEVER_MOVES, most=50)

    still_there(taken == 50, "session/catch_up.py: our own pager")


async def test_t25_results_of_a_stranger_are_taken() -> None:
    taken = await read_archive(NEVER_MOVES, sender=STRANGER, most=1)

    still_there(taken == 1, "session/archive.py: whose results count")


async def test_t27_a_place_that_is_forgotten_looks_like_an_empty_archive() -> None:
    taken = await read_archive(EXPIRED, most=0)

    still_there(taken == 0, "session/catch_up.py: errors are errors")
