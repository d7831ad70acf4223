"""Round trips and seconds of connecting and writing: ours beside the bare libraries.

    python benchmarks/roundtrips.py [--rtt 0 0.2 0.5] [--only bare|ours]

Both log in to the same Prosody on loopback, through a SOCKS5 proxy that delays each
way by half the round-trip time and counts (``xmpp_onion.testing.ChaosProxy``). The
way of one person is measured; that of all others has no delay. Accounts are new for
each run. The server has Debian's prosody-modules if they are unpacked
(``scripts/fetch-prosody-modules``), whose quick login the bare libraries do not know.
Each does about TLS what its makers do by default: bare speaks STARTTLS, ours none.
Prints a table for docs/reference/performance.md.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from bare import BareClient

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.prosody_modules import add_quick_login, find_modules
from xmpp_onion.transport import Tor

STRANGERS = 10
WAITING = 1000
PHASES = {
    "first login": "first login of an account, until a new OMEMO device is published",
    "login": "later login, until it can encrypt",
    "first message": "first message to a stranger, until the reader has decrypted it",
    "later message": "later message, until the reader has decrypted it",
    "ten": f"first message to {STRANGERS} strangers, until all have decrypted it",
    "catching up": f"login with {WAITING:,} messages waiting, until all are decrypted",
}
_LIMIT_SECONDS = 900.0


class Peer(Protocol):
    """One logged-in account of either contestant."""

    async def say(self, to: str, text: str) -> None:
        """Encrypt and send."""

    async def say_to_all(self, recipients: list[str], text: str) -> None:
        """Encrypt for each and send, as fast as the library lets an author."""

    async def pile_up(self, to: str, count: int) -> None:
        """Send so many texts, and return when the server has them."""

    async def hear(self) -> str:
        """Return the next decrypted text."""
        ...


class Login(NamedTuple):
    """What a contestant needs to log in."""

    jid: JID
    password: str
    socks: str
    server: Prosody
    folder: Path


Enter = Callable[[Login], AbstractAsyncContextManager[Peer]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one phase took."""

    seconds: float
    round_trips: int


@asynccontextmanager
async def bare(login: Login) -> AsyncIterator[Peer]:
    """Log in with the bare libraries."""
    client = BareClient(
        login.jid,
        login.password,
        proxy=login.socks,
        certificate=next(login.folder.parent.glob("server/prosody/certs/*.crt")),
        store=login.folder / "omemo.json",
    )
    try:
        await client.log_in()
        yield client
    finally:
        await client.leave()


class _Ours:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._messages = client.messages()

    async def say(self, to: str, text: str) -> None:
        await self._client.send(to, text)

    async def say_to_all(self, recipients: list[str], text: str) -> None:
        await asyncio.gather(*(self.say(to, text) for to in recipients))

    async def pile_up(self, to: str, count: int) -> None:
        for number in range(count - 1):
            await self._client.queue(to, f"text {number}")
        await self.say(to, "the last one")

    async def hear(self) -> str:
        return (await anext(self._messages)).text


@asynccontextmanager
async def ours(login: Login) -> AsyncIterator[Peer]:
    """Log in with xmpp_onion."""
    account = Account(
        profile="benchmark",
        folder=login.folder,
        jid=login.jid,
        password=login.password,
        trust=Trust.BTBV,
        certificate=login.server.certificate_fingerprint,
    )
    async with Tor.attach(login.socks) as tor, Client(account, tor=tor) as client:
        yield _Ours(client)


CONTESTANTS: dict[str, Enter] = {"bare": bare, "ours": ours}


async def log_in(
    proxy: ChaosProxy,
    stack: AsyncExitStack,
    entrance: AbstractAsyncContextManager[Peer],
) -> tuple[Peer, Cost]:
    """Enter a contestant and measure until it can encrypt."""
    before, started = proxy.round_trips, time.perf_counter()
    peer = await stack.enter_async_context(entrance)
    return peer, Cost(time.perf_counter() - started, proxy.round_trips - before)


async def deliver(proxy: ChaosProxy, writer: Peer, reader: Peer, login: Login) -> Cost:
    """Send one message to ``login`` and measure until it has been read.

    The leg that carries the message counts as a whole round trip.
    """
    before, started = proxy.round_trips, time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.say(login.jid, "hello"))
        assert await reader.hear() == "hello"
        seconds = time.perf_counter() - started
        round_trips = proxy.flights - before
    return Cost(seconds, round_trips)


