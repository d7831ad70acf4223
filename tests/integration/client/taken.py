"""Waiting until a client has taken in what came, however busy the machine is."""

import asyncio

from xmpp_onion import Client

__all__ = ["all_taken"]


async def all_taken(client: Client) -> None:
    """Return when all that the server has sent by now is in the inbox.

    That is also what a stranger sent, whose keys nobody waits for.
    """
    await client.contacts()  # stands behind all that came before
    queue = client._session._queue
    # What the reader has taken out and is not done with counts, too.
    while queue or queue._event_in_hand is not None:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    while await client._clerk.room._rows.senders():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    async with client._clerk._turn:
        pass  # the last one that waited is read
