"""ejabberd in place of Prosody: closed, on loopback, with accounts that we make."""

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from xmpp_onion import private
from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import ServerError, XmppOnionError
from xmpp_onion.server.child import end, start
from xmpp_onion.server.doors import Doors
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.initialisation import complete
from xmpp_onion.server.lock import locked
from xmpp_onion.server.log import LOG_LIMIT_BYTES, keep_short, read_tail
from xmpp_onion.server.options import Engine, Options
from xmpp_onion.server.ports import read_taken_ports
from xmpp_onion.transport import Tor, dial_local

__all__ = ["Ejabberd"]

log = logging.getLogger(__name__)

_START_SECONDS = 60.0  # a virtual machine with 200 modules, on a busy computer
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.1
_ANSWER_LIMIT_BYTES = 64 * 1024


class Ejabberd:
    """An ejabberd process of ours; an async context manager.

    Entering starts it as an unprivileged user, and publishes its onion if there is a
    Tor; leaving takes it down. Other servers, invites and limits for each circuit it
    has none: ejabberd-config/README.md lists what it lacks.

    Args:
        folder: A folder that ``server init --engine ejabberd`` made.
        tor: What publishes the onion service; None for loopback alone.
    """

    def __init__(self, folder: Path, *, tor: Tor | None = None) -> None:
        self._folder = Folder(folder.absolute(), find_unprivileged_user())
        self._tor = tor
        self._stack = AsyncExitStack()
        self._options = Options()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._options = self._folder.read_options()
            if self._options.engine is not Engine.EJABBERD:
                raise ServerError(
                    f"the server in {self._folder.path} is none of ejabberd",
                    why=f"it was made for {self._options.engine}",
                    fix="Make another: xmpp-onion server init --engine ejabberd DIR",
                )
            complete(self._folder)
            descriptor = await stack.enter_async_context(locked(self._folder))
            self._avoid_taken_ports()
            stack.push_async_callback(self._stop)
            await self._start(descriptor)
            await self._settle()
            if self._tor is not None:
                doors = Doors(self._folder, self._options, tor=self._tor)
                await stack.enter_async_context(doors)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
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
        """The name that its accounts end in."""
        return self._folder.read_onion()

    @property
    def options(self) -> Options:
        """What it is, with the ports that it listens on."""
        return self._options

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            ServerError: It does not run.
        """
        if self._process is None:
            raise ServerError("ejabberd does not run", fix="Enter it: async with")
        return self._process.pid

    @property
    def certificate_fingerprint(self) -> str:
        """The SHA-256 of its certificate (DER form), as 64 hex digits."""
        return self._folder.read_certificate_fingerprint()

    async def add_account(self, local: str, password: str) -> JID:
        """Make an account; no process has the password among its arguments.

        Raises:
            ServerError: It does not run, or the account exists.
            InvalidJIDError: No account can have that name.
        """
        jid = JID(f"{local}@{self.onion}")
        user = {"user": jid.local, "host": str(self.onion), "password": password}
        await self._ask("register", user)
        return jid

    async def wait(self) -> None:
        """Wait until it ends, which is an error unless it was told to.

        Raises:
            ServerError: It ended otherwise.
        """
        if self._process is not None and await self._process.wait() != 0:
            raise self._failure("ejabberd ended", why="it was not told to")

    def _avoid_taken_ports(self) -> None:
        """Choose others where somebody listens; ejabberd would end, and not say why."""
        self._options = self._folder.read_options()
        if taken := self._options.listening_ports & read_taken_ports():
            log.info("ports %s are taken by somebody else; choosing new ones", taken)
            self._options = self._options.with_new_ports()
            self._folder.write_options(self._options)

    async def _start(self, descriptor: int) -> None:
        self._process = await start(
            ["sh", "../start"],
            run_as=self._folder.run_as,
            cwd=self._folder.ejabberd / "data",
            output=self._folder.output_file,
            lock=descriptor,
        )

    async def _settle(self) -> None:
        """Wait until it answers, which it does once it listens everywhere."""
        assert self._process is not None  # noqa: S101 - for the type checker
        try:
            async with asyncio.timeout(_START_SECONDS):
                while self._process.returncode is None:
                    try:
                        await self._ask("status", {})
                    except ServerError:
                        await asyncio.sleep(_POLL_SECONDS)
                    else:
                        return
        except TimeoutError:
            raise self._failure(
                "ejabberd does not answer",
                why=f"nothing was heard of it for {_START_SECONDS:.0f} seconds",
            ) from None
        raise self._failure(
            "ejabberd ended at its start",
            why="it is not installed, or a port of it is taken",
        )

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end(process, "ejabberd", _STOP_SECONDS)

    async def _keep_logs_short(self) -> None:
        """Shorten all but its own log, which it puts aside by itself."""
        files = (self._folder.background_file, self._folder.output_file)
        await keep_short(
            *(partial(private.shorten, file, LOG_LIMIT_BYTES) for file in files),
            *([partial(self._tor.shorten_log, LOG_LIMIT_BYTES)] if self._tor else []),
        )

    async def _ask(self, what: str, arguments: dict[str, str]) -> str:
        """Call its API (mod_http_api) through its socket, and return the answer."""
        body = json.dumps(arguments)
        request = (
            f"POST /api/{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                answer = await self._exchange(request + body)
        except (XmppOnionError, OSError) as error:
            raise ServerError(
                "the server does not answer",
                why="nobody listens at its socket",
                fix=f"Is it running? Read {self._folder.output_file}.",
            ) from error
        head, _, text = answer.partition("\r\n\r\n")
        if head.split()[1:2] != ["200"]:
            raise ServerError(
                "the server refused",
                why=text[:200],
                fix=f"Read {self._folder.output_file}.",
            )
        return text

    async def _exchange(self, request: str) -> str:
        loop = asyncio.get_running_loop()
        received = b""
        sock = await dial_local(self._folder.ejabberd / "data" / "console")
        with sock:
            await loop.sock_sendall(sock, request.encode())
            while chunk := await loop.sock_recv(sock, 8192):
                received += chunk
                if len(received) > _ANSWER_LIMIT_BYTES:
                    break
        return received.decode("utf-8", "replace")

    def _failure(self, what: str, *, why: str) -> ServerError:
        tail = read_tail(self._folder.output_file)
        errors = [line for line in tail.splitlines() if "critical" in line]
        return ServerError(
            what,
            why=errors[-1].partition("] ")[2] if errors else why,
            fix=f"Read {self._folder.output_file}; the program is Debian's ejabberd.",
        )