async def deliver_to_all(
    proxy: ChaosProxy, writer: Peer, readers: list[Peer], logins: list[Login]
) -> Cost:
    """Send the same to all ``logins`` and measure until each has read it."""
    before, started = proxy.round_trips, time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        recipients = [str(login.jid) for login in logins]
        tasks.create_task(writer.say_to_all(recipients, "hello"))
        for reader in readers:
            assert await reader.hear() == "hello"
        seconds = time.perf_counter() - started
        round_trips = proxy.flights - before
    return Cost(seconds, round_trips)


async def catch_up(
    proxy: ChaosProxy, entrance: AbstractAsyncContextManager[Peer]
) -> Cost:
    """Log in and measure until all that waited has been read."""
    before, started = proxy.round_trips, time.perf_counter()
    async with entrance as peer:
        for _ in range(WAITING):
            await peer.hear()
        return Cost(time.perf_counter() - started, proxy.round_trips - before)


async def quiet(proxy: ChaosProxy) -> None:
    """Wait until nothing is on the way any more, so that phases do not mix."""
    seen, calm = -1, 0
    while calm < 3:
        moved = proxy.bytes_up + proxy.bytes_down
        calm = calm + 1 if moved == seen else 0
        seen = moved
        await asyncio.sleep(0.2 + proxy.rtt / 2)


async def run(name: str, rtt: float, server: Prosody, folder: Path) -> dict[str, Cost]:
    """Measure one contestant at one round-trip time."""
    enter = CONTESTANTS[name]
    routes = {str(server.onion): server.c2s_port}
    costs: dict[str, Cost] = {}
    async with (
        asyncio.timeout(_LIMIT_SECONDS),
        ChaosProxy(routes=routes) as near,
        ChaosProxy(routes=routes, rtt=rtt) as far,
    ):
        bob = await make_account("bob", near, server, folder)
        strangers = [
            await make_account(f"s{number}", near, server, folder)
            for number in range(STRANGERS)
        ]
        alice = await make_account("alice", far, server, folder)
        async with enter(bob) as reader:
            async with AsyncExitStack() as stack:
                _, costs["first login"] = await log_in(far, stack, enter(alice))
                await quiet(far)
            await quiet(far)
            async with AsyncExitStack() as stack:
                writer, costs["login"] = await log_in(far, stack, enter(alice))
                for phase in ("first message", "later message"):
                    await quiet(far)
                    costs[phase] = await deliver(far, writer, reader, bob)
                async with AsyncExitStack() as crowd:
                    readers = [
                        await crowd.enter_async_context(enter(each))
                        for each in strangers
                    ]
                    await quiet(far)
                    costs["ten"] = await deliver_to_all(far, writer, readers, strangers)
                await quiet(far)
            await quiet(far)
            await reader.pile_up(alice.jid, WAITING)
            costs["catching up"] = await catch_up(far, enter(alice))
    return costs


async def make_account(
    local: str, proxy: ChaosProxy, server: Prosody, folder: Path
) -> Login:
    """Make a new account whose way to the server leads through ``proxy``."""
    password = secrets.token_urlsafe()
    name = f"{local}-{secrets.token_hex(4)}"
    jid = await server.add_account(name, password)
    home = folder / name
    home.mkdir(mode=0o700)
    return Login(jid, password, proxy.socks, server, home)


def table(rtts: list[float], results: dict[tuple[str, float], dict[str, Cost]]) -> str:
    """Return the results in markdown."""
    names = list(dict.fromkeys(name for name, _ in results))
    head = ["", *(f"{name}: round trips" for name in names)]
    head += [f"{name}, {rtt * 1000:.0f} ms" for rtt in rtts for name in names]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    slowest = max(rtts)  # the delay at which thinking time disturbs the count least
    for phase, title in PHASES.items():
        row = [title]
        row += [str(results[name, slowest][phase].round_trips) for name in names]
        row += [
            f"{results[name, rtt][phase].seconds:.2f} s"
            for rtt in rtts
            for name in names
        ]
        lines.append(row)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


async def main(rtts: list[float], names: list[str]) -> None:
    """Run every contestant at every round-trip time, and print the table."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="xmpp-onion-bench-") as folder:
        initialise(Path(folder, "server"))
        modules = find_modules()
        if modules is not None:
            add_quick_login(Path(folder, "server"), modules, program="prosody")
        async with Prosody(Path(folder, "server")) as server:
            for rtt in rtts:
                for name in names:
                    print(f"{name} at {rtt * 1000:.0f} ms …", file=sys.stderr)
                    results[name, rtt] = await run(name, rtt, server, Path(folder))
    print(table(rtts, results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rtt", type=float, nargs="+", default=[0.0, 0.2, 0.5])
    parser.add_argument("--only", choices=CONTESTANTS, default=None)
    chosen = parser.parse_args()
    contestants = [chosen.only] if chosen.only else list(CONTESTANTS)
    asyncio.run(main(chosen.rtt, contestants))
