"""The runs: what is done to whom, how often, while who says what to whom.

Each run leaves a server with accounts behind, and histories for the judge.
"""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import peer
from arena import Arena
from clock import SETTINGS, Setting
from killpoints import KINDS

ALICE, BOB = "alice", "bob"
# How far into a process a kill of each kind may lie: a login passes half of these,
# and a few texts are said after it.
_DEPTH = {
    "store": 240,
    "commit": 60,
    "ended": 60,
    "committed": 60,
    "wire": 60,
    "ack": 30,
    "confirmed": 8,
    "came": 12,
    "handled": 8,
    "encrypted": 24,
    "decrypted": 8,
    "send": 24,
    "sent": 24,
}
SENDER = [
    "store",
    "commit",
    "ended",
    "committed",
    "encrypted",
    "send",
    "sent",
    "wire",
    "ack",
]
RECEIVER = [
    "store",
    "commit",
    "ended",
    "committed",
    "decrypted",
    "came",
    "confirmed",
    "wire",
]
RECEIVER += ["handled"]
assert set(SENDER) | set(RECEIVER) == set(KINDS)

# So many pairs run at the same time in R13: most of it is waiting.
_PAIRS_AT_ONCE = 4

Run = Callable[[Arena, int], Awaitable[dict[str, object]]]


