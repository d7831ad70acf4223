"""``xmpp-onion demo``: the real thing, on this machine alone.

A private Tor network on loopback, a real Prosody on a real onion, two people and an
echo bot, all through Tor. Nothing leaves the machine, and nothing stays behind.
"""

import asyncio
import secrets
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
from xmpp_onion.bot import Bot
from xmpp_onion.chat import Message
from xmpp_onion.cli.progress import Steps
from xmpp_onion.cli.settings import Settings
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import SessionError
from xmpp_onion.server import Server
from xmpp_onion.session import register
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Tor

__all__ = ["command"]

# Seconds that one message of the demo may take; a circuit on loopback takes one.
_MESSAGE_TIMEOUT = 60.0


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep it running to play with; Ctrl-C ends.")
@click.pass_obj
def command(settings: Settings, *, keep: bool) -> None:
    """See it all work, on this machine alone.

    Starts a private Tor network on loopback and an onion server; Alice, Bob and an
    echo bot talk through them, end-to-end encrypted. Nothing leaves this machine,
    nothing stays behind.
    """
    asyncio.run(_run(settings, keep=keep))


async def _run(settings: Settings, *, keep: bool) -> None:
    async with until_terminated(), AsyncExitStack() as stack:
        steps = stack.enter_context(Steps(settings.output))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xo-")))
        stage = await stack.enter_async_context(_Stage.build(folder, steps))
        await _talk(stage, steps)
        steps.finish()
        if keep:
            await _stay(stage, settings)


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
            with steps.step("Private Tor network on loopback") as step:
                network = await enter(TorNetwork(on_progress=step.update))
                step.done({"event": "tor", "seconds": step.seconds})
            with steps.step("Onion server: Prosody behind a version 3 onion") as step:
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
                    server.onion,
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
    certificate = await register(invite, name, password, tor=tor)
    account = Account(
        profile=name,
        folder=data / name,
        jid=JID(f"{name}@{server.onion}"),
        password=password,
        trust=Trust.PINNED,
        certificate=certificate,
    )
    account.save()
    return account


async def _talk(stage: _Stage, steps: Steps) -> None:
    """Let the three log in, pin each other, and talk."""
    async with AsyncExitStack() as stack:
        with steps.step("They log in through Tor and publish their keys") as step:
            alice, bob, echo = [
                await stack.enter_async_context(Client(account, tor=stage.tor))
                for account in stage.accounts.values()
            ]
            step.done({"event": "ready", "seconds": step.seconds})
        with steps.step("They pin each other's keys") as step:
            pairs = [(alice, bob), (bob, alice), (alice, echo), (echo, alice)]
            await asyncio.gather(
                *(one.verify(other.jid, other.fingerprint) for one, other in pairs)
            )
            step.done({"event": "pinned", "seconds": step.seconds})
        bot = Bot("echo", trust=Trust.PINNED)
        bot.message(_echo)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(tasks.create_task(bot.serve(echo)).cancel)
        heard_by_alice, heard_by_bob = alice.messages(), bob.messages()
        await alice.send(bob.jid, "Hello Bob, can anybody else read this?")
        steps.say(await _next(heard_by_bob))
        await bob.send(alice.jid, "Nobody: not the server, not the network.")
        steps.say(await _next(heard_by_alice))
        await alice.send(echo.jid, "Echo, are you there?")
        steps.say(await _next(heard_by_alice))


async def _echo(message: Message) -> str:
    return message.text


async def _next(messages: AsyncIterator[Message]) -> Message:
    try:
        async with asyncio.timeout(_MESSAGE_TIMEOUT):
            return await anext(messages)
    except TimeoutError:
        raise SessionError(
            "a message of the demo did not arrive",
            why=f"not within {_MESSAGE_TIMEOUT:.0f} seconds",
            fix="Run it again with -vv and look at what stops.",
        ) from None


async def _stay(stage: _Stage, settings: Settings) -> None:
    """Keep everything up until Ctrl-C, and say how to use it."""
    data, socks = stage.folder / "data", stage.tor.socks
    settings.output.note(
        "\nIt stays up until Ctrl-C. In two other terminals:\n\n"
        f"  export XMPP_ONION_DATA_DIR={data} XMPP_ONION_SOCKS={socks}\n"
        "  xmpp-onion --profile bob listen\n"
        f"  xmpp-onion --profile alice send {stage.accounts['bob'].jid} -m hello\n"
    )
    await asyncio.Event().wait()
