"""The runs in which the disk fails, or what is on it, while two write to each other."""
# ruff: noqa: ASYNC110, ASYNC240 - files say how far other processes are: look again

import asyncio
import os
import secrets
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from arena import Arena
from peer import FAILED
from runs import ALICE, BOB, Entry, both_ways, calm_down, end
from small_disk import SmallDisk

from tests.unit.store.power_loss import Disk, replay
from xmpp_onion.store import schema

STORE = "store.sqlite3"
_PARTS = ("", "-wal", "-journal", "-shm")
# Seconds that a disk stays full, and between two starts of what it has ended.
_FULL, _RESTART = 3.0, 0.5
# How often we look, at most, whether somebody has noticed that the disk is full.
_LATE = 60
# How many of the states that a power loss may leave are looked into, of each trace.
_LOOKS = 15
# A migration of the stores here writes fewer pages than this.
_WRITES = 150
_OTHER = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
other.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""
_TRACED = "pwrite64,write,lseek,ftruncate,fsync,fdatasync,unlink"


# --- a full disk (R9) ---------------------------------------------------------------


async def fill_disk(arena: Arena, times: int) -> dict[str, object]:
    """R9: both live on a disk of 8 MB that is filled, and has room again."""
    for name in (ALICE, BOB):
        await arena.enrol(name)
    async with SmallDisk(arena.folder / "small") as disk:
        shutil.copytree(arena.data, disk.inside, dirs_exist_ok=True)
        arena.data = disk.place
        arena.prefixes = dict.fromkeys((ALICE, BOB), disk.prefix)
        await both_ways(arena, is_enrolled=True)
        await arena.flow(ALICE, BOB)
        back = [await _fill_once(arena, disk) for _ in range(times)]
        figures = await calm_down(arena)
        left = arena.folder / "left"  # SQLite does not open what is behind /proc
        shutil.copytree(disk.inside, left)
        healths = [_health(left / name / STORE) for name in (ALICE, BOB)]
        await arena.end_all()
    told = [e for n in (ALICE, BOB) for e in arena.entries(n) if e["what"] == "failed"]
    fixes = {str(each["fix"]).partition(" (")[0] for each in told}
    return {**figures, "back": back, "told": len(told), "fixes": sorted(fixes)} | {
        "sound": healths == ["ok", "ok"]
    }


async def _fill_once(arena: Arena, disk: SmallDisk) -> float:
    """Fill the disk, make room, and return how many seconds until all flows again."""
    async with asyncio.TaskGroup() as tasks:
        keepers = [
            tasks.create_task(_keep_up(arena, name, other))
            for name, other in ((ALICE, BOB), (BOB, ALICE))
        ]
        before = _troubles(arena)
        disk.fill()
        await asyncio.sleep(_FULL)
        # The log is used anew where it lies: for a while that needs no room.
        for _ in range(_LATE):
            if _troubles(arena) != before:
                break
            disk.fill()
            await asyncio.sleep(_RESTART)
        disk.make_room()
        back = await arena.flow(ALICE, BOB)
        for keeper in keepers:
            keeper.cancel()
    return back


def _troubles(arena: Arena) -> int:
    """Count what was refused, and processes that their store has ended."""
    entries = [each for name in (ALICE, BOB) for each in arena.entries(name)]
    return sum(each["what"] in {"refused", "failed"} for each in entries)


async def _keep_up(arena: Arena, name: str, other: str) -> None:
    """Start a process again whenever its store has ended it, as a supervisor does."""
    while True:
        await asyncio.sleep(_RESTART)
        process = arena.running.get(name)
        if process is None or process.exitcode is not None:
            if process is not None:
                await arena.wait(name)
            arena.start(arena.plan(name, to=other, until=10**6, pause=0.05))


def _health(path: Path) -> str:
    with closing(sqlite3.connect(path)) as store:
        return str(store.execute("PRAGMA integrity_check").fetchone()[0])


# --- a lock (R10) -------------------------------------------------------------------


