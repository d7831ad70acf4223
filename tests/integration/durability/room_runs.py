"""The run in a room: everybody is killed in turn, and the server, while all talk.

What is said there is for each of the others: the judge counts it lost if one of them
never handled it.
"""

import asyncio
import secrets
from collections.abc import Sequence

from arena import Arena
from runs import RECEIVER, SENDER, Entry, kill_points, live_until_killed

from xmpp_onion import Client, Tor

ALICE, BOB, CAROL = PEOPLE = ("alice", "bob", "carol")
# Alice and Bob write, and Carol reads.
_WRITERS = (ALICE, BOB)
_PAUSE = {ALICE: 0.2, BOB: 0.5}
# Each so many kills one is of the server.
_SERVER_EVERY = 6


async def kill_in_room(arena: Arena, kills: int) -> dict[str, object]:
    """R29: who writes and who reads in a room is killed, and the server."""
    arena.room = await _make_room(arena)
    for name in PEOPLE:
        _start(arena, name)
        await arena.reach(name, "ready", 1)
    places = {
        name: iter(kill_points(SENDER if name == ALICE else RECEIVER, kills))
        for name in PEOPLE
    }
    for number in range(kills):
        if number % _SERVER_EVERY == _SERVER_EVERY - 1:
            await asyncio.sleep(1 + secrets.randbelow(2000) / 1000)
            await arena.kill_server()
            continue
        name = PEOPLE[number % len(PEOPLE)]
        await arena.kill(name)
        await live_until_killed(arena, name, next(places[name]), **_plan(arena, name))
        _start(arena, name)
    return await _end(arena)


async def _make_room(arena: Arena) -> str:
    """Make a room of all, and let each come in once."""
    room = f"friends@muc.{arena.prosody.onion}"
    owner, *others = [await arena.enrol(name) for name in PEOPLE]
    async with Tor.attach(arena.wire.socks) as tor:
        async with Client(owner, tor=tor) as client:
            made = await client.create_room(room)
            await made.invite(*(account.jid for account in others))
        for account in others:
            async with Client(account, tor=tor) as client:
                await client.join(room)
    return room


def _plan(arena: Arena, name: str) -> dict[str, object]:
    if name not in _WRITERS:
        return {}
    return {"to": arena.room, "until": 10**6, "pause": _PAUSE[name]}


def _start(arena: Arena, name: str) -> None:
    arena.start(arena.plan(name, **_plan(arena, name)))


async def _end(arena: Arena, names: Sequence[str] = PEOPLE) -> dict[str, object]:
    """Let nobody say anything more, everything arrive, and all log in once more."""
    for name in names:
        await arena.stop(name)
        arena.start(arena.plan(name))
    await arena.settle(names)
    for name in names:
        await arena.stop(name)
        arena.start(arena.plan(name))
        await arena.reach(name, "ready", arena.count(name, "ready") + 1)
        await asyncio.sleep(0.5)
        await arena.stop(name)
    return await arena.judge(names)


ROOM_RUNS = {
    "R29": Entry(kill_in_room, 12, 300, "kills in a room of three, and of its server"),
}
