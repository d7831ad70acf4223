"""The runs: what is done to Tor while two people write to each other through it."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from tor_arena import ALICE, BOB, TorArena

from xmpp_onion.errors import ControlPortError
from xmpp_onion.testing import Direction
from xmpp_onion.transport import Tor

Run = Callable[[TorArena, int], Awaitable[dict[str, object]]]


async def restart_tor(arena: TorArena, restarts: int) -> dict[str, object]:
    """R4: Alice's own tor, the one of Bob and the server's, by KILL and by TERM."""
    await arena.talk()
    back: dict[str, list[float]] = {ALICE: [], "client": [], "service": []}
    turns = itertools.product((signal.SIGKILL, signal.SIGTERM), back)
    for how, victim in itertools.islice(itertools.cycle(turns), restarts):
        if victim == ALICE:
            child = arena.child_tor(ALICE)
            assert child is not None
            os.kill(child, how)
        else:
            await _end_node(arena, victim, how)
            await arena.network.restart(victim)
        back[victim].append(await arena.flow(ALICE, BOB))
    figures = await arena.end_talk()
    return {**figures, "back": [each for seen in back.values() for each in seen]}


async def _end_node(arena: TorArena, node: str, how: signal.Signals) -> None:
    pid = arena.network.pid(node)
    assert pid is not None
    os.kill(pid, how)
    while arena.network.pid(node) is not None:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.05)


async def close_circuits(arena: TorArena, rounds: int) -> dict[str, object]:
    """R5: every 20 seconds all circuits of the clients, or the server, are closed."""
    await arena.talk()
    network, back, pause = arena.network, [], 20.0 / arena.haste
    sides = (
        (network.socks, network.control),
        (network.service_socks, network.service_control),
    )
    for number in range(rounds):
        async with Tor.attach(*sides[number % 3 == 2]) as tor:
            await tor.new_identity()
            await _close_all(tor)
        back.append(await arena.flow(ALICE, BOB))
        await asyncio.sleep(max(0.0, pause - back[-1]))
    return {**await arena.end_talk(), "back": back}


async def _close_all(tor: Tor) -> None:
    control = await tor._daemon.control()
    for line in "\n".join(await control.ask("GETINFO circuit-status")).splitlines():
        number = line.split()[0] if line.strip() else ""
        if number.isdigit():
            with suppress(ControlPortError):  # it has closed by itself
                await control.ask(f"CLOSECIRCUIT {number}")


async def move_server(arena: TorArena, moves: int) -> dict[str, object]:
    """R6: tor and Prosody end, and others begin with a copy of the folder."""
    await arena.talk()
    network, back, place = arena.network, [], arena.folder / "server"
    for number in range(moves):
        await arena.site.aclose()
        if number == 0:
            await network.kill("service")
        new = arena.folder / f"server{number}"
        copying = await asyncio.create_subprocess_exec("cp", "-a", place, new)
        assert await copying.wait() == 0
        folder = arena.folder / f"tor{number}"
        await network.seed(folder)
        await arena.open_site(new, Tor.launch(folder, extra=network.torrc_lines))
        place = new
        back.append(await arena.flow(ALICE, BOB))
    figures = await arena.end_talk()
    await arena.site.aclose()
    await network.restart("service")
    return {**figures, "back": back}


async def freeze_tor(arena: TorArena, seconds: int) -> dict[str, object]:
    """R19: tor is stopped, as on a machine that hangs, and goes on."""
    await arena.talk()
    pid = arena.network.pid("client")
    assert pid is not None
    cpu, since = arena.cpu(ALICE), time.time()
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
        noticed = [
            await arena.leave_online(name, since, seconds) for name in (ALICE, BOB)
        ]
        share = (arena.cpu(ALICE) - cpu) / (time.time() - since)
        attempts = arena.attempts(ALICE, since)
    finally:
        os.kill(pid, signal.SIGCONT)
    back = [await arena.flow(ALICE, BOB)]
    seen = {"noticed": noticed, "cpu_percent": 100 * share, "attempts": attempts}
    return {**await arena.end_talk(), "back": back, **seen}


async def fall_silent(arena: TorArena, rounds: int) -> dict[str, object]:
    """R20: what goes one way, or the other, is swallowed; nobody hangs up."""
    await arena.talk(pause=2.0)
    noticed, back = [], []
    for _, way in zip(range(rounds), itertools.cycle(Direction), strict=False):
        since = time.time()
        arena.wire.swallow(way)
        noticed.append(await arena.leave_online(ALICE, since, 120))
        back.append(await arena.flow(ALICE, BOB))
    return {**await arena.end_talk(), "back": back, "noticed": noticed}


async def slow_down(arena: TorArena, texts: int) -> dict[str, object]:
    """R26: 2 KB/s, 3 seconds for a round trip, 5 stalls in a hundred seconds."""
    await arena.talk(pause=3.0 / arena.haste)
    wire = arena.wire
    wire.rtt, wire.rate = 3.0 / arena.haste, 2048 * arena.haste
    wire.cut()  # the login has to fit through it, too
    back, since = [await arena.flow(ALICE, BOB)], time.time()
    while len(arena.delays(ALICE, BOB, since)) < texts:
        await asyncio.sleep(20.0 / arena.haste)
        wire.stall()
        await asyncio.sleep(5.0 / arena.haste)
        wire.unstall()
    delays = sorted(arena.delays(ALICE, BOB, since) + arena.delays(BOB, ALICE, since))
    seen = {"slowest": delays[-1], "attempts": arena.attempts(ALICE, since)}
    return {**await arena.end_talk(), "back": back, **seen}


class Entry(NamedTuple):
    """A run, and how far it goes.

    Attributes:
        run: What is done.
        small: How often, in scripts/test.
        full: How often, in benchmarks/tor_faults.py.
        unit: What is counted.
        alice: Her way; see TorArena.
        haste: In the small version.
    """

    run: Run
    small: int
    full: int
    unit: str
    alice: str = "tor"
    haste: float = 1.0


RUNS = {
    "R4": Entry(restart_tor, 3, 18, "restarts of a tor", alice="child"),
    "R5": Entry(close_circuits, 2, 15, "times all circuits closed", haste=20),
    "R6": Entry(move_server, 1, 4, "moves of the server"),
    "R19": Entry(freeze_tor, 8, 60, "seconds without tor", haste=10),
    "R20": Entry(fall_silent, 2, 4, "connections fall silent", alice="wire", haste=20),
    "R26": Entry(slow_down, 4, 30, "texts on a slow way", alice="wire", haste=10),
}
