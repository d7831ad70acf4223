"""How soon the first byte of an onion comes, with and without waiting for the dial.

    python benchmarks/first_byte.py [--rounds 15] [--hop-delay 0.02]

A private Tor network of nine nodes, whose links are as long as those of the open one.
Prints a table for docs/reference/performance.md.
"""

import argparse
import asyncio

from xmpp_onion.bench import first_byte


async def main(rounds: int, hop_delay: float) -> None:
    """Measure, and print the table."""
    async with first_byte.network(hop_delay) as network:
        found = await first_byte.measure(network, rounds)
    print(f"round trip: {found.round_trip * 1000:.0f} ms, median of {rounds}\n")
    print("| ms to the first byte | asked when connected | asked with the dial |")
    print("| --- | ---: | ---: |")
    for name, sample in (("circuit that is there", found.warm), ("new", found.new)):
        cells = [
            f"{middle * 1000:.0f} ({min(times) * 1000:.0f} to {max(times) * 1000:.0f})"
            for middle, times in zip(
                sample.medians, (sample.waiting, sample.at_once), strict=True
            )
        ]
        print(f"| {name} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hop-delay", type=float, default=first_byte.HOP_DELAY)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.rounds, chosen.hop_delay))
