"""Profanity, a client that people use, at its own terminal.

It is given what its user would type, as soon as its own log says that the step before
is done. It knows no SOCKS, so a port of this machine leads it to the proxy, as
torsocks would. It is the one who is measured; all others are this library.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from xmpp_onion.address import OnionAddress
from xmpp_onion.bench.peers import Login, Peer, ours
from xmpp_onion.bench.terminal import Tail, Terminal, run_on_terminal
from xmpp_onion.transport import Isolation, Purpose, Tor

__all__ = ["profanity"]

# What it notes is how it is followed, so it must not begin a new file in the middle.
# The keys of strangers are trusted at first sight, as ours does in the other runs.
_SETTINGS: Final = """\
[logging]
chlog=true
rotate=false
maxsize=1000000000
[omemo]
log=on
trustmode=blind
[notifications]
message=off
[ui]
splash=false
"""
_ACCOUNT: Final = """\
[bench]
enabled=true
jid={jid}
server=127.0.0.1
port={port}
resource=profanity
password={password}
tls.policy=trust
presence.login=online
presence.last=online
"""
_READ_BYTES: Final = 64 * 1024
_HEARD: Final = r"(?m)^\S+ - (?!me:)[^:]+: (.*)$"  # a line of what others said


@asynccontextmanager
async def profanity(login: Login) -> AsyncIterator[Peer]:
    """Log in with Profanity if it is measured, else with this library."""
    if not login.is_measured:
        async with ours(login) as other:
            yield other
        return
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(_way(login))
        trace = Tail(_data(login), "logs/profanity.log")
        terminal = await stack.enter_async_context(_run(login, port))
        client = _Profanity(login, terminal, trace)
        await client.log_in()
        yield client


class _Profanity:
    """It, as a `Peer`."""

    def __init__(self, login: Login, terminal: Terminal, trace: Tail) -> None:
        self._jid = login.jid.bare
        self._terminal = terminal
        self._trace = trace
        self._data = _data(login)
        self._talks = Tail(self._data, "chatlogs/**/*.log")
        self._known: set[str] = set()

    async def log_in(self) -> None:
        """Return when it can encrypt; the first time, when its keys are published."""
        is_new = not any(self._data.glob("omemo/*/identity.txt"))
        if is_new:
            await self._trace.see(r"\[OMEMO\] publish crypto materials")
            # It makes a list only when it is told to: strangers see none before.
            self._terminal.type("/omemo gen")
            await self._trace.see(r"\[OMEMO\] bundle published successfully")
            self._terminal.type("/omemo clear_device_list")
        await self._trace.see(rf"Setting device list for {re.escape(self._jid)}")

    async def say(self, to: str, text: str) -> None:
        if to not in self._known:
            # What is typed before there is a session is not kept.
            self._terminal.type(f"/omemo start {to}")
            await self._trace.see(rf"create session with {re.escape(to)}")
            self._known.add(to)
        self._terminal.type(f"/msg {to} {text}")

    async def say_to_all(self, recipients: Sequence[str], text: str) -> None:
        for each in recipients:
            await self.say(each, text)

    async def pile_up(self, to: str, count: int) -> None:
        for number in range(count):
            await self.say(to, f"text {number}")

    async def hear(self) -> str:
        return (await self._talks.see(_HEARD))[1]


def _data(login: Login) -> Path:
    return login.folder / "data" / "profanity"


@asynccontextmanager
async def _run(login: Login, port: int) -> AsyncIterator[Terminal]:
    """Start it, connecting to a port of this machine, and let it quit at the end."""
    home = login.folder
    account = _ACCOUNT.format(jid=login.jid.bare, port=port, password=login.password)
    _write(home / "config" / "profanity" / "profrc", _SETTINGS)
    _write(_data(login) / "accounts", account)
    folders = {
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
    }
    command = ["profanity", "-l", "DEBUG", "-a", "bench"]
    async with run_on_terminal(command, home, folders) as terminal:
        yield terminal
        await terminal.quit("/quit")


def _write(path: Path, text: str) -> None:
    """Write a file that it may change until the next login."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@asynccontextmanager
async def _way(login: Login) -> AsyncIterator[int]:
    """Listen on a port that leads to the account's server, as torsocks would."""
    async with Tor.attach(login.socks) as tor, asyncio.TaskGroup() as tasks:
        carried: list[asyncio.Task[None]] = []

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            carried.append(tasks.create_task(_carry(login, tor, reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in carried:
                task.cancel()


async def _carry(
    login: Login, tor: Tor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Dial, and carry bytes both ways until one side closes."""
    try:
        host = OnionAddress(login.jid.domain)
        isolation = Isolation(login.jid.bare, Purpose.XMPP)
        sock = await tor.dial(host, 5222, isolation=isolation)
        loop = asyncio.get_running_loop()
        far = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(far)
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        far_writer = asyncio.StreamWriter(transport, protocol, far, loop)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, far_writer))
                both.create_task(_pump(far, writer))
        finally:
            far_writer.close()
    finally:
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.close()  # the other way ends by that
