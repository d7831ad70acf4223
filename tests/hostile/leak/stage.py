"""A private Tor network, a server and two accounts; the command line talks there.

Run in a namespace by test_own_leaks.py, as a program named ``stage`` so that the
judge tells its calls from those of the commands, which are ``python``.
"""

import asyncio
import json
import secrets
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.e2ee import Trust
from xmpp_onion.server import Server
from xmpp_onion.session import register
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Tor

Process = asyncio.subprocess.Process


async def main(python: str, folder: Path, template: Path) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        network = await enter(TorNetwork(template=template))
        publisher = await enter(
            Tor.attach(network.service_socks, network.service_control)
        )
        server = await enter(Server(folder / "server", tor=publisher))
        async with Tor.attach(network.socks, network.control) as tor:
            bob = await make_account("bob", folder, server, tor)
            alice = await make_account("alice", folder, server, tor)
        print(json.dumps({"socks": network.socks, "control": network.control}))  # noqa: T201 - read by the test

        command = [python, "-m", "xmpp_onion", "--data-dir", str(folder / "data")]
        command += ["--json", "--socks", network.socks]
        control = ["--control", network.control]
        listen = await start(*command, *control, "--profile", "bob", "listen")
        try:
            assert listen.stdout is not None
            assert b'"ready"' in await listen.stdout.readline()
            said = "the commands talk"
            send = await start(*command, "--profile", "alice", "send", bob, "-m", said)
            assert await send.wait() == 0
            assert said.encode() in await listen.stdout.readline()
            await meet_and_share(command, listen, alice=alice, bob=bob, folder=folder)
            # Beside a process that holds the account, through its Unix socket.
            beside = await start(*command, "--profile", "bob", "devices", "list")
            assert await beside.wait() == 0
        finally:
            listen.terminate()
            await listen.wait()


async def meet_and_share(
    command: list[str], listen: Process, *, alice: JID, bob: JID, folder: Path
) -> None:
    """Bob, who listens, makes a room that alice joins, and fetches her file."""
    room = f"friends@muc.{bob.domain}"
    plan, got = folder / "plan.bin", folder / "got.bin"
    plan.write_bytes(secrets.token_bytes(100_000))
    for who, *words in (
        ("bob", "room", "create", room),
        ("bob", "room", "invite", room, alice),
        ("alice", "room", "join", room),
        ("alice", "send", room, "-m", "hello all"),
        ("alice", "send", bob, "--file", str(plan)),
    ):
        done = await start(*command, "--profile", who, *words)
        assert await done.wait() == 0, words
    heard = await until(listen, "message")
    assert (heard["room"], heard["body"]) == (room, "hello all")
    url = str((await until(listen, "file"))["url"])
    fetch = ("--profile", "bob", "download", url, "-o", str(got))
    done = await start(*command, *fetch)
    assert await done.wait() == 0
    assert got.read_bytes() == plan.read_bytes()


async def until(listen: Process, event: str) -> dict[str, object]:
    assert listen.stdout is not None
    async for line in listen.stdout:
        told: dict[str, object] = json.loads(line)
        if told["event"] == event:
            return told
    raise AssertionError(f"no {event}")


async def make_account(name: str, folder: Path, server: Server, tor: Tor) -> JID:
    invite = await server.invite(name)
    password = secrets.token_urlsafe()
    certificate = await register(invite, name, password, tor=tor)
    account = Account(
        profile=name,
        folder=folder / "data" / name,
        jid=JID(f"{name}@{server.onion}"),
        password=password,
        trust=Trust.BTBV,
        certificate=certificate,
    )
    account.save()
    return account.jid


async def start(*command: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE
    )


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
