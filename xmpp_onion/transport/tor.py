"""The Tor of this process: one that runs already, or a child of our own.

Whatever fails, nothing goes past Tor: there is no other way out to fall back to.
"""

import asyncio
import contextlib
import dataclasses
import logging
import math
import re
import socket
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    BootstrapError,
    ControlPortError,
    DialError,
    DialTimeoutError,
    TorError,
    TorNotRunningError,
)
from xmpp_onion.transport.admission import (
    Admission,
    Admissions,
    is_about_key,
    key_forgotten,
    without_key,
)
from xmpp_onion.transport.attach import attached, read_place
from xmpp_onion.transport.control import Control
from xmpp_onion.transport.descriptor import Published, look_up
from xmpp_onion.transport.dial import Endpoint, Isolation, dial, probe
from xmpp_onion.transport.guard import Guard
from xmpp_onion.transport.link import Link
from xmpp_onion.transport.onion import OnionService
from xmpp_onion.transport.process import launched
from xmpp_onion.transport.replies import GONE, NO_KEY
from xmpp_onion.transport.service_folder import CircuitPort, read_options

__all__ = ["Tor"]

log = logging.getLogger(__name__)

# A dial holds a thread until it is answered; more than these wait their turn.
_DIALS_AT_ONCE: Final = 64
# Seconds between two looks at the bootstrap phase, and how long one may last.
_PHASE_PAUSE: Final = 0.2
_PATIENCE: Final = 120.0
# A service may be down for a day: no more often is Tor told to forget what it knows
# of it, in seconds.
_FORGET_PAUSE: Final = 30.0

Opener = Callable[[Executor], contextlib.AbstractAsyncContextManager[Link]]


