"""The server that people reach: Prosody behind an onion service."""

import asyncio
import logging
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from xmpp_onion import private
from xmpp_onion.address import JID, Invite, OnionAddress
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.server.circuits import close_circuits
from xmpp_onion.server.doors import Doors
from xmpp_onion.server.health import Health, State
from xmpp_onion.server.invites import DEFAULT_LIFETIME
from xmpp_onion.server.log import LOG_LIMIT_BYTES, LogReader, keep_short
from xmpp_onion.server.runner import Prosody
from xmpp_onion.transport import Tor

__all__ = ["Server"]

log = logging.getLogger(__name__)


class Server:
    """A Prosody behind an onion service of its own; an async context manager.

    Entering makes the folder if it is new, starts Prosody and publishes its onion;
    leaving takes both down. Nothing listens beyond loopback.

    Args:
        folder: Where its keys and accounts are, or shall be. Who has a copy of it
            has the address.
        tor: What publishes the onion service.
        prosody: The program, by name or path.
    """

    def __init__(self, folder: Path, *, tor: Tor, prosody: str = "prosody") -> None:
        self._tor = tor
        self._prosody = Prosody(folder, program=prosody)
        self._stack = AsyncExitStack()
        self._published = AsyncExitStack()
        self._doors: Doors | None = None
        self._shown: tuple[str, dict[int, int]] | None = None  # door, and its ports

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._prosody)
            await self._prosody.use_socks(self._tor.socks)
            stack.push_async_callback(self._unpublish)
            await self._publish()
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            closer = close_circuits(self._prosody.data, self._close_circuit)
            stack.callback(tasks.create_task(closer).cancel)
            stack.callback(tasks.create_task(self._follow_tor()).cancel)
            stack.callback(tasks.create_task(self._keep_logs_short()).cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def onion(self) -> OnionAddress:
        """The name under which it is reached, and its accounts end in."""
        return self._prosody.onion

    @property
    def tells_circuits(self) -> bool:
        """Whether Tor tells its guests apart, so that they have limits each.

        It does if it is a child of ours, or runs as the same user and sees our files.
        """
        return self._doors is not None and self._doors.tell_circuits

    @property
    def c2s_port(self) -> int:
        """Where Prosody waits for clients on 127.0.0.1; 5222 on the onion."""
        return self._prosody.c2s_port

    @property
    def certificate_fingerprint(self) -> str:
        """The SHA-256 of its certificate (DER form), as 64 hex digits."""
        return self._prosody.certificate_fingerprint

    @property
    def version(self) -> str:
        """The version of Prosody that runs, such as ``0.12.3``."""
        return self._prosody.version

    async def invite(
        self, local: str = "", *, lifetime: timedelta = DEFAULT_LIFETIME
    ) -> Invite:
        """Return an invite; see `xmpp_onion.server.create_invite`."""
        return await self._prosody.invite(local, lifetime=lifetime)

    async def add_account(self, local: str, password: str) -> JID:
        """Make an account; see `xmpp_onion.server.add_account`."""
        return await self._prosody.add_account(local, password)

    async def restart(self) -> None:
        """Restart Prosody, as it is to be now; the onion stays published if it can.

        It can if door and ports are the same.
        """
        await self._prosody.restart()
        await self._publish()

    async def health(self) -> Health:
        """Return how it is.

        Raises:
            ServerError: Prosody does not answer.
        """
        load = await self._prosody.load()
        is_up = self._doors is not None and self._doors.are_published
        state = State.UP if is_up else State.UNREACHABLE
        return Health(state, load, tells_circuits=self.tells_circuits)

    async def wait(self) -> None:
        """Wait until Prosody ends; see `Prosody.wait`."""
        await self._prosody.wait()

    def log_tail(self) -> str:
        """Return the last lines that Prosody logged and printed."""
        return self._prosody.log_tail()

    def follow_log(self) -> LogReader:
        """Return what reads Prosody's warnings and errors from now on."""
        return self._prosody.follow_log()

    async def _follow_tor(self) -> None:
        """Let Prosody reach other servers through our Tor wherever that is."""
        socks = self._prosody.options.socks
        while True:
            socks = await self._tor.socks_elsewhere(socks)
            try:
                await self._prosody.use_socks(socks)
            except XmppOnionError as error:
                # A Prosody that is down reads it when it is started again.
                log.info("prosody was not told where Tor is: %s", error.why)

    async def _keep_logs_short(self) -> None:
        background = self._prosody.folder.background_file
        await keep_short(
            lambda: private.shorten(background, LOG_LIMIT_BYTES),
            lambda: self._tor.shorten_log(LOG_LIMIT_BYTES),
            put_aside=self._prosody.shorten_logs,
        )

    async def _publish(self) -> None:
        """Publish the ports that Prosody has now, unless that is done."""
        options = self._prosody.options
        if self._shown == (options.door, options.onion_ports):
            return
        await self._unpublish()
        doors = Doors(
            self._prosody.folder,
            options,
            tor=self._tor,
            circuit_port=self._prosody.circuit_port,
        )
        self._doors = await self._published.enter_async_context(doors)
        self._shown = (options.door, options.onion_ports)

    async def _close_circuit(self, circuit: int) -> None:
        if self._doors is not None:
            await self._doors.close_circuit(circuit)

    async def _unpublish(self) -> None:
        self._doors = self._shown = None
        await self._published.aclose()
