"""What OMEMO costs: ours, the bare library and omemo-dr on the same work.

    python benchmarks/encryption.py [--rounds 5] [--devices 1 10 30]

CPU time of the process, all threads, per device or message, in milliseconds. Each
round does everything with every engine, one after the other, so that a busy machine
is busy for all. Of all rounds the least is shown, because nothing makes work shorter
than it is, and the median in brackets.

*ours* is the whole service on the disk: devices and trust, ratchet, envelope, XML,
one transaction for each message. *ours, in memory* is the same without the
transaction. The library gets and returns bytes and values, decides nothing, and keeps
its store in a dict; so does omemo-dr, which speaks the older namespace only. That is
left out unless it is installed:

    pip install --require-hashes -r requirements/foreign.lock
"""

import argparse
import asyncio
import logging
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import library
import service

try:
    import dr
except ImportError:
    dr = None

TEXT = "x" * 96
OLD, NEW = "eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2"
READERS = 3
WARM_ROUNDS = 10
SKIPS = (0, 200, 1000)
OURS = "ours"

Figures = dict[str, list[float]]
Work = library.Work | service.Work


@contextmanager
def measured(figures: Figures, name: str, count: int) -> Iterator[None]:
    """Note the CPU time of the block, for each of ``count`` things, in ms."""
    before = time.process_time()
    yield
    figures[name].append((time.process_time() - before) / count * 1e3)


async def run_devices(work: Work, count: int, figures: Figures) -> None:
    """Measure sending to ``count`` devices of one person."""
    readers = [await work.device("reader") for _ in range(count)]
    sender = await work.device("sender")
    name, readers = readers[0].name, readers[:READERS]
    await sender.learn(name)
    for reader in readers:
        await reader.learn(sender.name)

    with measured(figures, f"cold {count}", count):
        message = await sender.encrypt(name, TEXT)
    for reader in readers:
        await reader.know(message)
        with measured(figures, f"first {count}", 1):
            assert await reader.decrypt(message) == TEXT
    await work.answer(sender)
    for _ in range(WARM_ROUNDS):
        with measured(figures, f"warm {count}", count):
            message = await sender.encrypt(name, TEXT)
        for reader in readers:
            with measured(figures, f"decrypt {count}", 1):
                assert await reader.decrypt(message) == TEXT
        # An answer is due after 53 messages; it is no part of a decryption.
        await work.answer(sender)


async def run_skipped(work: Work, figures: Figures) -> None:
    """Measure decrypting with skipped keys in the session."""
    sender, reader = await work.device("skipper"), await work.device("late")
    await reader.learn(sender.name)
    await sender.learn(reader.name)
    message = await sender.encrypt(reader.name, TEXT)
    await reader.know(message)
    await reader.decrypt(message)
    await work.answer(sender)
    skipped = 0
    for skip in SKIPS:
        for _ in range(skip - skipped):
            await sender.encrypt(reader.name, TEXT)
        await reader.decrypt(await sender.encrypt(reader.name, TEXT))
        skipped = skip
        for _ in range(20):
            message = await sender.encrypt(reader.name, TEXT)
            with measured(figures, f"with {skip} skipped", 1):
                await reader.decrypt(message)


async def run_rows(work: service.Work, figures: Figures) -> None:
    """Measure what a transaction takes that encrypts nothing."""
    device = await work.device("alone")
    for _ in range(50):
        with measured(figures, "one row, no encryption", 1):
            await device.write_row()


async def run(rounds: int, counts: list[int]) -> None:
    results: dict[str, dict[str, Figures]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for number in range(rounds):
        for namespace, figures in ((one, results[one]) for one in (OLD, NEW)):
            with tempfile.TemporaryDirectory() as folder:
                await run_round(namespace, Path(folder), counts, figures)
        print(f"round {number + 1} done", flush=True)
    load = os.getloadavg()[0]
    print(f"\nload {load:.1f} on {os.cpu_count()} cores at the end")
    for namespace, figures in results.items():
        report(namespace, figures)


async def run_round(
    namespace: str, folder: Path, counts: list[int], results: dict[str, Figures]
) -> None:
    """Do all the work once with each engine."""

    def works(name: str) -> Iterator[tuple[str, Work]]:
        yield "python-omemo", library.Work(namespace)
        yield OURS, service.Work(namespace, folder / name, in_memory=False)
        memory = folder / f"{name}-memory"
        yield f"{OURS}, in memory", service.Work(namespace, memory, in_memory=True)

    for count in counts:
        for engine, work in works(str(count)):
            async with work:
                await run_devices(work, count, results[engine])
        if dr and namespace == OLD:
            dr.run(count, results["omemo-dr"], measured)
    for engine, work in works("skipped"):
        async with work:
            await run_skipped(work, results[engine])
    if dr and namespace == OLD:
        dr.run_skipped(SKIPS, results["omemo-dr"], measured)
    async with service.Work(namespace, folder / "rows", in_memory=False) as work:
        await run_rows(work, results[OURS])


def report(namespace: str, results: dict[str, Figures]) -> None:
    """Print a table: the least and the median, and how many times ours it is."""
    others = [name for name in results if not name.startswith(OURS)]
    heads = [*results, *(f"{name} / ours" for name in others)]
    print(f"\n`{namespace}`:\n\n| ms of CPU | {' | '.join(heads)} |")
    print("| --- |" + " ---: |" * len(heads))
    for row, ours in results[OURS].items():
        values = [figures.get(row) for figures in results.values()]
        cells = [
            f"{min(one):.2f} ({statistics.median(one):.2f})" if one else ""
            for one in values
        ]
        for name in others:
            theirs = results[name].get(row)
            cells.append(f"{min(theirs) / min(ours):.1f}" if theirs else "")
        print(f"| {row} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 10, 30])
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    asyncio.run(run(options.rounds, options.devices))


if __name__ == "__main__":
    main()
