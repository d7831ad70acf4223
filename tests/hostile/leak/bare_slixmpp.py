"""A bot as the library's own tutorial writes it, connecting to an onion service."""

import asyncio
import sys

import slixmpp


async def main(jid: str) -> None:
    client = slixmpp.ClientXMPP(jid, "secret")
    client.connect()
    await asyncio.sleep(3)
    client.abort()


asyncio.run(main(sys.argv[1]))
