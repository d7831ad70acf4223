"""The Tor of this process: one that runs already, or a child of our own.

Whatever fails, nothing goes past Tor: there is no other way out to fall back to.
"""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import DialError, DialTimeoutError, TorError
from xmpp_onion.transport.admission import Admission, Admissions
from xmpp_onion.transport.attach import attached, read_place
from xmpp_onion.transport.bootstrap import PATIENCE, Bootstrap
from xmpp_onion.transport.control import Control
from xmpp_onion.transport.daemon import Daemon, Opener
from xmpp_onion.transport.descriptor import Published, look_up
from xmpp_onion.transport.dial import Endpoint, Isolation, dial, probe
from xmpp_onion.transport.dials import Dials
from xmpp_onion.transport.guard import Guard
from xmpp_onion.transport.onion import OnionService
from xmpp_onion.transport.process import launched
from xmpp_onion.transport.replies import GONE
from xmpp_onion.transport.service_folder import CircuitPort, read_options

__all__ = ["Tor"]

# A service may be down for a day: no more often is Tor told to forget what it knows
# of it, in seconds.
_FORGET_PAUSE: Final = 30.0


class Tor:
    """Dials onion services, and publishes ours, while its block runs.

    Made by ``Tor.attach()`` or ``Tor.launch()``::

        async with Tor.attach() as tor:
            sock = await tor.dial(address, 5222, isolation=isolation)
    """

    def __init__(self, open_link: Opener) -> None:
        """Use ``Tor.attach()`` or ``Tor.launch()`` instead."""
        self._daemon = Daemon(open_link)
        self._bootstrap = Bootstrap(self._daemon)
        self._dials = Dials()
        self._admissions = Admissions()
        self._stack = contextlib.AsyncExitStack()
        self._forgot_at = -math.inf

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
            pool = self._dials.open()
            stack.callback(self._dials.shut)
            stack.push_async_callback(self._daemon.close)
            await self._daemon.open(pool)
            stack.push_async_callback(self._dials.end)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._daemon.forget()
        await self._stack.aclose()

    def __repr__(self) -> str:
        place = f" at {self.socks}" if self._daemon.is_open else ", not entered"
        return f"<Tor{place}>"

    @property
    def socks(self) -> Endpoint:
        """Where it listens for our connections."""
        return self._daemon.link.socks

    async def socks_elsewhere(self, known: Endpoint) -> Endpoint:
        """Return where it listens once that is another place than ``known``.

        A Tor of our own that was started again has another port.
        """
        return await self._daemon.socks_elsewhere(known)

    @property
    def is_own(self) -> bool:
        """Whether it is a child of ours, and nobody else's."""
        return self._daemon.link.process is not None

    def shorten_log(self, limit: int) -> None:
        """Drop the older half of our child's log if it has more than ``limit`` bytes.

        Raises:
            StoreError: It cannot be written.
        """
        if (log_file := self._daemon.link.log_file) is not None:
            private.shorten(log_file, limit)

    @property
    def has_control(self) -> bool:
        """Whether onion services can be published here."""
        return self._daemon.link.control is not None

    def bootstrap(
        self, *, patience: float = PATIENCE
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
        return self._bootstrap.steps(patience)

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
        if self._daemon.link.control is None:
            return None
        control = await self._daemon.control()
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
        with self._daemon.with_last_words():
            async with self._dials.one() as pool:
                await self._daemon.revive()
                await self._bootstrap.wait()

                async def dial_it(place: OnionAddress) -> socket.socket:
                    return await dial(
                        place,
                        port,
                        socks=self.socks,
                        isolation=isolation,
                        pool=pool,
                        timeout=timeout,
                        first=first,
                    )

                control = self._daemon.control if self.has_control else None
                try:
                    return await self._admissions.reach(address, dial_it, control)
                except DialError as error:
                    await self._learn_from(error)
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
            raise self._daemon.without_control("an onion service cannot be published")
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
        await self._daemon.revive()
        await (await self._daemon.control()).ask("SIGNAL NEWNYM")

    # --- inside ---------------------------------------------------------------------

    async def _learn_from(self, error: DialError) -> None:
        """Look whether Tor is there, or knows something old.

        Raises:
            TorNotRunningError: It has ended, or hangs.
        """
        if error.reply is None:
            await probe(self.socks)
        if isinstance(error, DialTimeoutError):
            await self._forget()
        elif error.reply in GONE:
            await self._forget(pause=_FORGET_PAUSE)

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

    async def _ready_control(self) -> Control:
        await self._daemon.revive()
        # Of a daemon that came back we wait for the network.
        await self._daemon.control()
        await self._bootstrap.wait()
        return await self._daemon.control()
