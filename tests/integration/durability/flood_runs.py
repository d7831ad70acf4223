"""The flood (R21): a stranger sends all he can while a friend writes as ever."""

import asyncio
import functools

from arena import Arena
from runs import ALICE, BOB, Entry
from store_runs import STORE, ask_lag

from xmpp_onion import Account, Client, Tor
from xmpp_onion.server.folder import Folder

MALLORY = "mallory"
_FRIENDS_PAUSE = 0.2  # seconds between two texts of the friend
_CALM = 3.0  # seconds after which what a login needs is over


async def flood(
    arena: Arena, seconds: int, *, is_limited: bool = True
) -> dict[str, object]:
    """R21: a thousand messages a second from a stranger, and a friend writes."""
    if not is_limited:
        await _lift_limits(arena)
    accounts = [await arena.enrol(name) for name in (ALICE, BOB, MALLORY)]
    await _befriend(arena, *accounts[:2])
    arena.start(arena.plan(BOB, is_measured=True))
    await arena.reach(BOB, "ready", 1)
    pause = {"pause": _FRIENDS_PAUSE}
    arena.start(arena.plan(ALICE, to=BOB, until=10**6, is_listening=False, **pause))
    await arena.reach(BOB, "handled", 10)
    await asyncio.sleep(_CALM)
    before, size, calm = await ask_lag(arena, BOB), _size(arena), _slowest(arena)
    arena.start(arena.plan(MALLORY, to=BOB, flood=seconds, is_listening=False))
    await arena.reach(MALLORY, "flooded", 1, patience=10 * (arena.patience + seconds))
    # What she says now is behind all of the flood, on its way from the server.
    last = arena.newest(ALICE, "intent") + 1
    async with asyncio.timeout(10 * arena.patience):
        while arena.newest(BOB, "handled") < last:  # noqa: ASYNC110 - a file tells
            await asyncio.sleep(0.1)
    after, grown = await ask_lag(arena, BOB), _size(arena) - size
    await arena.stop(ALICE)
    arena.start(arena.plan(ALICE, is_listening=False))
    await arena.settle([ALICE, BOB])
    [flooded] = [e for e in arena.entries(MALLORY) if e["what"] == "flooded"]
    figures = {
        "flooded": flooded["number"],
        "per_second": flooded["rate"],
        "lag_p99": (before["p99"], after["p99"]),
        "lag_longest": (before["seconds"], after["seconds"]),
        "friend": (calm, _slowest(arena)),
        "memory": int(after["memory"] - before["memory"]),
        "grown": grown,
    }
    for name in (ALICE, BOB, MALLORY):
        await arena.stop(name)
    return {**await arena.judge([ALICE, BOB]), **figures}


async def _befriend(arena: Arena, one: Account, other: Account) -> None:
    """Make two accounts contacts of each other."""
    async with (
        Tor.attach(arena.wire.socks) as tor,
        Client(one, tor=tor) as first,
        Client(other, tor=tor) as second,
    ):
        await first.add_contact(other.jid)
        async with asyncio.timeout(arena.patience):
            while not (await second.requests()).waiting:  # noqa: ASYNC110 - a box
                await asyncio.sleep(0.05)
            await second.accept_contact(one.jid)
            while not await first._contacts.table.is_contact(other.jid):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)


class _Unlimited(Folder):
    """The folder of a server that reads as fast as it can."""

    def write_config(self) -> None:
        """Render the configuration without its limits."""
        super().write_config()
        text = self.config_file.read_text("utf-8")
        assert '"limits"; ' in text
        self.config_file.write_text(text.replace('"limits"; ', ""), "utf-8")


async def _lift_limits(arena: Arena) -> None:
    folder = arena.prosody._folder
    arena.prosody._folder = _Unlimited(folder.path, folder.run_as)
    await arena.restart_server()


def _size(arena: Arena) -> int:
    """Return what the store of Bob takes on the disk, with its log."""
    store = arena.data / BOB / STORE
    return sum(path.stat().st_size for path in store.parent.glob(f"{STORE}*"))


def _slowest(arena: Arena) -> float:
    """Return how many seconds the slowest text of the friend took."""
    said = {e["number"]: e["at"] for e in arena.entries(ALICE) if e["what"] == "intent"}
    return max(
        float(e["at"]) - float(said[e["number"]])
        for e in arena.entries(BOB)
        if e["what"] == "handled"
    )


FLOOD_RUNS = {
    "R21": Entry(flood, 2, 60, "seconds of 1,000 messages of a stranger"),
    "R21o": Entry(
        functools.partial(flood, is_limited=False),
        2,
        60,
        "seconds of the same, and a server without limits",
    ),
}