async def hold_lock(arena: Arena, seconds: int) -> dict[str, object]:
    """R10: another program locks the store of the one, and then of the other."""
    await both_ways(arena, is_measured=True)
    await arena.flow(ALICE, BOB)
    await asyncio.sleep(3)
    before = max([await _lag(arena, name) for name in (ALICE, BOB)])
    during, back = [], []
    for name in (ALICE, BOB):
        await _lag(arena, name)
        holder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _OTHER, str(arena.data / name / STORE)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert holder.stdin
        assert holder.stdout
        assert await holder.stdout.readline() == b"held\n"
        await asyncio.sleep(seconds)
        during.append(await _lag(arena, name))
        holder.stdin.close()
        await holder.wait()
        back.append(await arena.flow(ALICE, BOB))
    lags = {"lag_before": before, "lag_during": max(during)}
    failed = sum(arena.count(name, "failed") for name in (ALICE, BOB))
    return {**await calm_down(arena), "back": back, "failed": failed, **lags}


async def _lag(arena: Arena, name: str) -> float:
    return (await ask_lag(arena, name))["seconds"]


async def ask_lag(arena: Arena, name: str) -> dict[str, float]:
    """Return what a process that is measured found since it was asked before."""
    told = arena.count(name, "lag")
    process = arena.running[name]
    if process.exitcode is not None:
        return dict.fromkeys(("seconds", "p99", "memory"), float("inf"))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGUSR2)
    await arena.reach(name, "lag", told + 1)
    entries = [e for e in arena.entries(name) if e["what"] == "lag"]
    fields = ("seconds", "p99", "memory")
    return {field: float(entries[-1][field]) for field in fields}


# --- rotten bits (R11) --------------------------------------------------------------


async def rot(arena: Arena, flips: int) -> dict[str, object]:
    """R11: a bit of the file is flipped, or the log damaged, and the process begins."""
    await both_ways(arena)
    await arena.reach(BOB, "handled", 60)
    await arena.kill(BOB)
    await arena.stop(ALICE)
    whole = arena.folder / "whole"
    shutil.copytree(arena.data, whole)
    was = next(e for e in arena.entries(BOB) if e["what"] == "ready")["fingerprint"]
    found: Counter[str] = Counter()
    for number, files in enumerate(_damaged(whole / BOB / STORE, flips)):
        _put_back(arena, whole)
        store = arena.data / BOB / STORE
        is_noticed = _look_into(arena.folder, 0, files) != []
        _put(store, files)
        result = await _begin_with(arena, store, str(was), number)
        found[result + ", noticed by SQLite" * is_noticed] += 1
    _put_back(arena, whole)
    for name in (ALICE, BOB):
        arena.start(arena.plan(name))
    figures = await end(arena)
    allowed = {"refused", "refused, noticed by SQLite", "same identity"}
    return {**figures, "found": found, "wrong": sorted(set(found) - allowed)}


def _damaged(store: Path, flips: int) -> Iterator[dict[str, bytes]]:
    """Yield files with one bit flipped each, and then with a damaged log."""
    whole = _read(store)
    with closing(sqlite3.connect(store)):
        pass  # the last one that closes it takes the log into the file
    closed = store.read_bytes()
    for _ in range(flips):
        content = bytearray(closed)
        content[secrets.randbelow(len(content))] ^= 1 << secrets.randbelow(8)
        yield {"": bytes(content)}
    log = whole["-wal"]
    rotten = bytearray(log)
    rotten[secrets.randbelow(len(log))] ^= 0xFF
    for left in (b"", log[: secrets.randbelow(len(log))], bytes(rotten)):
        yield {**whole, "-wal": left}
    yield {"": whole[""]}


def _put_back(arena: Arena, whole: Path) -> None:
    """Put the account of Bob back, and the note of how far it had come."""
    for part in (BOB, f".state/{BOB}"):
        shutil.rmtree(arena.data / part)
        shutil.copytree(whole / part, arena.data / part)