def kill_points(kinds: list[str], number: int) -> list[str]:
    """Return where to kill: each kind in turn, and every third time at any moment."""
    places = []
    for index in range(number):
        kind = kinds[(index - index // 3) % len(kinds)]
        depth = 1 + secrets.randbelow(_DEPTH[kind])
        places.append("" if index % 3 == 2 else f"{kind}:{depth}")
    return places


async def kill_sender(arena: Arena, kills: int) -> dict[str, object]:
    """R1: the sender is killed again and again, the receiver stays."""
    await arena.enrol(ALICE)
    await arena.enrol(BOB)
    arena.start(arena.plan(BOB))
    await arena.reach(BOB, "ready", 1)
    for place in kill_points(SENDER, kills):
        await live_until_killed(
            arena, ALICE, place, to=BOB, until=10**6, pause=0.005, is_listening=False
        )
    arena.start(arena.plan(ALICE, is_listening=False))
    return await end(arena)


async def kill_receiver(arena: Arena, kills: int) -> dict[str, object]:
    """R2: the receiver is killed again and again while messages come."""
    await arena.enrol(ALICE)
    await arena.enrol(BOB)
    arena.start(arena.plan(BOB))
    await arena.reach(BOB, "ready", 1)  # his keys are there
    await arena.kill(BOB)
    arena.start(arena.plan(ALICE, to=BOB, until=10**6, pause=0.1, is_listening=False))
    for place in kill_points(RECEIVER, kills):
        await live_until_killed(arena, BOB, place)
    ready = arena.count(BOB, "ready")
    arena.start(arena.plan(BOB))
    # What came meanwhile may be much, and is handed over when all of it is read.
    await arena.reach(BOB, "ready", ready + 1, patience=10 * arena.patience)
    await arena.stop(ALICE)
    arena.start(arena.plan(ALICE, is_listening=False))
    return await end(arena)


async def live_until_killed(
    arena: Arena,
    profile: str,
    place: str,
    *,
    body: Callable[[peer.Plan], None] = peer.main,
    within: float = 4.0,
    **plan: Any,
) -> None:
    """Start a process and see it killed, at its place or at any moment."""
    arena.start(arena.plan(profile, kill=place, **plan), body)
    # A place that is not reached in this time is a moment as good as any.
    timeout = within if place else secrets.randbelow(1200) / 1000
    reached = await arena.wait(profile, timeout) is not None
    arena.places[place.partition(":")[0] if reached else "any moment"] += 1
    await arena.kill(profile)


async def cut_first_decrypts(arena: Arena, pairs: int) -> dict[str, object]:
    """R3: two who never met; the connection of the receiver is cut meanwhile."""
    names = []
    for number in range(pairs):
        receiver, sender = f"receiver{number}", f"sender{number}"
        names += [receiver, sender]
        await arena.enrol(receiver)
        arena.start(arena.plan(receiver, cut_percent=40))
        await arena.reach(receiver, "ready", 1)
        await _send_once(arena, sender, receiver)
        await arena.settle([receiver, sender])
        await arena.stop(receiver)
    return await arena.judge(names)


async def write_at_once(arena: Arena, senders: int) -> dict[str, object]:
    """R3s: the same with one receiver for all: strangers who share pre-keys."""
    await arena.enrol(BOB)
    arena.start(arena.plan(BOB, cut_percent=40))
    await arena.reach(BOB, "ready", 1)
    names = [f"sender{number}" for number in range(senders)]
    for name in names:
        await _send_once(arena, name, BOB)
    await arena.settle([BOB, *names])
    return await arena.judge([BOB, *names])


async def _send_once(arena: Arena, sender: str, receiver: str) -> None:
    await arena.enrol(sender)
    arena.start(
        arena.plan(sender, to=receiver, until=2, is_listening=False, is_brief=True)
    )
    if await arena.wait(sender, arena.patience) is None:
        arena.hangs += 1
        await arena.kill(sender)


async def cut_all(arena: Arena, seconds: int) -> dict[str, object]:
    """R5: every connection is cut every two seconds, with traffic both ways."""
    await both_ways(arena)
    for _ in range(seconds // 2):
        await asyncio.sleep(2)
        arena.wire.cut()
    return await calm_down(arena)


async def kill_server(arena: Arena, kills: int) -> dict[str, object]:
    """R7: the server is killed and started again, with traffic both ways."""
    await both_ways(arena)
    for _ in range(kills):
        await asyncio.sleep(1 + secrets.randbelow(2000) / 1000)
        await arena.kill_server()
    return await calm_down(arena)


async def restart_server(arena: Arena, restarts: int) -> dict[str, object]:
    """R7, in order: the server is stopped and started again."""
    await both_ways(arena)
    for _ in range(restarts):
        await asyncio.sleep(1 + secrets.randbelow(2000) / 1000)
        await arena.restart_server()
    return await calm_down(arena)


async def stay_away(arena: Arena, messages: int) -> dict[str, object]:
    """R8: the receiver is away while messages come."""
    await arena.enrol(ALICE)
    await arena.enrol(BOB)
    arena.start(arena.plan(BOB))
    await arena.reach(BOB, "ready", 1)
    await arena.stop(BOB)
    arena.start(arena.plan(ALICE, to=BOB, until=messages, is_listening=False))
    await arena.reach(ALICE, "accepted", messages)
    arena.start(arena.plan(BOB))
    return await end(arena)


async def catch_up(arena: Arena, messages: int) -> dict[str, object]:
    """R15: five write to one who is away, and who is killed while he reads it."""
    senders = [f"sender{number}" for number in range(5)]
    for name in (BOB, *senders):
        await arena.enrol(name)
    arena.start(arena.plan(BOB))
    await arena.reach(BOB, "ready", 1)
    await arena.stop(BOB)
    each = messages // len(senders)
    for name in senders:
        arena.start(arena.plan(name, to=BOB, until=each, is_listening=False))
    for name in senders:  # they stay: the last of theirs may still wait to be sent
        await arena.reach(name, "accepted", each)
    # About one commit for each message; a login has a few of its own.
    for share in (0.1, 0.3, 0.3):
        place = f"committed:{int(messages * share) + secrets.randbelow(20)}"
        arena.start(arena.plan(BOB, kill=place))
        await arena.wait(BOB, 20 * arena.patience)
    arena.start(arena.plan(BOB))
    # Nothing is handed over before all is read.
    await arena.reach(BOB, "ready", 2, patience=20 * arena.patience)
    await arena.reach(BOB, "handled", messages)
    await arena.settle([BOB, *senders])
    await arena.stop(BOB)
    peaks = [int(e["memory"]) for e in arena.entries(BOB) if e["what"] == "stopped"]
    figures = await arena.judge([BOB, *senders])
    return {**figures, "memory": peaks[-1] - peaks[0]}


async def poison(arena: Arena, messages: int) -> dict[str, object]:
    """R25: among the messages for one who is away are five that nobody can read."""
    await arena.enrol(ALICE)
    await arena.enrol(BOB)
    arena.start(arena.plan(BOB))
    await arena.reach(BOB, "ready", 1)
    await arena.stop(BOB)
    every = messages // 6
    arena.start(
        arena.plan(
            ALICE, to=BOB, until=messages, is_listening=False, poison_every=every
        )
    )
    await arena.reach(ALICE, "accepted", messages)
    sent = arena.count(ALICE, "poisoned")
    arena.start(arena.plan(BOB))
    await arena.reach(BOB, "unreadable", sent)
    figures = await end(arena)  # logs in twice more
    return {**figures, "poisoned": sent, "told": arena.count(BOB, "unreadable")}


async def vanish(arena: Arena, messages: int) -> dict[str, object]:
    """R8, without goodbye: the receiver was killed before."""
    await arena.enrol(ALICE)
    await arena.enrol(BOB)
    arena.start(arena.plan(BOB))
    await arena.reach(BOB, "ready", 1)
    await arena.kill(BOB)
    arena.start(arena.plan(ALICE, to=BOB, until=messages, is_listening=False))
    await arena.reach(ALICE, "accepted", messages)
    arena.start(arena.plan(BOB))
    return await end(arena)


async def stop(arena: Arena, stops: int) -> dict[str, object]:
    """R28: both are told to stop, by SIGTERM and SIGINT in turn, in the middle."""
    await both_ways(arena)
    slowest, unclean = 0.0, 0
    for number in range(stops):
        who, other = (ALICE, BOB) if number % 2 else (BOB, ALICE)
        await asyncio.sleep(0.3 + secrets.randbelow(700) / 1000)
        started = time.monotonic()
        process = arena.running[who]
        assert process.pid is not None
        signal_number = signal.SIGTERM if number // 2 % 2 else signal.SIGINT
        os.kill(process.pid, signal_number)
        status = await arena.wait(who, 30.0)
        slowest = max(slowest, time.monotonic() - started)
        if status is None:
            arena.hangs += 1
            await arena.kill(who)
        unclean += status != 0
        begun = arena.count(who, "started")
        arena.start(arena.plan(who, to=other, until=10**6, pause=0.05))
        await arena.reach(who, "started", begun + 1)
    stopped = {"slowest": round(slowest, 2), "unclean": unclean}
    return {**await calm_down(arena), **stopped}


async def change_clocks(arena: Arena, settings: int) -> dict[str, object]:
    """R13: one of two has a clock that is wrong, and one that jumps."""
    chosen = list(SETTINGS)[:settings]
    pairs = [(f"right{number}", f"wrong{number}") for number in range(settings)]
    for first in range(0, settings, _PAIRS_AT_ONCE):
        group = range(first, min(first + _PAIRS_AT_ONCE, settings))
        await asyncio.gather(
            *(_change_clock(arena, *pairs[n], SETTINGS[chosen[n]]) for n in group)
        )
    figures = await arena.judge([name for pair in pairs for name in pair])
    # More than the one who has the right time: the first key may count as one.
    rotations = {
        name: arena.count(wrong, "rotated") - arena.count(right, "rotated")
        for name, (right, wrong) in zip(chosen, pairs, strict=True)
    }
    return {**figures, "rotations": rotations}


async def _change_clock(arena: Arena, right: str, wrong: str, setting: Setting) -> None:
    path = arena.folder / f"{wrong}.clock"
    path.write_text(setting.start)
    clock, zone = str(path), setting.zone
    for name in (right, wrong):
        await arena.enrol(name)
    arena.start(arena.plan(right))
    arena.start(arena.plan(wrong, clock=clock, zone=zone))
    for name in (right, wrong):  # the keys of both are there
        await arena.reach(name, "ready", 1, patience=4 * arena.patience)
        await arena.stop(name)
    arena.start(arena.plan(right, to=wrong, until=12, pause=0.1))
    arena.start(
        arena.plan(wrong, to=right, until=12, pause=0.1, clock=clock, zone=zone)
    )
    await arena.reach(wrong, "handled", 4)
    path.write_text(setting.later)
    for name in (right, wrong):
        await arena.reach(name, "handled", 12)
        await arena.stop(name)
    arena.start(arena.plan(right, to=wrong, until=18))  # while the other is away
    await arena.reach(right, "accepted", 18)
    zone = setting.zone_later or zone
    arena.start(arena.plan(wrong, clock=clock, zone=zone))
    await arena.reach(wrong, "handled", 18, patience=4 * arena.patience)
    for name in (right, wrong):
        await arena.stop(name)


async def both_ways(arena: Arena, *, is_enrolled: bool = False, **plan: Any) -> None:
    """Let two write to each other until they are told to stop.

    Args:
        arena: Where.
        is_enrolled: Whether they have accounts already.
        plan: More of what they are to do.
    """
    for name in (ALICE, BOB):
        if not is_enrolled:
            await arena.enrol(name)
        arena.start(arena.plan(name))
        await arena.reach(name, "ready", 1)  # the keys of both are there
    for name, other in ((ALICE, BOB), (BOB, ALICE)):
        await arena.stop(name)
        arena.start(arena.plan(name, to=other, until=10**6, pause=0.05, **plan))


async def calm_down(arena: Arena) -> dict[str, object]:
    """Let nobody say anything more, and everything arrive."""
    for name in (ALICE, BOB):
        await arena.stop(name)
    for name in (ALICE, BOB):
        arena.start(arena.plan(name))
    return await end(arena)


async def end(arena: Arena) -> dict[str, object]:
    """Let everything arrive, both log in once more, and the judge speak."""
    await arena.settle([ALICE, BOB])
    # What is repeated may come late: let both log in once more.
    for name in (ALICE, BOB):
        await arena.stop(name)
        arena.start(arena.plan(name))
        await arena.reach(name, "ready", arena.count(name, "ready") + 1)
        await asyncio.sleep(0.5)
        await arena.stop(name)
    return await arena.judge([ALICE, BOB])


class Entry(NamedTuple):
    """A run, and how far it goes.

    Attributes:
        run: What is done.
        small: How often, in scripts/test.
        full: How often, in benchmarks/durability.py.
        unit: What is counted.
    """

    run: Run
    small: int
    full: int
    unit: str


RUNS = {
    "R1": Entry(kill_sender, 25, 300, "kills of the sender"),
    "R2": Entry(kill_receiver, 25, 300, "kills of the receiver"),
    "R3": Entry(cut_first_decrypts, 6, 200, "first messages under cuts"),
    "R3s": Entry(write_at_once, 6, 100, "strangers write to one under cuts"),
    "R5": Entry(cut_all, 10, 40, "seconds, with a cut every two"),
    "R7": Entry(kill_server, 3, 30, "kills of the server"),
    "R7r": Entry(restart_server, 3, 30, "restarts of the server"),
    "R8": Entry(stay_away, 100, 700, "messages while the receiver is stopped"),
    "R8k": Entry(vanish, 100, 700, "messages after the receiver was killed"),
    "R13": Entry(change_clocks, 4, len(SETTINGS), "wrong and jumping clocks"),
    "R15": Entry(catch_up, 1000, 10_000, "messages of five to one who is killed"),
    "R25": Entry(poison, 60, 1000, "messages, and five that cannot be read"),
    "R28": Entry(stop, 10, 100, "stops by SIGTERM and SIGINT"),
}
