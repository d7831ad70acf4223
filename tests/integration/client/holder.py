"""A process that holds an account, to be killed: an agent, or a talk beside one."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from xmpp_onion import Account, Client, Message
from xmpp_onion.agent.desk import Desk
from xmpp_onion.agent.keeper import keep
from xmpp_onion.agent.loan import borrow
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.testing.loopback import LoopbackDialer


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@asynccontextmanager
async def as_through_tor() -> AsyncIterator[None]:
    """Let a login take long enough for others to come meanwhile."""
    await asyncio.sleep(1)
    yield


async def be_agent(account: Account, wire: LoopbackDialer) -> None:
    @asynccontextmanager
    async def enter(now: Account) -> AsyncIterator[Client]:
        async with Client(now, tor=wire, login_timeout=None) as client:
            yield client

    stop = asyncio.Event()
    async with until_terminated(), keep(account, enter, stop=stop):
        say("ready")
        await stop.wait()


async def talk(account: Account, wire: LoopbackDialer) -> None:
    async with (
        until_terminated(),
        borrow(account.folder, "chat") as loan,
        Desk.open(account, loan=loan) as desk,
        as_through_tor(),
        Client(account, tor=wire) as client,
        desk.seated(client),
    ):
        say("ready")
        async for event in client.events():
            if isinstance(event, Message):
                say(event.text)


async def main(role: str, profile: str, data_dir: str, port: str) -> None:
    account = Account.load(profile, Path(data_dir))
    play = be_agent if role == "agent" else talk
    await play(account, LoopbackDialer(int(port)))


asyncio.run(main(*sys.argv[1:]))
