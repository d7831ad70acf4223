"""The server's side of SOCKS5, as Tor speaks it, for proxies that stand in for Tor.

Source: RFC 1928 and RFC 1929; reply codes from 0xF0 on are Tor's SOCKS extensions.
"""

import asyncio
from typing import NamedTuple

__all__ = [
    "FAILED",
    "ONION_NOT_FOUND",
    "SUCCEEDED",
    "RefusedError",
    "Request",
    "dial_upstream",
    "read_request",
    "reply",
]

SUCCEEDED = 0x00
"""The connection is made."""
FAILED = 0x01
"""The service answers, and what stands behind the port does not."""
ONION_NOT_FOUND = 0xF0
"""No such service is published."""

_BAD_COMMAND, _BAD_ADDRESS_TYPE = 0x07, 0x08
_NO_AUTH, _USER_PASSWORD, _NO_METHOD = 0x00, 0x02, 0xFF
_CONNECT = 0x01
_IPV4, _DOMAIN_NAME, _IPV6 = 0x01, 0x03, 0x04
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}


class Request(NamedTuple):
    """One CONNECT that a program asked for.

    Attributes:
        host: The name, as sent.
        port: The virtual port.
        username: What Tor would isolate circuits by; empty without credentials.
        password: The same.
    """

    host: str
    port: int
    username: str
    password: str


class RefusedError(Exception):
    """A CONNECT cannot be done; ``reply`` is the code to answer with.

    Args:
        reply: Such as `FAILED`.
    """

    def __init__(self, reply: int) -> None:
        self.reply = reply
        super().__init__(f"SOCKS reply {reply:#04x}")


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request:
    """Speak SOCKS5 up to the CONNECT, which is left to answer with :func:`reply`.

    Raises:
        RefusedError: No common method, empty credentials, or not a CONNECT by
            name; the program has been told.
        EOFError: It closed.
    """
    try:
        username, password = await _greet(reader, writer)
        _, command, _, kind = await reader.readexactly(4)
        if kind == _DOMAIN_NAME:
            host = await _read_string(reader)
        else:
            await reader.readexactly(_ADDRESS_BYTES.get(kind, 0))
            host = ""
        port = int.from_bytes(await reader.readexactly(2))
        if command != _CONNECT:
            _refuse(writer, reply(_BAD_COMMAND))
        if not host:
            _refuse(writer, reply(_BAD_ADDRESS_TYPE))
    finally:
        await writer.drain()
    return Request(host, port, username, password)


def reply(code: int) -> bytes:
    """Return the answer to a CONNECT, with an empty bound address as Tor sends it."""
    return bytes((5, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


async def dial_upstream(
    upstream: str, request: Request
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask the SOCKS5 server at ``upstream`` for the same, credentials included.

    Raises:
        RefusedError: With the code that it answered.
        OSError, EOFError: It is not there, or hung up.
    """
    host, _, port = upstream.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        code = await _ask(reader, writer, request)
    except BaseException:
        writer.close()
        raise
    if code != SUCCEEDED:
        writer.close()
        raise RefusedError(code)
    return reader, writer


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request
) -> int:
    method = _USER_PASSWORD if request.username else _NO_AUTH
    writer.write(bytes((5, 1, method)))
    if await reader.readexactly(2) != bytes((5, method)):
        return FAILED
    if method == _USER_PASSWORD:
        writer.write(b"\x01" + _string(request.username) + _string(request.password))
        if (await reader.readexactly(2))[1]:
            return FAILED
    head = bytes((5, _CONNECT, 0, _DOMAIN_NAME))
    writer.write(head + _string(request.host) + request.port.to_bytes(2))
    _, code, _, kind = await reader.readexactly(4)
    size = _ADDRESS_BYTES.get(kind) or (await reader.readexactly(1))[0]
    await reader.readexactly(size + 2)
    return code


async def _greet(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[str, str]:
    """Return user name and password; both are empty if the program sends none."""
    _, count = await reader.readexactly(2)
    methods = await reader.readexactly(count)
    if _USER_PASSWORD not in methods:
        if _NO_AUTH not in methods:
            _refuse(writer, bytes((5, _NO_METHOD)))
        writer.write(bytes((5, _NO_AUTH)))
        return "", ""
    writer.write(bytes((5, _USER_PASSWORD)))
    await reader.readexactly(1)
    username = await _read_string(reader)
    password = await _read_string(reader)
    if not (username and password):
        # Tor would take empty ones, but SOCKS libraries then send none at all and
        # lose their isolation without a word: show the mistake.
        _refuse(writer, b"\x01\x01")
    writer.write(b"\x01\x00")
    return username, password


def _refuse(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    raise RefusedError(answer[1])


async def _read_string(reader: asyncio.StreamReader) -> str:
    (size,) = await reader.readexactly(1)
    return (await reader.readexactly(size)).decode("latin-1")


def _string(text: str) -> bytes:
    data = text.encode("latin-1")
    return bytes((len(data),)) + data
