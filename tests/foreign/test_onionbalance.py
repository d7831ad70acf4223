"""One name, two Tors behind it, one killed while people talk."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.foreign.balanced import Balanced, balanced_network
from xmpp_onion import Account, Client
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.server import Prosody
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Isolation, Purpose, Tor

pytestmark = pytest.mark.onion

PATIENCE = 600.0
FEWEST, MOST, MESSAGES = 4, 16, 30


def program() -> Path:
    """Return Onionbalance, of the environment that runs the tests."""
    return Path(sys.executable).with_name("onionbalance")


async def until_found(network: TorNetwork, balanced: Balanced) -> None:
    async with Tor.attach(network.socks, network.control) as tor:
        while True:
            try:
                isolation = Isolation("guest", Purpose.CHECK)
                sock = await tor.dial(balanced.onion, 5222, isolation=isolation)
            except XmppOnionError:
                await asyncio.sleep(1)
            else:
                sock.close()
                return


async def enrol(server: Prosody, folder: Path, number: int) -> Account:
    name = f"p{number}"
    account = Account(
        profile=name,
        folder=folder / name,
        jid=await server.add_account(name, f"secret of {name}"),
        password=f"secret of {name}",
        certificate=server.certificate_fingerprint,
    )
    account.save()
    return account


async def read(client: Client, heard: list[str], enough: asyncio.Event) -> None:
    """Read all messages; tell when a third of them has come."""
    async for message in client.messages():
        heard.append(message.text)
        if len(heard) >= MESSAGES // 3:
            enough.set()
        if len(heard) == MESSAGES:
            return


async def write(client: Client, to: Client) -> None:
    for number in range(MESSAGES):
        await client.send(to.jid, f"{number}")


async def test_who_came_by_a_tor_that_was_killed_comes_by_the_other_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        enter = stack.enter_async_context
        network = await enter(balanced_network())
        balanced = Balanced(network, tmp_path, stack, 5222)
        await balanced.begin(sys.executable)
        folder = tmp_path / "server"
        folder.mkdir(mode=0o700)
        balanced.key = balanced.key.rename(folder / "onion.key")
        server = await enter(Prosody(folder))
        assert server.onion == balanced.onion
        one, two = [await balanced.add(name, server.c2s_port) for name in ("1", "2")]
        await balanced.balance(program())
        await until_found(network, balanced)
        one.visits = two.visits = 0
        tor = await enter(Tor.attach(network.socks, network.control))
        people: list[Client] = []
        # Each takes an introduction point of either by chance.
        while len(people) < FEWEST or not (one.visits and two.visits):
            assert len(people) < MOST
            account = await enrol(server, tmp_path, len(people))
            people.append(await enter(Client(account, tor=tor, login_timeout=120)))
        came, heard = two.visits, [list[str]() for _ in people]
        enough = asyncio.Event()

        async with asyncio.TaskGroup() as tasks:
            others = [*people[1:], people[0]]
            for reader, texts in zip(people, heard, strict=True):
                tasks.create_task(read(reader, texts, enough))
            for writer, other in zip(people, others, strict=True):
                tasks.create_task(write(writer, other))
            await enough.wait()
            assert one.process is not None
            one.process.kill()

        assert heard == [[f"{n}" for n in range(MESSAGES)] for _ in people]
        assert two.visits > came
