"""One authenticated connection to Tor's control port.

stem speaks the protocol and does the authentication, on its plain control
socket. Its ``Controller`` is not used: it polls twenty times a second, takes
ownership of the daemon by itself, and starts threads in a way that Python has
deprecated. One thread of ours reads instead, and hands each message to the loop.

Source: Tor's control-spec.
"""

import asyncio
import contextlib
import functools
import logging
import re
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Final

import stem
import stem.connection
import stem.response
import stem.socket

from xmpp_onion.errors import ControlPortError, TorNotRunningError
from xmpp_onion.transport.dial import Endpoint
from xmpp_onion.transport.local import short_path

__all__ = ["Control", "Place", "open_control"]

log = logging.getLogger(__name__)

# A control port is a TCP port or, on Debian, the Unix socket /run/tor/control.
Place = Endpoint | Path

# The lines of one message: reply code and text of each.
Lines = tuple[tuple[str, str], ...]

# Events wait here while their reader is busy; Tor sends a handful a second.
_EVENT_LIMIT: Final = 1000
# Seconds between two looks at a thread that has been given up.
_ABANDON_PAUSE: Final = 0.001
_REPLY_CODE: Final = re.compile(r"2\d\d")

_FIX_ACCESS: Final = (
    "Let this user read the cookie (Debian: `sudo adduser $USER debian-tor`, then "
    "log in again), or set HashedControlPassword in the torrc (`tor "
    "--hash-password`) and give the password, or let us start a Tor of our own."
)


@contextlib.asynccontextmanager
async def open_control(
    place: Place,
    *,
    pool: Executor,
    password: str | None = None,
    timeout: float = 10.0,
) -> AsyncIterator["Control"]:
    """Connect and authenticate by whatever Tor offers; close at the end.

    Args:
        place: Where the control port is.
        pool: Runs what blocks: connecting and authenticating.
        password: For a Tor that asks for one.
        timeout: Seconds for both together.

    Raises:
        TorNotRunningError: Nothing answers there, or it is no control port.
        ControlPortError: It does not let us in: the cookie cannot be read or
            the password is wrong.
    """
    sock = _Socket(place)
    job = pool.submit(_authenticate, sock, password)
    try:
        with _translated(place):
            async with asyncio.timeout(timeout):
                await asyncio.wrap_future(job)
    except BaseException:
        await _abandon(job, sock)
        raise
    control = Control(sock, place)
    try:
        yield control
    finally:
        control.close()


async def _abandon(job: Future[None], sock: stem.socket.ControlSocket) -> None:
    """Wake the thread and wait until it has let go.

    Closing once is not enough: stem connects again after a failed login.
    """
    job.add_done_callback(lambda _: sock.close())
    job.cancel()
    while not job.done():
        sock.close()
        await asyncio.sleep(_ABANDON_PAUSE)
    sock.close()