async def _begin_with(arena: Arena, store: Path, was: str, number: int) -> str:
    """Start Bob on a damaged store, and return what came of it."""
    before = store.read_bytes()
    plan = arena.plan(BOB, is_listening=False, history=f"rot{number}")
    process = arena.start(plan)
    deadline = time.monotonic() + arena.patience
    while process.exitcode is None and time.monotonic() < deadline:
        if arena.count(f"rot{number}", "ready"):
            break
        await asyncio.sleep(0.05)
    await arena.stop(BOB)
    entries = arena.entries(f"rot{number}")
    for entry in entries:
        if entry["what"] == "ready":
            is_same = entry["fingerprint"] == was
            return "same identity" if is_same else "another identity"
        if entry["what"] == "failed":
            if store.read_bytes() != before:
                return "refused, and changed"
            return "refused" if "backup" in str(entry["fix"]) else "refused, no way out"
    return "no answer"


def _strace(log: Path, *options: str, calls: str) -> list[str]:
    """Return a prefix that traces a process, and leaves it its own process id."""
    return [
        "strace",
        "-D",
        "-f",
        "-q",
        *options,
        "-e",
        f"trace={calls}",
        "-o",
        str(log),
    ]


# --- power (R12) --------------------------------------------------------------------


async def cut_power(arena: Arena, cuts: int) -> dict[str, object]:
    """R12: power is lost under one of two in turn; what was not synced may be gone."""
    await both_ways(arena)
    await arena.flow(ALICE, BOB)
    torn, looks = [], 0
    for number in range(cuts):
        name, other = (ALICE, BOB) if number % 2 else (BOB, ALICE)
        await arena.stop(name)
        store, trace = arena.data / name / STORE, arena.folder / f"trace{number}"
        files = {part: Disk(bytearray(data)) for part, data in _read(store).items()}
        arena.prefixes[name] = _strace(trace, "-y", "-xx", "-s", "70000", calls=_TRACED)
        ready = arena.count(name, "ready")
        arena.start(arena.plan(name, to=other, until=10**6, pause=0.05))
        await arena.reach(name, "ready", ready + 1)
        await asyncio.sleep(secrets.randbelow(2000) / 1000)
        await arena.kill(name)
        del arena.prefixes[name]
        calls = await _read_trace(trace)
        states = list(_states(calls, store, files))
        for promised, left in secrets.SystemRandom().sample(
            states, min(_LOOKS, len(states))
        ):
            looks += 1
            torn += await asyncio.to_thread(_look_into, arena.folder, promised, left)
        how = ("none", "some", "all")[number % 3]
        _put(store, {part: disk.after_a_loss(how) for part, disk in files.items()})
        trace.unlink()
        arena.start(arena.plan(name, to=other, until=10**6, pause=0.05))
        await arena.flow(ALICE, BOB)
    alarms = sum(arena.count(name, "rolled back") for name in (ALICE, BOB))
    seen = {"states": looks, "torn": torn, "alarms": alarms}
    return {**await calm_down(arena), **seen}


def _states(
    calls: list[str], store: Path, files: dict[str, Disk]
) -> list[tuple[int, dict[str, bytes]]]:
    """Return what may be left after each call; ``files`` ends as the last left it."""
    states = []
    total = sum(1 for call in calls if STORE in call or "pwrite64" in call)
    for promised, now in replay(calls, store, files):
        # Each state is a copy of all files: only as many as may be looked into.
        if secrets.randbelow(max(total, 1)) < 2 * _LOOKS:
            how = secrets.choice(("none", "some", "all"))
            left = {part: disk.after_a_loss(how) for part, disk in now.items()}
            states.append((promised, left))
    return states


def _read(store: Path) -> dict[str, bytes]:
    parts = {part: store.with_name(STORE + part) for part in ("", "-wal")}
    return {part: path.read_bytes() for part, path in parts.items() if path.exists()}


