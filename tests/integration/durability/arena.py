"""Two people on a real Prosody, a bad wire between, and a judge who was not there."""

import asyncio
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, suppress
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Self

import checker
import peer
import whereabouts
from clock import clocked
from peer import Plan
from process import OwnProcess

from xmpp_onion import Account
from xmpp_onion.errors import ProsodyError
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.prosody_modules import add_quick_login, find_modules

HERE = Path(__file__).parent
CHECKER = HERE / "checker.py"
_LOOK = 0.1  # seconds between two looks at a history


class Arena:
    """A server, the wire that everybody uses, and the histories; a context manager.

    Args:
        folder: For all of it.
        program: Prosody.
        patience: Seconds without any progress after which a message counts as stuck.

    Attributes:
        data: Where profiles live.
        prefixes: What is put before the processes of a profile; see OwnProcess.
        future: How many migrations the processes of a profile know too many.
        room: Where everybody writes to all others; empty where two write to each other.
    """

    def __init__(
        self, folder: Path, *, program: str = "prosody", patience: float = 30.0
    ) -> None:
        self.folder = folder
        self.prosody = Prosody(folder / "server", program=program)
        self.patience = patience
        self._program = program
        self.hangs = self._stuck = 0
        self.crashes: list[str] = []
        self.kills = 0
        self.places: Counter[str] = Counter()
        self.data = folder / "data"
        self.prefixes: dict[str, list[str]] = {}
        self.future: dict[str, int] = {}
        self.room = ""
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self.running: dict[str, ForkServerProcess | OwnProcess] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            modules = find_modules()
            if modules is not None:  # logins say more at once, so more can break
                server = self.folder / "server"
                initialise(server)
                add_quick_login(server, modules, program=self._program)
            await stack.enter_async_context(self.prosody)
            self._routes = {str(self.prosody.onion): self.prosody.c2s_port}
            self.wire = await stack.enter_async_context(ChaosProxy(routes=self._routes))
            # Each process is a fork of one that has imported everything: a start
            # then costs what a start costs, without half a second of imports.
            self._context.set_forkserver_preload(["xmpp_onion.bot"])
            stack.push_async_callback(self.end_all)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # --- people and their processes -----------------------------------------------

    async def enrol(self, name: str) -> Account:
        """Make an account, in a profile of its name."""
        account = Account(
            profile=name,
            folder=self.data / name,
            jid=await self.prosody.add_account(name, f"secret of {name}"),
            password=f"secret of {name}",
            certificate=self.prosody.certificate_fingerprint,
        )
        account.save()
        return account

    def plan(
        self,
        profile: str,
        *,
        to: str = "",
        until: int = 0,
        pause: float = 0.0,
        kill: str = "",
        cut_percent: int = 0,
        poison_every: int = 0,
        clock: str = "",
        zone: str = "",
        is_listening: bool = True,
        is_brief: bool = False,
        is_measured: bool = False,
        flood: int = 0,
        future: int = 0,
        history: str = "",
    ) -> Plan:
        """Return a plan for a process of ``profile``.

        It writes its history under another name if there is one.
        """
        return Plan(
            profile,
            self.data,
            self.wire.socks,
            self.history(history or profile),
            to=to if "@" in to or not to else f"{to}@{self.prosody.onion}",
            until=until,
            pause=pause,
            kill=kill,
            cut_percent=cut_percent,
            poison_every=poison_every,
            clock=clock,
            zone=zone,
            is_listening=is_listening,
            is_brief=is_brief,
            is_measured=is_measured,
            flood=flood,
            future=future or self.future.get(profile, 0),
        )

    def history(self, profile: str) -> Path:
        """Return where the history of a profile is."""
        return self.folder / f"{profile}.history"

    def start(
        self, plan: Plan, body: Callable[[Plan], None] = peer.main
    ) -> ForkServerProcess | OwnProcess:
        """Start a process; the one before it must have ended."""
        process: ForkServerProcess | OwnProcess
        if plan.clock:
            environment = clocked(Path(plan.clock), plan.zone)
            process = OwnProcess("peer.py", plan, environment=environment)
        elif prefix := self.prefixes.get(plan.profile):
            process = OwnProcess("peer.py", plan, prefix=prefix)
        else:
            process = self._context.Process(target=body, args=(plan,), daemon=True)
        process.start()
        self.running[plan.profile] = process
        return process

    async def wait(self, profile: str, timeout: float | None = None) -> int | None:
        """Wait until a process has ended; return its status, None if it runs on."""
        process = self.running[profile]
        await asyncio.to_thread(process.join, timeout)
        status = process.exitcode
        if status is not None:
            del self.running[profile]
            self.kills += status == -signal.SIGKILL
            # A process that is told to stop before it has begun ends by the signal.
            if status not in {0, peer.FAILED, -signal.SIGKILL, -signal.SIGTERM}:
                tail = self.history(profile).with_suffix(".log").read_text("utf-8")
                self.crashes.append(f"{profile}: {tail[-2000:]}")
        return status

    async def kill(self, profile: str) -> None:
        """End a process by SIGKILL, if it has not ended yet."""
        if profile not in self.running:
            return
        self.running[profile].kill()
        await self.wait(profile)

    async def stop(self, profile: str, *, timeout: float = 30.0) -> int | None:
        """End a process in order; one that does not is killed and counts as hung."""
        if profile not in self.running:
            return None
        self.running[profile].terminate()
        status = await self.wait(profile, timeout)
        if status is None:
            self.hangs += 1
            await self.kill(profile)
        return status

    async def end_all(self) -> None:
        """End all that still runs."""
        for profile in list(self.running):
            await self.kill(profile)

    def entries(self, profile: str) -> list[checker.Entry]:
        """Return what a profile has written down so far."""
        path = self.history(profile)
        return checker.read(path) if path.exists() else []

    def count(self, profile: str, what: str) -> int:
        """Return how many lines of a kind a profile has written.

        It is asked for twenty times a second and of histories of 10,000 lines, so the
        text is searched, and not read.
        """
        path = self.history(profile)
        return (
            path.read_text("utf-8").count(f'{{"what": "{what}"') if path.exists() else 0
        )

    async def reach(
        self, profile: str, what: str, number: int, *, patience: float = 0.0
    ) -> bool:
        """Wait until a profile has that many lines of a kind; False if it is stuck.

        Args:
            profile: Whose history to look into.
            what: The kind of line.
            number: How many.
            patience: Seconds without any; those of the arena if it is 0.
        """
        patience = patience or self.patience
        newest, since = -1, time.monotonic()
        while (found := self.count(profile, what)) < number:
            if found != newest:
                newest, since = found, time.monotonic()
            if time.monotonic() - since > patience:
                return False
            await asyncio.sleep(0.05)
        return True

    def newest(self, profile: str, what: str) -> int:
        """Return the highest number among the lines of a kind; 0 if there are none."""
        numbers = (int(e["number"]) for e in self.entries(profile) if e["what"] == what)
        return max(numbers, default=0)

    async def flow(self, one: str, other: str) -> float:
        """Wait until something said from now on has arrived both ways.

        Returns:
            How many seconds that took; infinity if it took more than the patience.
        """
        started = time.monotonic()
        pairs = ((one, other), (other, one))
        said = {name: self.newest(name, "intent") for name, _ in pairs}
        for sender, receiver in pairs:
            while self.newest(receiver, "handled") <= said[sender]:
                if time.monotonic() - started > self.patience:
                    return float("inf")
                await asyncio.sleep(_LOOK)
        return time.monotonic() - started

    # --- the end ------------------------------------------------------------------

    async def settle(self, profiles: Collection[str], *, patience: float = 0.0) -> None:
        """Wait until all that was accepted has been handled.

        What is stuck gets new processes; if those bring it, it was a hang and no
        loss. Before that it is written down where it is; see whereabouts.py.

        Args:
            profiles: Of all of them.
            patience: Seconds until it counts as stuck; those of the arena if it is 0.
        """
        if await self._arrive(profiles, patience):
            return
        missing = self._figures(profiles).lost
        for process in self.running.values():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGUSR1)
        await self._write_down(missing, profiles)
        for profile in profiles:
            await self.stop(profile)
            self.start(self.plan(profile))
        await self._arrive(profiles)
        self.hangs += len(missing) - len(self._figures(profiles).lost)

    async def _write_down(
        self, missing: Collection[str], profiles: Collection[str]
    ) -> None:
        """Keep where everything is that has to do with what did not arrive."""
        told = await whereabouts.tell(
            missing,
            {name: self.data / name / "store.sqlite3" for name in profiles},
            {name: self.history(name) for name in profiles},
            self.prosody.data,
        )
        text = json.dumps({**told, "running": [*self.running]}, indent=1)
        path = self.folder / f"stuck{self._stuck}.json"
        path.write_text(text, "utf-8")
        self._stuck += 1
        sys.stderr.write(text + "\n")

    async def _arrive(self, profiles: Collection[str], patience: float = 0.0) -> bool:
        patience = patience or self.patience
        newest, since = -1, time.monotonic()
        while (figures := self._figures(profiles)).lost:
            if figures.handled != newest:
                newest, since = figures.handled, time.monotonic()
            if time.monotonic() - since > patience:
                return False
            await asyncio.sleep(0.1)
        return True

    def _figures(self, profiles: Collection[str]) -> checker.Figures:
        histories = [self.entries(profile) for profile in profiles]
        return checker.judge(histories, in_room=bool(self.room))

    async def judge(self, profiles: Collection[str]) -> dict[str, object]:
        """Let the checker, a program of its own, read the histories."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CHECKER),
            *(["--room"] if self.room else []),
            *(str(self.history(profile)) for profile in profiles),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        figures: dict[str, object] = json.loads(output)
        return {
            **figures,
            "status": process.returncode,
            "kills": self.kills,
            "places": self.places,
            "hangs": self.hangs,
            "crashes": self.crashes,
        }

    async def kill_server(self) -> None:
        """SIGKILL Prosody, and start it again on what is left on the disk."""
        os.kill(self.prosody.pid, signal.SIGKILL)
        with suppress(ProsodyError):
            await self.prosody.wait()
        await self.prosody.restart()
        self._routes[str(self.prosody.onion)] = self.prosody.c2s_port

    async def restart_server(self) -> None:
        """Restart Prosody in order."""
        await self.prosody.restart()
        self._routes[str(self.prosody.onion)] = self.prosody.c2s_port
