"""Prosody as a child process of ours, reachable on loopback alone."""

import asyncio
import contextlib
import logging
import shutil
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from xmpp_onion import private
from xmpp_onion.address import JID, Invite, OnionAddress
from xmpp_onion.errors import ProsodyError, ProsodyNotFoundError, ServerError
from xmpp_onion.server import invites
from xmpp_onion.server.child import end, start
from xmpp_onion.server.console import ask
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.health import Load
from xmpp_onion.server.initialisation import complete
from xmpp_onion.server.lock import locked
from xmpp_onion.server.log import (
    LOG_LIMIT_BYTES,
    LogReader,
    older,
    put_aside,
    read_tail,
)
from xmpp_onion.server.options import Engine, Options
from xmpp_onion.server.ports import Ports
from xmpp_onion.transport import CircuitPort, Endpoint

__all__ = ["Prosody"]

log = logging.getLogger(__name__)

# Prosody is started in its data folder; see data_path in prosody-config.
_CONFIG = "/proc/self/cwd/../prosody.cfg.lua"
_START_SECONDS = 15.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
_PORT_ATTEMPTS = 3

# What the child says about itself once it has settled: its process, its version,
# whether all that could look for other servers goes through Tor, its ports. Nobody
# else answers at its socket.
_STATE = """
local ports, active = { }, require "core.portmanager".get_active_services()
for _, _, port in active:iter(nil, nil, nil) do
	table.insert(ports, port)
end
local pid = require "util.pposix".getpid()
local is_loaded = require "core.modulemanager".is_loaded
local fence = is_loaded("*", "s2s_onion") and "closed" or "open"
return table.concat({ pid, prosody.version, fence, table.unpack(ports) }, " ")
"""


