"""A session whose server is not there, and then whose Tor is not there."""

import asyncio
import contextlib
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

from xmpp_onion.address import JID
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.session import Session
from xmpp_onion.testing.fake_socks import FakeSocks
from xmpp_onion.testing.visit import QUICK
from xmpp_onion.transport import Tor

TIMING = replace(QUICK, dial=0.5)


async def main(who: JID) -> None:
    async with AsyncExitStack() as stack:
        socks = FakeSocks(reply=0xF0)
        await socks.__aenter__()
        endpoint = socks.socks
        tor = await stack.enter_async_context(Tor.attach(str(endpoint)))
        session = Session(who, "pw", tor=tor, timing=TIMING)
        await stack.enter_async_context(session)
        with contextlib.suppress(XmppOnionError):
            await session.wait_online(1)
        asked = sorted({(one.host, one.port) for one in socks.asked})
        await socks.__aexit__(None, None, None)
        with contextlib.suppress(XmppOnionError):
            await session.wait_online(1)  # nobody listens there any more
    print(json.dumps({"port": endpoint.port, "asked": asked}))  # noqa: T201 - read by the test


asyncio.run(main(JID(sys.argv[1])))
