"""What an agent makes of `send`: milliseconds for each, and alerts through a dying Tor.

    python benchmarks/agent.py [--times 50] [--alerts 1000] [--kills 5]

On a private Tor network, with an onion-only Prosody and commands as real processes.
First `send` as one process after the other: beside an agent until the server's ack,
beside an agent with --queue, and alone, with a login each; beside them a Python that
does nothing and `xmpp-onion --version`, which no command can be faster than. Then
alerts, one piped after the other, while the Tor of the agent is killed and started
again; who gets them counts each. Prints tables for docs/reference/performance.md; exit
1 if an alert was lost, repeated or out of order.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from first_hour import PATIENCE, ROOT, Day

from xmpp_onion.testing import TorNetwork, default_template

Environment = Mapping[str, str]


async def timed(who: Environment, *words: str, text: str = "") -> float:
    """Run a program to its end; return how long that took, in milliseconds."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **who},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, _ = await process.communicate(text.encode())
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: {out.decode()}")
    return 1000 * (time.perf_counter() - began)


async def measure(name: str, times: int, who: Environment, *words: str) -> None:
    """Run a program again and again, and print a row."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    values = sorted([await timed(who, *words) for _ in range(times)])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    tenth = values[min(len(values) - 1, 9 * len(values) // 10)]
    print(
        f"| {name} | {times} | {1000 * used / times:.0f} "
        f"| {statistics.median(values):.0f} | {tenth:.0f} |",
        flush=True,
    )


async def latencies(day: Day, to: str, times: int) -> None:
    """Print how long each way to send takes."""
    alice = day.guest("alice")
    program = ("-m", "xmpp_onion", "--json")
    send = (*program, "send", to, "-m", "disk full")
    print("| ms | runs | CPU | median | 9 of 10 below |")
    print("| --- | ---: | ---: | ---: | ---: |")
    await measure("a Python that does nothing", times, alice, "-c", "pass")
    await measure("`xmpp-onion --version`", times, alice, *program, "--version")
    await measure("`send` alone, with a login", 5, alice, *send)
    await day.type_in("", alice, "agent", "start", "--detach")
    try:
        await timed(alice, *send)
        await measure("`send` beside an agent, to the ack", times, alice, *send)
        queue = (*send, "--queue")
        await measure("`send --queue` beside an agent", times, alice, *queue)
    finally:
        await day.type_in("", alice, "agent", "stop")


async def alerts(
    day: Day, network: TorNetwork, to: str, *, count: int, kills: int
) -> bool:
    """Pipe alerts through a Tor that dies; return whether each came once, in order."""
    alice = day.guest("alice")
    listening = await day.start(day.guest("bob"), "listen")
    await day.hear("", listening, "ready", 0.0)
    await day.type_in("", alice, "agent", "start", "--detach")
    heard: list[str] = []

    async def hear() -> None:
        assert listening.stdout is not None
        while line := await listening.stdout.readline():
            body = str(json.loads(line).get("body"))
            if body.startswith("alert "):
                heard.append(body)
            if body == f"alert {count - 1}":
                return

    moments = {n * count // (kills + 1): asyncio.Event() for n in range(1, kills + 1)}

    async def kill() -> None:
        for moment in moments.values():
            await moment.wait()
            await network.kill("client")
            await network.restart("client")

    began, sent = time.perf_counter(), list[float]()
    try:
        async with asyncio.TaskGroup() as tasks:
            hearing = tasks.create_task(hear())
            tasks.create_task(kill())
            for number in range(count):
                if number in moments:
                    moments[number].set()
                words = ("-m", "xmpp_onion", "send", to)
                sent.append(await timed(alice, *words, text=f"alert {number}"))
            async with asyncio.timeout(PATIENCE):
                await hearing
    finally:
        await day.type_in("", alice, "agent", "stop")
        listening.terminate()
        await listening.communicate()
    counts = Counter(heard)
    lost = sum(f"alert {number}" not in counts for number in range(count))
    repeated = sum(number - 1 for number in counts.values())
    ordered = [f"alert {number}" for number in range(count)]
    print(
        "\n| alerts | Tor killed | lost | repeated | in order | s | longest `send`, s |"
    )
    print("| ---: | ---: | ---: | ---: | --- | ---: | ---: |")
    print(
        f"| {count} | {kills} | {lost} | {repeated} | {heard == ordered} "
        f"| {time.perf_counter() - began:.0f} | {max(sent) / 1000:.1f} |"
    )
    return heard == ordered


async def main() -> int:
    """Measure, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--alerts", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=5)
    chosen = parser.parse_args()
    async with TorNetwork(relays=8, template=default_template()) as network:
        with tempfile.TemporaryDirectory() as folder:
            day = Day(network, Path(folder))
            host = day.host("chat")
            await day.type_in("", host, "server", "up", "--detach", "DIR")
            try:
                await day.enrol("chat", "alice")
                to = await day.enrol("chat", "bob")
                if chosen.times:
                    await latencies(day, to, chosen.times)
                if not chosen.alerts:
                    return 0
                is_well = await alerts(
                    day, network, to, count=chosen.alerts, kills=chosen.kills
                )
            finally:
                await day.type_in("", host, "server", "down", "DIR")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
