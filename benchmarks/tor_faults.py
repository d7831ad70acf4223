"""What is lost, repeated or reordered when a real Tor fails in every way we know.

    python benchmarks/tor_faults.py                     all runs in full, a quarter hour
    python benchmarks/tor_faults.py R4 --times 50       some runs, so far each
    python benchmarks/tor_faults.py R19 --times 600     a tor that hangs ten minutes
    python benchmarks/tor_faults.py R4 --keep /tmp/r4   leaves histories and logs there

Two people write to each other through a private Tor network on loopback; the server is
an onion-only Prosody, and a separate program judges what they have written down:
tests/onion/faults. Prints a table for docs/reference/durability.md; exit 1 if a promise
was broken.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(ROOT),
    str(ROOT / "tests" / "onion" / "faults"),
    str(ROOT / "tests" / "integration" / "durability"),
]

from xmpp_onion.testing import TorNetwork, default_template  # noqa: E402 - found by the path above


async def main() -> int:
    """Run what was asked for and return the exit status."""
    from tor_runs import RUNS  # noqa: PLC0415 - found by the path above

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="RUN", help=", ".join(RUNS))
    parser.add_argument("--times", type=int, help="how far each run goes")
    parser.add_argument("--keep", type=Path, help="a folder for what is left")
    options = parser.parse_args()
    unknown = set(options.names) - set(RUNS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    print(
        "| run | accepted | lost | repeated | reordered | hangs | noticed | back | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    status = 0
    async with TorNetwork(relays=8, template=default_template()) as network:
        for name in options.names or RUNS:
            times = options.times or RUNS[name].full
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=options.keep))
            status |= await _run(name, times, folder, network)
            if not options.keep:
                shutil.rmtree(folder)
    return status


async def _run(name: str, times: int, folder: Path, network: TorNetwork) -> int:
    from tor_arena import TorArena  # noqa: PLC0415 - found by the path above
    from tor_runs import RUNS  # noqa: PLC0415 - found by the path above

    started = time.monotonic()
    async with TorArena(folder, network, alice=RUNS[name].alice) as arena:
        figures = await RUNS[name].run(arena, times)
    wrongs = [figures[key] for key in ("lost", "repeated", "reordered", "forged")]
    lost, repeated, reordered, forged = map(len, wrongs)
    print(
        f"| {name}: {times} {RUNS[name].unit} | {figures['accepted']} | {lost} "
        f"| {repeated} | {reordered} | {figures['hangs']} "
        f"| {_span(figures.get('noticed', ()))} | {_span(figures['back'])} "
        f"| {time.monotonic() - started:.0f} |",
        flush=True,
    )
    print(f"{name}: {figures}", file=sys.stderr, flush=True)
    return int(bool(lost or repeated or reordered or forged or figures["hangs"]))


def _span(seconds: Sequence[float]) -> str:
    """Return median and maximum."""
    if not seconds:
        return ""
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.1f} (to {ordered[-1]:.1f})"


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
