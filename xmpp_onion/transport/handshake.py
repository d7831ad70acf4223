"""The SOCKS5 handshake with data behind the request: one round trip less.

Tor takes what comes behind a CONNECT before it has answered, and sends it along with
the cell that opens the stream: the service's answer comes as early as Tor's own. A
library that waits for Tor's answer first loses a round trip to the service.

Source: RFC 1928 and RFC 1929; "optimistic data" in Tor's SOCKS extensions, section 4.
"""

import asyncio
import socket
from typing import Final

__all__ = ["NotSocksError", "shake_hands"]

_VERSION: Final = 5
_WITH_PASSWORD: Final = 2
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES: Final = {_IPV4: 4, _IPV6: 16}
_PORT_BYTES: Final = 2


class NotSocksError(Exception):
    """What answers does not speak SOCKS5 as Tor does."""


async def shake_hands(
    sock: socket.socket,
    host: str,
    port: int,
    *,
    credentials: tuple[str, str],
    first: bytes,
) -> int:
    """Ask for a connection, send ``first`` at once, and return the reply code.

    The name goes to Tor unresolved, and the credentials always: Tor chooses circuits
    by them.

    Args:
        sock: Connected to Tor's SOCKS port; it does not block.
        host: The onion service.
        port: Its virtual port.
        credentials: User name and password, of 1 to 255 bytes each.
        first: What the service gets first. If the reply is not 0 it got nothing.

    Raises:
        NotSocksError: It is not Tor.
        ConnectionError: It closed before it had answered.
    """
    await _send(sock, bytes((_VERSION, 1, _WITH_PASSWORD)))
    await _expect(sock, bytes((_VERSION, _WITH_PASSWORD)))
    user, password = credentials
    await _send(sock, b"\x01" + _text(user) + _text(password))
    await _expect(sock, b"\x01\x00")
    request = bytes((_VERSION, _CONNECT, 0, _NAME)) + _text(host)
    await _send(sock, request + port.to_bytes(_PORT_BYTES) + first)
    version, code, _, kind = await _read(sock, 4)
    if version != _VERSION or kind not in {*_ADDRESS_BYTES, _NAME}:
        raise NotSocksError("what answers is not Tor")
    # What Tor bound is of no use; to the byte, because the service's own follow.
    size = _ADDRESS_BYTES.get(kind) or (await _read(sock, 1))[0]
    await _read(sock, size + _PORT_BYTES)
    return code


async def _send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def _expect(sock: socket.socket, answer: bytes) -> None:
    if await _read(sock, len(answer)) != answer:
        raise NotSocksError("what answers is not Tor")


async def _read(sock: socket.socket, size_bytes: int) -> bytes:
    """Return exactly that many bytes."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size_bytes:
        piece = await loop.sock_recv(sock, size_bytes - len(data))
        if not piece:
            raise ConnectionAbortedError("the other side closed")
        data += piece
    return data


def _text(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data
