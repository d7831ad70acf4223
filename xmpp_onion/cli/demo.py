"""``xmpp-onion demo``: the real thing, on this machine alone.

A private Tor network on loopback, a real Prosody on a real onion, two people and an
echo bot, a room and a file, all through Tor. Nothing leaves the machine, and nothing
stays behind.
"""

import asyncio
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.cli.play import play
from xmpp_onion.cli.progress import Steps
from xmpp_onion.cli.settings import Settings
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import ProsodyNotFoundError
from xmpp_onion.server import Server
from xmpp_onion.session import register_and_learn
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Tor

__all__ = ["command"]


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep it running to play with; Ctrl-C ends.")
@click.pass_obj
def command(settings: Settings, *, keep: bool) -> int:
    """See it all work, on this machine alone.

    Starts a private Tor network on loopback and an onion server; Alice, Bob and an
    echo bot talk through them, meet in a room and share a file, end-to-end encrypted.
    Nothing leaves this machine, nothing stays behind.
    """
    if shutil.which("prosody") is None:  # the network asks for tor by itself
        raise ProsodyNotFoundError(
            "there is no program prosody on this machine",
            why="the demo runs a real server",
            fix="Install it: apt-get install prosody lua-dbi-sqlite3 lua-unbound",
        )
    return asyncio.run(_run(settings, keep=keep))


async def _run(settings: Settings, *, keep: bool) -> int:
    is_finished = False
    async with until_terminated(), AsyncExitStack() as stack:
        steps = stack.enter_context(Steps(settings.output))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xo-")))
        stage = await stack.enter_async_context(_Stage.build(folder, steps))
        people = stage.accounts.values()
        await play(people, stage.tor, stage.folder, steps)
        steps.finish()
        is_finished = True
        if keep:
            await _stay(stage, settings)
    return 0 if is_finished else 130


@dataclass(frozen=True, slots=True)
class _Stage:
    """Everything that the demo plays on."""

    folder: Path
    network: TorNetwork
    tor: Tor
    server: Server
    accounts: dict[str, Account]

    @classmethod
    @asynccontextmanager
    async def build(cls, folder: Path, steps: Steps) -> AsyncIterator[Self]:
        """Start the network and the server, and register the three accounts."""
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            with steps.step("A private Tor network on loopback") as step:
                network = await enter(TorNetwork(on_progress=step.update))
                step.done({"event": "tor", "seconds": step.seconds})
            with steps.step("A Prosody behind a version 3 onion") as step:
                publisher = await enter(
                    Tor.attach(network.service_socks, network.service_control)
                )
                server = await enter(Server(folder / "server", tor=publisher))
                step.done(
                    {
                        "event": "server",
                        "onion": server.onion,
                        "c2s": 5222,
                        "fingerprint": server.certificate_fingerprint,
                        "seconds": step.seconds,
                    },
                    f"{server.onion[:16]}….onion",
                )
            tor = await enter(Tor.attach(network.socks, network.control))
            with steps.step("Alice, Bob and a bot register with invites") as step:
                data, names = folder / "data", ("alice", "bob", "echo")
                made = await asyncio.gather(
                    *(_register(data, name, server, tor) for name in names)
                )
                step.done({"event": "registered", "seconds": step.seconds})
            accounts = {account.profile: account for account in made}
            yield cls(folder, network, tor, server, accounts)


async def _register(data: Path, name: str, server: Server, tor: Tor) -> Account:
    invite = await server.invite(name)
    password = secrets.token_urlsafe(24)
    made = await register_and_learn(invite, name, password, tor=tor, tls=False)
    account = Account(
        profile=name,
        folder=data / name,
        jid=JID(f"{name}@{server.onion}"),
        password=password,
        trust=Trust.PINNED,
        certificate=made.certificate,
        offered=made.known.dump(),
    )
    account.save()
    return account


async def _stay(stage: _Stage, settings: Settings) -> None:
    """Keep everything up until Ctrl-C, and say how to use it."""
    data, socks = stage.folder / "data", stage.tor.socks
    program = "xmpp-onion"
    if shutil.which(program) is None:  # as in scripts/demo: not on the PATH
        program = f"{shlex.quote(sys.executable)} -m xmpp_onion"
    settings.output.note(
        "\nIt stays up until Ctrl-C. In two other terminals:\n\n"
        f"  export XMPP_ONION_DATA_DIR={shlex.quote(str(data))}\n"
        f"  export XMPP_ONION_SOCKS={socks}\n"
        f"  {program} --profile bob listen\n"
        f"  {program} --profile alice send {stage.accounts['bob'].jid} -m hello\n"
    )
    await asyncio.Event().wait()