async def _read_trace(trace: Path) -> list[str]:
    """Return the calls, when the tracer has written down the end of the process."""
    while "+++ killed by SIGKILL +++" not in (text := trace.read_text("utf-8")):
        await asyncio.sleep(0.05)
    return text.splitlines()


def _put(store: Path, files: dict[str, bytes]) -> None:
    for part in _PARTS:
        store.with_name(STORE + part).unlink(missing_ok=True)
    for part, content in files.items():
        path = store.with_name(STORE + part)
        path.touch(mode=0o600)
        path.write_bytes(content)


def _look_into(folder: Path, promised: int, files: dict[str, bytes]) -> list[str]:
    """Return what is wrong with a state that a power loss may leave."""
    place = folder / "look"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    _put(place / STORE, files)
    with closing(sqlite3.connect(place / STORE)) as store:
        try:
            health = str(store.execute("PRAGMA quick_check").fetchone()[0])
            there = int(store.execute("SELECT value FROM generation").fetchone()[0])
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            return [str(error)]  # what it says may be damaged, too
    if health != "ok":
        return [health]
    return [] if there >= promised else [f"{promised} was promised, {there} is there"]


# --- a migration (R27) --------------------------------------------------------------


async def upgrade(arena: Arena, kills: int) -> dict[str, object]:
    """R27: newer versions come, are killed as they migrate, and an older one tries."""
    await both_ways(arena)
    await arena.flow(ALICE, BOB)
    await arena.stop(BOB)
    store, broken = arena.data / BOB / STORE, []
    refused = migrated = 0
    for future in range(1, kills + 1):
        write = 1 + secrets.randbelow(_WRITES)
        fault = f"inject=pwrite64:signal=KILL:when={write}"
        arena.prefixes[BOB] = _strace(Path(os.devnull), "-e", fault, calls="pwrite64")
        arena.start(arena.plan(BOB, to=ALICE, until=10**6, pause=0.05, future=future))
        await arena.wait(BOB, 10.0)
        await arena.kill(BOB)
        del arena.prefixes[BOB]
        version = _version(store)
        migrated += version == future + len(schema.MIGRATIONS)
        is_told = await _try_older(arena, future - 1)
        refused += is_told
        if is_told != (version == future + len(schema.MIGRATIONS)):
            broken.append(f"{future}: version {version}, refused: {is_told}")
        ready = arena.count(BOB, "ready")
        arena.start(arena.plan(BOB, to=ALICE, until=10**6, pause=0.05, future=future))
        if not await arena.reach(BOB, "ready", ready + 1):
            broken.append(f"{future}: does not begin")
        await arena.flow(ALICE, BOB)
        await arena.stop(BOB)
    arena.future[BOB] = kills
    seen = {"migrated": migrated, "too_new": refused, "broken": broken}
    return {**await calm_down(arena), **seen}


def _version(store: Path) -> int:
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as opened:
        return int(opened.execute("PRAGMA user_version").fetchone()[0])


async def _try_older(arena: Arena, future: int) -> bool:
    """Start the version before; return whether it refused, and said why."""
    ready, failed = arena.count(BOB, "ready"), arena.count(BOB, "failed")
    process = arena.start(arena.plan(BOB, future=future))
    while process.exitcode is None and arena.count(BOB, "ready") == ready:
        await asyncio.sleep(0.05)
    status = await arena.stop(BOB)
    told = [e for e in arena.entries(BOB) if e["what"] == "failed"][failed:]
    return status == FAILED and [e["error"] for e in told] == ["StoreTooNewError"]


STORE_RUNS = {
    "R9": Entry(fill_disk, 1, 10, "times the disk is full"),
    "R10": Entry(hold_lock, 3, 30, "seconds another program holds the store of each"),
    "R11": Entry(rot, 10, 200, "flipped bits, and four damaged logs"),
    "R12": Entry(cut_power, 3, 40, "power losses"),
    "R27": Entry(upgrade, 3, 40, "upgrades that are killed"),
}