class Prosody:
    """A Prosody process of ours, on loopback alone; an async context manager.

    Entering makes the folder if it is new, starts Prosody as an unprivileged user
    and waits until it listens; leaving stops it. It dies with this process, however
    this process ends (with util-linux's ``setpriv``, part of every Debian).

    Args:
        folder: Where its keys and accounts are, or shall be.
        program: The program, by name or path.
    """

    def __init__(self, folder: Path, *, program: str = "prosody") -> None:
        self._folder = Folder(folder.absolute(), find_unprivileged_user())
        self._program = program
        self._socks: Endpoint | None = None
        self._stack = AsyncExitStack()
        self._process: asyncio.subprocess.Process | None = None
        self._onion: OnionAddress | None = None
        self._options = Options()
        self._version = ""
        self._lock = -1
        self._turn = asyncio.Lock()  # held while one process replaces another

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._onion = complete(self._folder)
            self._lock = await stack.enter_async_context(locked(self._folder))
            self._options = self._folder.read_options()
            if self._options.engine is not Engine.PROSODY:
                raise ServerError(
                    f"the server in {self._folder.path} is none of Prosody",
                    why=f"it was made for {self._options.engine}",
                    fix="Start it with what it was made for: Ejabberd(folder).",
                )
            stack.push_async_callback(self._stop)
            await self._start_on_free_ports()
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
        return self._folder.read_onion() if self._onion is None else self._onion

    @property
    def c2s_port(self) -> int:
        """Where it waits for XMPP clients, on 127.0.0.1."""
        return self._options.ports.c2s

    @property
    def http_port(self) -> int:
        """Where it takes and serves uploaded files, on 127.0.0.1."""
        return self._options.ports.http

    @property
    def circuit_port(self) -> CircuitPort:
        """Where it takes connections of which Tor tells the circuit."""
        folder = self._folder.path / "onion-service"
        return CircuitPort(folder, self._options.ports.c2s_proxy)

    @property
    def data(self) -> Path:
        """Its data folder, where it listens to us."""
        return self._folder.data

    @property
    def options(self) -> Options:
        """What it is, with the ports that it listens on."""
        return self._options

    @property
    def certificate_fingerprint(self) -> str:
        """The SHA-256 of its certificate (DER form), as 64 hex digits."""
        return self._folder.read_certificate_fingerprint()

    @property
    def folder(self) -> Folder:
        """Where its keys and accounts are."""
        return self._folder

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            ServerError: It does not run.
        """
        if self._process is None:
            raise ServerError("Prosody does not run", fix="Enter it first: async with")
        return self._process.pid

    @property
    def version(self) -> str:
        """The version of Prosody that runs, such as ``0.12.3``."""
        return self._version

    async def invite(
        self, local: str = "", *, lifetime: timedelta = invites.DEFAULT_LIFETIME
    ) -> Invite:
        """Return an invite; see `xmpp_onion.server.create_invite`."""
        return await invites.create_invite(self._folder.path, local, lifetime=lifetime)

    async def add_account(self, local: str, password: str) -> JID:
        """Make an account; see `xmpp_onion.server.add_account`."""
        return await invites.add_account(self._folder.path, local, password)

    async def restart(self) -> None:
        """Stop Prosody and start it again; sessions end, accounts stay."""
        async with self._turn:
            await self._stop()
            await self._start_on_free_ports()

    async def use_socks(self, socks: Endpoint) -> None:
        """Reach other servers through this SOCKS port of Tor from now on.

        May be called before it runs; no session ends if it does. Without, it is the
        port of the last time, and 9050 the first time.

        Raises:
            ServerError: Prosody does not answer.
        """
        self._socks = socks
        if self._process is None:
            return
        self._remember(socks=socks)
        # mod_s2s_onion reads the option at each dial.
        await ask(self._folder.data, 'prosody.reload_config() return ""')

    def _remember(
        self, *, socks: Endpoint | None = None, ports: Ports | None = None
    ) -> None:
        """Keep where Tor and we are; what else was chosen meanwhile stays chosen."""

        def changed(options: Options) -> Options:
            return replace(
                options, socks=socks or options.socks, ports=ports or options.ports
            )

        self._options = changed(self._options)
        kept = self._folder.read_options()
        if changed(kept) != kept:
            self._folder.write_options(changed(kept))

    async def wait(self) -> None:
        """Wait until Prosody ends, which it does when `stop` asks it to.

        Raises:
            ProsodyError: It ended otherwise.
        """
        while (process := self._process) is not None:
            status = await process.wait()
            async with self._turn:  # a restart under way goes first
                if self._process is not process:
                    continue
            if status == 0:
                return
            raise self._failure("Prosody ended", why="it was not told to")

    async def load(self) -> Load:
        """Return what it has to do.

        Raises:
            ServerError: It does not answer.
        """
        return await Load.measure(self._folder.data)

    def log_tail(self) -> str:
        """Return the last lines that Prosody logged, and printed at its start."""
        log_file = self._folder.log_file
        logs = (older(log_file), log_file, self._folder.output_file)
        tails = [read_tail(path) for path in logs]
        return "\n".join(tail for tail in tails if tail)

    async def shorten_logs(self) -> None:
        """Keep the last of what it logged and printed, and no more.

        Raises:
            ServerError: It does not answer.
            StoreError: A log cannot be written.
        """
        private.shorten(self._folder.output_file, LOG_LIMIT_BYTES)
        await put_aside(self._folder.data, self._folder.log_file.name)

    def follow_log(self) -> LogReader:
        """Return what reads its warnings and errors from now on."""
        return LogReader(self._folder.log_file)

    async def _start_on_free_ports(self) -> None:
        if (chosen := self._folder.read_options()) != self._options:
            self._options = chosen  # while it ran
            self._folder.write_config()
        self._remember(socks=self._socks or self._options.socks)
        for _ in range(_PORT_ATTEMPTS):
            await self._start()
            if await self._is_listening():
                log.info("prosody %s runs, process %d", self._version, self.pid)
                return
            log.info("a port of prosody is taken by somebody else; choosing new ones")
            await self._stop()
            self._remember(ports=self._options.with_new_ports().ports)
        ports = ", ".join(map(str, sorted(self._options.listening_ports)))
        raise self._failure(
            "Prosody cannot listen",
            why=f"its ports are taken, also the last ones: {ports}",
        )

    async def _start(self) -> None:
        program = shutil.which(self._program)
        if program is None:
            raise ProsodyNotFoundError(
                f"there is no program {self._program} on this machine",
                why="the server needs Prosody, and it is not installed",
                fix="Install it: apt-get install prosody lua-dbi-sqlite3 lua-unbound",
            )
        self._process = await start(
            [program, "--config", _CONFIG, "-F"],
            run_as=self._folder.run_as,
            cwd=self._folder.data,
            output=self._folder.output_file,
            lock=self._lock,
            umask=0o077,  # 13.0 has no such option of its own
        )

    async def _is_listening(self) -> bool:
        """Wait until Prosody settled, and return whether it has all its ports."""
        assert self._process is not None  # noqa: S101 - for the type checker
        try:
            async with asyncio.timeout(_START_SECONDS):
                while self._process.returncode is None:
                    with contextlib.suppress(ServerError):
                        state = (await ask(self._folder.data, _STATE)).split()
                        if int(state[0]) == self._process.pid:
                            self._version = state[1]
                            if state[2] == "open":
                                break
                            return self._options.listening_ports <= set(
                                map(int, state[3:])
                            )
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise self._failure(
                "Prosody does not answer",
                why=f"nothing was heard of it for {_START_SECONDS:.0f} seconds",
            ) from None
        if self._process.returncode is None:
            raise self._failure(
                "Prosody is not safe to run",
                why="its module s2s_onion is not loaded, and without it names would "
                "be looked up outside of Tor",
            )
        raise self._failure("Prosody ended at its start", why="its log says more")

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end(process, "prosody", _STOP_SECONDS)

    def _failure(self, what: str, *, why: str) -> ProsodyError:
        status = None if self._process is None else self._process.returncode
        tail = self.log_tail()
        errors = [line.strip() for line in tail.splitlines() if "error" in line.lower()]
        return ProsodyError(
            what,
            exit_status=status,
            log_tail=tail,
            why=f"{why}: {errors[-1]}" if errors else why,
            fix=f"Read {self._folder.log_file} and {self._folder.output_file}.",
        )
