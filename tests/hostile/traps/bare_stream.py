"""slixmpp as it is, logged in on a server that misbehaves by script."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from slixmpp import ClientXMPP

from xmpp_onion.testing.hostile import SESSION, SM, HostileServer, Peer


@asynccontextmanager
async def bare_client(
    server: HostileServer, *plugins: str
) -> AsyncIterator[ClientXMPP]:
    """Connect as the library's own examples do, and take it away afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = ClientXMPP(server.jid, server.password, ssl_context=context)
    client.enable_direct_tls = False
    for plugin in plugins:
        client.register_plugin(plugin)
    client.connect("127.0.0.1", server.port)
    try:
        yield client
    finally:
        client.cancel_connection_attempt()
        client.abort()
        if client._run_out_filters is not None:
            client._run_out_filters.cancel()
        await asyncio.sleep(0.05)


async def let_in(peer: Peer, prolog: str = "") -> None:
    """Take a bare client to its session; ``prolog`` goes before the last stream."""
    await peer.start_tls()
    await peer.scram()
    await peer.greet(SESSION, prolog=prolog)
    await bind(peer, await peer.read("</iq>"))


async def bind(peer: Peer, request: str) -> None:
    """Answer a request for a resource."""
    await peer.send(
        f"<iq type='result' id='{request_id(request)}'>"
        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
        f"<jid>{peer.account}/here</jid></bind></iq>"
    )


async def enable(peer: Peer) -> None:
    """Let the stream be one that can be resumed."""
    await peer.read("<enable")
    await peer.read("/>")
    await peer.send(f"<enabled {SM} resume='true' id='again'/>")


def request_id(text: str) -> str:
    """Return the id of the last request in a text."""
    return re.findall(r"<iq[^>]* id=['\"]([^'\"]+)", text)[-1]
