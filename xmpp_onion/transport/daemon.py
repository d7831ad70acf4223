"""The daemon behind a `Tor`: opened, watched, and started again when it has died."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

from xmpp_onion.errors import ControlPortError, TorError, TorNotRunningError
from xmpp_onion.transport.control import Control
from xmpp_onion.transport.dial import Endpoint
from xmpp_onion.transport.link import Link

__all__ = ["Daemon", "Opener", "not_in_use"]

log = logging.getLogger(__name__)

Opener = Callable[[Executor], contextlib.AbstractAsyncContextManager[Link]]


class Daemon:
    """One daemon, ours or found running, whatever process it is just now.

    What it consists of, its `Link` says. That is another one after our child died and
    was started again, and after a daemon of others came back.

    Args:
        open_link: Attaches to one, or starts one.

    Attributes:
        is_ready: Whether it was seen to have its network. One that began anew has to
            be seen again; one without control port is taken as ready.
    """

    def __init__(self, open_link: Opener) -> None:
        self.is_ready = False
        self._open_link = open_link
        self._stack = contextlib.AsyncExitStack()
        self._link: Link | None = None
        self._pool: Executor | None = None
        self._turn = asyncio.Lock()
        self._reopened = asyncio.Event()

    # --- its life -------------------------------------------------------------------

    async def open(self, pool: Executor) -> None:
        """Attach or start.

        Args:
            pool: For what blocks; used again when it is started again.

        Raises:
            TorNotRunningError: Nothing answers, or our child ended at its start.
            TorNotFoundError: There is no program to launch.
            ControlPortError: The password for the control port is wrong.
        """
        async with contextlib.AsyncExitStack() as stack:
            link = await stack.enter_async_context(self._open_link(pool))
            self._stack = stack.pop_all()
        self._pool, self._link = pool, link
        self.is_ready = link.control is None
        self._reopened.set()
        self._reopened = asyncio.Event()

    def forget(self) -> None:
        """Be of no use from now on; `close` lets go of it."""
        self._link = None

    async def close(self) -> None:
        """Let go of it; our child ends."""
        await self._stack.aclose()

    async def revive(self) -> None:
        """Start our child again if it has died.

        Raises:
            TorError: As `open`. The next call tries again.
        """
        async with self._turn:
            link = self.link
            if self._pool is None or link.process is None or not link.has_ended:
                return
            log.warning("our Tor has ended and is started again")
            await self.close()
            # If this fails, the dead link stays.
            await self.open(self._pool)

    # --- what it is now -------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._link is not None

    @property
    def link(self) -> Link:
        """What it consists of.

        Raises:
            TorNotRunningError: It is not open.
        """
        if self._link is None:
            raise not_in_use()
        return self._link

    async def socks_elsewhere(self, known: Endpoint) -> Endpoint:
        """Return where it listens once that is another place than ``known``."""
        while (place := self.link.socks) == known:
            await self._reopened.wait()
        return place

    async def control(self) -> Control:
        """Return the control connection, a new one if the daemon was restarted.

        Raises:
            ControlPortError: There is none.
            TorNotRunningError: It has ended.
        """
        async with self._turn:
            link = self.link
            if link.control is None:
                raise self.without_control("Tor cannot be controlled")
            if link.control.has_ended and link.reopen is not None:
                control = await self._stack.enter_async_context(link.reopen())
                self._link = dataclasses.replace(link, control=control)
                self.is_ready = False  # it begins anew, too
                return control
            return link.control

    def without_control(self, what: str) -> ControlPortError:
        """Return the error for what needs a control port, where there is none."""
        reason = self.link.no_control
        return ControlPortError(
            what,
            why=reason.why if reason else "this Tor has no control port that we know",
            fix=reason.fix
            if reason
            else "Add `ControlPort 9051` and `CookieAuthentication 1` to the torrc, "
            "restart Tor, and give its place; or let us start a Tor of our own.",
        )

    @contextlib.contextmanager
    def with_last_words(self) -> Iterator[None]:
        """Add our child's last words to an error that says it is not there."""
        try:
            yield
        except TorNotRunningError as error:
            link = self._link
            if link is None or link.process is None or not link.has_ended:
                raise
            raise TorNotRunningError(
                "our Tor has ended", why=link.last_words(), fix="Start again."
            ) from error


def not_in_use() -> TorError:
    """Return the error for a `Tor` outside of its block."""
    return TorNotRunningError(
        "this Tor is not in use",
        why="its `async with` block has not begun or has ended",
        fix="Dial inside of it: `async with Tor.attach() as tor: …`.",
    )
