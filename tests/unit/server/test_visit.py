"""A visit to a server: what it has to say at its onion to be well."""

import socket
from contextlib import closing

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import OnionNotFoundError, ServerError
from xmpp_onion.server import visit

ONION = OnionAddress("aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion")
GREETING = (
    f"<?xml version='1.0'?><stream:stream from='{ONION}'><stream:features><mechanisms>"
    "<mechanism>SCRAM-SHA-256</mechanism></mechanisms></stream:features>"
)


class OneAnswer:
    """A Tor behind which a server says one thing, and hangs up."""

    def __init__(self, answer: str) -> None:
        self._answer = answer.encode()

    async def dial(self, *_place: object, **_options: object) -> socket.socket:
        ours, self._theirs = socket.socketpair()
        ours.settimeout(0.0)
        self._theirs.sendall(self._answer)
        self._theirs.shutdown(socket.SHUT_WR)
        return ours

    def close(self) -> None:
        self._theirs.close()


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (GREETING, "answers through Tor"),
        ("", "no XMPP server of that name"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "no XMPP server of that name"),
        (GREETING.replace("ae", "be"), "no XMPP server of that name"),
        (GREETING.replace("-256", "-1"), "does not offer SCRAM-SHA-256"),
        (
            GREETING.replace("<mechanism>", "<mechanism>PLAIN</mechanism><mechanism>"),
            "weaker",
        ),
        ("x" * 20000, "no XMPP server of that name"),
    ],
)
async def test_a_server_has_to_be_the_one_and_offer_what_is_safe(
    answer: str, word: str
) -> None:
    with closing(OneAnswer(answer)) as tor:
        finding = await visit(tor, ONION)

    assert word in str(finding)
    assert isinstance(finding, ServerError) == (word != "answers through Tor")


async def test_an_onion_that_nobody_finds_is_what_tor_says() -> None:
    error = OnionNotFoundError("not found", host=ONION)

    class Nowhere:
        async def dial(self, *_place: object, **_options: object) -> socket.socket:
            raise error

    assert await visit(Nowhere(), ONION) is error
