"""The run in which a bot is killed at any place while somebody gives it orders."""

import asyncio
import itertools
import time
from collections import Counter

import bot_peer
from arena import Arena
from runs import ALICE, BOB, Entry, kill_points, live_until_killed

from xmpp_onion import Client, Tor
from xmpp_onion.bot import Texts

_PAUSE = 0.1  # seconds between two orders
# Seconds in which a place is reached: a bot has to log in and be given orders first.
_REACHED = 20.0
# At each second place a write to the store.
_PLACES = ["store", "handled", "store", "committed", "store", "encrypted"]
_PLACES += ["store", "commit", "store", "send", "store", "ack"]
_INTERRUPTED = Texts().interrupted


class Asker:
    """Gives a bot numbered orders, and keeps what it answers."""

    def __init__(self, client: Client, to: str) -> None:
        self._client = client
        self._to = to
        self.asked = 0
        self.answers: list[str] = []
        self.news = asyncio.Event()
        self.is_enough = False

    async def ask(self) -> None:
        """Give one order after the other, until it is enough."""
        while not self.is_enough:
            self.asked += 1
            await self._client.queue(self._to, f"!do {self.asked}", timeout=None)
            await asyncio.sleep(_PAUSE)

    async def hear(self) -> None:
        """Keep what is answered, until cancelled."""
        async for message in self._client.messages():
            self.answers.append(message.text)
            self.news.set()

    async def all_answered(self, patience: float) -> bool:
        """Wait until there is an answer to each order; False if none comes."""
        while len(self.answers) < self.asked:
            self.news.clear()
            try:
                async with asyncio.timeout(patience):
                    await self.news.wait()
            except TimeoutError:
                return False
        return True


async def kill_bot(arena: Arena, kills: int) -> dict[str, object]:
    """R31: a bot is killed again and again; each order is done once, or told of."""
    bot = await arena.enrol(BOB)
    arena.start(arena.plan(BOB), bot_peer.main)
    await arena.reach(BOB, "ready", 1)  # its keys are there
    async with (
        Tor.attach(arena.wire.socks) as tor,
        Client(await arena.enrol(ALICE), tor=tor) as alice,
        asyncio.TaskGroup() as tasks,
    ):
        asker = Asker(alice, bot.jid)
        hearing = tasks.create_task(asker.hear())
        asking = tasks.create_task(asker.ask())
        await arena.reach(BOB, "done", 3)
        await arena.kill(BOB)
        for place in kill_points(_PLACES, kills):
            await live_until_killed(
                arena, BOB, place, body=bot_peer.main, within=_REACHED
            )
        asker.is_enough = True
        await asking
        arena.start(arena.plan(BOB), bot_peer.main)
        is_all = await asker.all_answered(2 * arena.patience)
        hearing.cancel()
    await arena.stop(BOB)
    return _judge(arena, asker, is_all=is_all)


async def stop_bot(arena: Arena, stops: int) -> dict[str, object]:
    """R32: a bot is told to end again and again, while it has orders to do.

    How long the longest stop took is told; one that takes much longer is hung.
    """
    bot = await arena.enrol(BOB)
    statuses: list[int | None] = []
    longest = 0.0
    async with (
        Tor.attach(arena.wire.socks) as tor,
        Client(await arena.enrol(ALICE), tor=tor) as alice,
        asyncio.TaskGroup() as tasks,
    ):
        asker = Asker(alice, bot.jid)
        arena.start(arena.plan(BOB), bot_peer.main)
        await arena.reach(BOB, "ready", 1)
        hearing = tasks.create_task(asker.hear())
        asking = tasks.create_task(asker.ask())
        for number in range(stops):
            await arena.reach(BOB, "ready", number + 1)
            await arena.reach(BOB, "done", arena.count(BOB, "done") + 1)
            begun = time.monotonic()
            statuses.append(await arena.stop(BOB))
            longest = max(longest, time.monotonic() - begun)
            arena.start(arena.plan(BOB), bot_peer.main)
        asker.is_enough = True
        await asking
        is_all = await asker.all_answered(2 * arena.patience)
        hearing.cancel()
    await arena.stop(BOB)
    figures = _judge(arena, asker, is_all=is_all)
    in_order = statuses == [0] * stops and not figures["interrupted"]
    return {
        **figures,
        "status": figures["status"] or int(not in_order),
        "longest_stop": round(longest, 2),
    }


def _judge(arena: Arena, asker: Asker, *, is_all: bool) -> dict[str, object]:
    entries = arena.entries(BOB)
    done = Counter(int(e["number"]) for e in entries if e["what"] == "done")
    said = Counter(
        int(text.removeprefix("done "))
        for text in asker.answers
        if text != _INTERRUPTED
    )
    interrupted = asker.answers.count(_INTERRUPTED)
    unanswered = set(range(1, asker.asked + 1)) - set(said)
    prints = {str(e["fingerprint"]) for e in entries if e["what"] == "ready"}
    # What is neither answered nor told as interrupted was lost.
    lost = sorted(unanswered)[interrupted:]
    return {
        "accepted": asker.asked,
        "interrupted": interrupted,
        "lost": lost,
        "repeated": sorted(n for each in (done, said) for n in each if each[n] > 1),
        "reordered": [n for n, after in itertools.pairwise(done) if n > after],
        "forged": sorted(set(said) - set(done)),
        "identities": len(prints),
        "kills": arena.kills,
        "places": arena.places,
        "hangs": arena.hangs + (not is_all),
        "unanswered": asker.asked - len(asker.answers),
        "crashes": arena.crashes,
        "status": int(interrupted > len(unanswered) or len(prints) != 1),
    }


BOT_RUNS = {
    "R31": Entry(kill_bot, 12, 100, "kills of a bot"),
    "R32": Entry(stop_bot, 3, 50, "stops of a bot that has orders to do"),
}