class Tor:
    """Dials onion services, and publishes ours, while its block runs.

    Made by ``Tor.attach()`` or ``Tor.launch()``::

        async with Tor.attach() as tor:
            sock = await tor.dial(address, 5222, isolation=isolation)
    """

    def __init__(self, open_link: Opener) -> None:
        """Use ``Tor.attach()`` or ``Tor.launch()`` instead."""
        self._open_link = open_link
        self._stack = contextlib.AsyncExitStack()
        self._link_stack = contextlib.AsyncExitStack()
        self._link: Link | None = None
        self._pool: Executor | None = None
        self._admissions = Admissions()
        self._is_ready = False
        self._forgot_at = -math.inf
        self._bootstrapping = asyncio.Lock()
        self._reopening = asyncio.Lock()
        self._reopened = asyncio.Event()
        self._dialing: set[asyncio.Timeout] = set()
        self._dial_ended = asyncio.Event()

    @classmethod
    def attach(
        cls,
        socks: str | Endpoint | None = None,
        control: str | Endpoint | Path | None = None,
        *,
        password: str | None = None,
    ) -> Self:
        """Return a Tor that uses a running daemon, and leaves it running.

        Args:
            socks: Its SOCKS port, ``127.0.0.1:9050``; None looks for the
                system's daemon, then for Tor Browser.
            control: Its control port or socket; without one, and at none of the
                usual places, messages pass and onion services cannot be
                published.
            password: For a control port that asks for one.

        Raises:
            AddressError: ``socks`` or ``control`` is not an IP address and port.
        """
        place = Endpoint.parse(socks) if isinstance(socks, str) else socks
        control_place = read_place(control) if isinstance(control, str) else control
        return cls(
            lambda pool: attached(place, control_place, password=password, pool=pool)
        )

    @classmethod
    def launch(
        cls, data_dir: Path, *, program: str = "tor", extra: Sequence[str] = ()
    ) -> Self:
        """Return a Tor that runs as our child and ends with us, however we end.

        If the child dies, the next dial starts it again, on another SOCKS port.

        Args:
            data_dir: A folder for it alone, made 0700. Kept from one run to the
                next it makes the start faster and keeps the entry guards.
            program: The program's name or path.
            extra: Lines to add to its torrc.
        """
        folder = data_dir.absolute()
        return cls(
            lambda pool: launched(folder, program=program, extra=extra, pool=pool)
        )

    async def __aenter__(self) -> Self:
        """Attach or start; the network may be reached later, see ``bootstrap()``.

        Raises:
            TorNotRunningError: Nothing answers, or our child ended at its start.
            TorNotFoundError: There is no program to launch.
            ControlPortError: The password for the control port is wrong.
        """
        async with contextlib.AsyncExitStack() as stack:
            pool = ThreadPoolExecutor(_DIALS_AT_ONCE, thread_name_prefix="tor-dial")
            stack.callback(self._shut, pool)
            stack.push_async_callback(self._close_link)
            await self._open(pool)
            stack.push_async_callback(self._end_dials)
            self._stack = stack.pop_all()
        self._pool = pool
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._link = None
        await self._stack.aclose()

    def __repr__(self) -> str:
        return f"<Tor at {self._link.socks}>" if self._link else "<Tor, not entered>"

    @property
    def socks(self) -> Endpoint:
        """Where it listens for our connections."""
        return self._entered().socks

    async def socks_elsewhere(self, known: Endpoint) -> Endpoint:
        """Return where it listens once that is another place than ``known``.

        A Tor of our own that was started again has another port.
        """
        while (place := self.socks) == known:
            await self._reopened.wait()
        return place

    @property
    def is_own(self) -> bool:
        """Whether it is a child of ours, and nobody else's."""
        return self._entered().process is not None

    def shorten_log(self, limit: int) -> None:
        """Drop the older half of our child's log if it has more than ``limit`` bytes.

        Raises:
            StoreError: It cannot be written.
        """
        if (log_file := self._entered().log_file) is not None:
            private.shorten(log_file, limit)

    @property
    def has_control(self) -> bool:
        """Whether onion services can be published here."""
        return self._entered().control is not None

    async def bootstrap(
        self, *, patience: float = _PATIENCE
    ) -> AsyncIterator[tuple[int, str]]:
        """Yield how far Tor has come, as percent and words, until it is at 100.

        Percents only grow. A Tor without control port is taken as ready when its
        SOCKS port answers.

        Args:
            patience: Seconds without any progress until this gives up.

        Raises:
            BootstrapError: It is stuck, or it ended on the way.
            TorNotRunningError: It is not there any more.
        """
        if self._entered().control is None:
            await probe(self.socks)
            yield 100, "attached"
            return
        loop = asyncio.get_running_loop()
        phase = _Phase(-1, "not started")
        deadline = loop.time() + patience
        while phase.percent < 100:
            latest = await self._phase(phase)
            if latest.percent > phase.percent:
                deadline = loop.time() + patience
                yield latest.percent, latest.summary
            elif loop.time() > deadline:
                raise self._stuck(latest, patience)
            phase = max(phase, latest, key=lambda seen: seen.percent)
            if phase.percent < 100:
                await asyncio.sleep(_PHASE_PAUSE)
        self._is_ready = True

    async def look_up(self, onion: OnionAddress) -> Published:
        """Read back what the directories tell of an onion service.

        Raises:
            OnionNotFoundError: No directory has it, or none answers in time.
            ControlPortError: There is no control port, or it is refused there.
            TorNotRunningError: Tor has ended.
        """
        return await look_up(await self._ready_control(), onion)

    async def service_options(self, folder: Path) -> dict[str, str]:
        """Return what this Tor asks of the guests of a service out of a folder.

        Names are those of the torrc, such as ``HiddenServiceMaxStreams``. Empty where
        Tor has no such service.

        Raises:
            ControlPortError: There is no control port.
            TorNotRunningError: Tor has ended.
        """
        return await read_options(await self._ready_control(), folder)

    async def clock_bounds(self) -> tuple[datetime, datetime] | None:
        """Return between which times its picture of the network holds.

        None without a control port, or before it has one. The directory authorities
        signed it: a clock that is far outside of it goes wrong.

        Raises:
            TorNotRunningError: It is not there any more.
            ControlPortError: It does not say.
        """
        if self._entered().control is None:
            return None
        control = await self._controller()
        texts = [
            await control.get_info(f"consensus/{name}")
            for name in ("valid-after", "valid-until")
        ]
        try:
            since, until = (
                datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
                for text in texts
            )
        except ValueError:
            return None
        return since, until

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = 60.0,
        first: bytes = b"",
    ) -> socket.socket:
        """Connect to an onion service; waits until Tor has its network first.

        Args:
            address: The service.
            port: Its virtual port.
            isolation: Decides which connections may share a circuit.
            timeout: Seconds for the attempt, once Tor has its network.
            first: What the service gets first, a round trip earlier than what is
                sent on the socket.

        Returns:
            A non-blocking socket, for ``loop.create_connection(sock=...)``.

        Raises:
            DialError: Tor could not reach the service; see ``can_retry``.
            BootstrapError: Tor does not get into its network.
            TorNotRunningError: Tor has ended, or this object was closed.
        """
        with self._telling_that_tor_ended():
            async with self._until_closed():
                await self._revive()
                await self._wait_ready()

                async def dial_it(place: OnionAddress) -> socket.socket:
                    return await dial(
                        place,
                        port,
                        socks=self.socks,
                        isolation=isolation,
                        pool=self._threads(),
                        timeout=timeout,
                        first=first,
                    )

                try:
                    return await self._by_its_door(address, dial_it)
                except DialError as error:
                    if error.reply is None:
                        await probe(self.socks)  # no answer: has Tor ended, or hung?
                    if isinstance(error, DialTimeoutError):
                        await self._forget()
                    elif error.reply in GONE:
                        await self._forget(pause=_FORGET_PAUSE)
                    is_private = self._admissions.find(address) is not None
                    if is_private and not self.has_control and is_about_key(error):
                        raise without_key(error) from error
                    raise

    def admit(self, name: OnionAddress, admission: Admission) -> None:
        """Reach a service by a door that not everybody finds, from now on.

        Args:
            name: What is dialed later on, with all its sub-domains.
            admission: Where it leads, and the key. A Tor without control port has
                to have the key already, in its ClientOnionAuthDir.
        """
        self._admissions.add(name, admission)

    def onion_service(
        self,
        key_file: Path,
        ports: Mapping[int, int],
        *,
        guard: Guard = Guard(),  # noqa: B008 - it is frozen
        circuit_port: CircuitPort | None = None,
    ) -> OnionService:
        """Return an onion service of ours, to be entered with ``async with``.

        Args:
            key_file: Its key, made by ``create_key()``.
            ports: Virtual port to the port on 127.0.0.1 that serves it.
            guard: What is asked of those who come.
            circuit_port: Where connections go instead of ``ports``, with a line that
                names their circuit, if this Tor can do that: see
                `OnionService.tells_circuits`.

        Raises:
            ControlPortError: There is no control port to publish through; ``fix``
                says how to get one.
            OnionServiceError: There is no key in the file.
            StorePermissionError: Others can read the key.
        """
        if not self.has_control:
            raise self._no_control("an onion service cannot be published")
        return OnionService(
            key_file,
            ports,
            ready=self._ready_control,
            guard=guard,
            circuit_port=circuit_port,
        )

    async def new_identity(self) -> None:
        """Use new circuits for all new connections; open ones stay as they are.

        Raises:
            ControlPortError: There is no control port.
        """
        await self._revive()
        await (await self._controller()).ask("SIGNAL NEWNYM")

    # --- inside ---------------------------------------------------------------------

    def _entered(self) -> Link:
        if self._link is None:
            raise _closed()
        return self._link

    def _threads(self) -> Executor:
        if self._pool is None:
            raise _closed()
        return self._pool

    async def _open(self, pool: Executor) -> None:
        async with contextlib.AsyncExitStack() as stack:
            link = await stack.enter_async_context(self._open_link(pool))
            self._link_stack = stack.pop_all()
        self._link, self._is_ready = link, link.control is None
        self._reopened.set()
        self._reopened = asyncio.Event()

    async def _close_link(self) -> None:
        await self._link_stack.aclose()

    async def _revive(self) -> None:
        """Start our child again if it has died."""
        async with self._reopening:
            link = self._entered()
            if link.process is None or not link.has_ended:
                return
            log.warning("our Tor has ended and is started again")
            await self._close_link()
            # If this fails, the dead link stays, and the next call tries again.
            await self._open(self._threads())

    async def _forget(self, *, pause: float = 0.0) -> None:
        """Let Tor ask for descriptors anew: what it knows may be of an earlier life.

        A service that died in the middle of an introduction is otherwise waited for
        at points that only Tor still knows, for minutes. One whose points were gone
        once is taken for gone for two minutes, and one that was not published yet
        for up to fifteen: Tor does not even ask.

        Args:
            pause: Seconds that must have passed since it was done last: others may
                use this Tor, and a service may be down for long.
        """
        now = asyncio.get_running_loop().time()
        if not self.has_control or now < self._forgot_at + pause:
            return
        self._forgot_at = now
        with contextlib.suppress(TorError):
            await self.new_identity()

    async def _wait_ready(self) -> None:
        async with self._bootstrapping:
            if not self._is_ready:
                async for percent, summary in self.bootstrap():
                    log.info("tor: %d %% %s", percent, summary)

    async def _by_its_door(
        self,
        name: OnionAddress,
        dial_it: Callable[[OnionAddress], Awaitable[socket.socket]],
    ) -> socket.socket:
        """Dial what ``name`` leads to, with the key for it.

        Tor forgets keys at a new identity, for which others may ask too, and which
        comes up to ten seconds late: that may be between the key and the dial.
        """
        place = await self._let_in(name)
        try:
            return await dial_it(place)
        except DialError as error:
            was_told = self.has_control and self._admissions.find(name) is not None
            if not was_told or error.reply != NO_KEY:
                raise
        try:
            return await dial_it(await self._let_in(name))
        except DialError as error:
            if error.reply != NO_KEY:
                raise
            raise key_forgotten(error) from error

    async def _let_in(self, name: OnionAddress) -> OnionAddress:
        """Return what to dial for ``name``, once Tor has the key for it, if any."""
        admission = self._admissions.find(name)
        if admission is None:
            return name
        if self.has_control:
            await admission.tell(await self._controller())
        return admission.address

    async def _controller(self) -> Control:
        """Return the control connection, a new one if the daemon was restarted."""
        async with self._reopening:
            link = self._entered()
            if link.control is None:
                raise self._no_control("Tor cannot be controlled")
            if link.control.has_ended and link.reopen is not None:
                control = await self._link_stack.enter_async_context(link.reopen())
                self._link = dataclasses.replace(link, control=control)
                self._is_ready = False  # it begins anew, too
                return control
            return link.control

    async def _ready_control(self) -> Control:
        await self._revive()
        await self._controller()  # of a daemon that came back we wait for the network
        await self._wait_ready()
        return await self._controller()

    def _no_control(self, what: str) -> ControlPortError:
        reason = self._entered().no_control
        return ControlPortError(
            what,
            why=reason.why if reason else "this Tor has no control port that we know",
            fix=reason.fix
            if reason
            else "Add `ControlPort 9051` and `CookieAuthentication 1` to the torrc, "
            "restart Tor, and give its place; or let us start a Tor of our own.",
        )

    async def _phase(self, before: "_Phase") -> "_Phase":
        try:
            control = await self._controller()
            return _Phase.parse(await control.get_info("status/bootstrap-phase"))
        except TorNotRunningError as error:
            if self._is_ready or before.percent < 0:
                raise
            raise BootstrapError(
                "Tor ended while it was starting",
                percent=before.percent,
                why=self._entered().last_words() or error.why,
                fix="Start it again; its log says why it ended.",
            ) from error

    def _stuck(self, phase: "_Phase", patience: float) -> BootstrapError:
        words = ", ".join(filter(None, (phase.summary, phase.warning)))
        return BootstrapError(
            "Tor does not get into its network",
            percent=max(phase.percent, 0),
            why=f"stuck at {phase.percent} % for {patience:.0f} s ({words})",
            fix="Check this machine's connection and clock. Where Tor is blocked, "
            "set up a bridge in the torrc: https://bridges.torproject.org",
        )

    @contextlib.contextmanager
    def _telling_that_tor_ended(self) -> Iterator[None]:
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

    @contextlib.asynccontextmanager
    async def _until_closed(self) -> AsyncIterator[None]:
        """Let ``__aexit__`` end what runs inside."""
        try:
            async with asyncio.timeout(None) as scope:
                self._dialing.add(scope)
                try:
                    yield
                finally:
                    self._dialing.discard(scope)
                    self._dial_ended.set()
        except TimeoutError:
            raise _closed() from None

    def _shut(self, pool: Executor) -> None:
        # Waiting for a thread that only the loop can wake would be for ever.
        pool.shutdown(wait=not self._dialing, cancel_futures=True)

    async def _end_dials(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._dialing:
            self._dial_ended.clear()
            for scope in self._dialing:
                if not scope.expired():
                    scope.reschedule(now)
            await self._dial_ended.wait()


def _closed() -> TorError:
    return TorNotRunningError(
        "this Tor is not in use",
        why="its `async with` block has not begun or has ended",
        fix="Dial inside of it: `async with Tor.attach() as tor: …`.",
    )


class _Phase(NamedTuple):
    """One look at ``status/bootstrap-phase`` (control-spec, STATUS_CLIENT)."""

    percent: int
    summary: str
    warning: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        percent = re.search(r"PROGRESS=(\d+)", text)
        fields = dict(re.findall(r'([A-Z]+)="((?:[^"\\]|\\.)*)"', text))
        return cls(
            int(percent[1]) if percent else 0,
            fields.get("SUMMARY", ""),
            fields.get("WARNING", ""),
        )
