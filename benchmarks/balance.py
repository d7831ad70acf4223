"""One onion name, two Tor processes behind it, one of them killed.

    pip install onionbalance   # in an environment of its own; we never import it
    python benchmarks/balance.py --program …/bin/onionbalance

On the private network of tests/foreign/balanced.py. Prints who answered, before and
after one of both was killed.
"""

import argparse
import asyncio
import collections
import itertools
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "foreign")]

from xmpp_onion.address import OnionAddress  # noqa: E402 - found by the path above

VISITS = 20
PATIENCE = 180.0  # seconds until the name must be reachable
_FLIGHT = 5
_numbers = itertools.count()


async def visit(socks: str, onion: OnionAddress) -> str:
    """Come through Tor, by a circuit of our own, and return who answered.

    Source: SOCKS5 with user and password (RFC 1928, 1929), by which Tor isolates.
    """
    host, _, port = socks.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))  # noqa: TID251 - to our own SOCKS port
    try:
        user, name = f"visitor{next(_numbers)}".encode(), onion.encode()
        writer.write(b"\5\1\2")
        await reader.readexactly(2)
        writer.write(b"\1" + bytes([len(user)]) + user + b"\1x")
        await reader.readexactly(2)
        writer.write(b"\5\1\0\3" + bytes([len(name)]) + name + b"\0\7")
        reply = await reader.readexactly(10)
        if reply[1] != 0:
            return f"refused, {reply[1]:#x}"
        return (await reader.readline()).decode().strip() or "nobody"
    except asyncio.IncompleteReadError:
        return "cut"
    finally:
        writer.close()


async def greet_as(name: str, stack: AsyncExitStack) -> int:
    """Run a service that says a name; return its port."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name}\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    await stack.enter_async_context(server)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def visit_often(socks: str, onion: OnionAddress) -> str:
    """Return who answered how often, and how long that took."""
    seconds: list[float] = []
    answers: collections.Counter[str] = collections.Counter()

    async def once() -> None:
        start = time.perf_counter()
        answers[await visit(socks, onion)] += 1
        seconds.append(time.perf_counter() - start)

    for _ in range(VISITS // _FLIGHT):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_FLIGHT):
                tasks.create_task(once())
    shown = ", ".join(f"{who}: {count}" for who, count in sorted(answers.items()))
    return (
        f"{shown}; median {statistics.median(seconds):.2f} s, most {max(seconds):.2f} s"
    )


async def main(program: str) -> None:
    """Build it, and kill one."""
    from balanced import Balanced, balanced_network  # noqa: PLC0415 - found by the path above

    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network = await stack.enter_async_context(balanced_network())
        balanced = Balanced(network, folder, stack)
        await balanced.begin(Path(program).with_name("python"))
        for name in ("one", "two"):
            await balanced.add(name, await greet_as(name, stack))
        names = {each.name for each in balanced.backends}
        start = time.perf_counter()
        await balanced.balance(program)
        async with asyncio.timeout(PATIENCE):
            while await visit(network.socks, balanced.onion) not in names:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(1)
        print(f"reachable after {time.perf_counter() - start:.0f} s")
        print(f"both: {await visit_often(network.socks, balanced.onion)}")
        process = balanced.backends[0].process
        assert process is not None
        process.kill()
        print(f"one killed: {await visit_often(network.socks, balanced.onion)}")
        print(f"later: {await visit_often(network.socks, balanced.onion)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    asyncio.run(main(parser.parse_args().program))
