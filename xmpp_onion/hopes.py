"""Messages that go out behind a login, before the server has let us in.

They are what waits in the outbox: encrypted, and with an id by which their receivers
drop what comes twice. So nothing is lost if the login fails, and nothing is shown
twice if it came through unheard.
"""

import asyncio
from collections.abc import Awaitable
from datetime import datetime

from xmpp_onion.e2ee import Omemo
from xmpp_onion.session import Session
from xmpp_onion.store import Database, Outbox

__all__ = ["Hopes"]

# Rows that go along at most: a first flight is to fit into what Tor takes without
# waiting for the far end, which is some 50 short messages.
_AT_ONCE = 32


class Hopes:
    """What was given to the session for its next login.

    Args:
        database: Of the account.
        outbox: What waits.
        session: Takes it along.
        omemo: Knows whether what waits may still go as it is.
    """

    def __init__(
        self, database: Database, outbox: Outbox, session: Session, omemo: Omemo
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._session = session
        self._omemo = omemo
        self._given: dict[int, asyncio.Future[None]] = {}

    async def give(self, now: datetime) -> None:
        """Give the session the oldest messages to people.

        Not what has to be looked at again when we are in: what is for a room, what
        has had its time, and all of it where the policy is another one than before.
        Nor what a stream that is to be resumed has of it already.
        """
        for row_id in [*self._given]:
            if _has_failed(self._given[row_id]):
                del self._given[row_id]
        if (
            self._database.progress.is_rolled_back
            or await self._omemo.policies.has_changed()
        ):
            return
        under_way = self._session.under_way()
        for row in await self._outbox.pending(limit=_AT_ONCE):
            is_over = row.expires_at is not None and row.expires_at <= now
            if not row.readers and not is_over and row.stanza_xml not in under_way:
                sent = self._session.send(row.stanza_xml, row.message_id)
                self._given[row.id] = sent

    def take(self, row_id: int) -> Awaitable[None] | None:
        """Return what completes when the server has a row; None if it was not given."""
        sent = self._given.pop(row_id, None)
        return None if sent is None or _has_failed(sent) else sent


def _has_failed(sent: asyncio.Future[None]) -> bool:
    return sent.done() and (sent.cancelled() or sent.exception() is not None)
