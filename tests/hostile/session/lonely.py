"""A session whose server is not there, and then whose Tor is not there."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

from xmpp_onion.address import JID
from xmpp_onion.errors import TorNotRunningError, XmppOnionError
from xmpp_onion.session import Session
from xmpp_onion.testing.fake_socks import FakeSocks
from xmpp_onion.testing.visit import QUICK
from xmpp_onion.transport import Tor

TIMING = replace(QUICK, dial=0.5)


async def until_tor_is_missed(session: Session) -> None:
    """Return when an attempt has found that nobody listens there any more."""
    while True:
        try:
            await session.wait_online(0)
        except TorNotRunningError:
            return
        except XmppOnionError:
            await asyncio.sleep(0.01)


async def main(who: JID) -> None:
    async with AsyncExitStack() as stack:
        socks = FakeSocks(reply=0xF0)
        await socks.__aenter__()
        endpoint = socks.socks
        tor = await stack.enter_async_context(Tor.attach(str(endpoint)))
        session = Session(who, "pw", tor=tor, timing=TIMING)
        await stack.enter_async_context(session)
        while len(socks.asked) < 3:  # noqa: ASYNC110 - a fake tells nobody
            await asyncio.sleep(0.01)
        asked = sorted({(one.host, one.port) for one in socks.asked})
        await socks.__aexit__(None, None, None)
        await until_tor_is_missed(session)
    print(json.dumps({"port": endpoint.port, "asked": asked}))  # noqa: T201 - read by the test


asyncio.run(main(JID(sys.argv[1])))
