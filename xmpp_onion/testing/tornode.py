"""One tor process of a private network, from its keys to its last log line."""

import asyncio
import contextlib
import logging
import os
import re
import shutil
from pathlib import Path

from xmpp_onion.errors import TorError, TorNotFoundError, TorNotRunningError
from xmpp_onion.testing.torcontrol import ControlConnection
from xmpp_onion.testing.torrc import (
    LOOPBACK,
    NodePlan,
    authority_line,
    read_fingerprint,
    read_identity,
    render,
)

__all__ = ["POLL", "TorNode", "require_programs"]

log = logging.getLogger(__name__)

# Seconds between two looks at something that has no event to wait for.
POLL = 0.05
# Seconds for one try to be let in: who took the port before tor may never answer.
_ANSWER_LIMIT = 2.0
_TAIL_LINES = 12


def require_programs() -> None:
    """Check that the programs are there, before anything is started.

    Raises:
        TorNotFoundError: Install what it names.
    """
    for program in ("tor", "tor-gencert"):
        if shutil.which(program) is None:
            raise TorNotFoundError(
                f"the program {program} is not installed",
                why="it is not on the PATH",
                fix="Install it: sudo apt-get install tor",
            )


class TorNode:
    """A tor that ends when this process does, however that happens.

    Two things see to it: tor is told our process id, and `own` keeps a control
    connection whose end is tor's end.

    Args:
        plan: Who it is, and where.
    """

    def __init__(self, plan: NodePlan) -> None:
        self.plan = plan
        self._process: asyncio.subprocess.Process | None = None
        self._owner: ControlConnection | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while it does not run."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    @property
    def was_started(self) -> bool:
        """Whether it should be running: started, and not killed by us."""
        return self._process is not None

    @property
    def _log_file(self) -> Path:
        return self.plan.folder / "tor.log"

    def log(self) -> str:
        """Return all that it logged, earlier lives of the node included."""
        with contextlib.suppress(OSError):
            return self._log_file.read_text(errors="replace")
        return ""

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log().splitlines()[-_TAIL_LINES:])

    async def make_authority_keys(self) -> str:
        """Make what an authority needs before it runs; return its `authority_line`."""
        plan, keys = self.plan, self.plan.folder / "keys"
        certificate = keys / "authority_certificate"
        if not certificate.exists():
            plan.folder.mkdir(mode=0o700, exist_ok=True)
            keys.mkdir(mode=0o700, exist_ok=True)
            # A year: more than any network lives. The empty line is the passphrase.
            await self._run(
                *("tor-gencert", "--create-identity-key", "--passphrase-fd", "0"),
                *("-i", str(keys / "authority_identity_key")),
                *("-s", str(keys / "authority_signing_key"), "-c", str(certificate)),
                *("-m", "12", "-a", f"{LOOPBACK}:{plan.dir_port}"),
                stdin=b"\n",
            )
        fingerprint = plan.folder / "fingerprint"
        if not fingerprint.exists():
            await self._run(
                *("tor", "-f", "-", "--defaults-torrc", os.devnull),
                *("--list-fingerprint", "--quiet", "--Nickname", plan.name),
                *("--DataDirectory", str(plan.folder), "--Address", LOOPBACK),
                *("--ORPort", f"{LOOPBACK}:{plan.or_port}"),
            )
        return authority_line(
            plan,
            read_identity(certificate.read_text()),
            read_fingerprint(fingerprint.read_text()),
        )

    async def start(self, authority: str, *, offset: int) -> None:
        """Start tor; `own` tells when it is up."""
        folder = self.plan.folder
        folder.mkdir(mode=0o700, exist_ok=True)
        text = render(self.plan, authority, owner=os.getpid(), offset=offset)
        (folder / "torrc").write_text(text)
        self._cookie.unlink(missing_ok=True)  # of an earlier life
        await self._spawn(
            *("tor", "-f", str(folder / "torrc"), "--defaults-torrc", os.devnull)
        )
        log.debug("started tor node %s", self.plan.name)

    async def _spawn(
        self, *command: str, stdin: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        with self._log_file.open("ab") as output:
            # A session of its own: the terminal's Ctrl-C is for us to handle.
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=stdin,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return self._process

    async def _run(self, *command: str, stdin: bytes = b"") -> None:
        process = await self._spawn(*command, stdin=asyncio.subprocess.PIPE)
        await process.communicate(stdin)
        if process.returncode:
            raise TorError(
                f"{command[0]} could not make the keys of {self.plan.name}",
                why=self.log_tail(),
            )
        self._process = None

    async def own(self) -> None:
        """Wait until tor listens, and tie its life to ours.

        Raises:
            TorNotRunningError: It has ended.
        """
        connection = await self.control()
        self._owner = connection
        await connection.ask("TAKEOWNERSHIP")
        # Otherwise any controller of our process would believe that it owns this
        # tor: stem does, and would end it by closing its connection.
        await connection.ask("RESETCONF __OwningControllerProcess")

    async def control(self) -> ControlConnection:
        """Return a new control connection; the caller closes it.

        Waits until tor listens, without end: bound it with ``asyncio.timeout``.

        Raises:
            TorNotRunningError: Tor has ended.
        """
        while True:
            self.check_alive()
            try:
                async with asyncio.timeout(_ANSWER_LIMIT):
                    return await ControlConnection.open(
                        self.plan.control_port, self._cookie.read_bytes()
                    )
            except (OSError, TorError):  # no listener, or no cookie, yet
                await asyncio.sleep(POLL)

    @property
    def _cookie(self) -> Path:
        return self.plan.folder / "control_auth_cookie"

    async def bootstrap_percent(self) -> int:
        """Return how far a client is on its way into the network, 0 to 100."""
        async with await self.control() as connection:
            lines = await connection.ask("GETINFO status/bootstrap-phase")
        found = re.search(r"PROGRESS=(\d+)", lines[0])
        return int(found[1]) if found else 0

    def check_alive(self) -> None:
        """Raise TorNotRunningError, with the last of the log, if it has ended."""
        process = self._process
        if process is not None and process.returncode is None:
            return
        status = (
            "was not started"
            if process is None
            else (f"ended with status {process.returncode}")
        )
        raise TorNotRunningError(
            f"the tor node {self.plan.name} {status}",
            why=f"its log ends with\n{self.log_tail()}\n",
            fix="The log says why",
        )

    def kill(self) -> None:
        """Send SIGKILL; `gone` waits for the end."""
        if self._owner is not None:
            self._owner.close()
            self._owner = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def gone(self) -> None:
        """Wait for the end of the process, if it has one, and forget it."""
        if self._process is not None:
            await self._process.wait()
            self._process = None
