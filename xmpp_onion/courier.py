"""Carries what the outbox holds to the server, in its order, and does the jobs.

A row stays on disk until the server has acknowledged it. After a session that
could not be resumed the *same bytes* go again: encrypting twice would use up a
ratchet step and show the message twice.
"""

import asyncio
import logging
import time

from xmpp_onion.e2ee import Omemo
from xmpp_onion.errors import NotAcknowledgedError, XmppOnionError
from xmpp_onion.session import Session
from xmpp_onion.store import Database, Outbox, OutboxRow

__all__ = ["Courier"]

log = logging.getLogger(__name__)

# Seconds before a job that the network refused is tried again.
_JOB_PAUSE = 30.0


class Courier:
    """Brings stanzas and jobs from disk to the server, once the session allows.

    Args:
        database: Of the account.
        outbox: What is on its way.
        session: Where it goes.
        omemo: Knows how to do the jobs: publishing a bundle, a device list.
    """

    def __init__(
        self, database: Database, outbox: Outbox, session: Session, omemo: Omemo
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._session = session
        self._omemo = omemo
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._under_way: set[int] = set()
        self._open = asyncio.Event()
        self._work = asyncio.Event()
        self._next_jobs = 0.0

    def open(self) -> None:
        """Let things go out: the session is up and encryption is ready."""
        self._open.set()
        self._work.set()

    def hold(self) -> None:
        """Keep everything on disk until ``open``: the session is down."""
        self._open.clear()

    def wake(self) -> None:
        """Look into the outbox: something was put there."""
        self._work.set()

    def expect(self, row_id: int) -> asyncio.Future[None]:
        """Return what completes when the server has the stanza of that row."""
        return self._waiting.setdefault(
            row_id, asyncio.get_running_loop().create_future()
        )

    async def run(self) -> None:
        """Carry until cancelled; who still waits then is told so."""
        try:
            await self._run()
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(_closed())
                    waiting.exception()  # not everybody waits: no warning for that

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as sending:
            while True:
                await self._work.wait()
                await self._open.wait()
                self._work.clear()
                for row in await self._outbox.pending():
                    if row.id not in self._under_way:
                        self._under_way.add(row.id)
                        # Tasks start in this order, so the wire keeps it.
                        sending.create_task(self._carry(row))
                await self._do_jobs()

    async def _carry(self, row: OutboxRow) -> None:
        try:
            await self._session.send(row.stanza_xml, row.message_id)
        except NotAcknowledgedError:
            # The session ended and is not coming back; the next one gets the row.
            self._under_way.discard(row.id)
            self._work.set()
            return
        async with self._database.transaction():
            await self._outbox.remove(row.id)
        self._under_way.discard(row.id)
        waiting = self._waiting.pop(row.id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _do_jobs(self) -> None:
        """Do each job once; what the network refuses stays for a later round."""
        if time.monotonic() < self._next_jobs:
            return
        for job in await self._outbox.jobs():
            try:
                await self._omemo.perform(job.kind, job.payload)
            except XmppOnionError as error:
                log.info("a job has to wait: %s (%s)", job.kind, type(error).__name__)
                self._next_jobs = time.monotonic() + _JOB_PAUSE
                asyncio.get_running_loop().call_later(_JOB_PAUSE, self.wake)
                return
            async with self._database.transaction():
                await self._outbox.remove_job(job.id)


def _closed() -> NotAcknowledgedError:
    return NotAcknowledgedError(
        "the server has not confirmed the message",
        why="the client was closed before",
        fix="It is queued and goes out with the next login.",
    )
