"""A visit to our own server, by the way that everybody comes: through Tor."""

import asyncio
import hashlib
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

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
_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
_END = b"</stream:features>"


async def visit(
    tor: Tor, onion: OnionAddress, *, fingerprint: str = ""
) -> str | XmppOnionError:
    """Tell whether a server is found at its onion, and lets people log in.

    Args:
        tor: By which it is visited.
        onion: Its name.
        fingerprint: Its certificate's, which it has to show then: 64 hex digits.
    """
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
                finding = _judge(greeting, onion)
                if fingerprint and isinstance(finding, str):
                    shown = await _read_certificate(
                        partial(loop.sock_sendall, sock), partial(loop.sock_recv, sock)
                    )
                    return finding if shown == fingerprint else _of_another(shown)
        except (OSError, ssl.SSLError) as error:  # a time-out is one
            return _silent(str(error) or "it said nothing in time")
    return finding


async def _read_certificate(
    send: Callable[[bytes], Awaitable[None]], receive: Callable[[int], Awaitable[bytes]]
) -> str:
    """Begin with TLS, and return the fingerprint of what the server shows.

    Nobody signed it: it is compared with the one that we have.
    """
    await send(f"<starttls xmlns='{_TLS}'/>".encode())
    answer = b""
    while b">" not in answer and len(answer) < _GREETING_LIMIT_BYTES:
        if not (data := await receive(4096)):
            break
        answer += data
    if b"<proceed" not in answer:
        return ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await send(outgoing.read())
            if not (data := await receive(16384)):
                return ""
            incoming.write(data)
        else:
            return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()


def _of_another(shown: str) -> ServerError:
    return ServerError(
        "the server shows another certificate than the one in its folder",
        why=f"its fingerprint is {shown[:16]}…"
        if shown
        else "it does not begin with TLS",
        fix="Start it again: xmpp-onion server down DIR, and up. If it stays so, "
        "somebody else has the address: see who has a copy of onion.key.",
    )


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
