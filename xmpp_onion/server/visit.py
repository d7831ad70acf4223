"""A visit to our own server, by the way that everybody comes: through Tor."""

import asyncio

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError, XmppOnionError
from xmpp_onion.transport import Isolation, Purpose, Tor

__all__ = ["visit"]

# Seconds for a circuit, and for the server's first words on it: the slowest circuits
# that are of use take three seconds for a round trip.
_DIAL_SECONDS = 60.0
_GREETING_SECONDS = 30.0
# The first words of a server are under 2 kB.
_GREETING_LIMIT_BYTES = 16 * 1024
_PORT = 5222
_END = b"</stream:features>"


async def visit(tor: Tor, onion: OnionAddress) -> str | XmppOnionError:
    """Tell whether a server is found at its onion, and lets people log in."""
    isolation = Isolation(f"check of {onion}", Purpose.CHECK)
    try:
        sock = await tor.dial(onion, _PORT, isolation=isolation, timeout=_DIAL_SECONDS)
    except XmppOnionError as error:
        return error
    loop = asyncio.get_running_loop()
    greeting = b""
    with sock:
        header = (
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' "
            f"xmlns:stream='http://etherx.jabber.org/streams' to='{onion}'>"
        )
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                await loop.sock_sendall(sock, header.encode())
                while _END not in greeting and len(greeting) < _GREETING_LIMIT_BYTES:
                    if not (data := await loop.sock_recv(sock, 4096)):
                        break
                    greeting += data
        except OSError as error:  # a time-out is one
            return _silent(str(error) or "it said nothing in time")
    return _judge(greeting, onion)


def _judge(greeting: bytes, onion: OnionAddress) -> str | XmppOnionError:
    if f"from='{onion}'".encode() not in greeting or _END not in greeting:
        return _silent("what answers there is no XMPP server of that name")
    if b">SCRAM-SHA-256<" not in greeting:
        return _silent("it does not offer SCRAM-SHA-256")
    if b">PLAIN<" in greeting or b">SCRAM-SHA-1<" in greeting:
        return _silent("it offers a log-in that is weaker than SCRAM-SHA-256")
    return f"{onion} answers through Tor, with SCRAM-SHA-256 and nothing less"


def _silent(why: str) -> ServerError:
    return ServerError(
        "nobody can log in to the server",
        why=why,
        fix="Start it again: xmpp-onion server down DIR, and up. Read its log.",
    )