class _Socket(stem.socket.ControlSocket):  # type: ignore[misc]  # stem is untyped
    """stem's control socket; its own two leave a refused connection open."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        # stem logs from TRACE up, and a connection that we close as an error.
        logging.getLogger("stem").setLevel(logging.WARNING)
        self._place = place

    def _make_socket(self) -> socket.socket:
        try:
            if isinstance(self._place, Path):
                with short_path(self._place) as name:
                    return _connected(name)
            return _connected(self._place)
        except OSError as error:
            raise stem.SocketError(error) from error


def _connected(address: str | Endpoint) -> socket.socket:
    if isinstance(address, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _authenticate(sock: stem.socket.ControlSocket, password: str | None) -> None:
    """Log in, in the order: nothing to show, cookie, password.

    Only SAFECOOKIE of the two cookie methods: with the older one a false Tor
    could name any file of 32 bytes and be sent its content.
    """
    sock.connect()
    sock.send("PROTOCOLINFO 1")
    offer = sock.recv()
    stem.response.convert("PROTOCOLINFO", offer)
    methods = offer.auth_methods
    if stem.connection.AuthMethod.NONE in methods:
        stem.connection.authenticate_none(sock)
    elif password is not None and stem.connection.AuthMethod.PASSWORD in methods:
        # In hex: stem would quote it, and forgets to escape backslashes.
        sock.send(f"AUTHENTICATE {password.encode().hex()}")
        if not sock.recv().is_ok():
            raise stem.connection.IncorrectPassword("refused")
    elif stem.connection.AuthMethod.SAFECOOKIE in methods and offer.cookie_path:
        stem.connection.authenticate_safecookie(sock, offer.cookie_path)
    else:
        raise stem.connection.MissingPassword("a password is needed")


@contextlib.contextmanager
def _translated(place: Place) -> Iterator[None]:
    """Turn what stem raises into errors of ours."""
    try:
        yield
    except stem.connection.PasswordAuthFailed as error:
        is_missing = isinstance(error, stem.connection.MissingPassword)
        raise ControlPortError(
            f"Tor's control port at {place} does not let us in",
            why="it asks for a password" if is_missing else "the password is wrong",
            fix="Give the password that HashedControlPassword in the torrc was made "
            "from (`tor --hash-password`).",
        ) from error
    except stem.connection.CookieAuthFailed as error:
        raise ControlPortError(
            f"Tor's control port at {place} does not let us in",
            why=f"its cookie {error.cookie_path} cannot be read or does not fit",
            fix=_FIX_ACCESS,
        ) from error
    except stem.connection.AuthenticationFailure as error:
        raise ControlPortError(
            f"Tor's control port at {place} does not let us in", fix=_FIX_ACCESS
        ) from error
    except (stem.ControllerError, ValueError, OSError) as error:
        raise TorNotRunningError(
            f"no Tor control port answers at {place}",
            why="nothing listens there, or it is something else",
            fix="Check ControlPort in the torrc (usually 9051), and that Tor runs: "
            "`systemctl status tor`.",
        ) from error


class Control:
    """An authenticated control connection: ask, and listen to events.

    Commands may be asked from many tasks at once; Tor answers in order.

    Attributes:
        configuring: To be held from reading a part of Tor's configuration until it
            was written again.

    Args:
        sock: Authenticated; closed by us.
        place: Where it leads, for errors.
    """

    def __init__(self, sock: stem.socket.ControlSocket, place: Place) -> None:
        self._socket = sock
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[tuple[str, ...]]] = deque()
        self._listeners: dict[asyncio.Queue[str | None], str] = {}
        self._ended = asyncio.Event()
        self.configuring = asyncio.Lock()
        self._reader = threading.Thread(
            target=self._read, name="tor-control", daemon=True
        )
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        """Whether Tor has closed the connection, as it does when it ends."""
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        """Return when Tor has closed the connection."""
        await self._ended.wait()

    async def ask(self, command: str, *, timeout: float = 10.0) -> tuple[str, ...]:
        """Send one command and return the lines of the answer, without codes.

        Raises:
            ControlPortError: Tor refused; ``why`` has its words.
            TorNotRunningError: The connection has ended, or there was no answer
                within ``timeout`` seconds.
        """
        if self._ended.is_set():
            raise self._gone()
        answer: asyncio.Future[tuple[str, ...]] = self._loop.create_future()
        # Sent from here: a line or two into a local buffer does not block, and
        # nothing can come between the queue of answers and the wire.
        self._waiting.append(answer)
        try:
            self._socket.send(command)
            async with asyncio.timeout(timeout):
                return await answer
        except (stem.ControllerError, TimeoutError) as error:
            raise self._gone() from error

    async def get_info(self, key: str) -> str:
        """Return one value of GETINFO."""
        for line in await self.ask(f"GETINFO {key}"):
            name, _, value = line.partition("=")
            if name == key:
                return value
        raise ControlPortError(
            f"Tor does not tell its {key}",
            fix="Make sure that it is Tor 0.4.8 or newer: `tor --version`.",
        )

    @contextlib.asynccontextmanager
    async def events(self, kind: str) -> AsyncIterator[asyncio.Queue[str | None]]:
        """Yield a queue of the events of one kind, ``HS_DESC`` for instance.

        None stands for the end of the connection.
        """
        queue: asyncio.Queue[str | None] = asyncio.Queue(_EVENT_LIMIT)
        self._listeners[queue] = kind
        try:
            await self._subscribe()
            yield queue
        finally:
            del self._listeners[queue]
            if not self._ended.is_set():
                await self._subscribe()

    async def _subscribe(self) -> None:
        await self.ask(" ".join(["SETEVENTS", *sorted(set(self._listeners.values()))]))

    def close(self) -> None:
        """End the connection and its thread."""
        self._socket.close()
        self._reader.join()
        self._end()

    def _read(self) -> None:
        """Thread: hand each message to the loop until the connection ends."""
        try:
            while True:
                message = self._socket.recv()
                lines = tuple((code, text) for code, _, text in message.content())
                self._tell(functools.partial(self._arrived, lines))
        # ValueError: what stem lets through, such as a file closed in mid-answer.
        except (stem.ControllerError, ValueError) as error:
            log.debug("the control connection has ended: %s", type(error).__name__)
        finally:
            self._tell(self._end)

    def _tell(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(callback)

    def _arrived(self, lines: Lines) -> None:
        codes, texts = zip(*lines, strict=True)
        if codes[-1] == "650":
            self._publish(texts[0])
        elif self._waiting:
            answer = self._waiting.popleft()
            if answer.done():  # whoever asked has been cancelled
                return
            if _REPLY_CODE.fullmatch(codes[-1]):
                answer.set_result(texts)
            else:
                answer.set_exception(
                    ControlPortError(
                        "Tor refused a command",
                        why=f"{texts[-1]} ({codes[-1]})",
                        fix="Its log may say more. It has to be Tor 0.4.8 or newer: "
                        "`tor --version`.",
                    )
                )

    def _publish(self, event: str) -> None:
        kind = event.partition(" ")[0]
        for queue, wanted in self._listeners.items():
            if wanted == kind and not queue.full():
                queue.put_nowait(event)

    def _end(self) -> None:
        self._ended.set()
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(self._gone())
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    def _gone(self) -> TorNotRunningError:
        return TorNotRunningError(
            "Tor does not answer any more",
            why=f"its control connection at {self._place} has ended",
            fix="See whether it runs: `systemctl status tor`, and start it again.",
        )
