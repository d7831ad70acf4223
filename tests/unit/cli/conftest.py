"""The command line as a process of its own, and an account without a server."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import JID, Account
from xmpp_onion.cli.json_lines import faults
from xmpp_onion.store import Database, Keys
from xmpp_onion.testing.ports import free_ports
from xmpp_onion.transport import listen_local

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, object]]:
        """What it printed, as JSON lines, each as the reference says."""
        lines = [json.loads(line) for line in self.out.splitlines()]
        assert [fault for line in lines for fault in faults(line)] == []
        return lines


Command: TypeAlias = Callable[..., Done]
Answering: TypeAlias = Callable[..., list[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run ``xmpp-onion`` with a data folder of its own and a Tor that is not there."""
    (port,) = free_ports(1)

    def run(*arguments: str, stdin: str = "", **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "xmpp_onion", *arguments],
            capture_output=True,
            text=True,
            check=False,
            input=stdin,
            timeout=300,
            env={
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "HOME": str(tmp_path),
                "XMPP_ONION_DATA_DIR": str(tmp_path / "data"),
                "XMPP_ONION_SOCKS": f"127.0.0.1:{port}",
                **environment,
            },
        )
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """Bob in the profile ``default``, whose server does not exist."""
    made = Account(
        profile="default",
        folder=tmp_path / "data" / "default",
        jid=JID(f"bob@{ONION}"),
        password="canary-of-bob",
    )
    made.save()
    return made


@pytest.fixture
def used(account: Account) -> Account:
    """An account that has logged in, as far as its files go."""
    made = replace(account, device="1a" * 32)
    made.save()

    async def fill() -> None:
        async with Database.open(made.store_path) as database:
            keys = Keys(database)
            async with database.transaction():
                await keys.store("/own_device_id", "12345")

    asyncio.run(fill())
    return made


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Stands in for who holds an account: answers one request at a socket."""
    with ExitStack() as stack:

        def answer(path: Path, *lines: dict[str, object]) -> list[str]:
            asked: list[str] = []
            path.unlink(missing_ok=True)
            sock = stack.enter_context(listen_local(path))
            sock.settimeout(60)

            def serve() -> None:
                with sock.accept()[0] as peer, peer.makefile("rw") as file:
                    asked.append(file.readline())
                    file.writelines(json.dumps(line) + "\n" for line in lines)

            thread = threading.Thread(target=serve)
            thread.start()
            stack.callback(thread.join)
            return asked

        yield answer


@pytest.fixture
def onion() -> str:
    """A name that is well formed and of no service."""
    return ONION
