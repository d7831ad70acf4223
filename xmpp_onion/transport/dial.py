"""The one door: every connection of this package is opened here, through Tor.

Names are sent to Tor unresolved. PySocks does the handshake, which blocks, in a
thread of the pool that ``Tor`` owns (never the loop's default pool: a handful of
dials would fill it). Who has something to say at once saves a round trip: that
handshake is ours (:mod:`.handshake`). What comes back is a plain connected socket.
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Self

import socks as pysocks

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    AddressError,
    DialError,
    DialTimeoutError,
    InvalidOnionAddressError,
    TorError,
    TorNotRunningError,
)
from xmpp_onion.transport.handshake import NotSocksError, shake_hands
from xmpp_onion.transport.replies import refused

__all__ = [
    "Endpoint",
    "Isolation",
    "Purpose",
    "dial",
    "probe",
]

log = logging.getLogger(__name__)

# A thread may be given up between its start and its connect(2), when there is
# nothing to shut down yet: look again after this many seconds.
_ABANDON_PAUSE: Final = 0.001

# Bytes that the kernel holds of a file on its way to Tor; four megabytes otherwise,
# which would count as sent, and be sent again when the circuit breaks.
_FILE_BUFFER: Final = 128 * 1024


class Endpoint(NamedTuple):
    """Where a Tor daemon listens; prints as ``host:port``.

    Attributes:
        host: An IP address.
        port: 1 to 65535.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``127.0.0.1:9050``, ``localhost:9050`` or ``[::1]:9050``.

        Other names are refused: to resolve one would ask the network.

        Raises:
            AddressError: It is not an IP address and a port.
        """
        host, _, port = text.strip().rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host.strip("[]")
        try:
            ip = ipaddress.ip_address(host)
        except ValueError as error:
            raise _not_an_endpoint(text, "the host has to be an IP address") from error
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise _not_an_endpoint(text, "the port has to be a number up to 65535")
        return cls(str(ip), int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _not_an_endpoint(text: str, why: str) -> AddressError:
    return AddressError(
        f"{text[:80]!a} is not a place where Tor can listen",
        why=why,
        fix="Write it as 127.0.0.1:9050.",
    )


class Purpose(StrEnum):
    """What a connection is for; each purpose has circuits of its own."""

    XMPP = "xmpp"
    REGISTER = "register"
    FILES = "files"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Isolation:
    """Whose connection it is: two accounts never share a circuit.

    Attributes:
        account: A stable name of the account, such as its bare JID. It is
            hashed: Tor shows user names in its list of circuits.
        purpose: What the connection is for.
        turn: Another number means other circuits. A service that died between our
            introduction and its answer leaves a rendezvous at which Tor lets every
            later dial of the same isolation wait, for minutes.
    """

    account: str
    purpose: Purpose
    turn: int = 0

    def credentials(self) -> tuple[str, str]:
        """Return user name and password: 32 hex digits each.

        Never empty, or PySocks would send none and Tor would share the circuit;
        under 128 bytes, or PySocks would break the framing.
        """
        text = f"xmpp-onion isolation\0{self.account}\0{self.purpose}"
        if self.turn:
            text += f"\0{self.turn}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        return digest[:32], digest[32:]


async def dial(
    address: OnionAddress,
    port: int,
    *,
    socks: Endpoint,
    isolation: Isolation,
    pool: Executor,
    timeout: float = 60.0,
    first: bytes = b"",
) -> socket.socket:
    """Connect to an onion service and return the connected socket.

    When this returns or raises, cancelled or not, no thread is busy any more.
    Tor streams have no half-close: ending one direction ends both.

    Args:
        address: The service. A plain string is refused, so that nothing which
            was not checked can be dialed.
        port: Its virtual port.
        socks: Tor's SOCKS listener.
        isolation: Decides which connections may share a circuit.
        pool: Runs the blocking handshake; one thread for each dial under way.
        timeout: Seconds for everything, building circuits included. Tor itself
            would wait 120 s for a service that is gone.
        first: What the service gets first, a round trip earlier than what is sent
            on the socket. It may have got it even if the dial is given up.

    Returns:
        A non-blocking socket, for ``loop.create_connection(sock=...)``.

    Raises:
        DialError: Tor could not reach the service; ``reply`` and ``can_retry``
            say more, ``fix`` what to do.
        TorNotRunningError: Nothing answers at ``socks``, or it is not Tor.
        InvalidOnionAddressError: ``address`` is not an ``OnionAddress``.
    """
    _check_target(address, port)
    if first:
        return await _dial_at_once(address, port, socks, isolation, timeout, first)
    sock = _unconnected(socks, isolation, timeout)
    try:
        job = pool.submit(sock.connect, (str(address), port), catch_errors=True)
    except BaseException:
        sock.close()
        raise
    try:
        with _translated(address, port, socks):
            async with asyncio.timeout(timeout):
                await asyncio.wrap_future(job)
    except BaseException:
        await _abandon(job, sock)
        raise
    log.debug("connected to %s port %d", address.short, port)
    # The socksocket names the onion as its peer, which asyncio cannot parse.
    connected = socket.socket(fileno=sock.detach())
    connected.settimeout(0)
    return connected


async def _dial_at_once(  # noqa: PLR0917 - what dial() takes
    address: OnionAddress,
    port: int,
    socks: Endpoint,
    isolation: Isolation,
    timeout: float,
    first: bytes,
) -> socket.socket:
    """Connect, and send ``first`` behind the request: PySocks cannot."""
    family = socket.AF_INET6 if ":" in socks.host else socket.AF_INET
    # With its protocol named asyncio sends small pieces at once (TCP_NODELAY).
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.settimeout(0)
    try:
        with _translated(address, port, socks):
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().sock_connect(sock, socks)
                reply = await shake_hands(
                    sock,
                    str(address),
                    port,
                    credentials=isolation.credentials(),
                    first=first,
                )
    except BaseException:
        sock.close()
        raise
    if reply:
        sock.close()
        raise refused(address, port, reply)
    log.debug("connected to %s port %d", address.short, port)
    return sock


def _check_target(address: OnionAddress, port: int) -> None:
    # The annotation already says so; this is for callers without a type checker.
    checked: object = address
    if not isinstance(checked, OnionAddress):
        raise InvalidOnionAddressError(
            "only checked onion addresses are dialed",
            why=f"this one is a {type(checked).__name__}",
            fix="Make one first: OnionAddress(text).",
        )
    if not 0 < port < 65536:
        raise AddressError(f"{port} is not a port", fix="Use 1 to 65535.")


def _unconnected(
    socks: Endpoint, isolation: Isolation, timeout: float
) -> pysocks.socksocket:
    user, password = isolation.credentials()
    family = socket.AF_INET6 if ":" in socks.host else socket.AF_INET
    sock = pysocks.socksocket(family)
    sock.set_proxy(
        pysocks.SOCKS5,
        socks.host,
        socks.port,
        rdns=True,
        username=user,
        password=password,
    )
    if isolation.purpose is Purpose.FILES:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _FILE_BUFFER)
    # Per recv only, so a net below asyncio's total, never the limit itself.
    sock.settimeout(timeout)
    return sock


async def _abandon(job: Future[None], sock: pysocks.socksocket) -> None:
    """Wake the thread and wait until it has let go; then the socket is closed."""
    job.add_done_callback(lambda _: sock.close())
    job.cancel()
    while not job.done():
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        await asyncio.sleep(_ABANDON_PAUSE)
    sock.close()  # the callback is for a second cancellation, and may come late


@contextlib.contextmanager
def _translated(address: OnionAddress, port: int, socks: Endpoint) -> Iterator[None]:
    """Turn what PySocks and the operating system raise into errors of ours."""
    try:
        yield
    except pysocks.SOCKS5Error as error:
        # PySocks keeps the code only as text: "0xf0: Unknown error".
        raise refused(address, port, int(str(error)[:4], 16)) from error
    except TimeoutError as error:
        raise DialTimeoutError(
            f"no answer from {address.short} port {port}",
            host=str(address),
            why="the time for the whole attempt is up",
            fix="Try again in a moment; Tor may still be building circuits.",
        ) from error
    except ConnectionRefusedError as error:
        raise _nothing_answers(socks) from error
    except NotSocksError as error:
        raise _not_tor(socks) from error
    except pysocks.ProxyError as error:
        if "closed" in str(error):
            raise _cut_off(address, port) from error
        raise _not_tor(socks) from error
    except OSError as error:
        raise _cut_off(address, port) from error


def _cut_off(address: OnionAddress, port: int) -> DialError:
    return DialError(
        f"could not reach {address.short} port {port}",
        host=str(address),
        why="Tor closed the connection before it answered",
        fix="Try again; if it stays, see whether Tor is running: "
        "`systemctl status tor`.",
    )


def _nothing_answers(socks: Endpoint) -> TorNotRunningError:
    return TorNotRunningError(
        "Tor is not running",
        why=f"nothing answers at {socks}",
        fix="Start it: `sudo systemctl start tor`, or give the port of a running "
        "one: `--socks HOST:PORT`.",
    )


def _not_tor(socks: Endpoint) -> TorNotRunningError:
    return TorNotRunningError(
        f"what answers at {socks} is not Tor",
        why="it does not speak SOCKS5 as Tor does",
        fix="Give the SOCKS port of Tor: `--socks HOST:PORT`. It is the SocksPort "
        "of the torrc, usually 127.0.0.1:9050.",
    )


async def probe(socks: Endpoint, *, timeout: float = 5.0) -> None:
    """Return if a SOCKS5 listener that keeps accounts apart answers at ``socks``.

    Nothing is dialed. The offer is the one that PySocks makes, so a listener
    that would ignore the credentials (``PreferSOCKSNoAuth``) is found out here.

    Raises:
        TorNotRunningError: Nothing answers within ``timeout`` seconds, or it is
            not SOCKS5.
        TorError: It would put all accounts on one circuit.
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in socks.host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(0)
        try:
            async with asyncio.timeout(timeout):
                await loop.sock_connect(sock, socks)
                await loop.sock_sendall(sock, b"\x05\x02\x00\x02")
                answer = await _receive(sock, 2)
        except (OSError, TimeoutError) as error:
            raise _nothing_answers(socks) from error
    if answer == b"\x05\x00":
        raise TorError(
            f"the SOCKS port {socks} would not keep accounts apart",
            why="it ignores user names, by which Tor chooses circuits",
            fix="Remove PreferSOCKSNoAuth from the SocksPort line of the torrc.",
        )
    if answer != b"\x05\x02":
        raise _not_tor(socks)


async def _receive(sock: socket.socket, size_bytes: int) -> bytes:
    """Return exactly that many bytes, or fewer if the other end closes."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size_bytes:
        piece = await loop.sock_recv(sock, size_bytes - len(data))
        if not piece:
            break
        data += piece
    return data
